"""Round numbers for the axes of a plot, few enough to be read."""

from __future__ import annotations

import math
from datetime import UTC, datetime

ROUND = (1, 2, 5, 10)
SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)
DAYS = (1, 2, 7, 14)
MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 6000, 12_000)
DAY = 86_400


def linear(low: float, high: float, most: int) -> list[float]:
    """At most `most` multiples of 1, 2 or 5 times a power of ten inside a range; at least one where that is possible."""
    if not high > low or most < 1:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    found: list[float] = []
    for factor in (*ROUND, 20, 50, 100):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [place * step for place in range(first, last + 1)] or found[:1] or [low]
        found = [first * step]
    return found[:1]


def logarithmic(low: float, high: float, most: int) -> list[float]:
    """The same for a logarithmic axis: powers of ten, with 2 and 5 between them where they fit; limits as log10."""
    for factors in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,)):
        ticks = [
            factor * 10.0**power
            for power in range(math.floor(low), math.ceil(high) + 1)
            for factor in factors
            if low <= math.log10(factor * 10.0**power) <= high
        ]
        if len(ticks) <= most:
            return ticks if len(ticks) > 1 else linear(10**low, 10**high, most)
    return ticks[:: -(-len(ticks) // max(1, most))]


def whole(low: float, high: float, most: int) -> list[int]:
    """At most `most` round whole numbers inside a range."""
    return sorted({round(tick) for tick in linear(low, high, min(most, max(1, int(high - low) + 1)))})


def labels(values: list[float]) -> list[str]:
    """Numbers with the same and least number of digits that tells them apart; very small and large ones as powers."""
    most = max((abs(value) for value in values), default=0.0)
    if most and (most >= 1e6 or most < 1e-3):
        return [f"{value:.3g}" for value in values]
    texts = [f"{value:.6f}" for value in values]
    for digits in range(6, -1, -1):
        shorter = [f"{value:.{digits}f}" for value in values]
        if not all(math.isclose(float(a), b, abs_tol=most * 1e-6) for a, b in zip(shorter, values, strict=True)):
            break
        texts = shorter
    return texts


def times(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """At most `most` round times inside a range, with their texts; Unix times, UTC."""
    for step in (*SECONDS, *(days * DAY for days in DAYS)):
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first + 1 <= most:
            return [(place * step, _time_text(place * step, step, high - low)) for place in range(first, last + 1)]
    begin, end = datetime.fromtimestamp(low, UTC), datetime.fromtimestamp(high, UTC)
    first, last = begin.year * 12 + begin.month - 1, end.year * 12 + end.month - 1
    found: list[tuple[float, str]] = []
    for step in MONTHS:
        months = [month for month in range(first - first % step, last + 1, step) if month >= 12]
        starts = [datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months]
        found = [(start.timestamp(), f"{start:%Y}" if step >= 12 else f"{start:%Y-%m}") for start in starts]
        found = [(second, text) for second, text in found if low <= second <= high]
        if len(found) <= most:
            break
    return found[: max(1, most)]


def _time_text(second: float, step: int, span: float) -> str:
    at = datetime.fromtimestamp(second, UTC)
    if step >= DAY:
        return f"{at:%Y-%m-%d}"
    if step < 60:
        return f"{at:%H:%M:%S}"
    return f"{at:%m-%d %H:%M}" if span > DAY else f"{at:%H:%M}"
