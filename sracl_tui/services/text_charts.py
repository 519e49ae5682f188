"""Charts made of characters, for a terminal and for a screen: bars to the right, columns over time, intervals on an axis."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

EIGHTHS = " ▏▎▍▌▋▊▉█"
LEVELS = " ▁▂▃▄▅▆▇█"
WIDEST = 8
_GROWTHS = (0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2, 4, 9, 99, 10**6, 10**12)
"""Share of its first value by which a range is long: the finest one that fits is taken."""
_EACH = {
    "month": (1, 2, 3, 4, 6, 12, 24, 36, 60, 120, 240, 600, 1200, 12_000, 120_000),
    "day": (1, 2, 7, 14, 28, 56, 112, 224),
}
"""How many periods one column may stand for."""


@dataclass(frozen=True)
class Bar:
    """A line: what it is, its number, the bar."""

    label: str
    count: str
    bar: str


def buckets(spread: Sequence[dict[str, Any]], bins: int) -> list[tuple[int, int, int]]:
    """First value, last value and count of ranges that grow, as such spreads have long tails.

    Args:
        spread: rows of `value` and `count`, by value.
        bins: ranges at most.
    """
    if not spread:
        return []
    first, last = spread[0]["value"], spread[-1]["value"]
    tried = (_edges(first, last, growth, bins) for growth in _GROWTHS)
    edges = next((edges for edges in tried if len(edges) <= bins + 1), [first, last + 1])
    return [
        (low, high - 1, sum(row["count"] for row in spread if low <= row["value"] < high))
        for low, high in itertools.pairwise(edges)
    ]


def _edges(first: int, last: int, growth: float, bins: int) -> list[int]:
    """Where ranges begin, and the end; one more than asked for where they would be too many."""
    edges = [first]
    while edges[-1] <= last and len(edges) <= bins + 1:
        edges.append(min(edges[-1] + max(1, round(edges[-1] * growth)), last + 1))
    return edges


def bars(spread: Sequence[dict[str, Any]], *, bins: int = 12, width: int = 60) -> list[Bar]:
    """A histogram as lines of `width` columns; a range that has anything shows something."""
    found = buckets(spread, bins)
    if not found:
        return []
    labels = [f"{low:,}" if low == high else f"{low:,}-{high:,}" for low, high, _ in found]
    counts = [f"{count:,}" for _, _, count in found]
    side, middle = max(map(len, labels)), max(map(len, counts))
    room, most = max(1, width - side - middle - 3), max(count for _, _, count in found)
    return [
        Bar(f"{label:>{side}}", f"{text:>{middle}}", _length(count / most, room) if count else "")
        for label, text, (_, _, count) in zip(labels, counts, found, strict=True)
    ]


def _length(share: float, columns: int) -> str:
    full, rest = divmod(max(1, round(share * columns * 8)), 8)
    return "█" * full + EIGHTHS[rest].strip()


@dataclass(frozen=True)
class Columns:
    """A chart over time: the scale at the left of each line, the lines, and what stands below."""

    scale: list[str]
    lines: list[str]
    below: str
    each: int
    """Periods (days, months) in a column of the chart."""


def columns(
    times: Sequence[dict[str, Any]], unit: str, *, width: int, height: int, number: Callable[[Any], str] | None = None
) -> Columns | None:
    """Sums over time as a chart; none where there are none or no room.

    Args:
        times: rows of `value` (`2014-07` or `2014-07-23`) and `count`, by value.
        unit: `month` or `day`.
        number: how a sum is written on the scale; none writes a count.
    """
    number = number or _short
    total = sum(row["count"] for row in times)
    widest = max((row["count"] for row in times), default=0)
    side = max(len(number(some)) for some in (total, min(total, 9_999), widest))
    room, rows = width - side - 2, height - 1
    if not total or room < 4 or rows < 1:
        return None
    names, counts = _every(times, unit, room)
    each = next(each for each in _EACH[unit] if each * room >= len(counts))
    sums = [sum(counts[at : at + each]) for at in range(0, len(counts), each)]
    wide, most = min(WIDEST, max(1, room // len(sums))), max(sums)
    short = [name[:4] for name in names] if unit == "month" and len(names) > 14 else names
    lines = []
    for row in range(rows, 0, -1):
        levels = [0 if not n else max(round(n / most * rows * 8), 1) - (row - 1) * 8 for n in sums]
        lines.append("".join(_cell(LEVELS[max(0, min(8, level))], wide) for level in levels))
    scale = [number(most).rjust(side) + " ┤", *[" " * side + " │"] * (rows - 1)]
    if rows > 2:
        scale[-1] = "0".rjust(side) + " ┤"
    return Columns(scale, lines, " " * (side + 2) + _below(short[::each], wide, room), each)


def _short(count: int) -> str:
    """`9,999`, `27k`, `1.2M`: five columns at most."""
    if count < 10_000:
        return f"{count:,}"
    if count < 999_500:
        return f"{count / 1_000:.0f}k"
    return f"{count / 1e6:.1f}M" if count < 99.95e6 else f"{count / 1e6:.0f}M"


def _cell(level: str, wide: int) -> str:
    """A column; with room, a gap keeps it from the next."""
    return level * wide if wide < 3 else level * (wide - 1) + " "


def _every(times: Sequence[dict[str, Any]], unit: str, room: int) -> tuple[list[str], list[int]]:
    """All periods from the first to the last, also those without interactions; months from a January on, if possible."""
    known = {row["value"]: row["count"] for row in times}
    first, last = times[0]["value"], times[-1]["value"]
    if unit == "month":
        begin, end = (int(text[:4]) * 12 + int(text[5:7]) - 1 for text in (first, last))
        if end - begin >= room:
            begin -= begin % 12
        names = [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in range(begin, end + 1)]
    else:
        begin, end = (date.fromisoformat(text).toordinal() for text in (first, last))
        names = [date.fromordinal(day).isoformat() for day in range(begin, end + 1)]
    return names, [known.get(name, 0) for name in names]


def _below(names: list[str], wide: int, room: int) -> str:
    """Labels under the columns, as many as there is room for, each where it begins."""
    text = ""
    for place, (before, name) in enumerate(itertools.pairwise(["", *names])):
        if name != before and (not text or len(text) + 2 <= place * wide <= room - len(name)):
            text = text.ljust(place * wide) + name
    return text


def period(unit: str, each: int) -> str:
    """`month`, `3 months`, `year`, `2 years`, `day`, `week`."""
    known = {("month", 12): "year", ("day", 7): "week"}
    if unit == "month" and each > 12:
        return f"{each // 12} years"
    return known.get((unit, each), unit if each == 1 else f"{each} {unit}s")


def interval_line(
    middle: float, ends: tuple[float, float], *, reach: float, width: int, marks: Sequence[float] = ()
) -> str:
    """An estimate with its interval on an axis from -reach to reach.

    `|` is zero, `:` a mark, `●` the estimate, `─` the interval, `<` and `>` where it goes on beyond the axis.

    Args:
        width: characters; odd, so that 0 is in the middle of one.
    """
    cells = [" "] * width

    def at(value: float) -> int:
        share = (min(max(value, -reach), reach) + reach) / (2 * reach)
        return min(width - 1, int(share * width))

    for value, sign in (*((mark, ":") for mark in marks), (0.0, "|")):
        cells[at(value)] = sign
    low, high = ends
    for place in range(at(low), at(high) + 1):
        cells[place] = "─" if cells[place] == " " else "┼"
    if low < -reach:
        cells[0] = "<"
    if high > reach:
        cells[-1] = ">"
    if abs(middle) <= reach:
        cells[at(middle)] = "●"
    return "".join(cells)
