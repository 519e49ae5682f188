"""Curves over epochs."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sracl_tui.services.figures.drawing.style import figure, legend_above, look
from sracl_tui.services.figures.epochs import EpochCurves
from sracl_tui.services.figures.options import seeds_text

FEW = 3
"""Sets up to which the single seeds are told apart easily; with more of them they are fainter."""


def epochs(data: EpochCurves) -> Figure:
    """Every seed thin, the mean of all seeds thick with its spread, a dot where a run's epoch was kept."""
    made = figure(data.title, data.note, 3.1)
    ax = made.subplots()
    thin = 0.55 if len(data.sets) <= FEW else 0.25
    for place, one in enumerate(data.sets):
        style = look(place)
        color, marker, line = style["color"], style["marker"], style["linestyle"]
        label = f"{one.label}, {seeds_text(len(one.curves))}"
        single = one.sd is None
        for curve in one.curves:
            ax.plot(
                curve.epochs,
                curve.values,
                color=color,
                linewidth=1.4 if single else 0.6,
                alpha=1.0 if single else thin,
                linestyle=line if single else "-",
                label=label if single else None,
            )
            kept = curve.epochs == curve.best_epoch
            ax.plot(
                curve.epochs[kept], curve.values[kept], marker, color=color, markeredgecolor="white", markersize=5.5
            )
        if one.sd is not None:
            ax.fill_between(
                one.epochs, one.mean - one.sd, one.mean + one.sd, color=color, alpha=0.3 * thin, linewidth=0
            )
            ax.plot(one.epochs, one.mean, color=color, linewidth=1.8, linestyle=line, label=label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    ax.set_ylabel(data.axis)
    ax.grid(axis="y")
    legend_above(ax)
    return made
