"""The interface of a search backend: it finds neighbors, and may keep an index in a file for `sracl search`.

Imports neither torch nor a library of indexes: what is known of a backend is read while a run is planned.

Legend: Q queries, C candidates, S size of a vector, k neighbors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.config import RetrievalConfig
from engine.data.vector_rows import VectorRows
from engine.errors import SemanticsError


@dataclass(frozen=True)
class Found:
    """The result of a search for Q queries."""

    columns: NDArray[np.int64]
    """(Q, k) rows of the candidates, most similar first; -1 at the end where there are fewer."""
    similarity: NDArray[np.float32]
    """(Q, k); 0 where there is no neighbor."""
    recall: float | None = None
    """Share of the exact neighbors that were found, measured on a sample; none for an exact search."""


class Index(ABC):
    """An index of C vectors of length 1 that is kept in a file (engine/retrieval/saved_index.py)."""

    suffix: ClassVar[str]
    """Ending of its file, with the dot."""
    settings: ClassVar[tuple[str, ...]] = ()
    """Fields of `RetrievalConfig` that `build` reads; they are kept beside the file."""

    @classmethod
    @abstractmethod
    def build(cls, units: NDArray[np.float32], config: RetrievalConfig) -> Index:
        """The index of vectors (C, S); the same vectors have to give the same index."""

    @classmethod
    @abstractmethod
    def open(cls, path: Path, dimension: int) -> Index:
        """The index in a file, read in part where the library can.

        Raises:
            OSError, ValueError: the file is not an index of vectors of that dimension.
        """

    @classmethod
    @abstractmethod
    def library(cls) -> str:
        """Name and version of what wrote the file; one of another version is built anew."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write it."""

    @abstractmethod
    def nearest(self, query: NDArray[np.float32], k: int, search_k: int) -> NDArray[np.int64]:
        """Rows of about the k nearest vectors to a query (S,), at most k; a larger `search_k` finds more of the true ones."""

    @abstractmethod
    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The indexed vectors (len(rows), S)."""


class Backend(ABC):
    """Finds the k candidates with the largest dot product to each query."""

    exact: ClassVar[bool] = False
    """Whether it finds every true neighbor; if not, its recall is measured on a sample and recorded with the list."""
    similarities: ClassVar[tuple[str, ...]] = ("cosine", "dot")
    """Values of `retrieval.similarity` that it can search by; for `cosine` it is given vectors of length 1."""
    settings: ClassVar[tuple[str, ...]] = ()
    """Fields of `RetrievalConfig` that it reads beside k: stored lists are found again by their values."""

    def __init__(self, config: RetrievalConfig) -> None:
        self.config = config

    def parameters(self) -> dict[str, Any]:
        """All that its lists depend on beside vectors and k, as JSON values; a part of the key of a stored list."""
        return {name: getattr(self.config, name) for name in self.settings}

    @classmethod
    def index(cls) -> type[Index] | None:
        """The index that it keeps in a file for `sracl search`; none compares every text with the query."""
        return None

    @abstractmethod
    def search(
        self,
        candidates: NDArray[np.float32],
        queries: NDArray[np.float32],
        skip: NDArray[np.int64],
        *,
        k: int,
        step: Callable[[int], None],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Columns (Q, k) of candidates (C, S), most similar first and -1 where there are fewer, and their similarity (Q, k).

        The same input has to give the same lists.

        Args:
            queries: (Q, S), none of them zero.
            skip: (Q, 2) half-open range of candidates that each query must not find.
            step: to be called after each chunk with the number of queries done; what it raises ends the search.
        """

    def find(
        self,
        candidates: VectorRows,
        queries: VectorRows,
        skip: NDArray[np.int64],
        *,
        k: int,
        step: Callable[[int], None],
    ) -> Found:
        """`search`, and the recall of one that is not exact.

        Raises:
            SemanticsError: the lists do not keep to `search`: of another shape, or with candidates that a query must not find.
        """
        from engine.retrieval.recall import measured_recall

        columns, similarity = self.search(candidates.whole(), queries.whole(), skip, k=k, step=step)
        _check(columns, similarity, skip, shape=(len(queries), k), count=len(candidates))
        if self.exact or not len(candidates):
            return Found(columns, similarity)
        return Found(columns, similarity, measured_recall(candidates, queries, skip, columns, similarity))


def _check(
    columns: NDArray[np.int64],
    similarity: NDArray[np.float32],
    skip: NDArray[np.int64],
    *,
    shape: tuple[int, int],
    count: int,
) -> None:
    problem = None
    if columns.shape != shape or similarity.shape != shape:
        problem = f"gave arrays of shape {columns.shape} and {similarity.shape}, not {shape}"
    elif ((columns < -1) | (columns >= count)).any():
        problem = f"gave columns outside -1..{count - 1}"
    elif ((columns >= skip[:, :1]) & (columns < skip[:, 1:])).any():
        problem = "gave candidates that their query must not find"
    if problem is not None:
        raise SemanticsError(f"the search backend {problem}", where="retrieval.backend")
