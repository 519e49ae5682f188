"""What so many users and seeds can show: power, by simulation of the very test that engine/evaluation/estimates.py makes.

Legend: D draws.

A draw is what the test sees of an experiment: the error of the difference and the variances that are estimated beside it
(normal, and scaled chi-squared). The test with its degrees of freedom is then made on every draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.estimates import Spread

POWER = 0.8
DRAWS = 10_000
CAP = 50
"""Seeds beyond which a claim is said not to be decidable by more of them."""


@dataclass(frozen=True)
class Draws:
    """D simulated experiments without a true difference."""

    errors: NDArray[np.float64]
    """(D,) the difference that is seen."""
    ses: NDArray[np.float64]
    """(D,) its standard error, as the experiment estimates it."""
    parts: list[tuple[NDArray[np.float64], NDArray[np.float64]]]
    """Degrees of freedom (D,) by Welch and Satterthwaite with weight 1, or those of each term with its share of the variance (D,), weight first."""

    def half_width(self, level: float) -> NDArray[np.float64]:
        """(D,) half the width of the confidence interval of a level."""
        from scipy.special import stdtrit

        return -self.ses * sum(share * stdtrit(degrees, (1 - level) / 2) for share, degrees in self.parts)

    def shown(self, difference: float, alpha: float) -> float:
        """Probability that a true difference is shown, in its direction."""
        return float((self.errors + abs(difference) > self.half_width(1 - alpha)).mean())

    def equivalent(self, difference: float, margin: float, alpha: float) -> float:
        """Probability that two one-sided tests at `alpha` show a true difference to be within the margin."""
        return float((np.abs(self.errors + difference) + self.half_width(1 - 2 * alpha) < margin).mean())

    def decided(self, difference: float, margin: float, alpha: float, equivalence_alpha: float) -> float:
        """Probability that the test shows either: a difference, whichever way, or that it is within the margin."""
        seen = np.abs(self.errors + difference)
        beyond = seen > self.half_width(1 - alpha)
        return float((beyond | (seen + self.half_width(1 - 2 * equivalence_alpha) < margin)).mean())


def simulate(spread: Spread, seeds: tuple[int, int], *, draws: int = DRAWS, seed: int = 0) -> Draws:
    """Experiments of so many seeds (a, b); a side of one seed borrows the other's variance, a side of 0 is a constant.

    Raises:
        ValueError: neither users nor seeds would tell a standard error.
    """
    rng = np.random.default_rng(seed)
    errors, terms = np.zeros(draws), list[tuple[NDArray[np.float64], float]]()

    def add(variance: float, degrees: float, noise: float) -> None:
        errors[:] += math.sqrt(noise) * rng.standard_normal(draws)
        terms.append((variance * rng.chisquare(degrees, draws) / degrees, degrees))

    if spread.users > 1:
        variance = spread.user_variance(seeds) / spread.users
        add(variance, spread.users - 1, variance)
    sides = [(sd**2, count) for sd, count in zip(spread.seed_sds, seeds, strict=True) if count]
    counts = [count for _, count in sides]
    borrowed = min(counts) == 1 and max(counts) > 1
    if borrowed:
        lent, count = next(side for side in sides if side[1] > 1)
        (alone,) = (variance for variance, each in sides if each == 1)
        add(lent * (1 / count + 1), count - 1, lent / count + alone)
    for variance, count in [] if borrowed else sides:
        if count > 1:
            add(variance / count, count - 1, variance / count)
    if not terms:
        raise ValueError(f"{seeds[0]} and {seeds[1]} seeds without users have no standard error")
    total = np.sum([term for term, _ in terms], axis=0)  # (D,)
    with np.errstate(invalid="ignore", divide="ignore"):
        if borrowed:
            parts = [(np.where(total > 0, term / total, 0.0), np.full(draws, degrees)) for term, degrees in terms]
        else:
            squares = np.sum([term**2 / degrees for term, degrees in terms], axis=0)
            parts = [(np.ones(draws), np.where(squares > 0, total**2 / squares, np.inf))]
    return Draws(errors, np.sqrt(total), parts)


def smallest_difference(
    spread: Spread, seeds: tuple[int, int], *, alpha: float = 0.05, power: float = POWER, draws: int = DRAWS
) -> float:
    """The smallest true difference that a two-sided test at `alpha` shows with this probability.

    Raises:
        ValueError: neither users nor seeds would tell a standard error.
    """
    found = simulate(spread, seeds, draws=draws)
    return float(np.quantile(found.half_width(1 - alpha) - found.errors, power))


def smallest_margin(
    spread: Spread, seeds: tuple[int, int], *, alpha: float = 0.05, power: float = POWER, draws: int = DRAWS
) -> float:
    """The smallest margin within which two sides without a difference are shown to be equivalent with this probability.

    Raises:
        ValueError: neither users nor seeds would tell a standard error.
    """
    found = simulate(spread, seeds, draws=draws)
    return float(np.quantile(np.abs(found.errors) + found.half_width(1 - 2 * alpha), power))


def seeds_to_decide(
    spread: Spread,
    difference: float,
    margin: float = 0.0,
    *,
    alpha: float = 0.05,
    equivalence_alpha: float = 0.05,
    sides: tuple[bool, bool] = (True, True),
    power: float = POWER,
    cap: int = CAP,
) -> int | None:
    """Seeds per side with which the claim is decided with this probability, if the true difference is as given.

    None where `cap` seeds do not suffice: then users are what is missing, or the difference is too near to the margin.

    Args:
        sides: which of a and b are trained; the other one is a constant.
    """

    def enough(count: int) -> bool:
        found = simulate(spread, (count if sides[0] else 0, count if sides[1] else 0), draws=4_000)
        return found.decided(difference, margin, alpha, equivalence_alpha) >= power

    if cap < 2 or not enough(cap):
        return None
    low, high = 1, cap  # not enough, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
