"""Summaries and vectors of a run, reused where an earlier run made them; `lists` goes on from there.

Legend: R anchors with a vector, V items, S size of a semantic vector.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.config import Config, content_hash
from engine.data.dataset import Dataset
from engine.data.perturb import perturb_items
from engine.errors import AtProvider
from engine.events import (
    ApiCalled,
    Report,
    StageFinished,
    StageStarted,
    SummariesMade,
    SummarySetMade,
    VectorsMade,
)
from store import caches
from store.database import Store
from store.home import Home

if TYPE_CHECKING:
    from engine.semantics.encoders import Encoder
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

    def asked(self, kind: Kind, owners: Ids) -> Ids:
        """For each owner the one whose summary it has: with unit `every-m` several anchors share one."""
        from engine.semantics.histories import asked_anchors

        return asked_anchors(self.dataset, owners, self.config.semantics.unit) if kind == "user" else owners

    def provider(self, place: Home) -> Provider:
        """Who writes the summaries."""
        from engine.semantics.providers import build_provider

        return build_provider(
            self.config.semantics,
            self.text_dataset,
            max_length=self.config.data.max_length,
            home=place.path,
        )

    def encoder(self, place: Home, corpus: Sequence[str]) -> Encoder:
        """Who encodes texts; an endpoint's key is looked for at once."""
        from engine.semantics.embedding import EndpointEncoder
        from engine.semantics.encoders import build_encoder

        semantics = self.config.semantics
        encoder = build_encoder(semantics.encoder, corpus, home=place.path, budget=semantics.budget)
        if isinstance(encoder, EndpointEncoder):
            encoder.check_key()
        return encoder

    def unit_of(self, kind: Kind) -> str:
        """What a summary is of: a prefix, every m-th one, a user, or an item."""
        return self.config.semantics.unit if kind == "user" else "item"

    def list_key(self, kind: Kind, source: str, encoder: str | None) -> dict[str, Any]:
        """All that a neighbor list depends on, as its stored parameters."""
        semantics, retrieval = self.config.semantics, self.config.retrieval
        key: dict[str, Any] = {
            "vector": semantics.vector,
            "source": source,
            "encoder": encoder,
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

    def list_id(self, kind: Kind, source: str, encoder: str | None) -> str:
        """Name of a neighbor list."""
        return content_hash([self.dataset.dataset_id, kind, self.list_key(kind, source, encoder)])


@dataclass(frozen=True)
class Vectors:
    """Semantic vectors of a run and what they were made from."""

    anchor_ids: Ids
    """(R,) anchors that have one."""
    users: Floats
    """(R, S)"""
    items: Floats
    """(V + 1, S); zeros for padding, items without a training interaction, and items without text."""
    sources: dict[str, str]
    """By kind: the summary set, or the run whose backbone gave the vectors."""
    encoder: str | None
    """Name of the text encoder; none for a backbone's vectors."""
    set_ids: dict[str, str]


class Clock:
    """Times the stages of a run and reports their beginning and end."""

    def __init__(
        self, report: Report, seconds: dict[str, float], cost: dict[str, Any] | None = None, run_id: str | None = None
    ) -> None:
        """Args:
        cost: where dollars, calls and cached answers of the run are put.
        run_id: the run whose earlier starts count against its money cap.
        """
        self.report, self.seconds = report, seconds
        self.cost, self.run_id = {} if cost is None else cost, run_id
        self.spent: float | None = None
        """Dollars that the run's calls have cost or may have cost, those of earlier starts too; none before the first."""

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
        self.made = self.calls = self.unknown = self.fallbacks = 0
        self.usd = 0.0
        """Known dollars; `unknown` calls come on top."""
        self.texts: dict[str, str] | None = None
        """Summaries by key, where they may be asked for again before they are published."""

    def __call__(self, event: Any) -> None:
        if isinstance(event, SummarySetMade):
            event = replace(event, dataset_id=self._dataset_id)
        if isinstance(event, ApiCalled) and event.run_id is None:
            self.usd += sum(usd or 0.0 for usd in event.columns["usd"])
            self.calls += len(event.columns["usd"])
            self.unknown += sum(usd is None for usd in event.columns["usd"])
        if isinstance(event, SummariesMade):
            self.fallbacks += sum(event.columns["fallback"])
            if self.texts is not None:
                self.texts |= dict(zip(event.columns["key"], event.columns["text"], strict=True))
        if isinstance(event, SummariesMade | VectorsMade):
            self.made += len(next(iter(event.columns.values())))
        self._report(event)


def make_summaries(
    needs: Needs, store: Store, clock: Clock, stop: Callable[[], bool], *, batch: bool = False, wait: bool = True
) -> dict[str, SummarySet]:
    """Stage `summaries`: by kind, what is not yet known being written; nobody else pays for the same ones meanwhile.

    Args:
        batch: ask by the provider's Batch API.
        wait: until all batches are answered.

    Raises:
        AtProvider: nobody wants to wait.
    """
    from engine.semantics import summaries
    from engine.semantics.embedding import names_endpoint
    from engine.semantics.providers import Costly
    from sracl_tui.runner.batching import plan_batches
    from sracl_tui.runner.paying import only_payer, payer_of, record_cost

    owners = needs.summary_owners()
    made: dict[str, SummarySet] = {}
    if not owners:
        return made
    with clock.stage("summaries", total=sum(map(len, owners.values()))) as outcome:
        counter = Counter(clock.report, needs.dataset.dataset_id)
        provider = needs.provider(store.home)
        if names_endpoint(needs.config.semantics.encoder):
            needs.encoder(store.home, [])  # what is wrong with it is said before anything is paid for
        known = [0]

        def look_up(keys: list[str]) -> dict[str, str]:
            found = caches.known_summaries(store, keys)
            known[0] += len(found)
            wanted = set(keys)
            return found | {key: text for key, text in (counter.texts or {}).items() if key in wanted}

        def write(kind: Kind) -> None:
            made[kind] = summaries.make_summaries(
                provider,
                needs.text_dataset,
                kind,
                owners[kind],
                unit=needs.unit_of(kind),
                known=look_up,
                report=counter,
                stop=stop,
                asked=needs.asked(kind, owners[kind]),
            )

        payer = payer_of(needs.dataset.name, provider)
        with only_payer(store.home, payer, "summaries", report=clock.report, stop=stop):
            if isinstance(provider, Costly):
                provider.count_spent(_spent(store, clock))
            try:
                left: list[Kind] = []
                if batch:
                    counter.texts = {}
                for kind in owners:  # of all kinds first what can be sent, then what is to be waited for
                    plan_batches(provider, store, clock.run_id, payer, send=batch, wait=not batch)
                    try:
                        write(kind)
                    except AtProvider:
                        left.append(kind)
                plan_batches(provider, store, clock.run_id, payer, send=batch, wait=wait)
                for kind in left:
                    write(kind)
            finally:
                if isinstance(provider, Costly):
                    clock.spent = provider.money.spent
                    record_cost(clock.cost, counter, cached=known[0])
        distinct = sum(len(set(found.keys)) for found in made.values())
        stand_ins = f", {counter.fallbacks:,} by rule instead" if counter.fallbacks else ""
        detail = f"{provider.name}: {distinct:,} texts, {counter.made:,} new{stand_ins}"
        outcome |= {"cached": counter.made == 0, "detail": detail}
    return {kind: made[kind] for kind in owners}


def encode(
    encoder: Encoder, texts: list[str], store: Store, clock: Clock, counter: Counter, stop: Callable[[], bool]
) -> Floats:
    """Vectors (N, S) of texts; where an endpoint makes them, within the run's cap, and nobody else pays meanwhile."""
    from engine.semantics.embedding import RemoteEncoder
    from engine.semantics.vectors import make_vectors as make
    from sracl_tui.runner.paying import only_payer, record_cost

    remote = isinstance(encoder, RemoteEncoder)
    payer = content_hash([encoder.name]) if remote else None
    with only_payer(store.home, payer, "vectors", report=clock.report, stop=stop):
        if remote:
            encoder.money.spent += _spent(store, clock)
        try:
            return make(
                encoder,
                texts,
                known=lambda shas: caches.known_vectors(store, encoder.name, shas),
                report=counter,
                stop=stop,
            )
        finally:
            if remote:
                clock.spent = encoder.money.spent
                record_cost(clock.cost, counter, cached=0)


def _spent(store: Store, clock: Clock) -> float:
    """What the run has spent so far."""
    from store import costs

    if clock.spent is None and clock.run_id is not None:
        return costs.spent_by(store, clock.run_id)
    return clock.spent or 0.0


def make_vectors(
    needs: Needs,
    sets: dict[str, SummarySet],
    store: Store,
    clock: Clock,
    stop: Callable[[], bool],
    *,
    encoder: Encoder | None = None,
) -> Vectors:
    """Stage `vectors` from text: of summaries, or the mean of the items' vectors; by another encoder where one is given."""
    from engine.semantics import vectors

    semantics = needs.config.semantics
    mean = semantics.vector == "item-mean"
    texts = {kind: found.texts for kind, found in sets.items() if kind == "item" or not mean}
    flat = [text for part in texts.values() for text in part]
    with clock.stage("vectors", total=len(set(flat))) as outcome:
        counter = Counter(clock.report, needs.dataset.dataset_id)
        encoder = encoder or needs.encoder(store.home, flat)
        rows = encode(encoder, flat, store, clock, counter, stop)
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
    sources = {kind: set_ids["item" if mean else kind] for kind in sets}
    return Vectors(ids, users, items, sources, encoder.name, set_ids)
