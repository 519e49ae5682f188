"""What comes before training: dataset, summaries, vectors, neighbor lists, each reused where an earlier run made it.

Legend: A anchors, V items, S size of a semantic vector, K neighbors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from engine.data.perturb import perturb_items
from numpy.typing import NDArray

from engine.config import Config, content_hash
from engine.data.dataset import TRAIN, Dataset
from engine.events import (
    NeighborsFound,
    Report,
    StageFinished,
    StageStarted,
    SummariesMade,
    SummarySetMade,
    VectorsMade,
)
from store import caches
from store.database import Store

if TYPE_CHECKING:
    from engine.models.sracl import Semantics
    from engine.retrieval.neighbors import NeighborTable
    from engine.semantics.providers import Kind, Provider
    from engine.semantics.summaries import SummarySet

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Needs:
    """Which owners get summaries and vectors under a config, and the text that they are made from."""

    config: Config
    dataset: Dataset
    """As stored."""
    text_dataset: Dataset
    """The same with titles dropped or swapped, where the config says so."""
    users: bool
    """Whether neighbors of users are needed (alpha > 0)."""
    items: bool
    """Whether substitutes of items are needed (beta > 0)."""

    @classmethod
    def of(cls, config: Config, dataset: Dataset) -> Needs:
        """What a config needs of a dataset."""
        items = perturb_items(dataset.items, drop=config.data.drop_titles, swap=config.data.swap_titles)
        text = dataset if items is dataset.items else replace(dataset, items=items)
        return cls(config, dataset, text, users=config.loss.alpha > 0, items=config.loss.beta > 0)

    @property
    def textual(self) -> bool:
        """Whether anything is read at all."""
        return self.config.contrasts and self.config.semantics.vector != "collaborative"

    @property
    def vector_anchors(self) -> Ids:
        """Anchors that need a vector."""
        from engine.retrieval.neighbors import anchors_needed

        return anchors_needed(self.dataset, self.config.retrieval.pool, self.config.semantics.unit)

    @property
    def item_ids(self) -> Ids:
        """Items with a training interaction."""
        return np.flatnonzero(self.dataset.train_counts > 0)

    def summary_owners(self) -> dict[Kind, Ids]:
        """Owners of summaries by kind; an item-mean reads users' summaries for people only, so one per user will do."""
        owners: dict[Kind, Ids] = {}
        if not self.textual:
            return owners
        mean = self.config.semantics.vector == "item-mean"
        if self.users:
            owners["user"] = self.dataset.anchors.representing if mean else self.vector_anchors
        if self.items or mean:
            owners["item"] = self.item_ids
        return owners

    def provider(self) -> Provider:
        """Who writes the summaries."""
        from engine.semantics.providers import build_provider

        return build_provider(self.config.semantics, self.text_dataset, max_length=self.config.data.max_length)

    def list_key(self, kind: Kind, sources: list[str]) -> dict[str, Any]:
        """All that a neighbor list depends on, as its stored parameters."""
        semantics, retrieval = self.config.semantics, self.config.retrieval
        key: dict[str, Any] = {
            "vector": semantics.vector,
            "sources": sources,
            "encoder": semantics.encoder if self.textual else None,
            "similarity": retrieval.similarity,
            "backend": retrieval.backend,
            "k": retrieval.k if kind == "user" else retrieval.item_k,
        }
        if retrieval.backend == "annoy":
            key |= {"trees": retrieval.trees, "search_k": retrieval.search_k}
        if kind == "user":
            key |= {"pool": retrieval.pool, "unit": semantics.unit}
            if semantics.vector != "text":
                key["max_length"] = self.config.data.max_length
        return key

    def list_id(self, kind: Kind, sources: list[str]) -> str:
        """Name of a neighbor list."""
        return content_hash([self.dataset.dataset_id, kind, self.list_key(kind, sources)])


@dataclass(frozen=True)
class Vectors:
    """Semantic vectors of a run and what they were made from."""

    anchor_ids: Ids
    """(R,) anchors that have one."""
    users: Floats
    """(R, S)"""
    items: Floats
    """(V + 1, S); zeros for padding, items without a training interaction, and items without text."""
    sources: list[str]
    """Summary sets, or the run whose backbone gave the vectors."""
    set_ids: dict[str, str]


