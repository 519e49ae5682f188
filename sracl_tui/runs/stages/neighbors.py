"""Neighbor lists of a run, reused where an earlier run made them, and all of it as tensors for training.

Legend: A anchors, V items, S size of a semantic vector, Q queries, k neighbors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import TRAIN
from engine.events import NeighborsFound
from engine.retrieval.neighbors import NeighborTable
from sracl_tui.runs.stages.clock import Clock
from sracl_tui.runs.stages.needs import Floats, Ids, Needs
from sracl_tui.runs.stages.vectors import Vectors
from store.database.database import Store
from store.queries import caches

if TYPE_CHECKING:
    from engine.methods.sracl import Semantics
    from engine.semantics.kinds import Kind


@dataclass(frozen=True)
class NeighborList:
    """A list and the name that it is stored under."""

    list_id: str
    table: NeighborTable


def find_neighbors(
    needs: Needs, vectors: Vectors, store: Store, clock: Clock, stop: Callable[[], bool]
) -> dict[Kind, NeighborList]:
    """Stage `neighbors`: the lists that the config needs, by kind."""
    lists: dict[Kind, NeighborList] = {}
    with clock.stage("neighbors") as outcome:
        fresh: list[str] = []
        if needs.users:
            lists["user"] = _list(needs, vectors, "user", store, clock, stop, fresh)
        if needs.items:
            lists["item"] = _list(needs, vectors, "item", store, clock, stop, fresh)
        outcome |= {"cached": not fresh, "detail": ", ".join(fresh)}
    return lists


def _list(
    needs: Needs, vectors: Vectors, kind: Kind, store: Store, clock: Clock, stop: Callable[[], bool], fresh: list[str]
) -> NeighborList:
    from engine.retrieval import neighbors

    retrieval = needs.config.retrieval
    list_id = needs.list_id(kind, vectors.sources[kind], vectors.encoder)
    k = retrieval.k if kind == "user" else retrieval.item_k
    known = caches.known_neighbors(store, list_id)
    if known is not None:
        return NeighborList(list_id, _unfold(*known, k=k))
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
    fresh.append(
        f"{len(table.query_ids):,} {kind}s x {k}" if kind == "item" else f"{len(table.query_ids):,} anchors x {k}"
    )
    return NeighborList(list_id, table)


def _unfold(
    owner: NDArray[Any], rank: NDArray[Any], neighbor: NDArray[Any], similarity: NDArray[Any], *, k: int
) -> NeighborTable:
    """Stored rows as a table again."""
    queries, rows = np.unique(owner, return_inverse=True)
    ids, values = np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
    ids[rows, rank - 1], values[rows, rank - 1] = neighbor, similarity
    return NeighborTable(queries.astype(np.int64), ids, values)


def as_semantics(needs: Needs, vectors: Vectors, lists: dict[Kind, NeighborList]) -> Semantics:
    """Everything by anchor or item id. With unit `user` all prefixes of a user share the list of the longest one."""
    import torch

    from engine.methods.sracl import Semantics

    anchors, retrieval = needs.dataset.anchors, needs.config.retrieval
    stand_in = np.arange(len(anchors) + 1)
    if needs.config.semantics.unit == "user":
        of_user = np.zeros(needs.dataset.users + 1, np.int64)
        of_user[anchors.user_ids[anchors.representing - 1]] = anchors.representing
        stand_in[1:] = of_user[anchors.user_ids]
    row_of = np.zeros(len(anchors) + 1, np.int64)
    row_of[vectors.anchor_ids] = np.arange(len(vectors.anchor_ids)) + 1
    neighbors, similarity = _by_id(lists.get("user"), rows=len(anchors) + 1, k=retrieval.k)
    substitutes, item_similarity = _by_id(lists.get("item"), rows=len(needs.dataset.items) + 1, k=retrieval.item_k)
    padded = np.concatenate([np.zeros((1, vectors.items.shape[1]), np.float32), vectors.users])
    return Semantics(
        user_vectors=torch.from_numpy(padded),
        user_rows=torch.from_numpy(row_of[stand_in]),
        neighbors=torch.from_numpy(neighbors[stand_in]),
        similarity=torch.from_numpy(similarity[stand_in]),
        item_vectors=torch.from_numpy(vectors.items),
        substitutes=torch.from_numpy(substitutes),
        item_similarity=torch.from_numpy(item_similarity),
    )


def _by_id(found: NeighborList | None, *, rows: int, k: int) -> tuple[Ids, Floats]:
    ids, similarity = np.zeros((rows, k), np.int64), np.zeros((rows, k), np.float32)
    if found is not None:
        ids[found.table.query_ids], similarity[found.table.query_ids] = found.table.ids, found.table.similarity
    return ids, similarity
