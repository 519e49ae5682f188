"""The registry of search backends: `retrieval.backend` by name. A new one is a function like these, and a line in BACKENDS.

Legend: Q queries, C candidates, S size of a vector, k neighbors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.config import RetrievalConfig
from engine.retrieval.annoy_index import annoy_search
from engine.retrieval.topk import ExactSearch


@dataclass(frozen=True)
class Found:
    """The result of a search for Q queries."""

    columns: NDArray[np.int64]
    """(Q, k) rows of the candidates, most similar first; -1 at the end where there are fewer."""
    similarity: NDArray[np.float32]
    """(Q, k); 0 where there is no neighbor."""
    recall: float | None = None
    """Share of the exact neighbors that were found, measured on a sample; none for an exact search."""


class Backend(Protocol):
    """Finds the k candidates (C, S) with the largest dot product to each query (Q, S)."""

    def __call__(
        self,
        candidates: NDArray[np.float32],
        queries: NDArray[np.float32],
        skip: NDArray[np.int64],
        *,
        k: int,
        config: RetrievalConfig,
        step: Callable[[int], None],
    ) -> Found:
        """Search.

        Args:
            candidates: of length 1 where cosine is meant, as the queries.
            skip: (Q, 2) half-open range of candidates that each query must not find.
            step: called after each chunk with the number of queries done; what it raises ends the search.
        """
        ...


def exact(
    candidates: NDArray[np.float32],
    queries: NDArray[np.float32],
    skip: NDArray[np.int64],
    *,
    k: int,
    config: RetrievalConfig,
    step: Callable[[int], None],
) -> Found:
    """Every candidate is compared."""
    return Found(*ExactSearch(candidates, k=k)(queries, skip, step=step))


def annoy(
    candidates: NDArray[np.float32],
    queries: NDArray[np.float32],
    skip: NDArray[np.int64],
    *,
    k: int,
    config: RetrievalConfig,
    step: Callable[[int], None],
) -> Found:
    """Random-projection trees, with `trees` and `search_k` of the config; trees need at least one candidate."""
    if not len(candidates):
        return exact(candidates, queries, skip, k=k, config=config, step=step)
    return Found(*annoy_search(candidates, queries, skip, k=k, trees=config.trees, search_k=config.search_k, step=step))


BACKENDS: dict[str, Backend] = {"exact": exact, "annoy": annoy}
