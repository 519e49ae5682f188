"""Summaries and vectors of a run, reused where an earlier run made them; `lists` goes on from there.

Legend: R anchors with a vector, V items, S size of a semantic vector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.errors import BatchPending
from sracl_tui.runs.stages.clock import Clock, Counter, spent_so_far
from sracl_tui.runs.stages.needs import Needs
from store.database.database import Store
from store.queries import caches

if TYPE_CHECKING:
    from engine.semantics.kinds import Kind
    from engine.semantics.summaries.make import SummarySet


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
    from engine.semantics.encoders.remote import names_endpoint
    from engine.semantics.summaries import make as summary_stage
    from engine.semantics.summaries.provider import PaidProvider
    from sracl_tui.runs.stages.llm_batches import plan_batches
    from sracl_tui.runs.stages.single_flight import only_payer, payer_of, record_cost

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
            made[kind] = summary_stage.make_summaries(
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
            if isinstance(provider, PaidProvider):
                provider.count_spent(spent_so_far(store, clock))
            try:
                left: list[Kind] = []
                if batch:
                    counter.texts = {}
                for kind in owners:  # of all kinds first what can be sent, then what is to be waited for
                    plan_batches(provider, store, clock.run_id, payer, send=batch, wait=not batch)
                    try:
                        write(kind)
                    except BatchPending:
                        left.append(kind)
                plan_batches(provider, store, clock.run_id, payer, send=batch, wait=wait)
                for kind in left:
                    write(kind)
            finally:
                if isinstance(provider, PaidProvider):
                    clock.spent = provider.money.spent
                    record_cost(clock.cost, counter, cached=known[0])
        distinct = sum(len(set(found.keys)) for found in made.values())
        stand_ins = f", {counter.fallbacks:,} by rule instead" if counter.fallbacks else ""
        detail = f"{provider.name}: {distinct:,} texts, {counter.made:,} new{stand_ins}"
        outcome |= {"cached": counter.made == 0, "detail": detail}
    return {kind: made[kind] for kind in owners}
