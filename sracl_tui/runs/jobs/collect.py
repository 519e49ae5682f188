"""The job of kind `collect`: store the answers of batches that have ended at their provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.events import ApiCalled, SummariesMade
from engine.semantics.llm.budget import Call
from engine.semantics.summaries.provider import Answers
from sracl_tui.runs.stages.llm_batches import client_of, open_now
from sracl_tui.runs.stages.single_flight import single_flight
from store.opening import open_store

if TYPE_CHECKING:
    from engine.semantics.llm.batch_files import ProviderBatch
    from sracl_tui.runs.jobs.base import JobContext
    from store.database.database import Store


def collect(context: JobContext) -> None:
    """Stage `summaries`: take in the request's batches, those that have ended; the others stay at the provider.

    Raises:
        StopRequested: the run was asked to stop between two batches.
    """
    names = context.request.job["batches"]
    with open_store(context.home) as store, context.clock.stage("summaries", total=len(names)) as outcome:
        calls = texts = 0
        for batch in [batch for batch in open_now(store.home) if batch.name in names]:
            context.check_stop()
            new_calls, new_texts = _collect(context, store, batch)
            calls, texts = calls + new_calls, texts + new_texts
        outcome["detail"] = f"{calls:,} requests, {texts:,} texts"


def _collect(context: JobContext, store: Store, batch: ProviderBatch) -> tuple[int, int]:
    """Report what a batch has answered; the number of calls and of usable texts."""
    clock, calls, texts = context.clock, 0, 0
    with single_flight(store.home, batch.payer, "summaries", report=clock.report, stop=context.stop):
        client = client_of(store, batch, context.request.run_id)
        for part in client.collect({next(iter(batch.requests))}):
            if part.calls:
                columns = Call.columns(part.calls)
                clock.report(ApiCalled(provider=batch.provider, model=batch.model, run_id=part.run_id, columns=columns))
                calls += len(part.calls)
            usable = [answer for answer in part.answers if answer.text is not None]
            if usable:
                made = Answers.paid(usable)
                clock.report(SummariesMade(columns=made.columns(0, len(made))))
                texts += len(usable)
    return calls, texts
