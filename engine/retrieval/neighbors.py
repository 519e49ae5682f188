"""Neighbors of prefixes and substitutes of items by their semantic vectors (paper sections 3.2.1 and 3.2.2).

Legend: R rows with a vector, S size of a vector, Q queries, C candidates, k neighbors, V items, A anchors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.config import RetrievalConfig
from engine.data.dataset import TRAIN, Dataset
from engine.errors import Interrupted
from engine.events import Columns, Report, StageProgress
from engine.retrieval.backends import build_backend

STAGE = "neighbors"


@dataclass(frozen=True)
class NeighborTable:
    """Neighbor lists, most similar first; of equal similarity the lower id first."""

    query_ids: NDArray[np.int64]
    """(Q,) anchor or item ids."""
    ids: NDArray[np.int64]
    """(Q, k) neighbor ids; 0 at the end where there are fewer."""
    similarity: NDArray[np.float32]
    """(Q, k) cosine or dot product; 0 where there is no neighbor."""
    recall: float | None = None
    """Share of the exact neighbors that an approximate search found, on a sample; none for exact search."""

    def columns(self) -> Columns:
        """The table of `NeighborsFound`: one row per neighbor that is there."""
        mask = self.ids != 0
        ranks = np.arange(1, self.ids.shape[1] + 1, dtype=np.int32)
        return {
            "anchor_id": np.repeat(self.query_ids.astype(np.int32), mask.sum(1)),
            "rank": np.broadcast_to(ranks, mask.shape)[mask],
            "neighbor_id": self.ids[mask].astype(np.int32),
            "similarity": self.similarity[mask],
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


def user_neighbors(
    vectors: NDArray[np.float32],
    anchor_ids: NDArray[np.int64],
    dataset: Dataset,
    config: RetrievalConfig,
    *,
    queries: NDArray[np.int64],
    report: Report,
    stop: Callable[[], bool] = lambda: False,
) -> NeighborTable:
    """The k nearest prefixes of each query from the pool.

    Pools: `others` (training prefixes of other users), `train` (training prefixes, the anchor's user's too), `users` (the
    longest training prefix of each other user), `reference` (every prefix that has a vector). A query is never its own
    neighbor. A vector of zeros is never found and finds nothing.

    Args:
        vectors: (R, S) of the anchors `anchor_ids` (R,).
        queries: (Q,) anchors among them.
        stop: called after each chunk of queries; true ends the search.

    Raises:
        ValueError: a query has no vector.
        Interrupted: `stop` returned true.
    """
    anchor_ids, queries = np.asarray(anchor_ids, np.int64), np.asarray(queries, np.int64)
    order = np.argsort(anchor_ids)
    rows = _rows_of(anchor_ids, order, queries)
    filled = np.any(vectors != 0, axis=1)
    candidates = order[_in_pool(dataset, anchor_ids[order], config.pool) & filled[order]]
    ids = anchor_ids[candidates]  # (C,) ascending, so the prefixes of a user are adjacent
    if config.pool in ("others", "users"):
        users, own = dataset.anchors.user_ids[ids - 1], dataset.anchors.user_ids[queries - 1]
    else:
        users, own = ids, queries
    skip = np.stack([np.searchsorted(users, own, "left"), np.searchsorted(users, own, "right")], axis=1)
    return _search(
        vectors[candidates], ids, vectors[rows], queries, skip=skip, k=config.k, config=config, report=report, stop=stop
    )


def item_neighbors(
    item_vectors: NDArray[np.float32],
    dataset: Dataset,
    config: RetrievalConfig,
    *,
    report: Report,
    stop: Callable[[], bool] = lambda: False,
) -> NeighborTable:
    """The `item_k` nearest other items of every item with a training interaction, among such items.

    Args:
        item_vectors: (V + 1, S) by item id; row 0 is padding and is never found.

    Raises:
        Interrupted: `stop` returned true.
    """
    queries = np.flatnonzero(dataset.train_counts)
    ids = queries[item_vectors[queries].any(axis=1)]
    skip = np.stack([np.searchsorted(ids, queries, "left"), np.searchsorted(ids, queries, "right")], axis=1)
    return _search(
        item_vectors[ids],
        ids,
        item_vectors[queries],
        queries,
        skip=skip,
        k=config.item_k,
        config=config,
        report=report,
        stop=stop,
    )


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
    candidates: NDArray[np.float32],
    ids: NDArray[np.int64],
    vectors: NDArray[np.float32],
    queries: NDArray[np.int64],
    *,
    skip: NDArray[np.int64],
    k: int,
    config: RetrievalConfig,
    report: Report,
    stop: Callable[[], bool],
) -> NeighborTable:
    """Search candidates (C, S) with ids (C,) for the queries (Q,) whose vector (Q, S) is not zero."""
    # Imported here so that a reader of neighbor lists does not load torch.
    from engine.retrieval.topk import normalized

    def step(done: int) -> None:
        report(StageProgress(stage=STAGE, done=done, total=total))
        if stop() and done < total:
            raise Interrupted

    if config.similarity == "cosine":
        candidates, vectors = normalized(candidates), normalized(vectors)
    asking = np.flatnonzero(vectors.any(axis=1))
    total = len(asking)
    step(0)
    found = build_backend(config).find(candidates, vectors[asking], skip[asking], k=k, step=step)
    table, similarity = np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
    table[asking] = np.append(ids, 0)[found.columns]  # column -1 means none
    similarity[asking] = found.similarity
    return NeighborTable(query_ids=queries, ids=table, similarity=similarity, recall=found.recall)
