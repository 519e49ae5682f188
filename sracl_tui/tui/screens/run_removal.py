"""Removing runs from the list, and the trash: what goes is said first, and can be brought back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from sracl_tui import formatting
from sracl_tui.services import removal
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.run_edits import RunEditsPage
from sracl_tui.tui.widgets.dialogs import ConfirmDialog
from sracl_tui.tui.widgets.table import Column, Row, Table, lay_out
from store.errors import StoreError
from store.maintenance import trash
from store.queries.removed import RemovedRun, in_trash
from store.queries.runs import select_runs
from store.run_states import OPEN

_COLUMNS = (
    Column("name", "run", flex=True, least=16, most=40),
    Column("size", "size", right=True),
    Column("state", "state"),
    Column("removed", "removed (UTC)"),
    Column("data", "data", most=18),
    Column("group", "group", most=20),
)
EMPTY_DETAIL = (
    "Settings, metrics, ranks and checkpoints of these runs are deleted and cannot be brought back. Summaries, vectors and neighbor "
    "lists that others use stay, and so do the costs."
)


@dataclass(frozen=True)
class TrashedRun:
    """A run in the trash as the dialog shows it."""

    row: RemovedRun
    bytes: int


class TrashAnswer(NamedTuple):
    """What to do with runs of the trash."""

    action: Literal["restore", "empty"]
    rows: list[RemovedRun]


class TrashDialog(DeferredPaintMixin, NamedBindings, ModalScreen[TrashAnswer | None]):
    """The runs in the trash: one or all are restored, or all are deleted for good."""

    SECTION = "trash"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Close"),
        Binding("a", "restore_all", "Restore all"),
        Binding("E", "empty", "Empty the trash"),
    ]

    def __init__(self, runs: Sequence[TrashedRun]) -> None:
        super().__init__()
        self._runs = list(runs)

    def compose(self) -> ComposeResult:
        """Title, table, what the keys do, buttons."""
        total = formatting.bytes_text(sum(run.bytes for run in self._runs))
        with Vertical(classes="dialog tall"):
            yield Static(
                f"Trash: {removal.counted(len(self._runs), 'run')}, {total}", classes="dialog-title", markup=False
            )
            yield Table(empty="The trash is empty.")
            with Horizontal(classes="buttons"):
                yield Button("Restore (enter)", id="restore")
                yield Button("Restore all (a)", id="restore-all")
                yield Button("Empty (E)", id="empty", variant="error")

    def on_mount(self) -> None:
        """List the runs, those removed last first."""
        table = self.query_one(Table)
        table.show(lay_out(_COLUMNS, [_row(place, run) for place, run in enumerate(self._runs)]))
        table.focus()

    @on(Table.Chosen)
    @on(Button.Pressed, "#restore")
    def _restore(self) -> None:
        key = self.query_one(Table).key
        if isinstance(key, int):
            self.dismiss(TrashAnswer("restore", [self._runs[key].row]))

    @on(Button.Pressed, "#restore-all")
    def action_restore_all(self) -> None:
        """Restore all runs."""
        self._answer("restore")

    @on(Button.Pressed, "#empty")
    def action_empty(self) -> None:
        """Delete all runs in the trash for good, after a confirmation."""
        self._answer("empty")

    def _answer(self, action: Literal["restore", "empty"]) -> None:
        self.dismiss(TrashAnswer(action, [run.row for run in self._runs]) if self._runs else None)

    def action_leave(self) -> None:
        """Close and change nothing."""
        self.dismiss(None)


def _row(place: int, run: TrashedRun) -> Row:
    row = run.row
    cells = (
        formatting.line(row["name"] or row["run_id"]),
        formatting.bytes_text(run.bytes),
        formatting.state(row["state"] or ""),
        f"{row['removed_at']:%m-%d %H:%M}",
        formatting.line(row["dataset_name"] or ""),
        formatting.line(row["group_name"] or ""),
    )
    return Row(place, cells, ("strong", "", formatting.STATE_STYLES.get(row["state"] or "", ""), "dim", "", "accent"))


class RunRemoval(RunEditsPage):
    """The part of a list of runs that removes them, restores them, and empties the trash."""

    SECTION = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("D,delete", "remove", "Remove", show=False),
        Binding("U", "trash", "Trash: restore removed runs", show=False),
    ]

    @dataclass
    class Planned(Message):
        """What a removal would take away."""

        plan: trash.RemovalPlan

    @dataclass
    class Removed(Message):
        """Runs were moved into the trash."""

        edit: removal.RemovalEdit

    @dataclass
    class Acted(Message):
        """Runs of the trash were restored or deleted, as the words of a command do it."""

        text: str
        words: tuple[str, ...]

    @dataclass
    class TrashRead(Message):
        """The runs in the trash."""

        runs: list[TrashedRun]

    def clear_marks(self) -> None:
        """Unmark all runs."""

    def removal_reason(self) -> str:
        """Why the chosen runs cannot be removed now; empty if they can."""
        open_ = next((row for row in self.chosen_runs() if row["state"] in OPEN), None)
        return f"Run {open_['name']} is {open_['state']}: stop it first (x)." if open_ is not None else ""

    def action_remove(self) -> None:
        """Move the marked runs, or those under the cursor, into the trash after a confirmation."""
        self._plan([run["run_id"] for run in self.chosen_runs()])

    @work(thread=True, exit_on_error=False, group="remove")
    def _plan(self, ids: list[str]) -> None:
        try:
            store = self.library.store()
            self.post_message(self.Planned(trash.plan_removal(store, select_runs(store, ids))))
        except (StoreError, OSError) as error:
            self.post_message(self.Done(error_text(error), failed=True))

    @on(Planned)
    def _ask(self, message: Planned) -> None:
        plan = message.plan
        question = f"Remove {removal.headline(plan)}?"

        def answer(yes: bool | None) -> None:
            if yes:
                self.clear_marks()
                self._remove(plan)

        detail = removal_detail(plan, most=4 if self.app.size.height < 30 else 10)
        self.app.push_screen(ConfirmDialog(question, detail=detail, yes="Remove"), answer)

    def _remove(self, plan: trash.RemovalPlan) -> None:
        edit = removal.RemovalEdit(tuple(row["run_id"] for row in plan.runs))
        try:
            edit.apply(self.library.store())
        except (StoreError, OSError) as error:
            self.post_message(self.Done(error_text(error), failed=True))
        else:
            self.post_message(self.Removed(edit))

    @on(Removed)
    def _show_removal(self, message: Removed) -> None:
        count = removal.counted(len(message.edit.run_ids), "run")
        self.sracl.edits.add(f"removal of {count}", [message.edit])
        self.sracl.did(message.edit.words())
        self.notify(f"{count} removed; ctrl+z or U brings back", markup=False)
        self.sracl.refresh_runs()

    def action_trash(self) -> None:
        """Show the removed runs, to bring them back."""
        self._read_trash()

    @work(thread=True, exit_on_error=False, group="trash")
    def _read_trash(self) -> None:
        try:
            store = self.library.store()
            runs = [TrashedRun(row, removal.trash_bytes(store, row)) for row in in_trash(store)]
        except (StoreError, OSError) as error:
            self.post_message(self.Done(error_text(error), failed=True))
        else:
            self.post_message(self.TrashRead(runs))

    @on(TrashRead)
    def _show_trash(self, message: TrashRead) -> None:
        def confirmed(yes: bool | None, rows: list[RemovedRun]) -> None:
            if yes:
                self._act(TrashAnswer("empty", rows))

        def answer(given: TrashAnswer | None) -> None:
            if given is None:
                return
            if given.action == "restore":
                self._act(given)
                return
            question = f"Delete {removal.counted(len(given.rows), 'run')} for good?"
            dialog = ConfirmDialog(question, detail=EMPTY_DETAIL, yes="Delete")
            self.app.push_screen(dialog, lambda yes: confirmed(yes, given.rows))

        self.app.push_screen(TrashDialog(message.runs), answer)

    @work(thread=True, exit_on_error=False, group="trash")
    def _act(self, given: TrashAnswer) -> None:
        ids = [row["run_id"] for row in given.rows]
        try:
            store = self.library.store()
            if given.action == "restore":
                trash.restore(store, given.rows)
                words, text = ("restore", *ids), f"{removal.counted(len(ids), 'run')} restored"
            else:
                text = removal.emptied_text(trash.empty(store, given.rows))
                words = ("remove", "--empty", *ids, "--yes")
        except (StoreError, OSError) as error:
            self.post_message(self.Done(error_text(error), failed=True))
        else:
            self.post_message(self.Acted(text, words))

    @on(Acted)
    def _show_act(self, message: Acted) -> None:
        self.sracl.did(message.words)
        self.notify(message.text, markup=False)
        self.sracl.refresh_runs()


def removal_detail(plan: trash.RemovalPlan, *, most: int) -> str:
    """What a removal takes away and what stays, as the text of a dialog. Args: most: runs that are listed at most."""
    names = [formatting.line(row["name"]) for row in plan.runs[:most]]
    wide = min(max(map(formatting.width, names), default=0), 32)
    lines = [
        f"{formatting.fit(name, wide)}  {formatting.fit(formatting.state(row['state']), 12)}"
        f"{formatting.bytes_text(plan.bytes[row['run_id']]):>8}"
        for name, row in zip(names, plan.runs, strict=False)
    ]
    lines += [f"and {len(plan.runs) - most:,} more"] * (len(plan.runs) > most)
    return "\n".join([*lines, "", *removal.consequences(plan), "They go to the trash: ctrl+z or U brings them back."])
