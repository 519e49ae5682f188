"""Exact top-k search among more candidates than are held in memory. Legend: Q queries, C candidates, S size of a vector, k neighbors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.data.vector_rows import VectorRows
from engine.retrieval.topk import ExactSearch, Found, first_k

HELD_NUMBERS = 1 << 24
"""Numbers of candidates, and of queries, that are held at once (64 MB each)."""


class ExactSearchInParts:
    """`ExactSearch` with candidates and queries read in parts. The lists are the same: no score depends on what else is searched."""

    def __init__(self, candidates: VectorRows, *, k: int) -> None:
        """Search among candidates (C, S), normalized by the caller for cosine."""
        self._candidates, self._k = candidates, k
        self._held = max(1, HELD_NUMBERS // max(1, candidates.shape[1]))

    def __call__(
        self,
        queries: VectorRows,
        skip: NDArray[np.int64],
        *,
        step: Callable[[int], None] = lambda done: None,
    ) -> Found:
        """Search for queries (Q, S); arguments as of `ExactSearch`."""
        best, similarity = _none(len(queries), self._k)
        for first in range(0, len(queries) if len(self._candidates) else 0, self._held):
            part = slice(first, min(first + self._held, len(queries)))
            vectors = queries.take(np.arange(part.start, part.stop))
            best[part], similarity[part] = self._among_all(vectors, skip[part], lambda done, at=first: step(at + done))
        return best, similarity

    def _among_all(self, queries: NDArray[np.float32], skip: NDArray[np.int64], step: Callable[[int], None]) -> Found:
        """The best of each part of the candidates, and the best of those."""
        best, similarity = _none(len(queries), self._k)
        count = len(self._candidates)
        for first in range(0, count, self._held):
            last = min(first + self._held, count)
            search = ExactSearch(self._candidates.take(np.arange(first, last)), k=self._k)

            def compared(done: int, first: int = first, last: int = last) -> None:
                step((len(queries) * first + done * (last - first)) // count)

            found, scores = search(queries, (skip - first).clip(0, last - first), step=compared)
            found[found >= 0] += first
            best, similarity = _better((best, similarity), (found, scores)) if first else (found, scores)
        return best, similarity


def _none(count: int, k: int) -> Found:
    return np.full((count, k), -1, np.int64), np.zeros((count, k), np.float32)


def _better(one: Found, other: Found) -> Found:
    """The k best of two lists (Q, k) for the same queries."""
    columns = np.concatenate([one[0], other[0]], axis=1)
    scores = np.concatenate([one[1], other[1]], axis=1)
    rows, places = np.nonzero(columns >= 0)
    return first_k(rows, columns[rows, places], scores[rows, places], count=len(columns), k=one[0].shape[1])
