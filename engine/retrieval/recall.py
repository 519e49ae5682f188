"""How many of the true neighbors an approximate search finds.

Legend: Q queries, k neighbors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.data.vector_rows import HeldRows, VectorRows
from engine.retrieval.topk_in_parts import ExactSearchInParts

SEED = 1
SAMPLE = 200
"""Queries on which the recall is measured."""


def measured_recall(
    candidates: VectorRows,
    queries: VectorRows,
    skip: NDArray[np.int64],
    best: NDArray[np.int64],
    similarity: NDArray[np.float32],
) -> float | None:
    """Share of the exact neighbors that were found; one that is as similar as the last exact one counts as found."""
    generator = np.random.default_rng(SEED)
    sample = np.sort(generator.choice(len(queries), min(SAMPLE, len(queries)), replace=False))
    exact = ExactSearchInParts(candidates, k=best.shape[1])
    columns, scores = exact(HeldRows(queries.take(sample)), skip[sample])
    mask = columns >= 0
    if not mask.any():
        return None
    last = np.where(mask, scores, np.inf).min(axis=1, keepdims=True)
    right = (best[sample] >= 0) & (similarity[sample] >= last)
    return float(right.sum() / mask.sum())
