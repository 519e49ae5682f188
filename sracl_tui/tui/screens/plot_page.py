"""Screens with curves: the same keys zoom, pan and smooth all plots of a screen together."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.figure_page import FigurePage
from sracl_tui.tui.widgets.curves import NAME, Curves

SMOOTHINGS = (0.0, 0.5, 0.8, 0.95)


class PlotKeysPage(BaseScreen):
    """A screen whose plots share one range of epochs, and those over time one of seconds."""

    SECTION = "plots"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom in: fewer epochs", show=False),
        Binding("minus", "zoom(2)", "Zoom out: more epochs", show=False),
        Binding("comma", "pan(-0.25)", "Earlier epochs", show=False),
        Binding("full_stop", "pan(0.25)", "Later epochs", show=False),
        Binding("left_curly_bracket", "cross(-1)", "Crosshair to the earlier epoch", show=False),
        Binding("right_curly_bracket", "cross(1)", "Crosshair to the later epoch", show=False),
        Binding("w", "smooth", "Smooth", show=False),
        Binding("o", "log_scale", "Log scale", show=False),
    ]

    def draw_plots(self) -> None:
        """Draw all plots with the current data and preferences."""
        raise NotImplementedError

    @property
    def smoothing(self) -> float:
        """Weight of the exponential smoothing, 0 for none."""
        return SMOOTHINGS[self.sracl.preferences.smoothing % len(SMOOTHINGS)]

    def smoothed(self) -> str:
        """The smoothing as part of a title; empty for none."""
        return f", smoothed {self.smoothing}" if self.smoothing else ""

    def action_smooth(self) -> None:
        """Use the next strength of smoothing."""
        preferences = self.sracl.preferences
        preferences.smoothing = (preferences.smoothing + 1) % len(SMOOTHINGS)
        self.draw_plots()

    def action_log_scale(self) -> None:
        """Switch the logarithmic axis on or off."""
        preferences = self.sracl.preferences
        preferences.logarithmic = not preferences.logarithmic
        self.draw_plots()

    @property
    def over_time(self) -> bool:
        """Whether the keys move the plots over time, not those over epochs."""
        return False

    def _plots(self, like: Curves | None = None) -> list[Curves]:
        """The plots that the keys move, or those over the same as another plot; the longest one leads."""
        over_time = self.over_time if like is None else like.unit != NAME
        found = (plot for plot in self.query(Curves) if (plot.unit != NAME) is over_time)
        return sorted(found, key=lambda plot: -(plot.extent or (0.0, -1.0))[1])

    def action_zoom(self, factor: float) -> None:
        """Multiply the number of visible epochs by a factor."""
        if plots := self._plots():
            plots[0].zoom(factor)

    def action_pan(self, share: float) -> None:
        """Move the visible epochs by a share of their number."""
        if plots := self._plots():
            plots[0].pan(share)

    def action_whole(self) -> None:
        """Show every epoch."""
        for plot in self._plots():
            plot.show_window(None)

    @on(Curves.Pointed)
    def _follow_pointer(self, message: Curves.Pointed) -> None:
        self.show_cross(message.at, like=message.curves)

    def show_cross(self, at: float | None, *, like: Curves | None = None) -> None:
        """Show the crosshair of all plots at an epoch; of those over the same as another plot."""
        for plot in self._plots(like):
            plot.show_cross(at)

    def action_cross(self, by: int) -> None:
        """Move the crosshair by epochs; it begins at the newest one."""
        plots = self._plots()
        if plots and plots[0].extent is not None:
            first, last = plots[0].shown
            before = plots[0].cross
            self.show_cross(last if before is None else min(max(before + by, first), last))

    @on(Curves.Moved)
    def _follow_plot(self, message: Curves.Moved) -> None:
        for plot in self._plots(message.curves):
            plot.show_window(message.window)


class PlottedPage(PlotKeysPage, FigurePage):
    """A screen that is about its plots, which can be written as a figure."""

    SECTION = "plots"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("0", "whole", "All epochs", show=False)]
