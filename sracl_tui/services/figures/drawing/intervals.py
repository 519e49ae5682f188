"""Figures of values with intervals: forest plot, k curve, cost against gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from sracl_tui.services.figures.cost import CostGain, CostPoint
from sracl_tui.services.figures.drawing.style import BAND, COLORS, FAINT, INK, figure, legend_above, look, wrapped
from sracl_tui.services.figures.forest import Forest, ForestPanel, ForestRow
from sracl_tui.services.figures.k_curve import KCurve, SeedMean
from sracl_tui.services.figures.options import seeds_text

BLUE, VERMILION, GREEN = COLORS[:3]
VERDICT_COLORS = {
    "better": BLUE,
    "supported": BLUE,
    "worse": VERMILION,
    "contradicted": VERMILION,
    "equivalent": GREEN,
}
ROW, LINE = 0.26, 0.13
"""Inches of a row of a forest plot, and of each further line of its label."""
LABEL = 30
"""Characters of a line of a label."""
WIDE = 20
"""A range of k from which the axis is logarithmic."""
SPREAD = 0.4
"""How far apart the outer of several lines have their points for one k, as a share of the smallest distance between two k."""


def forest(data: Forest) -> Figure:
    """Rows from top to bottom, a panel for each unit."""
    heights = [_row_height(panel) * len(panel.rows) for panel in data.panels]
    made = figure(data.title, data.note, sum(height + 0.62 for height in heights))
    axes = made.subplots(len(heights), 1, squeeze=False, height_ratios=[height + 0.2 for height in heights])
    for ax, panel in zip(axes[:, 0], data.panels, strict=True):
        _forest_panel(ax, panel)
    return made


def _row_height(panel: ForestPanel) -> float:
    return ROW + LINE * max((_label(row).count("\n") for row in panel.rows), default=0)


def _label(row: ForestRow) -> str:
    """In lines; of how many seeds it is stands at the end, whatever is cut."""
    return f"{wrapped(row.label, LABEL)}  {row.n}".rstrip()


def _forest_panel(ax: Any, panel: ForestPanel) -> None:
    reach = _reach(panel.rows)
    ax.set_xlim(-reach, reach)
    ax.set_ylim(len(panel.rows) - 0.4, -0.6)
    ax.axvline(0, color=FAINT, linewidth=0.8)
    for place, row in enumerate(panel.rows):
        _forest_row(ax, place, row, reach)
        words = f"{_values(row, panel.format)}  {row.verdict}"
        ax.text(1.02, place, words, transform=ax.get_yaxis_transform(), va="center", fontsize=7)
    ax.set_yticks(range(len(panel.rows)), [_label(row) for row in panel.rows])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    ax.xaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    ax.xaxis.set_major_formatter(FuncFormatter(_signed))
    ax.set_xlabel(panel.axis)


def _forest_row(ax: Any, place: int, row: ForestRow, reach: float) -> None:
    color = VERDICT_COLORS.get(row.verdict.partition(",")[0], "#555555")
    if row.margin:
        band = min(row.margin, reach)
        ax.barh(place, 2 * band, left=-band, height=0.86, color=BAND, zorder=0.5)
    low = -math.inf if row.low is None else row.low
    high = math.inf if row.high is None else row.high
    ax.plot([max(low, -reach), min(high, reach)], [place, place], color=color, solid_capstyle="butt")
    for end, marker in ((low, "<"), (high, ">")):
        if abs(end) > reach:  # it goes on beyond the axis
            ax.plot(math.copysign(reach, end), place, marker, color=color, markersize=4, clip_on=False)
        else:
            ax.plot(end, place, "|", color=color, markersize=5)
    if abs(row.estimate) <= reach:
        sure = row.verdict.partition(",")[0] in VERDICT_COLORS
        ax.plot(row.estimate, place, "o", color=color, markerfacecolor=color if sure else "white", zorder=3)


def _values(row: ForestRow, format_: str) -> str:
    ends = "" if row.low is None or row.high is None else f" [{row.low:+{format_}}, {row.high:+{format_}}]"
    return f"{row.estimate:+{format_}}{ends}".replace("-", "\u2212")


def _reach(rows: Any) -> float:
    """Half the axis: all rows fit, where none is far wider than the median one."""
    widths = []
    for row in rows:
        ends = [abs(end) for end in (row.low, row.high, row.estimate) if end is not None and math.isfinite(end)]
        widths.append(max(ends, default=0.0))
    most = 3 * sorted(widths)[(len(widths) - 1) // 2]
    margins = [row.margin for row in rows if row.margin and row.margin <= most]
    return 1.08 * max([min(max(widths), most), *margins]) or 1.0


def _signed(value: float, _: Any = None) -> str:
    return f"{value:+g}".replace("-", "\u2212") if abs(value) > 1e-12 else "0"


def k_curve(data: KCurve) -> Figure:
    """A line for each set of configurations, level lines for those without a k."""
    made = figure(data.title, data.note, 2.9)
    ax = made.subplots()
    ks = sorted({k for line in data.lines for k in line.ks})
    if _is_wide(ks):
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_locator(FixedLocator(ks))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for place, line in enumerate(data.lines):
        style = look(place)
        at = [_beside(k, place, len(data.lines), ks) for k in line.ks]
        bars = [_bar(point) for point in line.points]
        means = [point.mean for point in line.points]
        ends = [[low for low, _ in bars], [high for _, high in bars]]
        ax.errorbar(at, means, yerr=ends, fmt="none", color=style["color"], capsize=2.5, elinewidth=0.9)
        ax.plot(at, means, label=line.label, **style)
    for place, (label, point) in enumerate(data.references.items()):
        color, dash = COLORS[(len(data.lines) + place) % len(COLORS)], ((0, (4, 2 + place)))
        ax.axhline(point.mean, color=color, linestyle=dash, linewidth=1.1, label=label)
        if point.low is not None:
            ax.axhspan(point.low, point.high or point.mean, color=color, alpha=0.12, linewidth=0)
    ax.set_xlabel("k, neighbors of a prefix")
    ax.set_ylabel(data.axis)
    ax.grid(axis="y")
    legend_above(ax)
    return made


def _is_wide(ks: Sequence[int]) -> bool:
    """Whether the axis of k is logarithmic."""
    return ks[0] > 0 and ks[-1] >= WIDE * ks[0]


def _beside(k: int, place: int, count: int, ks: Sequence[int]) -> float:
    """Where a line has its point for k: of several lines beside each other, so that intervals do not hide one another."""
    share = 0.0 if count < 2 else SPREAD * (place / (count - 1) - 0.5)
    if _is_wide(ks):
        nearest = min(math.log(b / a) for a, b in pairwise(ks))
        return k * math.exp(share * nearest)
    return k + share * min(b - a for a, b in pairwise(ks))


def _bar(point: SeedMean) -> tuple[float, float]:
    """Lengths of the interval below and above; NaN draws none."""
    if point.low is None or point.high is None:
        return math.nan, math.nan
    return point.mean - point.low, point.high - point.mean


def cost(data: CostGain) -> Figure:
    """Costs from left to right, gains from low to high; the baseline is the hollow point at gain 0."""
    made = figure(data.title, data.note, 3.1)
    ax = made.subplots()
    ax.axhline(0, color=FAINT, linewidth=0.8)
    _cost_point(ax, data.baseline, color=INK, marker="o", hollow=True, more=" (baseline)")
    for place, point in enumerate(data.points):
        style = look(place)
        _cost_point(ax, point, color=style["color"], marker=style["marker"])
    ax.set_xlim(left=min(0.0, ax.get_xlim()[0]))
    ax.yaxis.set_major_formatter(FuncFormatter(_signed))
    ax.set_xlabel(data.x_axis)
    ax.set_ylabel(data.y_axis)
    ax.grid()
    legend_above(ax)
    return made


def _cost_point(ax: Any, point: CostPoint, *, color: str, marker: str, hollow: bool = False, more: str = "") -> None:
    if point.low is not None and point.high is not None:
        ax.plot([point.cost] * 2, [point.low, point.high], "-_", color=color, linewidth=0.9, markersize=5)
    if point.cost_sd is not None:
        ends = [point.cost - point.cost_sd, point.cost + point.cost_sd]
        ax.plot(ends, [point.gain] * 2, "-|", color=color, linewidth=0.9, markersize=5)
    label = f"{point.label}{more}, {seeds_text(point.seeds)}"
    fill = "white" if hollow else color
    ax.plot(point.cost, point.gain, marker, color=color, markersize=6, markerfacecolor=fill, label=label)