class Clock:
    """Times the stages of a run and reports their beginning and end."""

    def __init__(self, report: Report, seconds: dict[str, float]) -> None:
        self.report, self.seconds = report, seconds

    @contextmanager
    def stage(self, name: str, *, total: int = 0) -> Iterator[dict[str, Any]]:
        """A stage; the block fills in `cached` and `detail`."""
        outcome: dict[str, Any] = {"cached": False, "detail": ""}
        started = time.perf_counter()
        self.report(StageStarted(stage=name, total=total))
        try:
            yield outcome
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
        self.report(StageFinished(stage=name, seconds=spent, **outcome))


class Counter:
    """Passes events on with the stored dataset's id, and counts what had to be made anew."""

    def __init__(self, report: Report, dataset_id: str) -> None:
        self._report, self._dataset_id = report, dataset_id
        self.made = 0

    def __call__(self, event: Any) -> None:
        if isinstance(event, SummarySetMade):
            event = replace(event, dataset_id=self._dataset_id)
        if isinstance(event, SummariesMade | VectorsMade):
            self.made += len(next(iter(event.columns.values())))
        self._report(event)


def make_summaries(needs: Needs, store: Store, clock: Clock, stop: Callable[[], bool]) -> dict[str, SummarySet]:
    """Stage `summaries`: by kind, what is not yet known being written."""
    from engine.semantics import summaries

    owners = needs.summary_owners()
    made: dict[str, SummarySet] = {}
    if not owners:
        return made
    with clock.stage("summaries", total=sum(map(len, owners.values()))) as outcome:
        counter = Counter(clock.report, needs.dataset.dataset_id)
        provider = needs.provider()
        for kind, ids in owners.items():
            made[kind] = summaries.make_summaries(
                provider,
                needs.text_dataset,
                kind,
                ids,
                unit=needs.config.semantics.unit,
                known=lambda keys: caches.known_summaries(store, keys),
                report=counter,
                stop=stop,
            )
        distinct = sum(len(set(found.keys)) for found in made.values())
        outcome |= {"cached": counter.made == 0, "detail": f"{provider.name}: {distinct:,} texts, {counter.made:,} new"}
    return made


def make_vectors(
    needs: Needs, sets: dict[str, SummarySet], store: Store, clock: Clock, stop: Callable[[], bool]
) -> Vectors:
    """Stage `vectors` from text: of summaries, or the mean of the items' vectors."""
    from engine.semantics import vectors
    from engine.semantics.encoders import build_encoder

    semantics = needs.config.semantics
    mean = semantics.vector == "item-mean"
    texts = {kind: found.texts for kind, found in sets.items() if kind == "item" or not mean}
    flat = [text for part in texts.values() for text in part]
    with clock.stage("vectors", total=len(set(flat))) as outcome:
        counter = Counter(clock.report, needs.dataset.dataset_id)
        encoder = build_encoder(semantics.encoder, flat)
        rows = vectors.make_vectors(
            encoder, flat, known=lambda shas: caches.known_vectors(store, encoder.name, shas), report=counter, stop=stop
        )
        by_kind: dict[str, Floats] = {}
        for kind, part in texts.items():
            by_kind[kind], rows = rows[: len(part)], rows[len(part) :]
        size = next(iter(by_kind.values())).shape[1]
        items = np.zeros((len(needs.dataset.items) + 1, size), np.float32)
        if "item" in by_kind:
            items[sets["item"].owner_ids] = by_kind["item"]
        ids = needs.vector_anchors if needs.users else np.zeros(0, np.int64)
        users = by_kind.get("user", np.zeros((0, size), np.float32))
        if mean and needs.users:
            users = vectors.item_mean(items, needs.text_dataset, ids, needs.config.data.max_length)
        outcome |= {
            "cached": counter.made == 0,
            "detail": f"{encoder.name}: {size} numbers each, {counter.made:,} texts encoded",
        }
    set_ids = {kind: found.set_id for kind, found in sets.items()}
    return Vectors(ids, users, items, [set_ids[kind] for kind in texts], set_ids)


