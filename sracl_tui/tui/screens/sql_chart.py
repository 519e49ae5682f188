"""The chart of a result: lines over numbers or times, bars beside texts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from sracl_tui.tui.rendering.query_chart import ResultChart
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.widgets.curves import Curves
from sracl_tui.tui.widgets.table import Table


class SqlChartScreen(BaseScreen):
    """The columns of numbers of a result over its first column."""

    NAME = "Chart"
    ABOUT = (
        "The columns of numbers of the result over its first column: lines over numbers and times, bars beside texts. v shows one "
        "column alone, on a scale of its own. Left and right, or the pointer, read the values of a row; the wheel zooms, dragging moves."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "column(1)", "One column"),
        Binding("V", "column(-1)", "Previous column", show=False),
        Binding("left,h", "cross(-1)", "Earlier"),
        Binding("right,l", "cross(1)", "Later"),
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom in"),
        Binding("minus", "zoom(2)", "Zoom out"),
        Binding("comma", "pan(-0.25)", "Move to the left", show=False),
        Binding("full_stop", "pan(0.25)", "Move to the right", show=False),
        Binding("0", "whole", "All of it", show=False),
        Binding("o", "log_scale", "Log scale"),
        Binding("escape", "back", "Back", id="app.back"),
    ]

    def __init__(self, chart: ResultChart, query: str) -> None:
        super().__init__()
        self.chart = chart
        self.answered = query
        """The query whose rows are drawn."""
        self.only: int | None = None
        """Number of the column that is shown alone; none: all that have a color."""
        self.logarithmic = False

    def body(self) -> ComposeResult:
        """What is not drawn, then lines or bars."""
        yield Static(", ".join(self.chart.notes), id="chart-notes", markup=False)
        if self.chart.axis is None:
            yield Table(id="chart-bars")
        else:
            yield Curves(id="chart-lines")

    def on_mount(self) -> None:
        """Draw."""
        self.set_title(self.answered)
        self.query_one("#chart-notes").display = bool(self.chart.notes)
        if self.chart.axis is None:
            self.query_one(Table).focus()
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        """Bars of another length."""
        self._draw(event.size.width)

    def _draw(self, width: int | None = None) -> None:
        if self.chart.axis is None:
            self.query_one(Table).show(self.chart.bars(self.only, width or self.size.width))
        else:
            heading = f"{self.chart.title(self.only)}{', log' if self.logarithmic else ''}"
            curves = self.chart.curves(self.only)
            plot = self.query_one(Curves)
            plot.axis = self.chart.axis
            plot.draw(heading, curves, log=self.logarithmic, empty="no value")

    def disabled_reason(self, action: str) -> str:
        """Bars have no axis; one column is alone anyway."""
        if action == "column" and len(self.chart.names) == 1:
            return "There is one column of numbers."
        if action in ("cross", "zoom", "pan", "whole", "log_scale") and self.chart.axis is None:
            return "Bars have no axis: only lines do."
        return ""

    def action_column(self, by: int) -> None:
        """Show the next column alone; after the last one, all together."""
        choices = [None, *range(len(self.chart.names))]
        self.only = choices[(choices.index(self.only) + by) % len(choices)]
        self._draw()

    def action_log_scale(self) -> None:
        """Switch the logarithmic scale on or off."""
        self.logarithmic = not self.logarithmic
        self._draw()

    def action_zoom(self, factor: float) -> None:
        """Show more or less of the axis."""
        self.query_one(Curves).zoom(factor)

    def action_pan(self, share: float) -> None:
        """Move along the axis."""
        self.query_one(Curves).pan(share)

    def action_whole(self) -> None:
        """Show the whole axis."""
        self.query_one(Curves).show_window(None)

    def action_cross(self, by: int) -> None:
        """Move the crosshair to the next row; it begins at the last one."""
        plot = self.query_one(Curves)
        places = np.unique(self.chart.places)
        before = plot.cross
        if before is None:
            plot.show_cross(float(places[-1]))
        else:
            next_ = np.searchsorted(places, before, side="right") if by > 0 else np.searchsorted(places, before) - 1
            plot.show_cross(float(places[np.clip(next_, 0, len(places) - 1)]))

    @on(Curves.Pointed)
    def _follow_pointer(self, message: Curves.Pointed) -> None:
        self.query_one(Curves).show_cross(message.at)

    def action_back(self) -> None:
        """Without the crosshair, then back to the query."""
        lines = self.query(Curves)
        if lines and lines.first().cross is not None:
            lines.first().show_cross(None)
        else:
            super().action_back()
