"""Curves over epochs in a plot: every point of a run is an epoch, so nothing has to be merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textual.app import App
from textual_plotext import PlotextPlot

_RGB = {
    True: [(122, 162, 247), (224, 175, 104), (158, 206, 106), (187, 154, 247), (125, 207, 255), (247, 118, 142)],
    False: [(47, 85, 181), (154, 91, 0), (47, 107, 31), (123, 63, 176), (0, 110, 140), (179, 32, 60)],
}


def colors_of(app: App[Any]) -> list[tuple[int, int, int]]:
    """Colors of lines and bars that can be told apart on the ground of the theme."""
    return _RGB[app.current_theme.dark]


@dataclass(frozen=True)
class Curve:
    """A named line."""

    label: str
    epochs: list[int]
    values: list[float]


class Curves(PlotextPlot):
    """A plot of curves with few, round ticks."""

    def draw(self, title: str, curves: list[Curve], *, log: bool = False, mark: int | None = None) -> None:
        """Show curves.

        Args:
            log: logarithmic values, where all are positive.
            mark: an epoch to mark with a vertical line.
        """
        plt = self.plt
        plt.clear_data()
        plt.clear_figure()
        plt.title(title)
        curves = [curve for curve in curves if curve.values]
        values = [value for curve in curves for value in curve.values]
        if values:
            colors = colors_of(self.app)
            scaled = log and min(values) > 0
            for number, curve in enumerate(curves):
                plt.plot(
                    curve.epochs,
                    curve.values,
                    label=curve.label,
                    color=colors[number % len(colors)],
                    marker="braille",
                )
            if scaled:
                plt.yscale("log")
            last = max(curve.epochs[-1] for curve in curves)
            step = max(1, -(-last // 8))
            plt.xticks([1, *range(step, last + 1, step)] if step > 1 else list(range(1, last + 1)))
            plt.xlim(1, max(2, last))
            if min(values) == max(values):
                plt.ylim(values[0] - 0.5 * abs(values[0] or 1), values[0] + 0.5 * abs(values[0] or 1))
            if mark is not None and 1 <= mark <= last:
                plt.vline(mark, color=colors[2])
        else:
            plt.xticks([])
            plt.yticks([])
        self.refresh()
