"""The job of kind `neighbors`: vectors and neighbor lists alone, for later runs; all of them, or one part of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config import content_hash
from sracl_tui.runs.jobs.semantic_vectors import semantic_vectors
from sracl_tui.runs.stages import neighbors as neighbor_stage
from sracl_tui.runs.stages.needs import Needs, check_retrieval
from sracl_tui.runs.stages.single_flight import single_flight
from store.opening import open_store

if TYPE_CHECKING:
    from sracl_tui.runs.jobs.base import JobContext


def find_neighbors(context: JobContext) -> None:
    """The lists that training with the request's settings reads. With `shard` in the request, what is this job's of them.

    Raises:
        ConfigError: these settings need no neighbors.
    """
    config, shard = context.request.config, context.request.job.get("shard")
    with open_store(context.home) as store:
        needs = Needs.of(config, context.open_dataset(store))
        check_retrieval(config)
        needs.check_texts()
        lock_key = content_hash([needs.dataset.dataset_id, config.semantics.model_dump()]) if shard else None
        # Of several jobs one makes the texts and vectors that are missing; the others find them stored.
        with single_flight(store.home, lock_key, "vectors", report=context.clock.report, stop=context.stop):
            vectors = semantic_vectors(context, needs, store)
        if shard:
            number, of = shard
            found: dict[Any, str] = neighbor_stage.find_part(
                needs, vectors, store, context.clock, context.stop, number=number, of=of
            )
        else:
            lists = neighbor_stage.find_neighbors(needs, vectors, store, context.clock, context.stop)
            found = {kind: named.list_id for kind, named in lists.items()}
    context.check_stop()
    used: dict[str, Any] = {f"{kind}_set_id": set_id for kind, set_id in vectors.set_ids.items()}
    context.recorder.write("lists_used", **used, **{f"{kind}_list_id": list_id for kind, list_id in found.items()})
