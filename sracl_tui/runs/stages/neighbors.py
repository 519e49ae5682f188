"""Finds the neighbor lists of a run, or reuses stored ones, and converts them to tensors for training.

Legend: A anchors, V items, S size of a semantic vector, Q queries, k neighbors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import TRAIN
from engine.events import NeighborsFound, Warned
from engine.extension_points import BACKENDS
from engine.retrieval.neighbors import NeighborTable
from sracl_tui.runs.stages.clock import Clock
from sracl_tui.runs.stages.needs import Floats, Ids, Needs
from sracl_tui.runs.stages.vectors import Vectors
from store.database.database import Store
from store.queries import caches

if TYPE_CHECKING:
    from engine.methods.semantics import Semantics
    from engine.semantics.kinds import Kind


RECALL_TARGET = 0.99
"""A list that finds a smaller share of the true neighbors is warned of."""


@dataclass(frozen=True)
class NeighborList:
    """Neighbors and the content hash under which they are stored."""

    list_id: str
    table: NeighborTable


def find_neighbors(
    needs: Needs, vectors: Vectors, store: Store, clock: Clock, stop: Callable[[], bool]
) -> dict[Kind, NeighborList]:
    """Stage `neighbors`: computes or loads the lists that the config needs, by kind; no stage where it needs none."""
    lists: dict[Kind, NeighborList] = {}
    if not (needs.user_list or needs.item_list):
        return lists
    with clock.stage("neighbors") as outcome:
        computed: list[str] = []
        if needs.user_list:
            lists["user"] = _find_list(needs, vectors, "user", store, clock, stop, computed)
        if needs.item_list:
            lists["item"] = _find_list(needs, vectors, "item", store, clock, stop, computed)
        recalls = {kind: found.table.recall for kind, found in lists.items() if found.table.recall is not None}
        told = [f"recall {recall:.3f} ({kind}s)" for kind, recall in recalls.items()]
        outcome |= {"cached": not computed, "detail": ", ".join([*computed, *told])}
        for kind, recall in recalls.items():
            if recall < RECALL_TARGET:
                clock.report(Warned(message=_low_recall(needs, kind, recall)))
    return lists


def _low_recall(needs: Needs, kind: str, recall: float) -> str:
    backend = BACKENDS.label_of(needs.config.retrieval.backend)
    remedy = "more trees or a larger search_k raise it, " if backend == "annoy" else ""
    return (
        f"{backend} finds {100 * recall:.1f} % of the true neighbors of {kind}s, less than {100 * RECALL_TARGET:.0f} %: {remedy}"
        "backend=exact finds all"
    )


def _find_list(
    needs: Needs,
    vectors: Vectors,
    kind: Kind,
    store: Store,
    clock: Clock,
    stop: Callable[[], bool],
    computed: list[str],
) -> NeighborList:
    from engine.retrieval import neighbors

    retrieval = needs.config.retrieval
    list_id = needs.list_id(kind, vectors.sources[kind], vectors.encoder)
    k = retrieval.k if kind == "user" else retrieval.item_k
    stored_rows = caches.known_neighbors(store, list_id)
    if stored_rows is not None:
        table = _table_from_rows(*stored_rows, k=k)
        return NeighborList(list_id, replace(table, recall=caches.list_recall(store, list_id)))
    if kind == "user":
        unit, anchors = needs.config.semantics.unit, needs.dataset.anchors
        table = neighbors.user_neighbors(
            vectors.users,
            vectors.anchor_ids,
            needs.dataset,
            retrieval,
            queries=anchors.representing if unit == "user" else anchors.ids(TRAIN),
            report=clock.report,
            stop=stop,
        )
    else:
        table = neighbors.item_neighbors(vectors.items, needs.dataset, retrieval, report=clock.report, stop=stop)
    clock.report(
        NeighborsFound(
            list_id=list_id,
            dataset_id=needs.dataset.dataset_id,
            kind=kind,
            parameters=needs.list_key(kind, vectors.sources[kind], vectors.encoder),
            recall=table.recall,
            columns=table.columns(),
        )
    )
    computed.append(_counted(table, "items" if kind == "item" else "anchors", k))
    return NeighborList(list_id, table)


def _counted(table: NeighborTable, owners: str, k: int) -> str:
    """`229 anchors x 10`; `3 of 229 anchors x 10` where the others have no neighbor at all."""
    queries, found = len(table.query_ids), int((table.ids != 0).any(1).sum())
    return f"{f'{found:,} of ' if found < queries else ''}{queries:,} {owners} x {k}"


def _table_from_rows(
    owner: NDArray[Any], rank: NDArray[Any], neighbor: NDArray[Any], similarity: NDArray[Any], *, k: int
) -> NeighborTable:
    """Build the table from stored rows; arguments are parallel columns, ranks start at 1."""
    queries, rows = np.unique(owner, return_inverse=True)
    ids, values = np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
    ids[rows, rank - 1], values[rows, rank - 1] = neighbor, similarity
    return NeighborTable(queries.astype(np.int64), ids, values)


def as_semantics(needs: Needs, vectors: Vectors, lists: dict[Kind, NeighborList]) -> Semantics:
    """Tensors indexed by anchor or item id (row 0: padding). With unit `user`, the prefixes of a user share the vector and
    the neighbors of the longest one.
    """
    import torch

    from engine.methods.semantics import Semantics

    anchors, retrieval = needs.dataset.anchors, needs.config.retrieval
    source_anchors = np.arange(len(anchors) + 1)
    if needs.config.semantics.unit == "user":
        longest_prefix = np.zeros(needs.dataset.users + 1, np.int64)
        longest_prefix[anchors.user_ids[anchors.representing - 1]] = anchors.representing
        source_anchors[1:] = longest_prefix[anchors.user_ids]
    row_of = np.zeros(len(anchors) + 1, np.int64)
    row_of[vectors.anchor_ids] = np.arange(len(vectors.anchor_ids)) + 1
    neighbors, similarity = _index_by_id(lists.get("user"), rows=len(anchors) + 1, k=retrieval.k)
    item_neighbors, item_similarity = _index_by_id(
        lists.get("item"), rows=len(needs.dataset.items) + 1, k=retrieval.item_k
    )
    padded = np.concatenate([np.zeros((1, vectors.items.shape[1]), np.float32), vectors.users])
    return Semantics(
        user_vectors=torch.from_numpy(padded),
        user_rows=torch.from_numpy(row_of[source_anchors]),
        neighbors=torch.from_numpy(neighbors[source_anchors]),
        similarity=torch.from_numpy(similarity[source_anchors]),
        item_vectors=torch.from_numpy(vectors.items),
        substitutes=torch.from_numpy(item_neighbors),
        item_similarity=torch.from_numpy(item_similarity),
    )


def _index_by_id(neighbor_list: NeighborList | None, *, rows: int, k: int) -> tuple[Ids, Floats]:
    """Ids and similarities (rows, k), with zeros for ids without neighbors."""
    ids, similarity = np.zeros((rows, k), np.int64), np.zeros((rows, k), np.float32)
    if neighbor_list is not None:
        table = neighbor_list.table
        ids[table.query_ids], similarity[table.query_ids] = table.ids, table.similarity
    return ids, similarity
