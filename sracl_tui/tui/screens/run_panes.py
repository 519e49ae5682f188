"""Beside the list of runs, where there is room: curves of the marked runs or of the one under the cursor, its facts, its use of the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from engine.metric_registry import by_cutoff, title, training_names
from sracl_tui import formatting
from sracl_tui.services.run_curves import MACHINE, CurveReader, Points
from sracl_tui.tui.rendering import run_curves, run_facts, run_list
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.rendering.rendered_once import RenderedOnce
from sracl_tui.tui.rendering.run import without_samples
from sracl_tui.tui.screens.plot_page import PlotKeysPage
from sracl_tui.tui.widgets.arrange_dialog import ArrangeDialog
from sracl_tui.tui.widgets.curves import Curve, Curves
from sracl_tui.tui.widgets.machine_charts import MachineCharts
from sracl_tui.tui.widgets.pane_row import PaneRow
from store.errors import StoreError
from store.run_row import ListedRun
from store.run_states import OPEN

TITLES = {"list": "list of runs", "curves": "curves", "facts": "facts", "machine": "use of the machine"}
DEFAULT = ["list", "curves", "facts"]
"""The panes that are shown unless somebody chooses others."""
WIDTHS = {"list": 60, "curves": 34, "facts": 26, "machine": 34}
MOST = 8
"""Runs whose curves are drawn together."""
STEP = 2
"""Columns by which a key sizes a pane."""


class CurvesPane(Vertical, can_focus=True):
    """A validation metric over a loss."""

    def compose(self) -> ComposeResult:
        """The two plots."""
        yield Curves(id="beside-metric")
        yield Curves(id="beside-loss")


class FactsPane(VerticalScroll):
    """The facts of a run; the screen is laid out anew only for those that do not fit."""

    def __init__(self) -> None:
        super().__init__()
        self._of: object = None

    def compose(self) -> ComposeResult:
        """The text."""
        yield Static("", id="facts", markup=False)

    def show(self, run: ListedRun | None, differences: Mapping[str, str]) -> None:
        """Show the facts of a run, unless they are shown already."""
        of = None if run is None else ({**run}, differences.get(run["config_hash"]))
        if of == self._of:
            return
        self._of, room = of, self.size.height
        text = RenderedOnce(run_facts.facts(run, differences) if run is not None else "")
        for there in self.query("#facts").results(Static):  # none as the app closes
            height = text.height(self.app.console, self.app.console_options, there.content_size.width)
            there.update(text, layout=max(height, there.size.height) > room)


class RunPanesPage(PlotKeysPage):
    """The list of runs with panes beside it."""

    SECTION = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "panes", "Panes: which, and their order", show=False, id="runs.panes"),
        Binding("C", "columns", "Columns: which, and their order", show=False, id="runs.columns"),
        Binding("less_than_sign", f"size({-STEP})", "Narrow the pane", show=False),
        Binding("greater_than_sign", f"size({STEP})", "Widen the pane", show=False),
        Binding("V", "metric", "Metric of the curves", show=False),
        Binding("L", "loss", "Loss of the curves", show=False),
        Binding("z", "whole", "All epochs", show=False),
    ]

    @dataclass
    class CurvesRead(Message):
        """The curves of runs, or why they cannot be read."""

        ids: tuple[str, ...]
        curves: dict[str, Points]
        trouble: str = ""

    def __init__(self) -> None:
        super().__init__()
        self._curves: dict[str, Points] = {}
        self._reader: CurveReader | None = None
        self._reading: tuple[str, ...] | None = None
        """Runs whose curves are being read; none while nothing is read."""

    @property
    def run(self) -> ListedRun | None:
        """The run under the cursor."""
        raise NotImplementedError

    def curve_runs(self) -> list[ListedRun]:
        """The runs whose curves are drawn."""
        raise NotImplementedError

    @property
    def differences(self) -> Mapping[str, str]:
        """What differs in each config, for runs without a name."""
        raise NotImplementedError

    def pane_row(self, main: Widget) -> PaneRow:
        """The list and the panes beside it."""
        preferences = self.sracl.preferences
        return PaneRow(
            "list",
            main,
            {"curves": CurvesPane, "facts": FactsPane, "machine": MachineCharts},
            order=preferences.panes or DEFAULT,
            widths=WIDTHS | preferences.pane_widths,
            id="panes",
        )

    @property
    def _row(self) -> PaneRow:
        return self.query_one(PaneRow)

    @on(PaneRow.Shown)
    def show_beside(self) -> None:
        """Show the facts of the run under the cursor, and read the curves where they are shown."""
        run = self.run
        if run is not None:
            self._row.fill()
        if "facts" in self._row.shown:
            for pane in self.query(FactsPane):  # none as the app closes
                pane.show(run, self.differences)
        if {"curves", "machine"} & {*self._row.shown} and self._reading is None:
            rows = self.curve_runs()[:MOST]
            self._reading = tuple(row["run_id"] for row in rows)
            self._read_curves(rows, "machine" in self._row.shown)

    @work(thread=True, exit_on_error=False, group="curves")
    def _read_curves(self, rows: Sequence[ListedRun], machine: bool) -> None:
        ids = tuple(row["run_id"] for row in rows)
        if self._reader is None:
            self._reader = CurveReader(self.library)
        try:
            self.post_message(self.CurvesRead(ids, self._reader.read(rows, machine=machine)))
        except (StoreError, OSError) as error:
            self.post_message(self.CurvesRead(ids, {}, error_text(error)))

    @on(CurvesRead)
    def _show_curves(self, message: CurvesRead) -> None:
        self._reading, self._curves = None, message.curves
        self.draw_plots()
        if message.trouble:
            self._draw("#beside-metric", formatting.line(message.trouble), [])
        if tuple(row["run_id"] for row in self.curve_runs()[:MOST]) != message.ids:  # the cursor has moved meanwhile
            self.show_beside()

    def _names(self, split: str) -> list[str]:
        """Names that any of the runs has measured."""
        return list(dict.fromkeys(name for curves in self._curves.values() for of, name in curves if of == split))

    def draw_plots(self) -> None:
        """Draw a validation metric and a loss of the runs."""
        preferences, rows = self.sracl.preferences, {row["run_id"]: row for row in self.sracl.runs}
        known = {run_id: rows[run_id] for run_id in self._curves if run_id in rows}
        names = {run_id: formatting.line(run_list.shown_name(row, self.differences)) for run_id, row in known.items()}
        labels = run_curves.unique_names(names, {run_id: row["seed"] for run_id, row in known.items()})
        found = {labels[run_id]: self._curves[run_id] for run_id in known}
        first = next(iter(known.values()), None)
        best = first["best_epoch"] if first is not None and len(known) == 1 else None
        metric, training = self._metric(first), training_names(self._names("train"))
        loss = preferences.loss if preferences.loss in training else ""
        scale, log = (", log", True) if preferences.logarithmic else ("", False)
        curves = [run_curves.curve(points, "valid", metric, label, self.smoothing) for label, points in found.items()]
        waits = any(row["state"] in OPEN for row in known.values())
        empty = "waiting for the first epoch" if waits else "no epoch was finished" if known else ""
        heading = f"validation {title(metric)}{self.smoothed()}"
        self._draw("#beside-metric", heading, curves, mark=best, empty=empty)
        parts = run_curves.losses(found, training, loss, self.smoothing) if found else []
        heading = f"training {run_curves.loss_title(loss)}{self.smoothed()}{scale}"
        self._draw("#beside-loss", heading, parts, log=log, mark=best, empty=empty)
        if first is not None:
            used = {name: points for (of, name), points in self._curves[first["run_id"]].items() if of == MACHINE}
            sign = f"{labels[first['run_id']]}: " if len(known) > 1 else ""
            for charts in self.query(MachineCharts):
                charts.show(used, sign=sign, empty=without_samples(first["state"]))

    def _draw(self, where: str, heading: str, curves: list[Curve], **options: Any) -> None:
        for plot in self.query(where).results(Curves):  # none as the app closes
            plot.draw(heading, curves, **options)

    def _metric(self, first: ListedRun | None) -> str:
        """The chosen metric where it was measured, else the one that selects the best epoch of the first run."""
        chosen, names = self.sracl.preferences.metric, self._names("valid")
        train = first["config"].get("train", {}) if first is not None else {}
        return chosen if chosen in names else str(train.get("select", "mrr@10"))

    @property
    def over_time(self) -> bool:
        """The keys move the charts of the machine while their pane has the focus."""
        return self._row.focused_pane == "machine"

    def action_metric(self) -> None:
        """Draw the next validation metric."""
        preferences = self.sracl.preferences
        preferences.metric = run_curves.after(preferences.metric, by_cutoff(self._names("valid")))
        self.draw_plots()

    def action_loss(self) -> None:
        """Draw the next loss, or what else the method measures in training."""
        preferences = self.sracl.preferences
        preferences.loss = run_curves.after(preferences.loss, training_names(self._names("train")))
        self.draw_plots()

    def action_size(self, by: int) -> None:
        """Widen or narrow the pane that has the focus."""
        self._row.grow(self._row.focused_pane, by)

    @on(PaneRow.Sized)
    def _keep_widths(self, message: PaneRow.Sized) -> None:
        self.sracl.preferences.pane_widths = message.widths

    def action_panes(self) -> None:
        """Choose the panes and their order."""
        preferences = self.sracl.preferences

        def arrange(order: list[str] | None) -> None:
            if order is not None:
                preferences.panes = order if order != DEFAULT else []
                self._row.put_in_order(order)
                self.show_beside()

        shown = preferences.panes or DEFAULT
        self.app.push_screen(ArrangeDialog("Panes", TITLES, shown, default=DEFAULT, always=("list",)), arrange)

    def action_columns(self) -> None:
        """Choose the columns of the list and their order."""
        preferences, default = self.sracl.preferences, run_list.DEFAULT_KEYS

        def arrange(keys: list[str] | None) -> None:
            if keys is not None:
                preferences.columns = keys if keys != default else []
                self.columns_chosen()

        titles = {column.key: column.title for column in run_list.CHOICES}
        shown = preferences.columns or default
        self.app.push_screen(ArrangeDialog("Columns", titles, shown, default=default, always=("name",)), arrange)

    def columns_chosen(self) -> None:
        """Show the list with other columns."""
        raise NotImplementedError

    def apply_preferences(self) -> None:
        """Arrange panes and columns as they are chosen now."""
        self._row.size_panes(WIDTHS | self.sracl.preferences.pane_widths)
        self._row.put_in_order(self.sracl.preferences.panes or DEFAULT)
        self.columns_chosen()

    def panes_reason(self) -> str:
        """Why there is nothing to size or to draw; empty where there is."""
        return "" if len(self._row.shown) > 1 else "Only the list is shown: p shows panes, from 120 columns on."
