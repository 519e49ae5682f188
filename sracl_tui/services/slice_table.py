"""Slices of users as rows of text, with each difference and its interval drawn on one axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.metric_registry import oriented, value_text
from sracl_tui import formatting
from sracl_tui.services.comparison_table import CONCLUSIONS, p_text
from sracl_tui.services.text_charts import interval_line

if TYPE_CHECKING:
    from sracl_tui.services.slices import Slice, SliceReport

PLOT = 29
"""Characters of the plot in a terminal."""


HEADS = (
    "sliced by", "slice", "users", "baseline", "run", "difference", "95 % interval", "p", "p Holm", "conclusion",
)  # fmt: skip
"""Titles of the columns of `rows`."""


def rows(found: SliceReport, *, pad: str = "") -> list[list[str]]:
    """A row for all users, then one for each slice."""
    every = [("", found.everyone), *((by.title, one) for by in found.by for one in by.slices)]
    return [[what, *cells(one, found.metric, pad=pad)] for what, one in every]


def cells(one: Slice, metric: str, *, pad: str = "") -> list[str]:
    """A slice: label, users, both means, difference, interval, p, p after Holm, conclusion.

    Args:
        pad: what stands behind a number of users where few of them have a star.
    """
    return [
        one.label,
        f"{one.users:,}{'*' if one.small else pad}",
        value_text(metric, one.a),
        value_text(metric, one.b),
        formatting.signed(one.difference),
        interval_text(one),
        p_text(one.p_value),
        "-" if one.p_holm is None else p_text(one.p_holm),
        CONCLUSIONS[one.verdict],
    ]


def interval_text(one: Slice) -> str:
    """The 95 % interval; a dash where it has no ends."""
    if one.ci_low is None or one.ci_high is None:
        return "-"
    return f"{formatting.signed(one.ci_low)} to {formatting.signed(one.ci_high)}"


def reach_of(found: SliceReport) -> float:
    """The right end of the axis: all intervals of slices with enough users fit, and those of small ones where there are no others."""
    slices = [found.everyone, *(one for by in found.by for one in by.slices)]
    for some in ([one for one in slices if not one.small], slices):
        ends = [abs(value) for one in some for value in (one.ci_low, one.ci_high) if value is not None]
        if widest := max(ends, default=0.0):
            return widest
    return 1.0


def plot_line(one: Slice, reach: float, width: int = PLOT) -> str:
    """The difference and its interval on an axis from -reach to reach."""
    low = -math.inf if one.ci_low is None else one.ci_low
    high = math.inf if one.ci_high is None else one.ci_high
    return interval_line(one.difference, (low, high), reach=reach, width=width)


def axis_title(found: SliceReport) -> str:
    """What lies on either side of zero in the plot."""
    left, right = (found.a, found.b) if oriented(found.metric, 1.0) > 0 else (found.b, found.a)
    return f"{left} better | {right} better"


def missing(found: SliceReport) -> Sequence[str]:
    """A sentence for each way to slice that has no slices."""
    return [f"{by.title}: {by.why}" for by in found.by if not by.slices]
