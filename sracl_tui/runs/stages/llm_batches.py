"""What is at a provider as a batch: how far it is, and the taking in of what has ended, for jobs and for `sracl llm batches`."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError, StopRequested
from engine.events import ApiCalled, SummariesMade
from store.database.database import Store
from store.home import Home
from store.llm_batches import BatchFiles
from store.queries import costs

if TYPE_CHECKING:
    from engine.semantics.llm.batch_client import BatchClient
    from engine.semantics.llm.batch_files import Batch
    from engine.semantics.summaries.provider import Provider
    from sracl_tui.runs.recorder import Recorder
    from sracl_tui.runs.stages.clock import Clock

ALONE = "collect"
"""Kind of a run that takes in batches and does nothing else."""


def plan_batches(
    provider: Provider, store: Store, run_id: str | None, payer: str | None, *, send: bool, wait: bool
) -> None:
    """Tell a provider how to use batches.

    Raises:
        ConfigError: it cannot send any.
    """
    from engine.semantics.summaries.llm_provider import BatchPlan, EndpointProvider

    if isinstance(provider, EndpointProvider):
        recorded = partial(costs.recorded, store)
        plan = BatchPlan(
            files=BatchFiles(store.home),
            run_id=run_id or "",
            payer=payer or "",
            recorded=recorded,
            send=send,
            wait=wait,
        )
        provider.use_batches(plan)
    elif send:
        raise ConfigError(
            f"provider {provider.name!r} asks nobody, so there is nothing to send",
            where="--batch",
            hint="Name an endpoint.",
        )


def client_of(store: Store, batch: Batch, run_id: str) -> BatchClient:
    """Who talks to a batch's provider about it.

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
    money = Budget(endpoint, batch.model, factor=factor)
    files, recorded = BatchFiles(store.home), partial(costs.recorded, store)
    return BatchClient(
        batch.provider, endpoint, key, money, files=files, run_id=run_id, payer=batch.payer, recorded=recorded
    )


def open_now(place: Home) -> list[Batch]:
    """Batches whose answers are not yet taken in, oldest first."""
    from engine.semantics.llm.batch_files import open_batches

    return open_batches(BatchFiles(place))


def at_provider(place: Home, provider: str) -> set[str]:
    """Keys that a provider has in batches: paid for, or as good as."""
    return {key for batch in open_now(place) if batch.provider == provider for key in batch.requests}


def refreshed(store: Store) -> list[dict[str, Any]]:
    """How far every open batch is, as its provider says now; with `problem` where it could not be asked."""
    from engine.errors import EngineError

    rows: list[dict[str, Any]] = []
    for batch in open_now(store.home):
        problem = None
        try:
            client_of(store, batch, "").refresh([batch])
        except EngineError as error:
            problem = str(error)
        rows.append(document(batch) | {"problem": problem})
    return rows


def taken_in(place: Home) -> list[dict[str, Any]]:
    """Batches that are done, oldest first."""
    from engine.semantics.llm.batch_files import Batch

    logs = BatchFiles(place).read(done=True)
    return [document(Batch.read(name, known)) | {"ended": known.get("ended")} for name, known in logs.items()]


def document(batch: Batch) -> dict[str, Any]:
    """A batch for the eye, and for `--json`."""
    return {
        "name": batch.name, "provider": batch.provider, "model": batch.model, "batch_id": batch.batch_id,
        "status": batch.status, "requests": len(batch.requests), "done": batch.answered, "run_id": batch.run_id,
        "ended": None, "problem": None, "sent_at": batch.sent_at, "hours": round((time.time() - batch.sent_at) / 3600, 2), "usd_at_most": batch.reserve,
    }  # fmt: skip


def collect(names: list[str], recorder: Recorder, store: Store, clock: Clock, stop: Callable[[], bool]) -> None:
    """The work of a run of kind `collect`: take in those of the named batches that have ended."""
    from engine.semantics.llm.budget import Call
    from engine.semantics.summaries.provider import Answers
    from sracl_tui.runs.stages.single_flight import only_payer

    calls = texts = 0
    with clock.stage("summaries", total=len(names)) as outcome:
        for batch in [batch for batch in open_now(store.home) if batch.name in names]:
            if stop():
                raise StopRequested
            with only_payer(store.home, batch.payer, "summaries", report=clock.report, stop=stop):
                client = client_of(store, batch, recorder.folder.name)
                for chunk in client.collect({next(iter(batch.requests))}):
                    if chunk.calls:
                        columns = Call.columns(chunk.calls)
                        clock.report(
                            ApiCalled(provider=batch.provider, model=batch.model, run_id=chunk.run_id, columns=columns)
                        )
                        calls += len(chunk.calls)
                    good = [answer for answer in chunk.answers if answer.text is not None]
                    if good:
                        made = Answers.paid(good)
                        clock.report(SummariesMade(columns=made.columns(0, len(made))))
                        texts += len(good)
        outcome["detail"] = f"{calls:,} requests, {texts:,} texts"
