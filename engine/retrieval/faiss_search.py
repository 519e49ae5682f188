"""Approximate top-k with faiss: vectors of 8 bits a number in inverted lists (IVF-SQ8), of which a query reads the nearest ones.

Legend: Q queries, C candidates, S size of a vector, k neighbors, n candidates that are compared again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from engine.data.vector_rows import HeldRows
from engine.retrieval.topk import Found, dots, first_k
from engine.retrieval.topk_in_parts import ExactSearchInParts

SEED = 1
CHUNK = 2048
"""Queries between two reports."""
AGAIN = 4
"""Candidates that are compared again with their whole vectors, as a multiple of k."""
PER_LIST, LISTS_PER_ROOT = 64, 4
"""Vectors that a list is trained on, and lists as a multiple of the root of C."""
ADDED = 65_536
"""Candidates that are added at once."""


def faiss_search(
    candidates: NDArray[np.float32],
    queries: NDArray[np.float32],
    skip: NDArray[np.int64],
    *,
    k: int,
    search_k: int,
    step: Callable[[int], None] = lambda done: None,
) -> Found:
    """Columns (Q, k), -1 where there are fewer, and their dot product (Q, k).

    Deterministic: the lists are trained from a seed by one thread. What is found is compared again with its whole vectors. A query
    that finds fewer than k is searched exactly.

    Args:
        candidates: (C, S), at least one.
        skip: (Q, 2) half-open range of columns that each query must not find.
        search_k: candidates that a query compares.
        step: called after each chunk with the number of queries done; what it raises ends the search.
    """
    import faiss

    count = len(candidates)
    lists = max(1, min(int(LISTS_PER_ROOT * count**0.5), count // PER_LIST))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(candidates.shape[1]), candidates.shape[1], lists, faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
    )  # fmt: skip
    index.cp.seed = SEED
    sample = np.sort(np.random.default_rng(SEED).permutation(count)[: lists * PER_LIST])
    with _one_thread(faiss):
        index.train(np.ascontiguousarray(candidates[sample]))
    for first in range(0, count, ADDED):
        index.add(np.ascontiguousarray(candidates[first : first + ADDED]))
    index.nprobe = max(1, min(lists, -(-search_k * lists // count)))
    best, similarity = np.full((len(queries), k), -1, np.int64), np.zeros((len(queries), k), np.float32)
    lengths = skip[:, 1] - skip[:, 0]
    order = np.argsort(lengths, kind="stable")  # as many are fetched for all queries of a chunk
    for start in range(0, len(order), CHUNK):
        part = order[start : start + CHUNK]
        n = min(AGAIN * k + int(lengths[part].max()), count)
        found = index.search(np.ascontiguousarray(queries[part]), n)[1]  # (B, n), -1 where there are fewer
        kept = (found >= 0) & ((found < skip[part, :1]) | (found >= skip[part, 1:]))
        rows, places = np.nonzero(kept)
        columns = found[rows, places]
        scores = dots(queries[part], candidates, rows, columns)
        best[part], similarity[part] = first_k(rows, columns, scores, count=len(part), k=k)
        step(start + len(part))
    short = np.flatnonzero((best >= 0).sum(axis=1) < np.minimum(k, count - lengths))
    if len(short):
        exact = ExactSearchInParts(HeldRows(candidates), k=k)
        best[short], similarity[short] = exact(HeldRows(queries[short]), skip[short])
    return best, similarity


@contextmanager
def _one_thread(faiss: object) -> Iterator[None]:
    """More threads would make the lists depend on their number."""
    threads = faiss.omp_get_max_threads()  # type: ignore[attr-defined]
    faiss.omp_set_num_threads(1)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)  # type: ignore[attr-defined]
