"""Two to eight runs or seed sets: settings that differ, metrics with paired tests, curves, and who won or lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static, TabbedContent, TabPane

from engine.errors import EngineError
from engine.metric_registry import by_cutoff, title, training_names
from sracl_tui import formatting
from sracl_tui.runs.run_state import smooth
from sracl_tui.services.command_log import command_line
from sracl_tui.services.comparison_table import (
    RESOURCES_NOTE,
    metric_rows,
    resource_rows,
)
from sracl_tui.tui.navigation import Navigation, Unavailable
from sracl_tui.tui.rendering.comparison import change_text, sets_table, settings_table, tests_table, users_table
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.plot_page import PlottedPage
from sracl_tui.tui.widgets.curves import Curve, Curves
from sracl_tui.tui.widgets.table import Table, TableData
from store.errors import StoreError
from store.queries import runs

if TYPE_CHECKING:
    from sracl_tui.services.comparison import Comparison, SeedSet

TABS = {"figures": "#tests-table", "curves": "ContentTabs", "users": "#users-table", "costs": "#costs-table"}
DEFAULT_CURVE = "mrr@10"
ORDERS = {"change": "biggest change first", "won": "biggest winners first", "lost": "biggest losers first"}


class CompareScreen(PlottedPage):
    """Metrics of two to eight seed sets with paired tests, their curves, and the users who gain or lose."""

    NAME = "Compare"
    ABOUT = (
        "Runs that differ in the seed alone are one set: mean ± standard deviation. Tests are paired by user and corrected for "
        "their number (Holm). Validation ranks are for choosing; t shows the test ranks, to be read once, at the end. Under "
        "Users, every user's target rank in A (the baseline) and in B: enter opens the Inspector on both."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "split", "Validation or test"),
        Binding("v", "metric", "Metric"),
        Binding("s", "order", "Order"),
        Binding("p", "pair", "Next B"),
        Binding("b", "baseline", "Next baseline"),
        Binding("W", "slices", "Whom it helps"),
        Binding("F", "force", "Compare anyway", show=False),
        Binding("y", "copy", "Copy"),
        Binding("tab", "tab(1)", "Next tab", show=False, priority=True),
        Binding("shift+tab", "tab(-1)", "Previous tab", show=False, priority=True),
    ]

    @dataclass
    class Compared(Message):
        """A comparison, and validation curves by run."""

        found: Comparison
        curves: dict[str, list[dict[str, Any]]]

    @dataclass
    class Changes(Message):
        """Rank changes of the users as a table, with a summary."""

        data: TableData
        summary: str

    @dataclass
    class Failed(Message):
        """The comparison was refused, and why."""

        reason: str

    def __init__(self, run_ids: Sequence[str], *, split: str = "valid") -> None:
        super().__init__()
        self.run_ids = tuple(run_ids)
        self.found: Comparison | None = None
        self._curves: dict[str, list[dict[str, Any]]] = {}
        self.split, self._order = split, "change"
        self._base, self._other = 0, 1
        self._forced = False

    @classmethod
    def opening(cls, app: Navigation) -> BaseScreen:
        """On the runs that are marked in the list."""
        ids = app.marked_runs()
        if len(ids) < 2:
            raise Unavailable("Mark two to eight runs in the list with space, then compare them.")
        return cls(ids)

    def body(self) -> ComposeResult:
        """Compared sets above; metrics, curves and users as tabs."""
        yield Static("comparing ...", id="facts", markup=False)
        with TabbedContent(id="compare-tabs"):
            with TabPane("Figures", id="figures"):
                yield Static("Settings that differ", classes="heading")
                yield Table(id="settings-table", empty="comparing ...")
                yield Static("Metrics", id="metrics-heading", classes="heading")
                yield Table(id="metrics-table")
                yield Static("Paired tests against the baseline", classes="heading")
                yield Table(id="tests-table", empty="comparing ...")
                yield Static("", id="notes", markup=False)
            with TabPane("Curves", id="curves"):
                yield Curves(id="overlaid")
            with TabPane("Users", id="users"):
                yield Table(id="users-table", empty="reading ...")
            with TabPane("Costs", id="costs"):
                yield Static("What the runs took, mean ± standard deviation over seeds", classes="heading")
                yield Table(id="costs-table", empty="nothing is known: these runs were imported")
                yield Static(RESOURCES_NOTE, id="costs-note", markup=False)

    def on_mount(self) -> None:
        """Restore the order, and compare."""
        self.show_status(self.sracl.status)
        preferences = self.sracl.preferences
        self._order = preferences.compare_order if preferences.compare_order in ORDERS else "change"
        self._compare()
        self._focus_tab()

    @work(thread=True, exclusive=True, exit_on_error=False, group="compare")
    def _compare(self) -> None:
        from sracl_tui.services.comparison import compare_runs

        try:
            store = self.library.store()
            baseline = self.found.sets[self._base].run_ids[0] if self.found else None
            found = compare_runs(store, self.run_ids, split=self.split, baseline=baseline, force=self._forced)
            curves = self._curves or {run: runs.curves(store, run) for one in found.sets for run in one.run_ids}
        except (StoreError, EngineError) as error:
            self.post_message(self.Failed(error_text(error)))
        else:
            self.post_message(self.Compared(found, curves))

    @on(Failed)
    def _show_failure(self, message: Failed) -> None:
        again = "" if self._forced else "\nF: compare anyway, if that is possible."
        self.query_one("#facts", Static).update(formatting.text(message.reason + again))
        if self.found is None:
            for table in self.query(Table):
                table.set_empty_text("")
        self.refresh_bindings()

    @on(Compared)
    def _show(self, message: Compared) -> None:
        first = self.found is None
        found = self.found = message.found
        if not first or self.app.screen is self:
            self.sracl.did(self.command_words())
        self._curves = message.curves
        if first:
            self._base = next((n for n, one in enumerate(found.sets) if one.preset == "backbone"), 0)
            self._other = next((n for n in range(len(found.sets)) if n != self._base), self._base)
        self.set_title(f"{found.dataset}, {formatting.SPLITS[found.split]} ranks of {found.users:,} users, best epochs")
        signs = [
            formatting.line(
                f"{'A' if n == self._base else 'B' if n == self._other else ' '}  {one.label}  n {one.size}"
            )
            for n, one in enumerate(found.sets)
        ]
        self.query_one("#facts", Static).update(formatting.text("\n".join([*signs[:8], *found.excluded])))
        self.query_one("#settings-table", Table).set_empty_text("none: the runs differ only in their seeds")
        self.query_one("#tests-table", Table).set_empty_text(
            "nothing to test: only one set" if len(found.sets) < 2 else "nothing to test: see below"
        )
        heading = f"{formatting.SPLITS[found.split].capitalize()} metrics at the best epoch, mean ± standard deviation over seeds"
        self.query_one("#metrics-heading", Static).update(heading)
        self.query_one("#settings-table", Table).show(settings_table(found))
        self.query_one("#metrics-table", Table).show(sets_table(*metric_rows(found, signs=True)))
        heads, rows = resource_rows(found)
        self.query_one("#costs-table", Table).show(sets_table(heads, rows if heads[2:] else []))
        self.query_one("#tests-table", Table).show(tests_table(found))
        notes = [note for note in found.notes if note not in found.excluded]
        self.query_one("#notes", Static).update(formatting.text("\n".join(notes)))
        self.draw_plots()
        self._rank()
        self.refresh_bindings()

    def draw_plots(self) -> None:
        """Draw the chosen validation metric, or curve of the training, of all sets, mean over seeds."""
        if self.found is None:
            return
        (split, name), log = self._drawn(), self.sracl.preferences.logarithmic
        curves = [
            Curve(formatting.line(one.label)[:24], *self._mean_curve(one, split, name)) for one in self.found.sets
        ]
        what = f"{'validation' if split == 'valid' else 'training'} {title(name)}"
        heading = f"{what}, mean over seeds{self.smoothed()}{', log' if log else ''}"
        self.query_one("#overlaid", Curves).draw(heading, curves, log=log)

    def _choices(self) -> dict[str, tuple[str, str]]:
        """Split and name of every curve that any of the runs has, by what the preferences call it."""
        names = {
            (row["split"], row["name"]) for rows in self._curves.values() for row in rows if row["name"] != "seconds"
        }
        valid = by_cutoff(sorted(name for split, name in names if split == "valid"))
        training = training_names(name for split, name in names if split == "train")
        return {name: ("valid", name) for name in valid} | {f"train.{name}": ("train", name) for name in training}

    def _drawn(self) -> tuple[str, str]:
        choices, chosen = self._choices(), self.sracl.preferences.compare_metric
        return (
            choices.get(chosen) or choices.get(DEFAULT_CURVE) or next(iter(choices.values()), ("valid", DEFAULT_CURVE))
        )

    def _mean_curve(self, one: SeedSet, split: str, name: str) -> tuple[list[int], NDArray[np.float64]]:
        values: dict[int, list[float]] = {}
        for run_id in one.run_ids:
            for row in self._curves.get(run_id, []):
                if row["split"] == split and row["name"] == name and row["value"] is not None:
                    values.setdefault(row["epoch"], []).append(row["value"])
        epochs = sorted(values)
        return epochs, smooth([float(np.mean(values[epoch])) for epoch in epochs], self.smoothing)

    @property
    def pair(self) -> tuple[SeedSet, SeedSet] | None:
        """The sets A and B whose users are compared; none if there is only one set."""
        if self.found is None or self._base == self._other or len(self.found.sets) < 2:
            return None
        return self.found.sets[self._base], self.found.sets[self._other]

    @work(thread=True, exclusive=True, exit_on_error=False, group="users")
    def _rank(self) -> None:
        from sracl_tui.services.comparison import rank_changes

        if (pair := self.pair) is None:
            self.post_message(self.Changes(TableData(), "only one set: there is nobody to win or lose"))
            return
        a, b = pair
        try:
            found = rank_changes(self.library.store(), a.run_ids, b.run_ids, split=self.split)
        except StoreError as error:
            self.post_message(self.Failed(error_text(error)))
            return
        if found is None:
            self.post_message(self.Changes(TableData(), "A and B did not rank the same users"))
            return
        self.post_message(self.Changes(users_table(found, self._order), change_text(found)))

    @on(Changes)
    def _show_users(self, message: Changes) -> None:
        table = self.query_one("#users-table", Table)
        table.set_empty_text(message.summary)
        table.show(message.data, keep=False)
        title = f"Users: {message.summary}" if message.data.rows else "Users"
        self.query_one(TabbedContent).get_tab("users").label = title  # type: ignore[assignment]

    @on(Table.Chosen, "#users-table")
    def _open_user(self, message: Table.Chosen) -> None:
        if (pair := self.pair) is not None:
            self.sracl.open_inspector(pair[1].run_ids[0], str(message.key), second_run=pair[0].run_ids[0])

    def disabled_reason(self, action: str) -> str:
        """A choice of sets needs three of them; forcing needs a comparison that was refused."""
        if action in ("split", "metric", "order", "pair", "baseline", "slices", "copy") and self.found is None:
            return "Nothing is compared."
        if action == "slices" and self.pair is None:
            return "There is only one set."
        if action in ("pair", "baseline") and self.found is not None and len(self.found.sets) < 3:
            return "There are only two sets."
        if action == "force" and (self._forced or self.found is not None):
            return "Nothing was refused."
        return ""

    def action_split(self) -> None:
        """Switch between validation and test ranks."""
        self.split = "test" if self.split == "valid" else "valid"
        self._compare()

    def action_metric(self) -> None:
        """Draw the next validation metric and, after the last one, the losses and whatever else the methods measure."""
        names, drawn = list(self._choices()), self._drawn()
        place = list(self._choices().values()).index(drawn) if names else -1
        self.sracl.preferences.compare_metric = names[(place + 1) % len(names)] if names else DEFAULT_CURVE
        self.draw_plots()

    def action_order(self) -> None:
        """Sort the users by the next order."""
        names = list(ORDERS)
        self._order = names[(names.index(self._order) + 1) % len(names)]
        self.sracl.preferences.compare_order = self._order
        self.notify(ORDERS[self._order])
        self._rank()

    def action_pair(self) -> None:
        """Make the next set B."""
        assert self.found is not None
        self._other = self._next(self._other, self._base)
        self._show(self.Compared(self.found, self._curves))

    def action_baseline(self) -> None:
        """Make the next set the baseline A."""
        self._base = self._next(self._base, -1)
        if self._other == self._base:
            self._other = self._next(self._other, self._base)
        self._compare()

    def action_slices(self) -> None:
        """Show in which slices of users B differs from A."""
        if (pair := self.pair) is not None:
            self.sracl.open_slices(pair[1].run_ids, pair[0].run_ids, split=self.split)

    def _next(self, place: int, barred: int) -> int:
        assert self.found is not None
        count = len(self.found.sets)
        place = (place + 1) % count
        return (place + 1) % count if place == barred else place

    def action_force(self) -> None:
        """Compare although the comparison was refused."""
        self._forced = True
        self._compare()

    def action_copy(self) -> None:
        """Copy the command that prints the same comparison."""
        self.copy(command_line(self.command_words()), "The command")

    def command_words(self) -> list[str]:
        """The command, by its words after `sracl`."""
        return ["compare", *self.run_ids, "--split", self.split, *(["--force"] if self._forced else [])]

    def figure_words(self) -> list[str]:
        """Tests as a forest plot, or the curve that is drawn."""
        if self.found is None:
            raise Unavailable("Nothing is compared.")
        tab = self.query_one(TabbedContent).active
        if tab == "users":
            raise Unavailable("Users are a table: the other tabs are figures.")
        if tab == "costs":
            return [*self.run_ids, "--figure", "cost", "--split", self.split, "--baseline", self._baseline_run()]
        if tab == "curves":
            return [*self.run_ids, "--figure", "epochs", "--metric", ".".join(self._drawn())]
        return [*self.run_ids, "--figure", "forest", "--split", self.split, "--baseline", self._baseline_run()]

    def _baseline_run(self) -> str:
        assert self.found is not None
        return self.found.sets[self._base].run_ids[0]

    def action_tab(self, by: int) -> None:
        """Show the next tab."""
        tabs, names = self.query_one(TabbedContent), list(TABS)
        tabs.active = names[(names.index(tabs.active) + by) % len(names)]
        self._focus_tab()

    @on(TabbedContent.TabActivated)
    def _focus_tab(self) -> None:
        self.query_one(TABS[self.query_one(TabbedContent).active or "figures"]).focus()
