"""A difference between two sides with the sources of its uncertainty: users and seeds.

Legend: S seeds of a side, U users, M metrics.

se² = var over users / U + var over seeds of each side / its number of seeds, with Student's t and the degrees of freedom of
Welch and Satterthwaite. A side with one seed borrows the seed variance of the other one, which then counts as often as both need it:
var (1 / S + 1). There the quantile of t is the mean of those of all terms, weighted by their variances (Cochran and Cox 1957, Experimental
designs, section 4.14), as the degrees of freedom of Welch and Satterthwaite gave more than 5 % false alarms. Where both sides have
one seed, users are the only source.
docs/statistics.md has the error rates, by simulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.metrics import gains
from engine.metric_registry import split_name

LEVEL = 0.95
PRIOR_SEED_SHARE = 0.03
"""Standard deviation between seeds as a share of the metric, where no runs tell it: 1.4 to 4.4 % on Office (docs/results.md)."""
PRIOR_CORRELATION = 0.65
"""Correlation over users of the values that two trained models give them, likewise: .64 (HR@20), about .72 (NDCG@20)."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Standard deviations of which the uncertainty of a difference is made, for any number of seeds."""

    users: int
    """0 for a measure of runs that users have no value of."""
    user_sd: float = 0.0
    """Over users, of the true difference between the two sides."""
    noise_sd: float = 0.0
    """Of a user's value from seed to seed; 0 where one seed cannot tell it from `user_sd`."""
    seed_sds: tuple[float, float]
    """Of the metric over seeds, side a and side b."""

    def user_variance(self, seeds: tuple[int, int]) -> float:
        """Variance over users of the difference between means over so many seeds; a side of 0 seeds is a constant."""
        return self.user_sd**2 + self.noise_sd**2 * sum(1 / count for count in seeds if count)

    @classmethod
    def prior(cls, mean: float, users: int) -> Spread:
        """What is assumed before there are runs, of a metric between 0 and 1 whose mean is about `mean`.

        A value between 0 and 1 of this mean varies most when it is 0 or 1, so the spread over users is an upper bound.
        """
        user_sd = math.sqrt(2 * (1 - PRIOR_CORRELATION) * mean * (1 - mean))
        seed_sd = PRIOR_SEED_SHARE * mean
        return cls(users=users, user_sd=user_sd, seed_sds=(seed_sd, seed_sd))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A difference, b minus a."""

    difference: float
    seeds: tuple[int, int]
    """Of a and b; 0 for a side that is a constant."""
    users: int
    """0 for a measure of runs that users have no value of."""
    user_variance: float
    """Over users, of the difference between the two sides' means over their seeds."""
    noise_variances: tuple[float, float]
    """Mean over users of the variance of a user's value over seeds; NaN for a side with one seed."""
    seed_variances: tuple[float, float]
    """Of the metric over seeds; NaN for a side with one seed."""

    @property
    def borrowed(self) -> str:
        """The side, `a` or `b`, that has one seed and takes the other one's seed variance; empty for neither."""
        short, long = min(self.seeds), max(self.seeds)
        return ("a" if self.seeds[0] == 1 else "b") if short == 1 and long > 1 else ""

    @property
    def terms(self) -> list[tuple[float, float]]:
        """Variances of the difference, each with its degrees of freedom."""
        found: list[tuple[float, float]] = []
        if self.users > 1:
            found.append((self.user_variance / self.users, self.users - 1))
        if self.borrowed:
            lender = 1 if self.borrowed == "a" else 0
            count = self.seeds[lender]
            return [*found, (self.seed_variances[lender] * (1 / count + 1), count - 1)]
        sides = zip(self.seed_variances, self.seeds, strict=True)
        return found + [(variance / count, count - 1) for variance, count in sides if count > 1]

    @property
    def se(self) -> float:
        """Standard error; infinite where nothing tells it."""
        return math.sqrt(sum(term for term, _ in self.terms)) if self.terms else math.inf

    @property
    def degrees(self) -> float:
        """Degrees of freedom by Welch and Satterthwaite; infinite for a standard error of 0."""
        total = sum(term for term, _ in self.terms)
        squares = sum(term**2 / degrees for term, degrees in self.terms)
        return total**2 / squares if squares else math.inf

    def p_value(self) -> float:
        """Two-sided; null hypothesis: no difference."""
        if self.se == 0:
            return 1.0 if self.difference == 0 else 0.0
        return 2 * self._tail(abs(self.difference))

    def equivalence_p(self, margin: float) -> float:
        """The larger p-value of two one-sided tests; null hypothesis: the difference is not within -margin to margin. Schuirmann 1987."""
        inside = margin - abs(self.difference)
        if self.se == 0:
            return 0.0 if inside > 0 else 1.0
        return self._tail(inside)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Confidence interval of the difference."""
        width = self._width((1 - level) / 2)
        return self.difference - width, self.difference + width

    def spread(self) -> Spread:
        """The standard deviations behind it; a side that has one seed is taken to vary as the other one does, and two of them not at all."""
        noise = _mean_known(self.noise_variances)
        per_noise = sum(1 / count for count in self.seeds if count)
        noise = min(noise, self.user_variance / per_noise)
        lent = _mean_known(self.seed_variances)
        sds = [math.sqrt(lent if math.isnan(value) else value) for value in self.seed_variances]
        return Spread(
            users=self.users,
            user_sd=math.sqrt(max(0.0, self.user_variance - noise * per_noise)),
            noise_sd=math.sqrt(noise),
            seed_sds=(sds[0], sds[1]),
        )

    def _width(self, tail: float) -> float:
        """The distance that the error exceeds, upward, with a probability of at most 1/2."""
        if not self.terms or self.se == 0:
            return 0.0 if self.terms else math.inf
        from scipy.special import stdtrit

        if not self.borrowed:
            return -self.se * float(stdtrit(self.degrees, tail))
        return -sum(term * float(stdtrit(degrees, tail)) for term, degrees in self.terms) / self.se

    def _tail(self, distance: float) -> float:
        """The probability that the error exceeds a distance, upward."""
        if not self.terms:
            return 0.5
        from scipy.special import stdtr

        if not self.borrowed:
            return float(stdtr(self.degrees, -distance / self.se))
        if distance < 0:
            return 1 - self._tail(-distance)
        low, high = -690.0, math.log(0.5)  # logarithms: no smaller probability is told
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self._width(math.exp(middle)) > distance else (low, middle)
        return math.exp((low + high) / 2)


def estimates(a: NDArray[np.floating], b: NDArray[np.floating]) -> list[Estimate]:
    """One for each metric, from the values (S, U, M) of the same users on both sides; the sides may have different S.

    Raises:
        ValueError: a side has no seed or no user, or the users or metrics differ.
    """
    if a.ndim != 3 or b.ndim != 3 or a.shape[1:] != b.shape[1:] or 0 in (*a.shape[:2], *b.shape[:2]):
        raise ValueError(
            f"both sides need values (seeds, users, metrics) of the same users, not {a.shape} and {b.shape}"
        )
    delta = b.mean(0) - a.mean(0)  # (U, M)
    users = len(delta)
    user_variances = delta.var(0, ddof=1) if users > 1 else np.zeros(delta.shape[1])
    noise = [_over_seeds(side).mean(0) for side in (a, b)]  # (M,) each
    seeds = [_over_seeds(side.mean(1)) for side in (a, b)]
    return [
        Estimate(
            difference=float(delta[:, i].mean()),
            seeds=(len(a), len(b)),
            users=users,
            user_variance=float(user_variances[i]),
            noise_variances=(float(noise[0][i]), float(noise[1][i])),
            seed_variances=(float(seeds[0][i]), float(seeds[1][i])),
        )
        for i in range(delta.shape[1])
    ]


def estimate(a: NDArray[np.floating], b: NDArray[np.floating]) -> Estimate:
    """From the values (S, U) of the same users on both sides.

    Raises:
        ValueError: a side has no seed or no user, or the users differ.
    """
    return estimates(np.asarray(a)[..., None], np.asarray(b)[..., None])[0]


def estimate_ranks(a: Sequence[NDArray[np.integer]], b: Sequence[NDArray[np.integer]], metric: str) -> Estimate:
    """Of a metric such as `ndcg@20`, from the target ranks (U,) of the same users in the same order, an array per seed.

    Raises:
        ConfigError: an installed metric cannot be imported.
        ValueError: users have no value of the metric, a side has no ranks, or the users differ.
    """
    name, k = split_name(metric)
    sides = [[gains(ranks, (k,), (name,)).get(metric) for ranks in side] for side in (a, b)]
    if any(values is None for side in sides for values in side):
        raise ValueError(f"users have no value of {metric!r}")
    if len({len(ranks) for ranks in [*a, *b]}) != 1 or not a or not b:
        raise ValueError("both sides need ranks of the same users")
    return estimate(np.asarray(sides[0]), np.asarray(sides[1]))


def estimate_measure(a: Sequence[float] | float, b: Sequence[float]) -> Estimate:
    """Of a measure that a run has and its users have not, such as seconds per step: a value per seed, or for `a` one constant.

    Raises:
        ValueError: a side has no values.
    """
    constant = isinstance(a, int | float)
    sides = [np.atleast_1d(np.asarray(side, float)) for side in (a, b)]
    if not all(map(len, sides)):
        raise ValueError("both sides need a value")
    variances = [_over_seeds(side[:, None])[0] for side in sides]
    return Estimate(
        difference=float(sides[1].mean() - sides[0].mean()),
        seeds=(0 if constant else len(sides[0]), len(sides[1])),
        users=0,
        user_variance=0.0,
        noise_variances=(math.nan, math.nan),
        seed_variances=(0.0 if constant else float(variances[0]), float(variances[1])),
    )


def _over_seeds(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Sample variance over the first axis; NaN for a single seed."""
    return values.var(0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)


def _mean_known(values: Sequence[float]) -> float:
    """Mean of those that are not NaN; 0 for none."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else 0.0
