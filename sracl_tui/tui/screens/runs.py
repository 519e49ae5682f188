"""The home screen: every run, newest first, filtered, sorted, folded, kept up to date."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
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
from store.run_row import ListedRun
from store.run_states import ACTIVE, RESUMABLE


class RunsScreen(BaseScreen):
    """All runs of a home as a table that can be filtered, sorted and folded."""

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

    @dataclass
    class LaidOut(Message):
        """The table, filtered, sorted and folded; `trouble` says what is wrong with the filter."""

        data: TableData
        groups: dict[str, run_list.RunGroup]
        trouble: str

    @dataclass
    class Done(Message):
        """An edit or a command ended, or failed."""

        text: str
        failed: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.groups: dict[str, run_list.RunGroup] = {}
        self.marked: set[str] = set()
        self._builder, self._building = run_table.RunTableBuilder(), threading.Lock()

    def body(self) -> ComposeResult:
        """Filter, table, and a welcome text for an empty home."""
        with Horizontal(id="filter-line"):
            yield Input(
                placeholder="filter, such as state:finished ndcg@20>0.05 -preset:backbone", id="filter", compact=True
            )
            yield Static("", id="filter-trouble", markup=False)
        yield Table(id="runs-table", empty="reading ...")
        yield Static(run_table.WELCOME, id="hint", markup=False)

    def on_mount(self) -> None:
        """Restore the filter of the last start."""
        self.query_one("#filter", Input).value = self.sracl.preferences.filter
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
        chosen, metrics = run_filter.select(rows, predicates), run_list.further_metrics(predicates, preferences.sort)
        self.library.want_metrics(metrics)
        groups = run_list.group_runs(chosen, folded=preferences.folded)
        groups = run_list.sort_groups(groups, preferences.sort, descending=preferences.descending)
        baseline = self._baseline(rows)
        with self._building:
            differences = self._builder.differences(rows)
            data = self._builder.table(
                groups, marked=self.marked, baseline=baseline, differences=differences, metrics=metrics
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
        hint.update(formatting.text(trouble) or run_table.WELCOME)
        hint.display, table.display = empty, not empty
        shown = (
            "" if len(message.groups) == len(self.sracl.runs) else f"{len(message.groups)} of {len(self.sracl.runs)}"
        )
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
        """Most actions need a run; stopping a live one, resuming an ended one."""
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
    def action_open(self) -> None:
        """Follow the run, with the curves of marked runs."""
        if self.run is not None:
            others = tuple(sorted(self.marked - {self.run["run_id"]}))
            self.sracl.open_run(self.run["run_id"], others)

    def action_inspect(self) -> None:
        """Open the Inspector on the run."""
        if self.run is not None:
            self.sracl.open_inspector(self.run["run_id"])

    def action_versus(self) -> None:
        """Compare the marked runs."""
        self.sracl.action_go("compare")

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
        self.query_one("#filter", Input).value = text
        self._to_table()

    @on(Input.Changed, "#filter")
    def _filter(self, event: Input.Changed) -> None:
        self.sracl.preferences.filter = event.value
        self._lay_out()

    @on(Input.Submitted, "#filter")
    def _to_table(self) -> None:
        self._show_filter(bool(self.sracl.preferences.filter))
        self.query_one(Table).focus()

    def action_back(self) -> None:
        """Clear the filter or, without one, the marks."""
        field = self.query_one("#filter", Input)
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

    def _chosen_runs(self) -> list[str]:
        """Runs that an edit applies to: the marked ones, else those under the cursor."""
        groups = [self.groups[key] for key in self.marked if key in self.groups] or ([self.group] if self.group else [])
        return [run["run_id"] for group in groups for run in group.runs]

    def action_tag(self) -> None:
        """Ask for tags to add, or with a minus to remove."""
        ids = self._chosen_runs()

        def change(answer: str | None) -> None:
            tags = (answer or "").split()
            add = tuple(tag.removeprefix("+") for tag in tags if not tag.startswith("-"))
            remove = tuple(tag[1:] for tag in tags if tag.startswith("-"))
            if tags:
                self._edit(lambda store, run_id: stored.tag(store, run_id, add=add, remove=remove), ids, "tagged")

        names = [run["name"] for run in self.sracl.runs if run["run_id"] in ids]
        text = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        self.app.push_screen(PromptDialog(f"Tags for {text}", hint="words to add; -word takes a tag away"), change)

    def action_note(self) -> None:
        """Edit the note of the run."""
        run = self.run
        assert run is not None

        def change(answer: str | None) -> None:
            if answer is not None and answer != run["note"]:
                self._edit(lambda store, run_id: stored.note(store, run_id, answer), [run["run_id"]], "noted")

        self.app.push_screen(PromptDialog(f"Note of {run['name']}", value=run["note"]), change)

    def action_rename(self) -> None:
        """Rename the run."""
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
            self.post_message(self.Done(stop(self.sracl.home, run_id)))
        except StoreError as error:
            self.post_message(self.Done(str(error), failed=True))

    def action_resume(self) -> None:
        """Resume the run in a process of its own."""
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
            self.post_message(self.Done(str(error), failed=True))
        else:
            self.app.call_from_thread(self.sracl.open_run, run_id, then_inspect=True)

    @on(Done)
    def _show_outcome(self, message: Done) -> None:
        self.notify(message.text, severity="error" if message.failed else "information", markup=False)
        self.sracl.refresh_runs()
