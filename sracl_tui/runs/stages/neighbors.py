"""Finds the neighbor lists of a run, or reuses stored ones, and converts them to tensors for training.

Legend: A anchors, V items, S size of a semantic vector, Q queries, k neighbors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.data.vector_rows import HeldRows, VectorRows, id_type
from engine.events import NeighborsFound, Warned
from engine.extension_points import BACKENDS
from engine.retrieval.neighbors import NeighborTable, Search, item_search, user_search
from sracl_tui.runs.stages import neighbor_blocks
from sracl_tui.runs.stages.clock import Clock
from sracl_tui.runs.stages.needs import Floats, Ids, Needs
from sracl_tui.runs.stages.vectors import Vectors
from store.database.database import Store
from store.home import Home
from store.queries import caches

if TYPE_CHECKING:
    from torch import Tensor

    from engine.methods.semantics import PartedVectors, Semantics
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
    remedies = {"annoy": "more trees or a larger search_k raise it, ", "faiss": "a larger search_k raises it, "}
    return (
        f"{backend} finds {100 * recall:.1f} % of the true neighbors of {kind}s, less than {100 * RECALL_TARGET:.0f} %: "
        f"{remedies.get(backend, '')}"
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
    retrieval = needs.config.retrieval
    list_id = needs.list_id(kind, vectors.sources[kind], vectors.encoder)
    k = retrieval.k if kind == "user" else retrieval.item_k
    if caches.has_neighbors(store, list_id):
        neighbor_blocks.forget(store.home, list_id)
        table = _stored(needs, kind, store, list_id, k=k)
        return NeighborList(list_id, replace(table, recall=caches.list_recall(store, list_id)))
    table = _search(search_of(needs, vectors, kind), store.home, list_id, clock, stop)
    _report(needs, vectors, kind, NeighborList(list_id, table), clock)
    computed.append(_counted(table, "items" if kind == "item" else "anchors", k))
    return NeighborList(list_id, table)


def _search(search: Search, home: Home, list_id: str, clock: Clock, stop: Callable[[], bool]) -> NeighborTable:
    """The whole list: at once, or in blocks that are kept where it takes longer than one, or others have begun so."""
    if len(search.queries) <= search.block_size and not neighbor_blocks.are_begun(home, list_id):
        return search.whole(report=clock.report, stop=stop)
    blocks = neighbor_blocks.Blocks(home, list_id, search)
    while True:
        blocks.find(first=0, report=clock.report, stop=stop, wait=True)
        if (table := blocks.whole()) is not None:
            return table


def _report(needs: Needs, vectors: Vectors, kind: Kind, found: NeighborList, clock: Clock) -> None:
    clock.report(
        NeighborsFound(
            list_id=found.list_id,
            dataset_id=needs.dataset.dataset_id,
            kind=kind,
            parameters=needs.list_key(kind, vectors.sources[kind], vectors.encoder),
            recall=found.table.recall,
            columns=found.table.columns(),
        )
    )


def find_part(
    needs: Needs, vectors: Vectors, store: Store, clock: Clock, stop: Callable[[], bool], *, number: int, of: int
) -> dict[Kind, str]:
    """What job `number` of `of` can do for the lists that are not stored; ids of the lists that are whole, by kind.

    Blocks that other jobs have claimed are left to them; the job that finds a list whole first reports it.
    """
    whole: dict[Kind, str] = {}
    kinds: list[Kind] = [*(["user"] if needs.user_list else []), *(["item"] if needs.item_list else [])]
    with clock.stage("neighbors") as outcome:
        computed = 0
        for kind in kinds:
            list_id = needs.list_id(kind, vectors.sources[kind], vectors.encoder)
            if caches.has_neighbors(store, list_id):
                neighbor_blocks.forget(store.home, list_id)
                whole[kind] = list_id
                continue
            blocks = neighbor_blocks.Blocks(store.home, list_id, search_of(needs, vectors, kind), jobs=of)
            first = len(blocks.ranges) * (number - 1) // of
            while blocks.find(first=first, report=clock.report, stop=stop, wait=False):
                with blocks.end() as mine:
                    table = blocks.whole() if mine else None
                    if table is not None:
                        _report(needs, vectors, kind, NeighborList(list_id, table), clock)
                        blocks.mark_reported()
                if table is not None or not mine:
                    whole[kind] = list_id
                    break
            computed += blocks.searched
        outcome |= {"cached": not computed, "detail": f"part {number}/{of}: {computed:,} blocks searched"}
    return whole


def search_of(needs: Needs, vectors: Vectors, kind: Kind) -> Search:
    """The search of a list."""
    retrieval, queries = needs.config.retrieval, needs.queries(kind)
    if kind == "user":
        return user_search(vectors.users, vectors.anchor_ids, needs.dataset, retrieval, queries=queries)
    return item_search(vectors.items, needs.dataset, retrieval)


def _counted(table: NeighborTable, owners: str, k: int) -> str:
    """`229 anchors x 10`; `3 of 229 anchors x 10` where the others have no neighbor at all."""
    queries, found = len(table.query_ids), int((table.ids != 0).any(1).sum())
    return f"{f'{found:,} of ' if found < queries else ''}{queries:,} {owners} x {k}"


def _stored(needs: Needs, kind: Kind, store: Store, list_id: str, *, k: int) -> NeighborTable:
    """A list that the store has."""
    queries = needs.queries(kind)
    largest = len(needs.dataset.anchors) if kind == "user" else len(needs.dataset.items)
    ids, similarity = np.zeros((len(queries), k), id_type(largest)), np.zeros((len(queries), k), np.float32)
    for owners, ranks, neighbors, scores in caches.neighbor_parts(store, list_id):
        rows = np.searchsorted(queries, owners)
        ids[rows, ranks - 1], similarity[rows, ranks - 1] = neighbors, scores
    return NeighborTable(queries, ids, similarity)


def as_semantics(needs: Needs, vectors: Vectors, lists: dict[Kind, NeighborList]) -> Semantics:
    """Tensors indexed by anchor or item id (row 0: padding). With unit `user`, the prefixes of a user share the vector and
    the neighbors of the longest one.
    """
    import torch

    from engine.methods.semantics import Semantics

    anchors, retrieval = needs.dataset.anchors, needs.config.retrieval
    shared: Ids | None = None
    if needs.config.semantics.unit == "user":
        longest_prefix = np.zeros(needs.dataset.users + 1, np.int64)
        longest_prefix[anchors.user_ids[anchors.representing - 1]] = anchors.representing
        shared = np.append(0, longest_prefix[anchors.user_ids])
    row_of = np.zeros(len(anchors) + 1, np.int64)
    row_of[vectors.anchor_ids] = np.arange(len(vectors.anchor_ids)) + 1
    neighbors, similarity = _index_by_id(lists.get("user"), rows=len(anchors) + 1, k=retrieval.k)
    item_neighbors, item_similarity = _index_by_id(
        lists.get("item"), rows=len(needs.dataset.items) + 1, k=retrieval.item_k
    )
    return Semantics(
        user_vectors=_padded(vectors.users),
        user_rows=torch.from_numpy(row_of if shared is None else row_of[shared]),
        neighbors=torch.from_numpy(neighbors if shared is None else neighbors[shared]),
        similarity=torch.from_numpy(similarity if shared is None else similarity[shared]),
        item_vectors=torch.from_numpy(vectors.items),
        substitutes=torch.from_numpy(item_neighbors),
        item_similarity=torch.from_numpy(item_similarity),
    )


def _padded(vectors: VectorRows) -> Tensor | PartedVectors:
    """Vectors (R + 1, S) of which the first is zero; large ones are not copied."""
    import torch

    from engine.methods.semantics import PartedVectors

    if not isinstance(vectors, HeldRows) or not vectors.small:
        return PartedVectors(vectors)
    return torch.from_numpy(np.concatenate([np.zeros((1, vectors.shape[1]), np.float32), vectors.vectors]))


def _index_by_id(neighbor_list: NeighborList | None, *, rows: int, k: int) -> tuple[NDArray[np.integer], Floats]:
    """Ids and similarities (rows, k), with zeros for ids without neighbors."""
    ids, similarity = np.zeros((rows, k), id_type(rows)), np.zeros((rows, k), np.float32)
    if neighbor_list is not None:
        table = neighbor_list.table
        ids[table.query_ids], similarity[table.query_ids] = table.ids, table.similarity
    return ids, similarity
