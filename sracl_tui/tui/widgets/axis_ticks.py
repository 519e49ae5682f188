"""Round numbers for the axes of a plot, few enough to be read."""

from __future__ import annotations

import math

ROUND = (1, 2, 5, 10)


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
