"""The home screen: every run, newest first, filtered, sorted, folded, kept up to date."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from engine.errors import ConfigError, EngineError
from sracl_tui import formatting
from sracl_tui.services import run_filter, run_list
from sracl_tui.tui.rendering import run_list as run_table
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.widgets.dialogs import ConfirmDialog, PromptDialog
from sracl_tui.tui.widgets.table import Table, TableData
from store.errors import StoreError
from store.queries import runs as stored
from store.run_states import ACTIVE, RESUMABLE

WELCOME = (
    "No runs here yet.\n\nd  makes the synthetic demo set, trains SRA-CL on it (2 minutes) and opens the Inspector\n"
    "4  opens the form for a run with your own settings\n\nOr in a shell:  sracl run"
)


class RunsScreen(BaseScreen):
    """A table of the runs in a home."""

    NAME = "Runs"
    ABOUT = (
        "Filter: state:running tag:office ndcg@20>0.05 alpha=0.1 -preset:paper, or any word of name, data, group, tags, "
        "note. `differs in` names the settings that are not the defaults and not shared by all. With a pinned baseline (=) "
        "the metrics of the others are differences from it. Folded, the seeds of a group are a row: mean ± sd."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "inspect", "Inspect"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("n", "launch", "New"),
        Binding("c", "clone", "Clone"),
        Binding("v", "versus", "Compare"),
        Binding("s", "sort", "Sort"),
        Binding("f", "fold", "Fold seeds", show=False),
        Binding("space", "mark", "Mark", show=False),
        Binding("b", "baseline", "Pin as baseline", show=False),
        Binding("t", "tag", "Tag", show=False),
        Binding("e", "note", "Edit note", show=False),
        Binding("m", "rename", "Rename", show=False),
        Binding("x", "stop", "Stop"),
        Binding("u", "resume", "Resume", show=False),
        Binding("S", "turn", "Turn the sort around", show=False),
        Binding("y", "copy", "Copy run id", show=False),
        Binding("r", "refresh", "Refresh", show=False),
        Binding("d", "demo", "Demo run", show=False),
    ]

    class Laid(Message):
        """The table is ready to be shown."""

        def __init__(self, grid: TableData, lines: dict[str, run_list.RunGroup], trouble: str) -> None:
            self.grid, self.lines, self.trouble = grid, lines, trouble
            super().__init__()

    class Done(Message):
        """An edit or a command ended."""

        def __init__(self, text: str, *, failed: bool = False) -> None:
            self.text, self.failed = text, failed
            super().__init__()

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, run_list.RunGroup] = {}
        self.marked: set[str] = set()
        self._painter, self._painting = run_table.RunTableBuilder(), threading.Lock()

    def body(self) -> ComposeResult:
        """Filter, table, welcome."""
        with Horizontal(id="filter-line"):
            yield Input(
                placeholder="filter, such as state:finished ndcg@20>0.05 -preset:backbone", id="filter", compact=True
            )
            yield Static("", id="filter-trouble", markup=False)
        yield Table(id="runs-table", empty="reading ...")
        yield Static(WELCOME, id="hint", markup=False)

    def on_mount(self) -> None:
        """What the last start left."""
        self.query_one("#filter", Input).value = self.sracl.preferences.filter
        self._show_filter(bool(self.sracl.preferences.filter))
        self.query_one(Table).focus()

    def _show_filter(self, shown: bool) -> None:
        """A field that is not seen must not take what is typed."""
        self.query_one("#filter-line").display = shown
        self.query_one("#filter").disabled = not shown

    @property
    def line(self) -> run_list.RunGroup | None:
        """What the cursor stands on."""
        key = self.query_one(Table).key
        return self.lines.get(key) if isinstance(key, str) else None

    @property
    def run(self) -> dict[str, Any] | None:
        """The run under the cursor; of a folded row the newest."""
        line = self.line
        return line.first if line else None

    def runs_read(self) -> None:
        """Show what the app has read."""
        self._lay()

    @work(thread=True, exclusive=True, exit_on_error=False, group="lay")
    def _lay(self) -> None:
        """Filter, sort and fold in a thread: 10,000 runs take a while."""
        app = self.sracl
        rows, preferences, trouble = app.runs, app.preferences, ""
        try:
            chosen = run_filter.select(rows, run_filter.parse(preferences.filter))
        except ConfigError as error:
            chosen, trouble = rows, error.message
        lines = run_list.group_runs(chosen, folded=preferences.folded)
        lines = run_list.sort_groups(lines, preferences.sort, descending=preferences.descending)
        baseline = self._baseline(rows)
        with self._painting:
            told = self._painter.told(rows)
            grid = self._painter.grid(lines, marked=self.marked, baseline=baseline, told=told)
        self.post_message(self.Laid(grid, {line.key: line for line in lines}, trouble))

    def _baseline(self, rows: list[dict[str, Any]]) -> run_list.RunGroup | None:
        """The line of the pinned run."""
        preferences = self.sracl.preferences
        if not preferences.baseline:
            return None
        every = run_list.group_runs(rows, folded=preferences.folded)
        return next((line for line in every if any(run["run_id"] == preferences.baseline for run in line.runs)), None)

    @on(Laid)
    def _show(self, message: Laid) -> None:
        preferences = self.sracl.preferences
        self.lines = message.lines
        table = self.query_one(Table)
        table.say("No run fits the filter: esc takes it away." if self.sracl.runs_known else "reading ...")
        first = not table.grid.rows
        table.show(message.grid, sorted_by=(preferences.sort, preferences.descending))
        if first and self.sracl.run_id is not None:  # where the last start ended
            table.move_to(self.sracl.run_id)
        trouble = "" if self.sracl.runs_known else self.sracl.facts.trouble
        empty = bool(self.sracl.runs_known or trouble) and not self.sracl.runs
        hint = self.query_one("#hint", Static)
        hint.update(formatting.text(trouble) or WELCOME)
        hint.display, table.display = empty, not empty
        shown = "" if len(message.lines) == len(self.sracl.runs) else f"{len(message.lines)} of {len(self.sracl.runs)}"
        pinned = self.sracl.row_of(preferences.baseline)
        notes = [shown, "seeds folded" if preferences.folded else "", f"baseline {pinned['name']}" if pinned else ""]
        notes.append(f"{len(self.marked)} marked" if self.marked else "")
        self.set_title(", ".join(filter(None, notes)))
        self.query_one("#filter-trouble", Static).update(formatting.line(message.trouble))
        self._remember()
        self.refresh_bindings()

    @on(Table.Highlighted)
    def _remember(self) -> None:
        if self.run is not None:
            self.sracl.run_id = self.run["run_id"]
        self.refresh_bindings()

    def disabled_reason(self, action: str) -> str:
        """Most need a run; stopping a living one, resuming a dead one."""
        needs = ("open", "inspect", "clone", "mark", "baseline", "tag", "note", "rename", "stop", "resume", "copy")
        if action == "versus" and len(self.marked_runs()) < 2:
            return "Mark two to eight runs with space first."
        if action not in needs:
            return ""
        run = self.run
        if run is None:
            return "There is no run under the cursor."
        if action == "stop" and run["state"] not in ACTIVE:
            return f"Run {run['name']} is {run['state']}: only a live run can be stopped."
        if action == "resume" and run["state"] not in RESUMABLE:
            return f"Run {run['name']} is {run['state']}: only one that was stopped or died can be resumed."
        return ""

    @on(Table.Chosen)
    def _chosen(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        """Watch the run, with the curves of the marked ones."""
        if self.run is not None:
            others = tuple(sorted(self.marked - {self.run["run_id"]}))
            self.sracl.open_run(self.run["run_id"], others)

    def action_inspect(self) -> None:
        """Open the Inspector on it."""
        if self.run is not None:
            self.sracl.open_inspector(self.run["run_id"])

    def action_versus(self) -> None:
        """Compare the marked runs."""
        self.sracl.action_go("compare")

    def action_launch(self) -> None:
        """A new run."""
        self.sracl.open_launch(None)

    def action_clone(self) -> None:
        """A new run with the settings of this one."""
        if self.run is not None:
            self.sracl.open_launch(self.run["run_id"])

    def action_filter(self) -> None:
        """Show and focus the filter."""
        self._show_filter(True)
        self.query_one("#filter").focus()

    def narrow(self, text: str) -> None:
        """Filter the list."""
        self.query_one("#filter", Input).value = text
        self._to_table()

    @on(Input.Changed, "#filter")
    def _filter(self, event: Input.Changed) -> None:
        self.sracl.preferences.filter = event.value
        self._lay()

    @on(Input.Submitted, "#filter")
    def _to_table(self) -> None:
        self._show_filter(bool(self.sracl.preferences.filter))
        self.query_one(Table).focus()

    def action_back(self) -> None:
        """Take the filter away, then the marks."""
        field = self.query_one("#filter", Input)
        if field.value or field.has_focus:
            field.value = ""
            self._to_table()
        elif self.marked:
            self.marked.clear()
            self._lay()

    def action_sort(self) -> None:
        """Sort by the next column."""
        keys = [column.key for column in run_table.COLUMNS]
        preferences = self.sracl.preferences
        self._sort(keys[(keys.index(preferences.sort) + 1) % len(keys)] if preferences.sort in keys else "created")

    def action_turn(self) -> None:
        """The other way round."""
        self._sort(self.sracl.preferences.sort)

    @on(Table.HeaderClicked)
    def _header(self, message: Table.HeaderClicked) -> None:
        self._sort(message.key)

    def _sort(self, column: str) -> None:
        preferences = self.sracl.preferences
        again = preferences.sort == column
        preferences.descending = (
            not preferences.descending if again else column in ("hr", "ndcg", "created", "time", "epoch", "usd")
        )
        preferences.sort = column
        self._lay()

    def action_fold(self) -> None:
        """Seeds of a group as one row, or each for itself."""
        self.sracl.preferences.folded = not self.sracl.preferences.folded
        self._lay()

    def action_mark(self) -> None:
        """Mark or unmark, and go on."""
        if self.line is not None:
            self.marked ^= {self.line.key}
            self.query_one(Table).action_move(1)
            self._lay()

    def action_baseline(self) -> None:
        """Pin, or unpin."""
        if self.run is not None:
            preferences = self.sracl.preferences
            preferences.baseline = "" if preferences.baseline == self.run["run_id"] else self.run["run_id"]
            self._lay()

    def action_refresh(self) -> None:
        """Read anew, now."""
        self.sracl.look(now=True)

    def action_copy(self) -> None:
        """The run's id."""
        if self.run is not None:
            self.copy(self.run["run_id"], self.run["run_id"])

    def marked_runs(self) -> list[str]:
        """The marked runs, folded ones each; with the row under the cursor where that makes two."""
        keys = list(self.marked)
        if len(keys) == 1 and self.line is not None and self.line.key not in self.marked:
            keys.append(self.line.key)
        lines = [line for key, line in self.lines.items() if key in keys]
        return [run["run_id"] for line in reversed(lines) for run in line.runs]

    def _chosen_runs(self) -> list[str]:
        """What an edit is for: the marked runs, else the row under the cursor."""
        lines = [self.lines[key] for key in self.marked if key in self.lines] or ([self.line] if self.line else [])
        return [run["run_id"] for line in lines for run in line.runs]

    def action_tag(self) -> None:
        """Add tags, or take them away with a minus."""
        ids = self._chosen_runs()

        def change(answer: str | None) -> None:
            tags = (answer or "").split()
            add = tuple(tag.removeprefix("+") for tag in tags if not tag.startswith("-"))
            remove = tuple(tag[1:] for tag in tags if tag.startswith("-"))
            if tags:
                self._edit(lambda store, run_id: stored.tag(store, run_id, add=add, remove=remove), ids, "tagged")

        names = [run["name"] for run in self.sracl.runs if run["run_id"] in ids]
        told = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        self.app.push_screen(PromptDialog(f"Tags for {told}", hint="words to add; -word takes a tag away"), change)

    def action_note(self) -> None:
        """Edit the note."""
        run = self.run
        assert run is not None

        def change(answer: str | None) -> None:
            if answer is not None and answer != run["note"]:
                self._edit(lambda store, run_id: stored.note(store, run_id, answer), [run["run_id"]], "noted")

        self.app.push_screen(PromptDialog(f"Note of {run['name']}", value=run["note"]), change)

    def action_rename(self) -> None:
        """Give it another name."""
        run = self.run
        assert run is not None

        def change(answer: str | None) -> None:
            if answer and answer.strip() and answer != run["name"]:
                self._edit(
                    lambda store, run_id: stored.rename(store, run_id, answer.strip()), [run["run_id"]], "renamed"
                )

        self.app.push_screen(PromptDialog(f"Name of {run['run_id']}", value=run["name"]), change)

    @work(thread=True, exit_on_error=False, group="edit")
    def _edit(self, change: Callable[[Any, str], Any], ids: list[str], done: str) -> None:
        try:
            for run_id in ids:
                change(self.library.store(), run_id)
        except (StoreError, OSError) as error:
            self.post_message(self.Done(str(error), failed=True))
        else:
            self.post_message(self.Done(f"{len(ids)} runs {done}" if len(ids) > 1 else f"{ids[0]} {done}"))

    def action_stop(self) -> None:
        """Ask, then stop."""
        from sracl_tui.tui.screens.run_controls import STOP_DETAIL

        run = self.run
        assert run is not None

        def answer(yes: bool | None) -> None:
            if yes:
                self._stop(run["run_id"])

        self.app.push_screen(ConfirmDialog(f"Stop run {run['name']}?", detail=STOP_DETAIL, yes="Stop it"), answer)

    @work(thread=True, exit_on_error=False, group="stop")
    def _stop(self, run_id: str) -> None:
        from sracl_tui.tui.screens.run_controls import stop

        try:
            self.post_message(self.Done(stop(self.sracl.home, run_id)))
        except StoreError as error:
            self.post_message(self.Done(str(error), failed=True))

    def action_resume(self) -> None:
        """Go on with it in a process of its own."""
        if self.run is not None:
            self._start(self.run["run_id"])

    @work(thread=True, exit_on_error=False, group="start")
    def _start(self, run_id: str) -> None:
        from sracl_tui.tui.screens.run_controls import resume

        try:
            self.library.expect(run_id)
            self.post_message(self.Done(resume(self.sracl.home, run_id)))
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Done(str(error), failed=True))

    def action_demo(self) -> None:
        """Start the default run on the demo set, watch it, and then look at its users."""
        self._demo()

    @work(thread=True, exit_on_error=False, group="start")
    def _demo(self) -> None:
        from engine.config import Config
        from sracl_tui.runs.execution.local import launch
        from sracl_tui.runs.request import RunRequest, new_run_id

        try:
            request = RunRequest(run_id=new_run_id(), config=Config(), name="demo")
            run_id, _ = launch(self.sracl.home, request)
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Done(str(error), failed=True))
        else:
            self.app.call_from_thread(self.sracl.open_run, run_id, then_inspect=True)

    @on(Done)
    def _say_done(self, message: Done) -> None:
        self.notify(message.text, severity="error" if message.failed else "information", markup=False)
        self.sracl.look()
