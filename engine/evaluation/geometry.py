"""Geometry of a trained run: how its users' vectors are distributed, and how the synthesizer weighs their neighbors.

None of these numbers measures recommendation. Where one is not defined it is NaN.

Legend: N vectors, D width, A anchors, K neighbors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

VECTORS_AT_MOST = 20_000
"""Uniformity of more vectors than these is taken over the pairs of a sample of this size."""
SEED = 1
"""Of that sample."""
UNIFORMITY_T = 2.0
"""t of the Gaussian potential, as in its source."""
CHUNK = 512
"""Vectors whose pairs are held at once."""
COMPARISONS_AT_ONCE = 4_000_000
"""Comparisons of two neighbors of an anchor that are held at once."""

Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]


def uniformity(vectors: Floats, *, at_most: int = VECTORS_AT_MOST) -> float:
    """log of the mean of exp(-2 ||x - y||^2) over all pairs of distinct vectors (N, D), scaled to length 1.

    0 when all point the same way; independent uniform directions come to -4 as D grows. Vectors of zeros have no
    direction and are left out. Of more than `at_most` vectors a sample of that size, drawn with a fixed seed, is used.
    Source: Wang and Isola 2020, L_uniform with t = 2.
    """
    units = _units(vectors)
    if len(units) > at_most:
        units = units[np.random.default_rng(SEED).choice(len(units), at_most, replace=False)]
    count = len(units)
    if count < 2:
        return math.nan
    total = 0.0
    for start in range(0, count, CHUNK):
        part = units[start : start + CHUNK]
        potentials = part @ units[start:].T  # (B, N - start); ||x - y||^2 = 2 - 2 x.y
        potentials -= 1.0
        potentials *= 2.0 * UNIFORMITY_T
        np.exp(potentials, out=potentials)
        within = potentials[:, : len(part)]
        total += float(potentials[:, len(part) :].sum()) + float((within.sum() - np.trace(within)) / 2.0)
    return math.log(total / (count * (count - 1) / 2.0))


def effective_rank(vectors: Floats) -> float:
    """exp of the entropy of the singular values, scaled to sum 1, of the matrix (N, D) as it is (not centered).

    From 1, when all vectors lie on a line through the origin, to min(N, D). Source: Roy and Vetterli 2007.
    """
    if vectors.size == 0:
        return math.nan
    values = np.linalg.svd(np.asarray(vectors, np.float64), compute_uv=False)
    if values.sum() == 0:
        return math.nan
    shares = values / values.sum()
    return float(np.exp(_entropies(shares[None])[0]))


def mean_cosine(vectors: Floats) -> float:
    """Mean cosine over all pairs of distinct vectors (N, D): (||sum of x / ||x|| ||^2 - N) / (N (N - 1)).

    Exact and without a loop over pairs. Vectors of zeros are left out.
    """
    units = _units(vectors)
    count = len(units)
    if count < 2:
        return math.nan
    total = units.sum(axis=0)
    return float((total @ total - count) / (count * (count - 1)))


def spearmans(similarity: Floats, weights: Floats, mask: Mask) -> NDArray[np.float64]:
    """(A,) rank correlation of similarity (A, K) and weight (A, K) of the neighbors in `mask` (A, K).

    Equal values share the mean of their ranks. NaN for an anchor with fewer than two neighbors, or with equal values
    throughout on either side.
    """
    left, right = (_centered_ranks(side, mask) for side in (similarity, weights))
    above = (left * right).sum(axis=1)
    below = np.sqrt((left * left).sum(axis=1) * (right * right).sum(axis=1))
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)


def spearman(similarity: Floats, weights: Floats, mask: Mask) -> float:
    """Mean of `spearmans` over the anchors that have one."""
    values = spearmans(similarity, weights, mask)
    return _mean(values[~np.isnan(values)])


def reordered(similarity: Floats, weights: Floats, mask: Mask) -> float:
    """Share of anchors that rank their neighbors in `mask` (A, K) otherwise by weight (A, K) than by similarity (A, K).

    They do where of some two neighbors the less similar one weighs more; equal weights contradict nothing. Anchors with fewer
    than two neighbors are left out. Two unrelated rankings of ten nearly always differ: read it beside `reordered_by_chance`.
    """
    found = np.zeros(len(mask), bool)
    for start, part in _parts(mask):
        valid = mask[part][:, :, None] & mask[part][:, None, :]
        less = similarity[part][:, :, None] < similarity[part][:, None, :]
        more = weights[part][:, :, None] > weights[part][:, None, :]
        found[start : start + len(valid)] = (less & more & valid).any(axis=(1, 2))
    return _mean(found[mask.sum(axis=1) >= 2])


def reordered_by_chance(similarity: Floats, mask: Mask) -> float:
    """Expectation of `reordered` for weights that are unrelated to the similarity and all different.

    Of the k! orders of an anchor's neighbors, those agree that only permute equally similar ones: the product of t! over
    groups of t equal values.
    """
    agree = np.ones(len(mask))
    for start, part in _parts(mask):
        valid = mask[part]
        equal = (similarity[part][:, :, None] == similarity[part][:, None, :]) & valid[:, None, :]
        places = np.tril(equal).sum(axis=2)  # 1 .. t within a group of equals: their product is t!
        later = np.cumsum(valid, axis=1)  # 1 .. k: their product is k!
        shares = np.where(valid, places / np.maximum(later, 1), 1.0)
        agree[start : start + len(valid)] = shares.prod(axis=1)
    return 1.0 - _mean(agree[mask.sum(axis=1) >= 2])


def weight_entropies(weights: Floats, mask: Mask) -> NDArray[np.float64]:
    """(A,) entropy of the weights (A, K) in nats, from 0 to log k of the k neighbors in `mask`; NaN without any."""
    shares = np.where(mask, weights, 0.0).astype(np.float64)
    sums = shares.sum(axis=1, keepdims=True)  # they are 1 up to the rounding of a float32
    shares = np.divide(shares, sums, out=shares, where=sums > 0)
    return np.where(mask.any(axis=1), _entropies(shares), np.nan)


def weight_entropy(weights: Floats, mask: Mask) -> float:
    """Mean over anchors of the entropy of their weights (A, K) in nats, divided by log k of the k neighbors in `mask`.

    1 when all neighbors weigh the same, 0 when one has all the weight. Anchors with fewer than two neighbors are left out.
    """
    counts = mask.sum(axis=1)
    some = counts >= 2
    return _mean(weight_entropies(weights[some], mask[some]) / np.log(counts[some]))


def entropy_spread(weights: Floats, mask: Mask) -> tuple[float, float, float] | None:
    """Mean, 5 and 95 percent quantile over anchors of what `weight_entropy` averages; none where no anchor has two neighbors."""
    counts = mask.sum(axis=1)
    some = counts >= 2
    if not some.any():
        return None
    shares = weight_entropies(weights[some], mask[some]) / np.log(counts[some])
    low, high = np.quantile(shares, [0.05, 0.95])
    return float(shares.mean()), float(low), float(high)


def movement(before: Floats, after: Floats, mask: Mask) -> float:
    """Mean over anchors of the total variation distance, half the sum of |p - q|, of their weights (A, K) at two times.

    0 when nothing moved, 1 when all weight went to other neighbors. Anchors without neighbors are left out.
    """
    moved = np.where(mask, np.abs(np.asarray(after, np.float64) - np.asarray(before, np.float64)), 0.0)
    return _mean(moved.sum(axis=1)[mask.any(axis=1)] / 2.0)


def vector_metrics(vectors: Floats) -> dict[str, float]:
    """`uniformity`, `effective_rank` and `mean_cosine` of vectors (N, D)."""
    return {
        "uniformity": uniformity(vectors),
        "effective_rank": effective_rank(vectors),
        "mean_cosine": mean_cosine(vectors),
    }


def _units(vectors: Floats) -> NDArray[np.float64]:
    wide = np.asarray(vectors, np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    some = norms[:, 0] > 0
    return wide[some] / norms[some]


def _entropies(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """(A,) entropy in nats of each row; 0 log 0 is 0."""
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return -(shares * logs).sum(axis=1)


def _centered_ranks(values: Floats, mask: Mask) -> NDArray[np.float64]:
    """(A, K) rank of each value among those of its row in `mask`, minus their mean; 0 outside it.

    A rank is the number of smaller values and half the number of equal ones: ties share their mean.
    """
    ranks = np.zeros(values.shape)
    for start, rows in _parts(mask):
        part, valid = values[rows], mask[rows]
        smaller = (part[:, None, :] < part[:, :, None]) & valid[:, None, :]  # (B, K, K)
        equal = (part[:, None, :] == part[:, :, None]) & valid[:, None, :]
        ranks[start : start + len(part)] = smaller.sum(axis=2) + equal.sum(axis=2) / 2.0
    counts = mask.sum(axis=1, keepdims=True)
    return np.where(mask, ranks - counts / 2.0, 0.0)


def _parts(mask: Mask) -> Iterator[tuple[int, slice]]:
    """Rows of (A, K) in parts whose pairs of columns fit into memory, with the first of each."""
    step = max(1, COMPARISONS_AT_ONCE // max(1, mask.shape[1] ** 2))
    for start in range(0, len(mask), step):
        yield start, slice(start, start + step)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan
