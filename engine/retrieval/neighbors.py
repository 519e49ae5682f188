"""Neighbors of prefixes and substitutes of items by their semantic vectors (paper sections 3.2.1 and 3.2.2).

Legend: R rows with a vector, S size of a vector, Q queries, C candidates, k neighbors, V items, A anchors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config import RetrievalConfig
from engine.data.dataset import TRAIN, Dataset
from engine.data.vector_rows import VectorRows, as_rows, id_type
from engine.errors import Interrupted
from engine.events import Columns, Report, StageProgress
from engine.retrieval.backends import build_backend

STAGE = "neighbors"
PART = 122_880
"""Neighbors of a list that are laid out as rows of a table at once."""
BLOCK_SCORES = 1 << 36
"""Scores of a block of queries at most: some ten minutes of one core at 384 numbers."""
BLOCK_QUERIES = 1 << 15
"""Queries of a block at most."""


@dataclass(frozen=True)
class NeighborTable:
    """Neighbor lists, most similar first; of equal similarity the lower id first."""

    query_ids: NDArray[np.int64]
    """(Q,) anchor or item ids."""
    ids: NDArray[np.integer]
    """(Q, k) neighbor ids; 0 at the end where there are fewer."""
    similarity: NDArray[np.float32]
    """(Q, k) cosine or dot product; 0 where there is no neighbor."""
    recall: float | None = None
    """Share of the exact neighbors that an approximate search found, on a sample; none for exact search."""

    def columns(self) -> Columns:
        """The table of `NeighborsFound`: one row per neighbor that is there."""
        return TableColumns(self)


class TableColumns(Columns):
    """The columns of a table of neighbors, made when they are read; a journal writes them in parts."""

    def __init__(self, table: NeighborTable) -> None:
        self._table = table
        self._kind = id_type(int(max(table.query_ids.max(initial=0), table.ids.max(initial=0))))

    def __iter__(self) -> Iterator[str]:
        return iter(("anchor_id", "rank", "neighbor_id", "similarity"))

    def __len__(self) -> int:
        return 4

    def __getitem__(self, name: str) -> Any:
        return self._rows(slice(None))[name]

    def parts(self) -> Iterator[dict[str, NDArray[Any]]]:
        """All columns, some queries at a time; at least one part."""
        queries, k = self._table.ids.shape
        step = max(1, PART // k)
        for first in range(0, max(1, queries), step):
            yield self._rows(slice(first, first + step))

    def _rows(self, part: slice) -> dict[str, NDArray[Any]]:
        queries, ids = self._table.query_ids[part], self._table.ids[part]
        mask = ids != 0
        ranks = np.arange(1, ids.shape[1] + 1, dtype=np.int32)
        return {
            "anchor_id": np.repeat(queries.astype(self._kind), mask.sum(1)),
            "rank": np.broadcast_to(ranks, mask.shape)[mask],
            "neighbor_id": ids[mask].astype(self._kind),
            "similarity": self._table.similarity[part][mask],
        }


def anchors_needed(dataset: Dataset, pool: str, unit: str) -> NDArray[np.int64]:
    """Ids of the anchors that need a vector, ascending.

    Unit `user`: one per user, its representing anchor. Else every training anchor, which is a query or a candidate or
    both; pool `reference` has the validation and test prefixes as candidates too.
    """
    if unit == "user":
        return dataset.anchors.representing
    if pool == "reference":
        return np.arange(1, len(dataset.anchors) + 1)
    return dataset.anchors.ids(TRAIN)


@dataclass(frozen=True)
class Search:
    """A list to be found: its queries and candidates. Any of the queries can be searched apart from the others."""

    queries: NDArray[np.int64]
    """(Q,) anchor or item ids."""
    vectors: VectorRows
    """(Q, S) theirs."""
    asking: NDArray[np.bool_]
    """(Q,) whether a query has a vector; one of zeros finds nothing."""
    ids: NDArray[np.int64]
    """(C,) ids of the candidates."""
    candidates: VectorRows
    """(C, S) their vectors, none of them zero."""
    skip: NDArray[np.int64]
    """(Q, 2) half-open range of candidates that a query must not find."""
    k: int
    config: RetrievalConfig

    @property
    def block_size(self) -> int:
        """Queries that are some minutes of work; all of them for a backend that is not exact, as it makes an index first."""
        size = max(1, min(BLOCK_QUERIES, BLOCK_SCORES // max(1, len(self.ids))))
        return size if build_backend(self.config).exact else max(1, len(self.queries))

    def run(self, part: slice, *, step: Callable[[int], None] = lambda done: None) -> NeighborTable:
        """The lists of a range of queries.

        Args:
            step: called with the number of queries done; what it raises ends the search.
        """
        asking = np.flatnonzero(self.asking[part])
        vectors = ChosenRows(self.vectors, asking + part.start)
        found = build_backend(self.config).find(self.candidates, vectors, self.skip[part][asking], k=self.k, step=step)
        count = part.stop - part.start
        table = np.zeros((count, self.k), id_type(int(self.ids.max(initial=0))))
        similarity = np.zeros((count, self.k), np.float32)
        table[asking] = np.append(self.ids, 0)[found.columns]  # column -1 means none
        similarity[asking] = found.similarity
        return NeighborTable(self.queries[part], table, similarity, found.recall)

    def whole(self, *, report: Report, stop: Callable[[], bool] = lambda: False) -> NeighborTable:
        """All lists.

        Args:
            stop: called after each chunk of queries; true ends the search.

        Raises:
            Interrupted: `stop` returned true.
        """
        total = int(self.asking.sum())
        progress(report, stop, 0, total)(0)
        queries, size = len(self.queries), self.block_size

        def found() -> Iterator[NeighborTable]:
            done = 0
            for first in range(0, queries, size):
                part = slice(first, min(first + size, queries))
                yield self.run(part, step=progress(report, stop, done, total))
                done += int(self.asking[part].sum())

        return self.joined(found())

    def joined(self, parts: Iterable[NeighborTable]) -> NeighborTable:
        """The lists of consecutive ranges of all queries as one table."""
        shape = len(self.queries), self.k
        ids, similarity = np.zeros(shape, id_type(int(self.ids.max(initial=0)))), np.zeros(shape, np.float32)
        first, recall = 0, None
        for part in parts:
            last, recall = first + len(part.query_ids), part.recall
            ids[first:last], similarity[first:last] = part.ids, part.similarity
            first = last
        return NeighborTable(self.queries, ids, similarity, recall)


def progress(report: Report, stop: Callable[[], bool], before: int, total: int) -> Callable[[int], None]:
    """Reports how many queries of a list are done; `before` were before the block that is searched.

    Raises:
        Interrupted: by the function returned, where `stop` returns true.
    """

    def step(done: int) -> None:
        report(StageProgress(stage=STAGE, done=before + done, total=total))
        if before + done < total and stop():
            raise Interrupted

    return step


class ChosenRows(VectorRows):
    """Some vectors of others, by row; of length 1 where that is asked for."""

    def __init__(self, vectors: VectorRows, rows: NDArray[np.int64], *, unit: bool = False) -> None:
        self.shape = (len(rows), vectors.shape[1])
        self._vectors, self._rows, self._unit = vectors, rows, unit

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        # Imported here so that a reader of neighbor lists does not load torch.
        from engine.retrieval.topk import normalized

        found = self._vectors.take(self._rows[rows])
        return normalized(found) if self._unit else found


def user_search(
    vectors: VectorRows | NDArray[np.float32],
    anchor_ids: NDArray[np.int64],
    dataset: Dataset,
    config: RetrievalConfig,
    *,
    queries: NDArray[np.int64],
) -> Search:
    """The search of the k nearest prefixes of each query from the pool.

    Pools: `others` (training prefixes of other users), `train` (training prefixes, the anchor's user's too), `users` (the
    longest training prefix of each other user), `reference` (every prefix that has a vector). A query is never its own
    neighbor. A vector of zeros is never found and finds nothing.

    Args:
        vectors: (R, S) of the anchors `anchor_ids` (R,).
        queries: (Q,) anchors among them.

    Raises:
        ValueError: a query has no vector.
    """
    vectors = as_rows(vectors)
    anchor_ids, queries = np.asarray(anchor_ids, np.int64), np.asarray(queries, np.int64)
    order = np.argsort(anchor_ids)
    rows = _rows_of(anchor_ids, order, queries)
    filled = vectors.filled()
    candidates = order[_in_pool(dataset, anchor_ids[order], config.pool) & filled[order]]
    ids = anchor_ids[candidates]  # (C,) ascending, so the prefixes of a user are adjacent
    if config.pool in ("others", "users"):
        users, own = dataset.anchors.user_ids[ids - 1], dataset.anchors.user_ids[queries - 1]
    else:
        users, own = ids, queries
    return _search(vectors, rows, candidates, ids, queries, filled, keys=(users, own), k=config.k, config=config)


def user_neighbors(
    vectors: VectorRows | NDArray[np.float32],
    anchor_ids: NDArray[np.int64],
    dataset: Dataset,
    config: RetrievalConfig,
    *,
    queries: NDArray[np.int64],
    report: Report,
    stop: Callable[[], bool] = lambda: False,
) -> NeighborTable:
    """All lists of `user_search`; see there and `Search.whole`."""
    return user_search(vectors, anchor_ids, dataset, config, queries=queries).whole(report=report, stop=stop)


def item_search(item_vectors: NDArray[np.float32], dataset: Dataset, config: RetrievalConfig) -> Search:
    """The search of the `item_k` nearest other items of every item with a training interaction, among such items.

    Args:
        item_vectors: (V + 1, S) by item id; row 0 is padding and is never found.
    """
    vectors, queries = as_rows(item_vectors), np.flatnonzero(dataset.train_counts)
    filled = vectors.filled()
    ids = queries[filled[queries]]
    return _search(vectors, queries, ids, ids, queries, filled, keys=(ids, queries), k=config.item_k, config=config)


def item_neighbors(
    item_vectors: NDArray[np.float32],
    dataset: Dataset,
    config: RetrievalConfig,
    *,
    report: Report,
    stop: Callable[[], bool] = lambda: False,
) -> NeighborTable:
    """All lists of `item_search`; see there and `Search.whole`."""
    return item_search(item_vectors, dataset, config).whole(report=report, stop=stop)


def _rows_of(anchor_ids: NDArray[np.int64], order: NDArray[np.int64], queries: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row of each query's vector."""
    place = np.searchsorted(anchor_ids, queries, sorter=order)
    rows = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(len(queries), np.int64)
    without = queries[anchor_ids[rows] != queries] if len(order) else queries
    if len(without):
        raise ValueError(f"{len(without)} queries have no vector, the first is anchor {without[0]}")
    return rows


def _in_pool(dataset: Dataset, anchor_ids: NDArray[np.int64], pool: str) -> NDArray[np.bool_]:
    """Which anchors the pool holds for any query."""
    if pool == "reference":
        return np.ones(len(anchor_ids), bool)
    if pool == "users":
        return np.isin(anchor_ids, dataset.anchors.representing)
    return dataset.anchors.roles[anchor_ids - 1] == TRAIN


def _search(
    vectors: VectorRows,
    rows: NDArray[np.int64],
    candidates: NDArray[np.int64],
    ids: NDArray[np.int64],
    queries: NDArray[np.int64],
    filled: NDArray[np.bool_],
    *,
    keys: tuple[NDArray[np.integer], NDArray[np.integer]],
    k: int,
    config: RetrievalConfig,
) -> Search:
    """Rows (Q,) of `vectors` are the queries', `candidates` (C,) the candidates'; equal keys, ascending over the candidates, do not meet."""
    unit = config.similarity == "cosine"
    theirs, own = keys
    return Search(
        queries=queries,
        vectors=ChosenRows(vectors, rows, unit=unit),
        asking=filled[rows],
        ids=ids,
        candidates=ChosenRows(vectors, candidates, unit=unit),
        skip=np.stack([np.searchsorted(theirs, own, "left"), np.searchsorted(theirs, own, "right")], axis=1),
        k=k,
        config=config,
    )
