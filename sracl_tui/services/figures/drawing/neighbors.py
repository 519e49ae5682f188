"""Figures of learned weights beside similarities."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator

from sracl_tui.services.figures.drawing.style import COLORS, INK, figure, legend_above
from sracl_tui.services.figures.user import UserWeights
from sracl_tui.services.figures.weights import WeightDensity

PAPER_TO_BLUE = LinearSegmentedColormap.from_list("paper-to-blue", ["#e6eff6", "#0072B2", "#00243a"])
"""Lightness falls throughout, so that a gray print reads alike."""


def weights(data: WeightDensity) -> Figure:
    """Cells by the number of neighbors in them, with quartiles of the weight along the similarity."""
    made = figure(data.title, data.note, 3.3)
    ax = made.subplots()
    counts = np.ma.masked_equal(data.counts.T, 0)
    mesh = ax.pcolormesh(
        data.x_edges,
        data.y_edges,
        counts,
        cmap=PAPER_TO_BLUE,
        norm=LogNorm(vmin=1, vmax=max(2, int(data.counts.max()))),
        rasterized=True,
    )
    halo = [withStroke(linewidth=2.4, foreground="white")]
    dashes = (0, (4, 2))
    ax.axhline(
        data.even, color=INK, linestyle=dashes, linewidth=1, path_effects=halo, label=f"equal weights, 1/{data.k}"
    )
    low, middle, high = data.quartiles
    ax.plot(data.centers, middle, color=COLORS[1], marker="o", markersize=3, label="median weight")
    ax.plot(data.centers, low, color=COLORS[1], linewidth=0.8, linestyle=(0, (2, 2)), label="quartiles")
    ax.plot(data.centers, high, color=COLORS[1], linewidth=0.8, linestyle=(0, (2, 2)))
    ax.set_xlabel("similarity of user and neighbor")
    ax.set_ylabel("learned weight (sums to 1 per user)")
    bar = made.colorbar(
        mesh, ax=ax, label="neighbors in a cell", pad=0.02, format=FuncFormatter(lambda n, _: f"{n:,.0f}")
    )
    bar.locator = LogLocator(subs=(1, 2, 5))
    bar.minorticks_off()
    legend_above(ax)
    return made


def user(data: UserWeights) -> Figure:
    """Two bars a row, most similar neighbor first; the numbers are ranks."""
    count = len(data.neighbors)
    made = figure(data.title, data.note, 0.21 * count + 0.75)
    left, right = made.subplots(1, 2, sharey=True)
    similarity = [one.similarity for one in data.neighbors]
    weight = [one.weight for one in data.neighbors]
    _bars(left, similarity, [one.similarity_rank for one in data.neighbors], COLORS[7])
    _bars(right, weight, [one.weight_rank for one in data.neighbors], COLORS[0])
    right.axvline(1 / data.k, color=COLORS[1], linestyle=(0, (4, 2)), linewidth=1)
    right.set_title(f"dashed: equal weights, 1/{data.k}", loc="right", fontsize=6.5, color=COLORS[1], pad=3)
    left.set_yticks(range(count), [one.label for one in data.neighbors])
    left.set_ylim(count - 0.4, -0.6)
    left.set_xlabel("similarity, with its rank")
    right.set_xlabel("learned weight, with its rank")
    return made


def _bars(ax: Any, values: list[float], ranks: list[int], color: str) -> None:
    places = range(len(values))
    ax.barh(places, values, height=0.7, color=color)
    most = max([*values, 1e-9])
    ax.set_xlim(min([0.0, *values]), 1.12 * most)
    for place, value, rank in zip(places, values, ranks, strict=True):
        ax.text(max(value, 0.0) + 0.015 * most, place, str(rank), va="center", fontsize=6.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
