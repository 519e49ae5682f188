"""Paired significance tests of two systems on the same users, with one or several seeds each.

Legend: U users, M metrics, R resamples, C cells.

With one run per system, users are the only source of variance. A user contributes only through the two ranks, and a rank
beyond the largest cutoff K contributes 0. Users therefore fall into at most (K + 1)² cells, and a resample of users is a
multinomial draw of cell counts, for all metrics at once. This equals the bootstrap over users, at a cost independent of U.

With several seeds, users and seeds are both sources of variance. Resampling three seeds gives intervals that are too
narrow, so the variance of seeds is added: se² = var over users / U + var over seeds of each system / its number of seeds,
with Student's t and the Welch-Satterthwaite degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.metrics import gains

RESAMPLES = 10_000
LEVEL = 0.95


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
    """`users` (bootstrap and randomization over users) or `users and seeds` (t)."""


def metric_names(ks: Sequence[int]) -> list[str]:
    """Names in the order of the columns of `gain_matrix`: `hr@5`, `ndcg@5`, `mrr@5`, `hr@10`, ..."""
    return [f"{name}@{k}" for k in ks for name in ("hr", "ndcg", "mrr")]


def gain_matrix(ranks: NDArray[np.integer], ks: Sequence[int]) -> NDArray[np.float64]:
    """(U, M) contribution of each user to each metric."""
    columns: dict[str, NDArray[np.float64]] = {}
    for k in ks:
        columns |= gains(ranks, k)
    return np.stack([columns[name] for name in metric_names(ks)], axis=1)


def compare(
    a: Sequence[NDArray[np.integer]],
    b: Sequence[NDArray[np.integer]],
    *,
    ks: Sequence[int],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Difference]:
    """Test every metric of b against a, given the ranks (U,) of the same users in the same order, one array per seed.

    With one run per side: percentile bootstrap for the interval, randomization (the two outcomes of each user swapped
    with probability 1/2) for the p-value, (1 + resamples as extreme) / (1 + resamples). Otherwise t over users and seeds;
    a side with a single seed then adds no variance of seeds, which the caller should report.

    Raises:
        ValueError: a side has no ranks, or the numbers of users differ.
    """
    sizes = {len(ranks) for ranks in [*a, *b]}
    if not a or not b or len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"both sides need ranks of the same users, not {sorted(sizes)}")
    if len(a) == len(b) == 1:
        return _by_resampling(a[0], b[0], ks=ks, resamples=resamples, seed=seed)
    return _by_variance(a, b, ks=ks)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: adjusted p-values that control the family-wise error rate (Holm 1979)."""
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, float)[order] * (count - np.arange(count))
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if count else scaled
    return adjusted.tolist()


def _by_resampling(
    a: NDArray[np.integer], b: NDArray[np.integer], *, ks: Sequence[int], resamples: int, seed: int
) -> list[Difference]:
    users, rank_limit = len(a), max(ks) + 1
    cells = np.minimum(a, rank_limit) * (rank_limit + 1) + np.minimum(b, rank_limit)  # (U,)
    rank_pairs, counts = np.unique(cells, return_counts=True)  # (C,)
    deltas = gain_matrix(rank_pairs % (rank_limit + 1), ks) - gain_matrix(rank_pairs // (rank_limit + 1), ks)  # (C, M)
    observed = counts @ deltas / users  # (M,)
    rng = np.random.default_rng(seed)
    resampled = rng.multinomial(users, counts / users, size=resamples) @ deltas / users  # (R, M)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    changed = np.any(deltas != 0, axis=1)
    signed_counts = 2 * rng.binomial(counts[changed], 0.5, size=(resamples, int(changed.sum()))) - counts[changed]
    swapped = signed_counts @ deltas[changed] / users  # (R, M)
    tolerance = 1e-12 * (1 + np.abs(observed))
    p = (1 + (np.abs(swapped) >= np.abs(observed) - tolerance).sum(0)) / (1 + resamples)
    return [
        Difference(name, float(observed[i]), float(low[i]), float(high[i]), float(p[i]), "users")
        for i, name in enumerate(metric_names(ks))
    ]


def _by_variance(
    a: Sequence[NDArray[np.integer]], b: Sequence[NDArray[np.integer]], *, ks: Sequence[int]
) -> list[Difference]:
    from scipy.stats import t as student_t

    users = len(a[0])
    sides = [np.stack([gain_matrix(ranks, ks) for ranks in side]) for side in (a, b)]  # (seeds, U, M) each
    delta = sides[1].mean(0) - sides[0].mean(0)  # (U, M)
    observed = delta.mean(0)
    variance_terms = [(delta.var(0, ddof=1) / users, users - 1)] if users > 1 else []
    for side in sides:
        if len(side) > 1:
            variance_terms.append((side.mean(1).var(0, ddof=1) / len(side), len(side) - 1))
    variance = np.sum([term for term, _ in variance_terms], axis=0)  # (M,)
    satterthwaite = np.sum([term**2 / degrees for term, degrees in variance_terms], axis=0)
    found: list[Difference] = []
    for i, name in enumerate(metric_names(ks)):
        difference, se = float(observed[i]), float(np.sqrt(variance[i]))
        if se == 0:
            p, margin = (1.0 if difference == 0 else 0.0), 0.0
        else:
            degrees = float(variance[i] ** 2 / satterthwaite[i])
            p, margin = (
                2 * float(student_t.sf(abs(difference) / se, degrees)),
                se * float(student_t.ppf((1 + LEVEL) / 2, degrees)),
            )
        found.append(Difference(name, difference, difference - margin, difference + margin, p, "users and seeds"))
    return found
