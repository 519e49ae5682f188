"""Paired significance tests of two systems on the same users, with one or several seeds each.

Legend: U users, M metrics, R resamples, C cells.

With one run per system, users are the only source of variance. A user contributes only through the two ranks, and a rank
beyond the largest cutoff K contributes 0. Users therefore fall into at most (K + 1)² cells, and a resample of users is a
multinomial draw of cell counts, for all metrics at once. This equals the bootstrap over users, at a cost independent of U.

With several seeds, users and seeds are both sources of variance. Resampling three seeds gives intervals that are too
narrow, so the variance of seeds is added, and where one side has a single seed, borrowed (engine/evaluation/estimates.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.estimates import LEVEL, estimates
from engine.evaluation.metrics import gains
from engine.evaluation.tails import randomization_p
from engine.metric_registry import DEFAULT, find, full_names, split_name

RESAMPLES = 10_000
FEW = 20
"""Resamples as extreme as what was observed, below which the p-value is computed without resamples."""
BORROWED = "users and seeds, borrowed"
"""The method's name where a side with one seed takes the seed variance of the other."""


@dataclass(frozen=True)
class Difference:
    """Test of b minus a in one metric."""

    metric: str
    difference: float
    ci_low: float
    ci_high: float
    """95 % confidence interval."""
    p_value: float
    """Two-sided; null hypothesis: no difference."""
    method: str
    """`users` (bootstrap and randomization over users), `users, t` (a metric without a cutoff), `users and seeds` (t), or
    `users and seeds, borrowed` (t, where one side has a single seed)."""


def metric_names(ks: Sequence[int], names: Sequence[str] = DEFAULT) -> list[str]:
    """Full names in the order of the columns of `gain_matrix`: `hr@5`, `ndcg@5`, `mrr@5`, `hr@10`, ...

    Metrics that users have no values of are left out.
    """
    return [full for full in full_names(names, ks) if (metric := find(split_name(full)[0])) and metric.per_user]


def gain_matrix(ranks: NDArray[np.integer], ks: Sequence[int], names: Sequence[str] = DEFAULT) -> NDArray[np.float64]:
    """(U, M) contribution of each user to each metric."""
    return np.stack(list(gains(ranks, ks, names).values()), axis=1)


def compare(
    a: Sequence[NDArray[np.integer]],
    b: Sequence[NDArray[np.integer]],
    *,
    ks: Sequence[int],
    names: Sequence[str] = DEFAULT,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Difference]:
    """Test every metric that users have values of, b against a, given the ranks (U,) of the same users in the same order, one array per seed.

    With one run per side: percentile bootstrap for the interval, randomization (the two outcomes of each user swapped
    with probability 1/2) for the p-value, (1 + resamples as extreme) / (1 + resamples); where fewer than 20 are as extreme,
    the p-value of all swaps, so that it has no floor. Otherwise t over users and seeds; a side with a single seed then borrows the
    other one's seed variance, which the caller should report. A metric without a cutoff, in which no two users need be alike, takes t over users in
    place of the resamples.

    Raises:
        ValueError: a side has no ranks, or the numbers of users differ.
    """
    sizes = {len(ranks) for ranks in [*a, *b]}
    if not a or not b or len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"both sides need ranks of the same users, not {sorted(sizes)}")
    if len(a) == len(b) == 1:
        cut = [name for name in names if (metric := find(name)) and metric.cutoff]
        plain = [name for name in names if name not in cut]
        found = _by_resampling(a[0], b[0], ks=ks, names=cut, resamples=resamples, seed=seed)
        return found + _by_variance(a, b, ks=ks, names=plain, method="users, t")
    return _by_variance(a, b, ks=ks, names=names, method="users and seeds")


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: adjusted p-values that control the family-wise error rate (Holm 1979)."""
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, float)[order] * (count - np.arange(count))
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if count else scaled
    return adjusted.tolist()


def _by_resampling(
    a: NDArray[np.integer],
    b: NDArray[np.integer],
    *,
    ks: Sequence[int],
    names: Sequence[str],
    resamples: int,
    seed: int,
) -> list[Difference]:
    if not (columns := metric_names(ks, names)):
        return []
    users, rank_limit = len(a), max(ks) + 1
    cells = np.minimum(a, rank_limit) * (rank_limit + 1) + np.minimum(b, rank_limit)  # (U,)
    rank_pairs, counts = np.unique(cells, return_counts=True)  # (C,)
    after, before = rank_pairs % (rank_limit + 1), rank_pairs // (rank_limit + 1)
    deltas = gain_matrix(after, ks, names) - gain_matrix(before, ks, names)  # (C, M)
    observed = counts @ deltas / users  # (M,)
    rng = np.random.default_rng(seed)
    resampled = rng.multinomial(users, counts / users, size=resamples) @ deltas / users  # (R, M)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    changed = np.any(deltas != 0, axis=1)
    signed_counts = 2 * rng.binomial(counts[changed], 0.5, size=(resamples, int(changed.sum()))) - counts[changed]
    swapped = signed_counts @ deltas[changed] / users  # (R, M)
    tolerance = 1e-12 * (1 + np.abs(observed))
    extreme = (np.abs(swapped) >= np.abs(observed) - tolerance).sum(0)  # (M,)
    p = (1 + extreme) / (1 + resamples)
    for i in np.flatnonzero(extreme < FEW):
        p[i] = randomization_p(deltas[:, i], counts, rng=np.random.default_rng([seed, int(i)]))
    return [
        Difference(name, float(observed[i]), float(low[i]), float(high[i]), float(p[i]), "users")
        for i, name in enumerate(columns)
    ]


def _by_variance(
    a: Sequence[NDArray[np.integer]],
    b: Sequence[NDArray[np.integer]],
    *,
    ks: Sequence[int],
    names: Sequence[str],
    method: str,
) -> list[Difference]:
    if not (columns := metric_names(ks, names)):
        return []
    sides = [np.stack([gain_matrix(ranks, ks, names) for ranks in side]) for side in (a, b)]  # (seeds, U, M) each
    found: list[Difference] = []
    for name, one in zip(columns, estimates(*sides), strict=True):
        low, high = one.interval() if one.terms else (one.difference, one.difference)  # a single user
        found.append(Difference(name, one.difference, low, high, one.p_value(), BORROWED if one.borrowed else method))
    return found
