"""The home screen: every run, newest first, filtered, sorted, folded, kept up to date."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Static

from engine.errors import ConfigError, EngineError
from sracl_tui import formatting
from sracl_tui.services import run_filter, run_list
from sracl_tui.tui.rendering import run_list as run_table
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.run_panes import RunPanesPage
from sracl_tui.tui.screens.run_removal import RunRemoval
from sracl_tui.tui.widgets.dialogs import ConfirmDialog
from sracl_tui.tui.widgets.field import Field
from sracl_tui.tui.widgets.table import Table, TableData
from store.errors import StoreError
from store.run_row import ListedRun
from store.run_states import ACTIVE, RESUMABLE

OPENS = ("open", "inspect", "charts", "slices", "clone", "stop", "resume", "copy")
EDITS = ("mark", "baseline", "tag", "note", "rename", "remove")
"""Actions that need a run under the cursor."""


class RunsScreen(RunPanesPage, RunRemoval):
    """All runs of a home as a table that can be filtered, sorted and folded."""

    NAME = "Runs"
    ABOUT = (
        "Filter: state:running tag:office ndcg@20>0.05 alpha=0.1 -preset:paper, or any word of name, data, group, tags, "
        "note. Metrics are those at the best epoch by validation, on test where nothing else is named. `differs in` names the settings that are not the defaults and not shared by all. With a pinned baseline (=) "
        "the metrics of the others are differences from it. Folded, the seeds of a group are a row: mean ± sd."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "inspect", "Inspect"),
        Binding("a", "charts", "All charts of the run", show=False),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("n", "launch", "New"),
        Binding("c", "clone", "Clone"),
        Binding("v", "versus", "Compare"),
        Binding("W", "slices", "Whom it helps: slices of users", show=False),
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

    @dataclass
    class LaidOut(Message):
        """The table, filtered, sorted and folded; `trouble` says what is wrong with the filter."""

        data: TableData
        groups: dict[str, run_list.RunGroup]
        trouble: str

    def __init__(self) -> None:
        super().__init__()
        self.groups: dict[str, run_list.RunGroup] = {}
        self.marked: set[str] = set()
        self._builder, self._building = run_table.RunTableBuilder(), threading.Lock()

    def body(self) -> ComposeResult:
        """Filter, table, and a welcome text for an empty home."""
        with Horizontal(id="filter-line"):
            yield Field(
                placeholder="filter, such as state:finished ndcg@20>0.05 -preset:backbone", id="filter", compact=True
            )
            yield Static("", id="filter-trouble", markup=False)
        yield self.pane_row(Table(id="runs-table", empty="reading ..."))
        yield Static(run_table.WELCOME, id="hint", markup=False)

    def on_mount(self) -> None:
        """Restore the filter of the last start."""
        self.query_one("#filter", Field).value = self.sracl.preferences.filter
        self._show_filter(bool(self.sracl.preferences.filter))
        self.query_one(Table).focus()

    def _show_filter(self, shown: bool) -> None:
        """Show or hide the filter; hidden it is disabled, so that it takes no keys."""
        self.query_one("#filter-line").display = shown
        self.query_one("#filter").disabled = not shown

    @property
    def group(self) -> run_list.RunGroup | None:
        """The run or folded seeds under the cursor; none in an empty table."""
        key = self.query_one(Table).key
        return self.groups.get(key) if isinstance(key, str) else None

    @property
    def run(self) -> ListedRun | None:
        """The run under the cursor; of folded seeds the newest."""
        group = self.group
        return group.first if group else None

    def runs_read(self) -> None:
        """Show the new rows."""
        self._lay_out()

    @work(thread=True, exclusive=True, exit_on_error=False, group="lay")
    def _lay_out(self) -> None:
        """Filter, sort and fold in a thread: 10,000 runs take a while."""
        app = self.sracl
        rows, preferences, trouble = app.runs, app.preferences, ""
        try:
            predicates = run_filter.parse(preferences.filter)
        except ConfigError as error:
            predicates, trouble = [], error.message
        chosen = run_filter.select(rows, predicates)
        metrics = run_list.further_metrics(predicates, preferences.sort, preferences.columns)
        self.library.want_metrics(metrics)
        groups = run_list.group_runs(chosen, folded=preferences.folded)
        groups = run_list.sort_groups(groups, preferences.sort, descending=preferences.descending)
        baseline = self._baseline(rows)
        with self._building:
            differences = self._builder.differences(rows)
            data = self._builder.table(
                groups,
                marked=self.marked,
                baseline=baseline,
                differences=differences,
                metrics=metrics,
                chosen=preferences.columns,
            )
        self.post_message(self.LaidOut(data, {group.key: group for group in groups}, trouble))

    def _baseline(self, rows: list[ListedRun]) -> run_list.RunGroup | None:
        """The group with the pinned run; none if no run is pinned."""
        preferences = self.sracl.preferences
        if not preferences.baseline:
            return None
        every = run_list.group_runs(rows, folded=preferences.folded)
        return next(
            (group for group in every if any(run["run_id"] == preferences.baseline for run in group.runs)), None
        )

    @on(LaidOut)
    def _show(self, message: LaidOut) -> None:
        preferences = self.sracl.preferences
        self.groups = message.groups
        table = self.query_one(Table)
        table.set_empty_text("No run fits the filter: esc takes it away." if self.sracl.runs_known else "reading ...")
        first = not table.data.rows
        table.show(message.data, sorted_by=(preferences.sort, preferences.descending))
        if first and self.sracl.run_id is not None:  # where the last start ended
            table.move_to(self.sracl.run_id)
        trouble = "" if self.sracl.runs_known else self.sracl.status.trouble
        empty = bool(self.sracl.runs_known or trouble) and not self.sracl.runs
        hint = self.query_one("#hint", Static)
        if empty:
            hint.update(formatting.text(trouble) or run_table.WELCOME)
        hint.display, self.query_one("#panes").display = empty, not empty
        hidden = (
            preferences.filter.strip()
            and f"{len(message.groups)} of {len(self.sracl.runs)} fit the filter, esc removes it"
        )
        shown = hidden or (
            "" if len(message.groups) == len(self.sracl.runs) else formatting.count(len(message.groups), "row")
        )
        pinned = self.sracl.row_of(preferences.baseline)
        notes = [shown, "seeds folded" if preferences.folded else "", f"baseline {pinned['name']}" if pinned else ""]
        notes.append(f"{len(self.marked)} marked" if self.marked else "")
        self.set_title(", ".join(filter(None, notes)))
        filter_trouble, said = self.query_one("#filter-trouble", Static), formatting.line(message.trouble)
        if said != filter_trouble.content:  # an update lays the whole screen out
            filter_trouble.update(said)
        self._remember()

    @on(Table.Highlighted)
    def _remember(self) -> None:
        if self.run is not None:
            self.sracl.run_id = self.run["run_id"]
        self.show_beside()
        self.refresh_bindings()

    @property
    def differences(self) -> dict[str, str]:
        """What differs in each config of the list."""
        return self._builder.found_differences

    def curve_runs(self) -> list[ListedRun]:
        """The marked runs, else the one under the cursor."""
        marked = [run for key in self.groups if key in self.marked for run in self.groups[key].runs]
        return marked or ([self.run] if self.run is not None else [])

    def disabled_reason(self, action: str) -> str:
        """Most actions need a run; stopping a live one, resuming an ended one."""
        if action in ("size", "metric", "loss", "zoom", "pan", "whole", "smooth", "log_scale"):
            return self.panes_reason()
        if action == "versus" and len(self.marked_runs()) < 2:
            return "Mark two to eight runs with space first."
        if action not in OPENS + EDITS:
            return ""
        run = self.run
        if run is None:
            return "There is no run under the cursor."
        if action == "remove":
            return self.removal_reason()
        if action == "stop" and run["state"] not in ACTIVE:
            return f"Run {run['name']} is {run['state']}: only a live run can be stopped."
        if action == "resume" and run["state"] not in RESUMABLE:
            return f"Run {run['name']} is {run['state']}: only one that was stopped or died can be resumed."
        return ""

    @on(Table.Chosen)
    def action_open(self) -> None:
        """Follow the run, with the curves of marked runs."""
        if self.run is not None:
            others = tuple(sorted(self.marked - {self.run["run_id"]}))
            self.sracl.open_run(self.run["run_id"], others)

    def action_inspect(self) -> None:
        """Open the Inspector on the run."""
        if self.run is not None:
            self.sracl.open_inspector(self.run["run_id"])

    def action_charts(self) -> None:
        """Show every metric of the run."""
        if self.run is not None:
            self.sracl.open_charts(self.run["run_id"])

    def action_versus(self) -> None:
        """Compare the marked runs."""
        self.sracl.action_go("compare")

    def action_slices(self) -> None:
        """Show whom the marked runs help, or the run under the cursor against its baseline."""
        self.sracl.action_go("slices")

    def action_launch(self) -> None:
        """Open the launch form."""
        self.sracl.open_launch(None)

    def action_clone(self) -> None:
        """Open the launch form with the settings of this run."""
        if self.run is not None:
            self.sracl.open_launch(self.run["run_id"])

    def action_filter(self) -> None:
        """Show the filter and move the focus there."""
        self._show_filter(True)
        self.query_one("#filter").focus()

    def narrow(self, text: str) -> None:
        """Filter the list."""
        self.query_one("#filter", Field).value = text
        self._to_table()

    @on(Field.Changed, "#filter")
    def _filter(self, event: Field.Changed) -> None:
        self.sracl.preferences.filter = event.value
        self._lay_out()

    @on(Field.Submitted, "#filter")
    def _filtered(self) -> None:
        if self.sracl.preferences.filter.strip():
            self.sracl.did(("runs", "--filter", self.sracl.preferences.filter.strip()))
        self._to_table()

    def _to_table(self) -> None:
        self._show_filter(bool(self.sracl.preferences.filter))
        self.query_one(Table).focus()

    def action_back(self) -> None:
        """Clear the filter or, without one, the marks."""
        field = self.query_one("#filter", Field)
        if field.value or field.has_focus:
            field.value = ""
            self._to_table()
        elif self.marked:
            self.marked.clear()
            self._lay_out()

    def action_sort(self) -> None:
        """Sort by the next column."""
        keys = [column.key for column in self.query_one(Table).data.columns] or ["created"]
        preferences = self.sracl.preferences
        self._sort(keys[(keys.index(preferences.sort) + 1) % len(keys)] if preferences.sort in keys else "created")

    def action_turn(self) -> None:
        """Reverse the sort order."""
        self._sort(self.sracl.preferences.sort)

    @on(Table.HeaderClicked)
    def _header(self, message: Table.HeaderClicked) -> None:
        self._sort(message.key)

    def _sort(self, column: str) -> None:
        preferences = self.sracl.preferences
        preferences.descending = run_list.falls(column) if preferences.sort != column else not preferences.descending
        preferences.sort = column
        self._lay_out()

    def action_fold(self) -> None:
        """Show the seeds of a config as one row, or each as its own."""
        self.sracl.preferences.folded = not self.sracl.preferences.folded
        self._lay_out()

    def action_mark(self) -> None:
        """Mark or unmark the row, and move to the next."""
        if self.group is not None:
            self.marked ^= {self.group.key}
            self.query_one(Table).action_move(1)
            self._lay_out()

    def columns_chosen(self) -> None:
        """Show the list with other columns."""
        self._lay_out()

    def action_baseline(self) -> None:
        """Pin the run as baseline, or unpin it."""
        if self.run is not None:
            preferences = self.sracl.preferences
            preferences.baseline = "" if preferences.baseline == self.run["run_id"] else self.run["run_id"]
            self._lay_out()

    def action_refresh(self) -> None:
        """Read the runs now."""
        self.sracl.refresh_runs(now=True)

    def action_copy(self) -> None:
        """Copy the run ID."""
        if self.run is not None:
            self.copy(self.run["run_id"], self.run["run_id"])

    def marked_runs(self) -> list[str]:
        """IDs of the marked runs, of folded seeds each; with the row under the cursor if only one is marked."""
        keys = list(self.marked)
        if len(keys) == 1 and self.group is not None and self.group.key not in self.marked:
            keys.append(self.group.key)
        groups = [group for key, group in self.groups.items() if key in keys]
        return [run["run_id"] for group in reversed(groups) for run in group.runs]

    def chosen_runs(self) -> list[ListedRun]:
        """Runs that tags are for: the marked ones, else those under the cursor."""
        groups = [self.groups[key] for key in self.marked if key in self.groups] or ([self.group] if self.group else [])
        return [run for group in groups for run in group.runs]

    def clear_marks(self) -> None:
        """Unmark all runs."""
        self.marked.clear()

    def action_stop(self) -> None:
        """Stop the run after a confirmation."""
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
            self.post_message(self.Done(stop(self.sracl.home, run_id), words=("stop", run_id)))
        except StoreError as error:
            self.post_message(self.Done(error_text(error), failed=True))

    def action_resume(self) -> None:
        """Resume the run in a process of its own."""
        if self.run is not None:
            self._start(self.run["run_id"])

    @work(thread=True, exit_on_error=False, group="start")
    def _start(self, run_id: str) -> None:
        from sracl_tui.tui.screens.run_controls import resume

        try:
            self.library.expect(run_id)
            self.post_message(self.Done(resume(self.sracl.home, run_id), words=("run", "--resume", run_id)))
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Done(error_text(error), failed=True))

    def action_demo(self) -> None:
        """Start the default run on the demo data, follow it, and then open the Inspector."""
        self._demo()

    @work(thread=True, exit_on_error=False, group="start")
    def _demo(self) -> None:
        from engine.config import Config
        from sracl_tui.runs.execution.launch import launch
        from sracl_tui.runs.request import RunRequest, new_run_id

        try:
            request = RunRequest(run_id=new_run_id(), config=Config(), name="demo")
            run_id = launch(self.sracl.home, request).run_id
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Done(error_text(error), failed=True))
        else:
            self.app.call_from_thread(self.sracl.open_run, run_id, then_inspect=True)
            self.app.call_from_thread(self.sracl.did, ("run", "--name", "demo"))
