"""The queue, live: what runs, what waits in which order, what ended; paused, moved, removed."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.runs.execution import queue as run_queue
from sracl_tui.runs.execution.registry import EXECUTORS
from sracl_tui.services.run_edits import Words
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.dialogs import ConfirmDialog, PromptDialog
from sracl_tui.tui.widgets.table import Column, Row, Table, TableData, lay_out
from store.errors import StoreError
from store.process_state import LOCAL
from store.queue import Queue

POLL_SECONDS = 1.0
COLUMNS = (
    Column("place", "place", right=True),
    Column("name", "run", flex=True, least=16, most=40),
    Column("state", "state"),
    Column("epoch", "epoch", right=True),
    Column("data", "data", most=16),
    Column("seed", "seed", right=True),
    Column("worker", "worker"),
    Column("since", "since", right=True),
    Column("reason", "reason", most=60),
    Column("group", "group", most=24),
)
WHERE = {
    LOCAL: "processes of this machine, one per device",
    "slurm": "jobs of Slurm, on its nodes",
    "ray": "actors of Ray, on its nodes",
}
EMPTY = "The queue is empty. `sracl queue add` or `sracl run ... --queue` adds runs."


class QueueScreen(BaseScreen):
    """The queue and its workers."""

    NAME = "Queue"
    ABOUT = (
        "Each device has a worker that takes runs from the top. While the queue is paused, running runs continue and no other "
        "starts. A failed run does not stop the rest; a run whose worker died is resumed by the next worker. Workers outlive this app."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause"),
        Binding("K,shift+up", "shift(-1)", "Earlier", key_display="K"),
        Binding("J,shift+down", "shift(1)", "Later", key_display="J"),
        Binding("t", "top", "Top"),
        Binding("x", "remove", "Remove"),
        Binding("w", "workers", "Workers"),
        Binding("o", "executor", "Executor", show=False),
        Binding("i", "inspect", "Inspect", show=False),
        Binding("y", "copy", "Copy run id", show=False),
        Binding("r", "refresh", "Refresh", show=False),
    ]

    @dataclass
    class Read(Message):
        """The queue was read and its table is laid out."""

        found: dict[str, Any]
        data: TableData

    @dataclass
    class Done(Message):
        """A change of the queue was made, or failed."""

        text: str
        failed: bool = False
        words: Words = ()

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, Any] = {"entries": [], "workers": {}, "paused": False, "wanted": 0}

    def body(self) -> ComposeResult:
        """State of the workers, and the entries."""
        yield Static("reading ...", id="queue-facts", markup=False)
        yield Table(id="queue-table", empty="reading ...")

    def on_mount(self) -> None:
        """Read the queue, and again at intervals."""
        self.query_one(Table).focus()
        self.set_interval(POLL_SECONDS, self.action_refresh)
        self.action_refresh()

    @property
    def entry(self) -> dict[str, Any] | None:
        """The entry under the cursor; none in an empty queue."""
        key = self.query_one(Table).key
        return next((entry for entry in self.found["entries"] if entry["run_id"] == key), None)

    def action_refresh(self) -> None:
        """Read the queue, unless a reading is running."""
        if not any(worker.group == "queue" and worker.is_running for worker in self.workers):
            self._read()

    def runs_read(self) -> None:
        """Read the queue again: states and epochs come from the runs."""
        self.action_refresh()

    @work(thread=True, exit_on_error=False, group="queue")
    def _read(self) -> None:
        rows = {row["run_id"]: row for row in self.sracl.runs}
        try:
            found = run_queue.listing(self.sracl.home, rows)
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Done(error_text(error), failed=True))
            return
        data = lay_out(COLUMNS, [_row(entry) for entry in found["entries"]])
        self.post_message(self.Read(found, data))

    @on(Read)
    def _show(self, message: Read) -> None:
        self.found = message.found
        table = self.query_one(Table)
        table.set_empty_text(EMPTY)
        table.show(message.data)
        self.query_one("#queue-facts", Static).update(formatting.line(_facts(self.found)))
        states = [entry["entry"] for entry in self.found["entries"]]
        text = f"{states.count('waiting')} queued, {states.count('working')} running"
        self.set_title(text + ("  ■ paused" if self.found["paused"] else ""))
        self.refresh_bindings()

    @on(Table.Highlighted)
    def _highlighted(self) -> None:
        if self.entry is not None:
            self.sracl.run_id = self.entry["run_id"]
        self.refresh_bindings()

    def disabled_reason(self, action: str) -> str:
        """Only what waits can be moved; what ended cannot be taken out."""
        entry = self.entry
        if action in ("shift", "top", "remove", "inspect", "copy") and entry is None:
            return "There is no run under the cursor."
        if entry is None:
            return ""
        if action in ("shift", "top") and entry["entry"] != "waiting":
            how = "running" if entry["entry"] == "working" else "done"
            return f"Run {entry['name']} is {how}: only a queued run can be moved."
        if action == "remove" and entry["entry"] == "done":
            return f"Run {entry['name']} is done."
        return ""

    @on(Table.Chosen)
    def _open(self) -> None:
        if self.entry is not None:
            self.sracl.open_run(self.entry["run_id"])

    def action_inspect(self) -> None:
        """Open the Inspector on the run."""
        if self.entry is not None:
            self.sracl.open_inspector(self.entry["run_id"])

    def action_copy(self) -> None:
        """Copy the run ID."""
        if self.entry is not None:
            self.copy(self.entry["run_id"], self.entry["run_id"])

    def action_pause(self) -> None:
        """Pause or continue the queue; start the workers if there are none."""
        home = self.sracl.home
        if self.found["paused"] or not self.found["workers"]:
            self._change(lambda: _started(run_queue.start(home)), ("queue", "start"))
        else:
            self._change(lambda: _paused(Queue(home)), ("queue", "pause"))

    def action_workers(self) -> None:
        """Ask for the number of workers and start them."""
        home = self.sracl.home
        now = self.found["wanted"] or run_queue.default_workers(home)

        def change(answer: str | None) -> None:
            if answer is None:
                return
            if answer.strip().isdigit() and 1 <= int(answer) <= 64:
                self._change(
                    lambda: _started(run_queue.start(home, int(answer))),
                    ("queue", "start", "--workers", answer.strip()),
                )
            else:
                self.notify("A number from 1 to 64.", severity="warning", markup=False)

        hint = "runs at a time, spread over the devices; enter starts the queue"
        self.app.push_screen(PromptDialog("Workers", value=str(now), hint=hint), change)

    def action_executor(self) -> None:
        """Choose what executes the runs, and start the queue there."""
        home = self.sracl.home

        def change(name: Hashable | None) -> None:
            if name is not None:
                start = partial(run_queue.start, home, on=str(name))
                self._change(lambda: _started(start()), ("queue", "start", "--on", str(name)))

        names = dict.fromkeys([*EXECUTORS.names(), Queue(home).executor or LOCAL])  # one by path is none of the names
        rows = [Row(name, (name, WHERE.get(name, "run by code of your own"))) for name in names]
        hint = "enter starts the queue there; cluster.toml in the home has the options of a cluster"
        columns = (Column("executor", "executor", most=40), Column("runs", "runs are", flex=True))
        current = Queue(home).executor or LOCAL
        self.app.push_screen(ChoiceDialog("What executes the runs", columns, rows, hint=hint, current=current), change)

    def action_shift(self, by: int) -> None:
        """Move the run up or down one place."""
        if self.entry is not None:
            self._move(self.entry["run_id"], max(1, self.entry["place"] + by))

    def action_top(self) -> None:
        """Move the run to the front of the queue."""
        if self.entry is not None:
            self._move(self.entry["run_id"], 1)

    def _move(self, run_id: str, place: int) -> None:
        home = self.sracl.home

        def change() -> str:
            run_queue.move(home, run_id, place)
            return ""

        self._change(change, ("queue", "move", run_id, str(place)))

    def action_remove(self) -> None:
        """Remove a queued run or stop a running one, after a confirmation."""
        from sracl_tui.tui.screens.run_controls import STOP_DETAIL, stop

        entry, home = self.entry, self.sracl.home
        assert entry is not None
        run_id, works = entry["run_id"], entry["entry"] == "working"

        def remove() -> str:
            run_queue.remove(home, run_id)
            return f"{run_id} was removed from the queue"

        def answer(yes: bool | None) -> None:
            if yes and works:
                self._change(lambda: stop(home, run_id), ("stop", run_id))
            elif yes:
                self._change(remove, ("queue", "remove", run_id))

        question = f"{'Stop' if works else 'Remove'} run {entry['name']}?"
        detail = STOP_DETAIL if works else "It stays in the list of runs, as stopped; it can be resumed or cloned."
        self.app.push_screen(ConfirmDialog(question, detail=detail, yes="Stop it" if works else "Remove it"), answer)

    @work(thread=True, exit_on_error=False, group="change")
    def _change(self, change: Callable[[], str], words: Words) -> None:
        try:
            self.post_message(self.Done(change(), words=words))
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Done(error_text(error), failed=True))

    @on(Done)
    def _show_outcome(self, message: Done) -> None:
        if message.text:
            self.notify(message.text, severity="error" if message.failed else "information", markup=False)
        if not message.failed:
            self.sracl.did(message.words)
            self.sracl.refresh_runs()
            self._read()


def _started(started: dict[str, int]) -> str:
    return f"{formatting.count(len(started), 'worker')} started" if started else "The queue continues"


def _paused(queue: Queue) -> str:
    queue.pause()
    return "Paused: running runs continue, no other starts"


def _facts(found: dict[str, Any]) -> str:
    """One line about the workers, with the next step if nothing can move."""
    workers = ", ".join(f"{slot} (process {pid})" for slot, pid in found["workers"].items())
    open_ = any(entry["entry"] != "done" for entry in found["entries"])
    if found["paused"]:
        return f"■ paused: p continues. {f'Still running: {workers}' if workers else ''}"
    if workers:
        return f"● workers: {workers}"
    return "No workers: p starts them." if open_ else "No workers, and nothing is queued."


def _row(entry: dict[str, Any]) -> Row:
    state = entry["state"] or "queued"
    worker = entry["slot"] or ""
    gone = worker and entry["entry"] == "working" and entry["gone"]
    since = formatting.clock(max(0.0, time.time() - entry["changed_at"])) if entry["changed_at"] else ""
    cells = (
        "" if entry["place"] is None else str(entry["place"]),
        formatting.line(entry["name"]),
        formatting.state(state),
        str(entry["epoch"] or ""),
        formatting.line(entry["dataset"] or ""),
        "" if entry["seed"] is None else str(entry["seed"]),
        f"{worker} (gone)" if gone else formatting.line(entry["process"]) or worker,
        since,
        formatting.line((entry["reason"] or "").splitlines()[0] if entry["reason"] else ""),
        formatting.line(entry["group"] or ""),
    )
    styles = (
        "strong",
        "",
        formatting.STATE_STYLES.get(state, ""),
        "",
        "",
        "",
        "warn" if gone else "",
        "dim",
        "accent",
        "dim",
    )
    return Row(entry["run_id"], cells, styles)
