"""Approximate top-k with Annoy's random-projection trees, and their file.

Legend: Q queries, C candidates, S size of a vector, k neighbors.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config import RetrievalConfig
from engine.retrieval.backend import Index

SEED = 1
CHUNK = 2048
"""Queries between two reports."""


def annoy_search(
    candidates: NDArray[np.float32],
    queries: NDArray[np.float32],
    skip: NDArray[np.int64],
    *,
    k: int,
    trees: int,
    search_k: int,
    step: Callable[[int], None] = lambda done: None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Columns (Q, k), -1 where there are fewer, and their cosine (Q, k).

    Deterministic: the trees are seeded and built by one thread. A query retrieves as many more as it must skip; one that
    still finds fewer than k is searched exactly.

    Args:
        candidates: (C, S), of length 1.
        queries: (Q, S), of length 1.
        skip: (Q, 2) half-open range of columns that each query must not find.
        search_k: nodes that a query inspects.
        step: called after each chunk with the number of queries done; what it raises ends the search.
    """
    import torch

    from engine.retrieval.topk import ExactSearch

    index = build_trees(candidates, trees)
    best = np.full((len(queries), k), -1, np.int64)
    similarity = np.zeros((len(queries), k), np.float32)
    lengths = skip[:, 1] - skip[:, 0]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for start in range(0, len(queries), CHUNK):
            part = slice(start, min(start + CHUNK, len(queries)))
            counts = np.minimum(k + lengths[part], len(candidates)).tolist()
            found = pool.map(
                lambda vector, n: index.get_nns_by_vector(vector, n, search_k), queries[part].tolist(), counts
            )
            best[part], similarity[part] = _ranked(list(found), candidates, queries[part], skip[part], k=k)
            step(part.stop)
    short = np.flatnonzero((best >= 0).sum(axis=1) < np.minimum(k, len(candidates) - lengths))
    if len(short):
        best[short], similarity[short] = ExactSearch(candidates, k=k)(queries[short], skip[short])
    return best, similarity


def build_trees(candidates: NDArray[np.float32], trees: int) -> Any:
    """Annoy's index of candidates (C, S), the same to the last byte whenever it is built."""
    from annoy import AnnoyIndex

    index = AnnoyIndex(candidates.shape[1], "angular")
    index.set_seed(SEED)
    for column, vector in enumerate(candidates):
        index.add_item(column, vector.tolist())
    index.build(trees, n_jobs=1)  # more threads make the neighbors depend on their number
    return index


def _ranked(
    found: list[list[int]],
    candidates: NDArray[np.float32],
    queries: NDArray[np.float32],
    skip: NDArray[np.int64],
    *,
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k best of the candidates that the trees returned (a list per query), without those to skip."""
    from engine.retrieval.topk import dots, first_k

    rows = np.repeat(np.arange(len(found)), [len(columns) for columns in found])
    columns = np.array([column for some in found for column in some], np.int64)
    kept = (columns < skip[rows, 0]) | (columns >= skip[rows, 1])
    rows, columns = rows[kept], columns[kept]
    return first_k(rows, columns, dots(queries, candidates, rows, columns), count=len(found), k=k)


class AnnoyTrees(Index):
    """Annoy's index in a memory-mapped file, of which only what is read is loaded."""

    suffix = ".ann"
    settings = ("trees",)

    def __init__(self, index: Any, trees: int) -> None:
        self._index, self._trees = index, trees

    @classmethod
    def build(cls, units: NDArray[np.float32], config: RetrievalConfig) -> AnnoyTrees:
        return cls(build_trees(units, config.trees), config.trees)

    @classmethod
    def open(cls, path: Path, dimension: int) -> AnnoyTrees:
        from annoy import AnnoyIndex

        index = AnnoyIndex(dimension, "angular")
        index.load(str(path))
        return cls(index, index.get_n_trees())

    @classmethod
    def library(cls) -> str:
        return f"annoy {version('annoy')}"

    def save(self, path: Path) -> None:
        self._index.save(str(path))

    def nearest(self, query: NDArray[np.float32], k: int, search_k: int) -> NDArray[np.int64]:
        """Rows; at least `k` nodes of every tree are inspected."""
        rows = self._index.get_nns_by_vector(query.tolist(), k, max(search_k, k * self._trees))
        return np.array(rows, np.int64)

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array([self._index.get_item_vector(int(row)) for row in rows], np.float64)
