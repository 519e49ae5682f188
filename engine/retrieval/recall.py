"""How many of the true neighbors an approximate search finds.

Legend: Q queries, k neighbors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.retrieval.topk import ExactSearch

SEED = 1
SAMPLE = 200
"""Queries on which the recall is measured."""


def measured_recall(
    exact: ExactSearch,
    queries: NDArray[np.float32],
    skip: NDArray[np.int64],
    best: NDArray[np.int64],
    similarity: NDArray[np.float32],
) -> float | None:
    """Share of the exact neighbors that were found; one that is as similar as the last exact one counts as found."""
    generator = np.random.default_rng(SEED)
    sample = np.sort(generator.choice(len(queries), min(SAMPLE, len(queries)), replace=False))
    columns, scores = exact(queries[sample], skip[sample])
    mask = columns >= 0
    if not mask.any():
        return None
    last = np.where(mask, scores, np.inf).min(axis=1, keepdims=True)
    right = (best[sample] >= 0) & (similarity[sample] >= last)
    return float(right.sum() / mask.sum())
