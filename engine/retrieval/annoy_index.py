"""Approximate top-k with Annoy's random-projection trees, and how much of the exact result it finds.

Legend: Q queries, C candidates, S size of a vector, k neighbors.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.retrieval.topk import ExactSearch, dots, first_k

SEED = 1
SAMPLE = 200
"""Queries on which the recall is measured."""
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
) -> tuple[NDArray[np.int64], NDArray[np.float32], float | None]:
    """Columns (Q, k), -1 where there are fewer; their cosine (Q, k); and the recall measured on a sample of queries.

    Deterministic: the trees are seeded and built by one thread. A query retrieves as many more as it must skip; one that
    still finds fewer than k is searched exactly.

    Args:
        candidates: (C, S), of length 1.
        queries: (Q, S), of length 1.
        skip: (Q, 2) half-open range of columns that each query must not find.
        search_k: nodes that a query inspects.
        step: called after each chunk with the number of queries done; what it raises ends the search.
    """
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
    exact = ExactSearch(candidates, k=k)
    short = np.flatnonzero((best >= 0).sum(axis=1) < np.minimum(k, len(candidates) - lengths))
    if len(short):
        best[short], similarity[short] = exact(queries[short], skip[short])
    return best, similarity, measured_recall(exact, queries, skip, best, similarity)


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
    rows = np.repeat(np.arange(len(found)), [len(columns) for columns in found])
    columns = np.array([column for some in found for column in some], np.int64)
    kept = (columns < skip[rows, 0]) | (columns >= skip[rows, 1])
    rows, columns = rows[kept], columns[kept]
    return first_k(rows, columns, dots(queries, candidates, rows, columns), count=len(found), k=k)


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
