"""Stage `vectors`: the vector of each summary, from the cache or the encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.config import content_hash
from engine.data.vector_rows import VectorRows, as_rows, held_if_small
from sracl_tui.runs.stages.clock import Clock, Counter, record_cost, spent_so_far
from sracl_tui.runs.stages.needs import Floats, Ids, Needs
from store.database.database import Store
from store.queries import caches

if TYPE_CHECKING:
    from engine.semantics.encoders.encoder import Encoder
    from engine.semantics.summaries.make import SummarySet


@dataclass(frozen=True)
class Vectors:
    """Semantic vectors of anchors and items, and their source. R anchors, V items, S size of a vector."""

    anchor_ids: Ids
    """(R,) anchors with a vector, in the order of `users`."""
    users: VectorRows
    """(R, S); means of items are computed where they are read, if all together would be large."""
    items: Floats
    """(V + 1, S); zeros for padding, items without a training interaction, and items without text."""
    sources: dict[str, str]
    """By kind: the summary set, or the run whose backbone gave the vectors."""
    encoder: str | None
    """Name of the text encoder; none for a backbone's vectors."""
    set_ids: dict[str, str]


def encode(
    encoder: Encoder, texts: list[str], store: Store, clock: Clock, counter: Counter, stop: Callable[[], bool]
) -> Floats:
    """Vectors (N, S) of texts, stored ones reused; an endpoint's are paid within the run's budget, one process at a time.

    Raises:
        BudgetReached: the next call could exceed the budget.
        StopRequested: asked to stop; what is encoded is kept.
    """
    from engine.semantics.encoders.encoder import RemoteEncoder
    from engine.semantics.encoders.text_vectors import make_vectors as make
    from sracl_tui.runs.stages.single_flight import single_flight

    remote = isinstance(encoder, RemoteEncoder)
    lock_key = content_hash([encoder.name]) if remote else None
    with single_flight(store.home, lock_key, "vectors", report=clock.report, stop=stop):
        if remote:
            encoder.budget.spent += spent_so_far(store, clock)
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
                clock.spent = encoder.budget.spent
                record_cost(clock.cost, counter, cached=0)


def make_vectors(
    needs: Needs,
    sets: dict[str, SummarySet],
    build: Callable[[Sequence[str]], Encoder],
    store: Store,
    clock: Clock,
    stop: Callable[[], bool],
) -> Vectors:
    """Stage `vectors` from text: the vectors of summaries, or for users the mean of their items' vectors.

    Args:
        sets: summaries by kind.
        build: makes the encoder for the texts that it will encode.
    """
    from engine.semantics.encoders.item_means import ItemMeans

    semantics = needs.config.semantics
    mean = semantics.vector == "item-mean"
    texts = {kind: found.texts for kind, found in sets.items() if kind == "item" or not mean}
    flat = [text for part in texts.values() for text in part]
    with clock.stage("vectors", total=len(set(flat))) as outcome:
        counter = Counter(clock.report, needs.dataset.dataset_id)
        encoder = build(flat)
        rows = encode(encoder, flat, store, clock, counter, stop)
        by_kind: dict[str, Floats] = {}
        for kind, part in texts.items():
            by_kind[kind], rows = rows[: len(part)], rows[len(part) :]
        size = next(iter(by_kind.values())).shape[1]
        items = np.zeros((len(needs.dataset.items) + 1, size), np.float32)
        if "item" in by_kind:
            items[sets["item"].owner_ids] = by_kind["item"]
        ids = needs.vector_anchors if needs.users else np.zeros(0, np.int64)
        users = as_rows(by_kind.get("user", np.zeros((0, size), np.float32)))
        if mean and needs.users:
            users = held_if_small(ItemMeans(items, needs.dataset, ids, needs.config.data.max_length))
        outcome |= {
            "cached": counter.made == 0,
            "detail": f"{encoder.name}: {size} numbers each, {counter.made:,} texts encoded",
        }
    set_ids = {kind: found.set_id for kind, found in sets.items()}
    sources = {kind: set_ids["item" if mean else kind] for kind in sets}
    return Vectors(ids, users, items, sources, encoder.name, set_ids)