def find_neighbors(
    needs: Needs, vectors: Vectors, store: Store, clock: Clock, stop: Callable[[], bool]
) -> tuple[Semantics, dict[str, str]]:
    """Stage `neighbors`: the two lists as tensors for training, and their ids by kind."""
    from engine.retrieval import neighbors

    config, dataset = needs.config, needs.dataset
    tables: dict[Kind, tuple[Ids, Ids, Floats]] = {}
    ids: dict[str, str] = {}
    wanted: list[Kind] = [kind for kind, on in (("user", needs.users), ("item", needs.items)) if on]
    with clock.stage("neighbors") as outcome:
        fresh: list[str] = []
        for kind in wanted:
            ids[kind] = needs.list_id(kind, vectors.sources)
            known = caches.known_neighbors(store, ids[kind])
            k = config.retrieval.k if kind == "user" else config.retrieval.item_k
            if known is not None:
                tables[kind] = _unfold(*known, k=k)
                continue
            if kind == "user":
                table = neighbors.user_neighbors(
                    vectors.users, vectors.anchor_ids, dataset, config.retrieval,
                    queries=_queries(needs), report=clock.report, stop=stop,
                )  # fmt: skip
            else:
                table = neighbors.item_neighbors(vectors.items, dataset, config.retrieval, report=clock.report)
            parameters = needs.list_key(kind, vectors.sources)
            clock.report(_found(table, ids[kind], dataset.dataset_id, kind, parameters))
            tables[kind] = table.query_ids, table.ids, table.similarity
            fresh.append(f"{kind} {len(table.query_ids):,} x {k}")
        outcome |= {"cached": not fresh, "detail": ", ".join(fresh)}
    return _tensors(needs, vectors, tables), ids


def _queries(needs: Needs) -> Ids:
    anchors = needs.dataset.anchors
    return anchors.representing if needs.config.semantics.unit == "user" else anchors.ids(TRAIN)


def _found(
    table: NeighborTable, list_id: str, dataset_id: str, kind: str, parameters: dict[str, Any]
) -> NeighborsFound:
    return NeighborsFound(
        list_id=list_id,
        dataset_id=dataset_id,
        kind=kind,
        parameters=parameters,
        recall=table.recall,
        columns=table.columns(),
    )


def _unfold(
    owner: NDArray[Any], rank: NDArray[Any], neighbor: NDArray[Any], similarity: NDArray[Any], *, k: int
) -> tuple[Ids, Ids, Floats]:
    """Stored rows as (Q,), (Q, k) and (Q, k)."""
    queries, rows = np.unique(owner, return_inverse=True)
    ids, values = np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
    ids[rows, rank - 1], values[rows, rank - 1] = neighbor, similarity
    return queries.astype(np.int64), ids, values


def _tensors(needs: Needs, vectors: Vectors, tables: dict[Kind, tuple[Ids, Ids, Floats]]) -> Semantics:
    """Everything by anchor or item id. With unit `user` all prefixes of a user share the list of the longest one."""
    import torch

    from engine.models.sracl import Semantics

    anchors, retrieval = needs.dataset.anchors, needs.config.retrieval
    stand_in = np.arange(len(anchors) + 1)
    if needs.config.semantics.unit == "user":
        of_user = np.zeros(needs.dataset.users + 1, np.int64)
        of_user[anchors.user_ids[anchors.representing - 1]] = anchors.representing
        stand_in[1:] = of_user[anchors.user_ids]
    row_of = np.zeros(len(anchors) + 1, np.int64)
    row_of[vectors.anchor_ids] = np.arange(len(vectors.anchor_ids)) + 1
    neighbors, similarity = _by_id(tables.get("user"), rows=len(anchors) + 1, k=retrieval.k)
    substitutes, item_similarity = _by_id(tables.get("item"), rows=len(needs.dataset.items) + 1, k=retrieval.item_k)
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


def _by_id(table: tuple[Ids, Ids, Floats] | None, *, rows: int, k: int) -> tuple[Ids, Floats]:
    ids, similarity = np.zeros((rows, k), np.int64), np.zeros((rows, k), np.float32)
    if table is not None:
        ids[table[0]], similarity[table[0]] = table[1], table[2]
    return ids, similarity
