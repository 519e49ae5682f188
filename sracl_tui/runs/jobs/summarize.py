"""The job of kind `summarize`: summaries alone, for later runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sracl_tui.runs.jobs.base import JobContext
    from sracl_tui.runs.result import RunResult

KINDS = ("user", "item")


def summarize(context: JobContext) -> None:
    """Write the summaries of the kinds that the request names; `batch` and `wait` of the request as in `make_summaries`.

    Raises:
        BatchPending: batches are at the provider, and the request does not wait for them.
    """
    from engine.semantics.summaries.shard import Shard
    from sracl_tui.runs.stages import factories, summaries
    from sracl_tui.runs.stages.needs import needs_of
    from store.opening import open_store

    job = context.request.job
    with open_store(context.home) as store:
        needs = needs_of(context.request.config, context.open_dataset(store), job["kinds"])
        factories.check_encoder(needs, store.home)
        if "shard" in job:
            provider, shard = factories.provider(needs, store.home), Shard(*job["shard"])
            summaries.make_part(needs, provider, store, context.clock, context.stop, shard=shard, group=job["cap"])
            return
        sets = summaries.make_summaries(
            needs,
            factories.provider(needs, store.home),
            store,
            context.clock,
            context.stop,
            batch=job.get("batch", False),
            wait=job.get("wait", True),
        )
    context.check_stop()
    used: dict[str, Any] = {f"{kind}_set_id": found.set_id for kind, found in sets.items()}
    context.recorder.write("lists_used", **used)


def document(result: RunResult) -> dict[str, Any]:
    """The JSON document behind `sracl summarize --json`."""
    config = result.request.config
    return {
        "run_id": result.request.run_id,
        "state": result.state,
        "reason": result.reason,
        "dataset": config.data.dataset,
        "provider": config.semantics.provider,
        "kinds": result.request.job["kinds"],
        "unit": config.semantics.unit,
        "cost": result.cost,
        "seconds": {stage: round(result.seconds[stage], 3) for stage in ("import", "summaries", "total")},
    }
