"""Small p-values of the randomization test, without a floor.

Legend: C cells of users with the same outcome, D draws.

In the randomization test each user's two outcomes are swapped with probability 1/2, so that the sum of all differences is a sum
over cells of d (2 X - n), X binomial(n, 1/2). R random swaps cannot show a p-value below 1 / (1 + R), which a correction
for many tests multiplies. Here users are swapped with the probability that makes the observed sum the expected one (exponential tilting),
and each draw is weighted by its likelihood ratio: the estimate has no bias, and a relative error of a few percent
however small the p-value is. Siegmund 1976, Importance sampling in the Monte Carlo study of sequential tests; Owen 2013,
Monte Carlo theory, methods and examples, section 9.6.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DRAWS = 4_000


def randomization_p(
    deltas: NDArray[np.floating], counts: NDArray[np.integer], *, rng: np.random.Generator, draws: int = DRAWS
) -> float:
    """Two-sided p-value of the sum of `counts` (C,) differences `deltas` (C,) against all swaps of signs.

    Exact where all differences have one size, as those of the hit ratio (the sign test, for two runs McNemar's exact test); 1 for a sum of 0.
    """
    changed = np.asarray(deltas) != 0
    sizes, cell = np.unique(np.round(np.abs(deltas[changed]), 15), return_inverse=True)
    sizes, users = sizes.astype(float), np.bincount(cell, counts[changed]).astype(np.int64)
    observed = abs(float(np.asarray(counts) @ np.asarray(deltas, float)))
    if not len(sizes) or observed <= 1e-12 * float(users @ sizes):
        return 1.0
    if len(sizes) == 1:
        from scipy.stats import binom

        total = int(users[0])
        up = round((observed / sizes[0] + total) / 2)
        return min(1.0, 2 * float(binom.sf(up - 1, total, 0.5)))
    tilt = _tilt(sizes, users, observed)
    log_ratio = float(users @ _log_cosh(tilt * sizes))
    up = rng.binomial(users, 1 / (1 + np.exp(-2 * tilt * sizes)), size=(draws, len(sizes)))  # (D, C)
    sums = (2 * up - users) @ sizes  # (D,)
    reached = sums >= observed - 1e-12 * (1 + observed)
    weights = np.exp(log_ratio - tilt * sums[reached])
    return min(1.0, 2 * float(weights.sum()) / draws)


def _log_cosh(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.logaddexp(x, -x) - np.log(2)


def _tilt(sizes: NDArray[np.floating], users: NDArray[np.integer], observed: float) -> float:
    """The tilt whose expected sum is the observed one; where every difference has the same sign, as much as makes that certain."""
    low, high = 0.0, 40 / float(sizes.min())
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if users @ (sizes * np.tanh(middle * sizes)) < observed else (low, middle)
    return (low + high) / 2
