"""Whom a run helps: its difference from a baseline in slices of the users, on the way to the users themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from engine.errors import EngineError
from engine.metric_registry import by_cutoff, title
from sracl_tui import formatting
from sracl_tui.services.command_log import command_line
from sracl_tui.tui.navigation import Navigation, Unavailable
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.choose_second_run import choose_second
from sracl_tui.tui.widgets.table import Table
from store.errors import StoreError

if TYPE_CHECKING:
    from sracl_tui.services.slices import SliceReport

ALONE = "This run has no baseline yet: o chooses a run of the same data, b on Runs pins one for all."


class SlicesScreen(BaseScreen):
    """A run against its baseline in slices of the users."""

    NAME = "Slices"
    ABOUT = (
        "Whom does it help? The difference B - A of a metric in slices of the users, each with a 95 % interval, paired by user; "
        "in the plot | is no difference. ▲ and ▼ mark slices that differ after Holm's correction for their number; the intervals "
        "are not corrected. * has fewer than 30 users. enter lists the users of a slice (Everyone)."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "metric", "Metric"),
        Binding("t", "split", "Validation or test"),
        Binding("o", "other_baseline", "Baseline"),
        Binding("y", "copy", "Copy"),
    ]

    @dataclass
    class Sliced(Message):
        """The differences, and what they were asked for."""

        asked: tuple[tuple[str, ...], str | None, str]
        found: SliceReport

    @dataclass
    class Failed(Message):
        """There are no differences, and why."""

        asked: tuple[tuple[str, ...], str | None, str]
        reason: str

    @classmethod
    def opening(cls, app: Navigation) -> BaseScreen:
        """On the marked runs, else on the run that was viewed last."""
        from sracl_tui.services.slices import sides_of

        rows = [row for run_id in app.marked_runs() if (row := app.row_of(run_id)) is not None]
        if len(rows) < 2:
            return cls([app.current_run()])
        sides = sides_of(rows, app.preferences.baseline)
        if sides is None:
            raise Unavailable("The marked runs differ in their seeds alone: mark runs of two configurations.")
        return cls(*sides)

    def __init__(self, run_ids: Sequence[str], baseline_ids: Sequence[str] = (), *, split: str = "test") -> None:
        super().__init__()
        self.run_ids, self.baseline_ids = tuple(run_ids), tuple(baseline_ids)
        self.found: SliceReport | None = None
        self.split = split
        self._metric: str | None = None

    def body(self) -> ComposeResult:
        """The two sides, the slices, and the one under the cursor in words."""
        yield Static("", id="slices-facts", markup=False)
        yield Table(id="slices-table", empty="slicing ...")
        yield Static("", id="slices-told", markup=False)

    def on_mount(self) -> None:
        """Look for a baseline where none was named, and slice."""
        self.show_status(self.sracl.status)
        self.query_one(Table).focus()
        self._slice()

    def runs_read(self) -> None:
        """Look again for a baseline where there was none."""
        if not self.baseline_ids:
            self._slice()

    def _slice(self) -> None:
        from sracl_tui.services.slices import baseline_of

        run = self.sracl.row_of(self.run_ids[0])
        if not self.baseline_ids and run is not None:
            base = baseline_of(self.sracl.runs, run, self.sracl.preferences.baseline)
            self.baseline_ids = () if base is None else (base,)
        if self.baseline_ids:
            self._read(self._asked)
        elif self.sracl.runs_known:
            self.query_one(Table).set_empty_text(ALONE)
        self.refresh_bindings()

    @property
    def _asked(self) -> tuple[tuple[str, ...], str | None, str]:
        return self.baseline_ids, self._metric, self.split

    @work(thread=True, exclusive=True, exit_on_error=False, group="slice")
    def _read(self, asked: tuple[tuple[str, ...], str | None, str]) -> None:
        from sracl_tui.services.slices import slice_users

        baseline_ids, metric, split = asked
        try:
            found = slice_users(self.library.store(), self.run_ids, baseline_ids, metric=metric, split=split)
        except (StoreError, EngineError) as error:
            self.post_message(self.Failed(asked, error_text(error)))
        else:
            self.post_message(self.Sliced(asked, found))

    @on(Failed)
    def _show_failure(self, message: Failed) -> None:
        if message.asked != self._asked:
            return
        self.found = None
        table = self.query_one(Table)
        table.show(type(table.data)())
        table.set_empty_text("")
        self.query_one("#slices-facts", Static).update(formatting.text(message.reason))
        self.query_one("#slices-told", Static).update("")
        self.refresh_bindings()

    @on(Sliced)
    def _show(self, message: Sliced) -> None:
        if message.asked != self._asked:
            return
        found = self.found = message.found
        self.sracl.did(self.command_words(found))
        users = f"{found.everyone.users:,} users of {found.dataset}"
        self.set_title(f"Whom does it help? {title(found.metric)}, {formatting.SPLITS[found.split]}, {users}")
        self._lay_out()
        self.refresh_bindings()

    def _lay_out(self) -> None:
        from sracl_tui.tui.rendering.slices import sides_text, slice_table

        if self.found is None:
            return
        self.query_one("#slices-facts", Static).update(sides_text(self.found))
        table = self.query_one(Table)
        table.show(slice_table(self.found, table.size.width))
        self._tell()

    def on_resize(self) -> None:
        """More columns where there is room."""
        if self.found is not None:
            self.after_refresh(self._lay_out)

    @on(Table.Highlighted)
    def _tell(self) -> None:
        from sracl_tui.tui.rendering.slices import details

        if self.found is not None:
            text = details(self.found, self.query_one(Table).key)
            self.query_one("#slices-told", Static).update(formatting.text(text))

    @on(Table.Chosen)
    def _open_users(self, message: Table.Chosen) -> None:
        from sracl_tui.services.population import UserSelection
        from sracl_tui.tui.rendering.slices import chosen_slice

        chosen = None if self.found is None else chosen_slice(self.found, message.key)
        if chosen is not None:
            label, one = chosen
            only = UserSelection(label, one.user_ids) if label else None
            self.sracl.open_everyone(self.run_ids[0], only=only)

    def disabled_reason(self, action: str) -> str:
        """All but choosing a baseline and the split needs differences."""
        if action in ("metric", "copy") and self.found is None:
            return "Nothing is compared."
        if action == "split" and not self.baseline_ids:
            return "Nothing is compared: o chooses a baseline."
        if action == "other_baseline" and self.sracl.row_of(self.run_ids[0]) is None:
            return "The run is not in the list of runs."
        return ""

    def action_metric(self) -> None:
        """Show the next metric."""
        assert self.found is not None
        names = by_cutoff(self.found.metrics)
        self._metric = names[(names.index(self.found.metric) + 1) % len(names)]
        self._slice()

    def action_split(self) -> None:
        """Switch between validation and test ranks."""
        self.split = "test" if self.split == "valid" else "valid"
        self._slice()

    def action_other_baseline(self) -> None:
        """Choose another run as the baseline."""
        run = self.sracl.row_of(self.run_ids[0])
        assert run is not None
        choose_second(self, run, None, f"What to compare {formatting.line(run['name'])} with", self._set_baseline)

    def _set_baseline(self, run_id: str | None) -> None:
        if run_id is not None:
            self.baseline_ids = (run_id,)
            self._slice()

    def action_copy(self) -> None:
        """Copy the command that prints the same slices."""
        assert self.found is not None
        self.copy(command_line(self.command_words(self.found)), "The command")

    def command_words(self, found: SliceReport) -> list[str]:
        """The command, by its words after `sracl`."""
        sides = (",".join(found.b_runs), ",".join(found.a_runs))
        return ["slices", *sides, "--metric", found.metric, "--split", found.split]
