"""Batches of prompts that a provider's Batch API answers within a day: planned, listed, and refreshed."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError, EngineError
from store.database.database import Store
from store.home import Home
from store.llm_batches import BatchLogs
from store.queries import costs

if TYPE_CHECKING:
    from engine.semantics.llm.batch_client import BatchClient
    from engine.semantics.llm.batch_files import ProviderBatch
    from engine.semantics.summaries.provider import Provider


def plan_batches(
    provider: Provider, store: Store, run_id: str | None, lock_key: str | None, *, send: bool, wait: bool
) -> None:
    """Configure how a provider uses batches.

    Args:
        run_id: the run that the batches are charged to; none for an estimate.
        lock_key: of `single_flight`, kept with each batch for the run that takes it in.
        send: whether prompts go out as batches.
        wait: whether to poll until all batches have ended.

    Raises:
        ConfigError: batches are asked for, and the provider calls no endpoint.
    """
    from engine.semantics.summaries.llm_provider import BatchPlan, EndpointProvider

    if isinstance(provider, EndpointProvider):
        recorded = partial(costs.recorded_keys, store)
        plan = BatchPlan(
            files=BatchLogs(store.home),
            run_id=run_id or "",
            lock_key=lock_key or "",
            recorded=recorded,
            send=send,
            wait=wait,
        )
        provider.use_batches(plan)
    elif send:
        raise ConfigError(
            f"provider {provider.name!r} calls no endpoint, so there is nothing to send",
            where="--batch",
            hint="Name an endpoint.",
        )


def client_of(store: Store, batch: ProviderBatch, run_id: str) -> BatchClient:
    """The client of a batch's provider.

    Raises:
        ConfigError: its endpoint is no longer in `providers.toml`, or there is no key.
    """
    from engine.semantics.llm.batch_client import BatchClient
    from engine.semantics.llm.budget import Budget
    from engine.semantics.llm.endpoints import find_endpoint, find_key

    home = store.home.path
    endpoint = find_endpoint(batch.provider, home)
    key = find_key(batch.provider, endpoint, home)
    factor = endpoint.batch.price_factor if endpoint.batch else 1.0
    budget = Budget(endpoint, batch.model, factor=factor)
    files, recorded = BatchLogs(store.home), partial(costs.recorded_keys, store)
    return BatchClient(
        batch.provider, endpoint, key, budget, files=files, run_id=run_id, lock_key=batch.payer, recorded=recorded
    )


def open_now(home: Home) -> list[ProviderBatch]:
    """Batches whose answers are not stored yet, oldest first."""
    from engine.semantics.llm.batch_files import open_batches

    return open_batches(BatchLogs(home))


def at_provider(home: Home, provider: str) -> set[str]:
    """Request keys of a provider's open batches: they are paid for, or will be."""
    return {key for batch in open_now(home) if batch.provider == provider for key in batch.requests}


def refreshed(store: Store) -> list[dict[str, Any]]:
    """Every open batch as its provider reports it now; `problem` says why a provider did not answer."""
    rows: list[dict[str, Any]] = []
    for batch in open_now(store.home):
        problem = None
        try:
            client_of(store, batch, "").refresh([batch])
        except EngineError as error:
            problem = str(error)
        rows.append(document(batch) | {"problem": problem})
    return rows


def taken_in(home: Home) -> list[dict[str, Any]]:
    """Batches whose answers are stored, oldest first."""
    from engine.semantics.llm.batch_files import ProviderBatch

    logs = BatchLogs(home).read(done=True)
    return [document(ProviderBatch.read(name, known)) | {"ended": known.get("ended")} for name, known in logs.items()]


def document(batch: ProviderBatch) -> dict[str, Any]:
    """A batch as `sracl llm batches` lists it, in its table and by `--json`; `hours` since it was sent."""
    return {
        "name": batch.name, "provider": batch.provider, "model": batch.model, "batch_id": batch.batch_id,
        "status": batch.status, "requests": len(batch.requests), "done": batch.answered, "run_id": batch.run_id,
        "ended": None, "problem": None, "sent_at": batch.sent_at, "hours": round((time.time() - batch.sent_at) / 3600, 2), "usd_at_most": batch.reserve,
    }  # fmt: skip
