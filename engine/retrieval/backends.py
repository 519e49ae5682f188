"""Our search backends. They import torch and libraries of indexes when they search, not before: what is known of a backend
is read while a run is planned.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from engine.config import RetrievalConfig
from engine.data.vector_rows import VectorRows
from engine.errors import ConfigError
from engine.extension_points import BACKENDS
from engine.retrieval.backend import Backend, Found, Index


class Exact(Backend):
    """Every candidate is compared."""

    exact = True

    def search(
        self,
        candidates: NDArray[np.float32],
        queries: NDArray[np.float32],
        skip: NDArray[np.int64],
        *,
        k: int,
        step: Callable[[int], None],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        from engine.retrieval.topk import ExactSearch

        return ExactSearch(candidates, k=k)(queries, skip, step=step)

    def find(
        self,
        candidates: VectorRows,
        queries: VectorRows,
        skip: NDArray[np.int64],
        *,
        k: int,
        step: Callable[[int], None],
    ) -> Found:
        from engine.retrieval.topk_in_parts import ExactSearchInParts

        return Found(*ExactSearchInParts(candidates, k=k)(queries, skip, step=step))


class Annoy(Backend):
    """Random-projection trees."""

    similarities = ("cosine",)
    settings = ("trees", "search_k")

    def search(
        self,
        candidates: NDArray[np.float32],
        queries: NDArray[np.float32],
        skip: NDArray[np.int64],
        *,
        k: int,
        step: Callable[[int], None],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        from engine.retrieval.annoy_index import annoy_search

        if not len(candidates):  # trees need one
            return Exact(self.config).search(candidates, queries, skip, k=k, step=step)
        trees, search_k = self.config.trees, self.config.search_k
        return annoy_search(candidates, queries, skip, k=k, trees=trees, search_k=search_k, step=step)

    @classmethod
    def index(cls) -> type[Index] | None:
        from engine.retrieval.annoy_index import AnnoyTrees

        return AnnoyTrees


class Faiss(Backend):
    """Inverted lists of vectors of 8 bits a number, by the package faiss."""

    settings = ("search_k",)

    def __init__(self, config: RetrievalConfig) -> None:
        super().__init__(config)
        if find_spec("faiss") is None:
            raise ConfigError(
                "backend faiss needs the package faiss-cpu, which is not installed",
                where="retrieval.backend",
                hint="pip install faiss-cpu, which is the extra `faiss` of sracl-tui; or set backend=exact.",
            )

    def search(
        self,
        candidates: NDArray[np.float32],
        queries: NDArray[np.float32],
        skip: NDArray[np.int64],
        *,
        k: int,
        step: Callable[[int], None],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        from engine.retrieval.faiss_search import faiss_search

        if not len(candidates):
            return Exact(self.config).search(candidates, queries, skip, k=k, step=step)
        return faiss_search(candidates, queries, skip, k=k, search_k=self.config.search_k, step=step)


def build_backend(config: RetrievalConfig) -> Backend:
    """The backend that the config names.

    Raises:
        ConfigError: it cannot be imported, is no `Backend`, or cannot be built.
    """
    return BACKENDS.build(config.backend, config)
