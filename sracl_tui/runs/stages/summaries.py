"""Stage `summaries`: those that an earlier run made are reused, the others are written by the provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.errors import BatchPending
from engine.semantics.summaries import make as summary_stage
from engine.semantics.summaries.provider import PaidProvider
from engine.semantics.summaries.shard import Shard
from sracl_tui.runs.stages.clock import Clock, Counter, record_cost, spent_so_far
from sracl_tui.runs.stages.llm_batches import plan_batches
from sracl_tui.runs.stages.needs import Needs
from sracl_tui.runs.stages.shared_cap import SharedCap
from sracl_tui.runs.stages.single_flight import lock_key_of, single_flight
from store.database.database import Store
from store.queries import caches

if TYPE_CHECKING:
    from engine.semantics.kinds import Kind
    from engine.semantics.summaries.make import SummarySet
    from engine.semantics.summaries.provider import Provider


def make_summaries(
    needs: Needs,
    provider: Provider,
    store: Store,
    clock: Clock,
    stop: Callable[[], bool],
    *,
    batch: bool = False,
    wait: bool = True,
) -> dict[str, SummarySet]:
    """Summary sets by kind; the missing ones are paid for within the run's budget, by one process at a time.

    Args:
        batch: send prompts by the provider's Batch API.
        wait: until all batches are answered.

    Raises:
        BatchPending: batches are unanswered, and `wait` is false.
        BudgetReached: the next call could exceed the budget.
        StopRequested: asked to stop; every answer so far is kept.
    """
    owners = needs.summary_owners()
    if not owners:
        return {}
    with clock.stage("summaries", total=sum(map(len, owners.values()))) as outcome:
        stage = _SummaryStage(needs, provider, store, clock, stop)
        lock_key = lock_key_of(needs.dataset.name, provider)
        with single_flight(store.home, lock_key, "summaries", report=clock.report, stop=stop):
            made = stage.make(lock_key, batch=batch, wait=wait)
        counter = stage.counter
        distinct = sum(len(set(found.keys)) for found in made.values())
        fallbacks = f", {counter.fallbacks:,} rule-based instead" if counter.fallbacks else ""
        detail = f"{provider.name}: {distinct:,} texts, {counter.made:,} new{fallbacks}"
        outcome |= {"cached": counter.made == 0, "detail": detail}
    return made


def make_part(
    needs: Needs, provider: Provider, store: Store, clock: Clock, stop: Callable[[], bool], *, shard: Shard, group: str
) -> None:
    """The summaries that are a shard's to ask; the jobs of a group together stay within the run's budget, which is that of each.

    Raises:
        BudgetReached, StopRequested: as `make_summaries`.
    """
    owners = needs.summary_owners()
    with clock.stage("summaries", total=sum(map(len, owners.values()))) as outcome:
        stage = _SummaryStage(needs, provider, store, clock, stop)
        lock_key = lock_key_of(needs.dataset.name, provider)
        with (
            single_flight(store.home, lock_key, "summaries", report=clock.report, stop=stop, shard=shard),
            SharedCap(store.home, group, str(shard)) as cap,
        ):
            stage.make_part(shard, cap)
        detail = f"{provider.name}: shard {shard}, {stage.counter.made:,} new"
        outcome |= {"cached": stage.counter.made == 0, "detail": detail}


class _SummaryStage:
    """Writes the sets of all kinds, with what the run has spent and what it found stored."""

    def __init__(self, needs: Needs, provider: Provider, store: Store, clock: Clock, stop: Callable[[], bool]) -> None:
        self._needs, self._provider, self._store, self._clock, self._stop = needs, provider, store, clock, stop
        self.counter = Counter(clock.report, needs.dataset.dataset_id)
        self._owners = needs.summary_owners()
        self._known = 0

    def make(self, lock_key: str | None, *, batch: bool, wait: bool) -> dict[str, SummarySet]:
        """All sets by kind. Of every kind the batches are sent first; only then is the first one waited for."""
        provider, clock = self._provider, self._clock
        if isinstance(provider, PaidProvider):
            provider.count_spent(spent_so_far(self._store, clock))
        made: dict[str, SummarySet] = {}
        pending: list[Kind] = []
        if batch:
            self.counter.texts = {}
        try:
            for kind in self._owners:
                plan_batches(provider, self._store, clock.run_id, lock_key, send=batch, wait=not batch)
                try:
                    made[kind] = self._write(kind)
                except BatchPending:
                    pending.append(kind)
            plan_batches(provider, self._store, clock.run_id, lock_key, send=batch, wait=wait)
            for kind in pending:
                made[kind] = self._write(kind)
        finally:
            if isinstance(provider, PaidProvider):
                clock.spent = provider.budget.spent
                record_cost(clock.cost, self.counter, cached=self._known)
        return {kind: made[kind] for kind in self._owners}

    def make_part(self, shard: Shard, cap: SharedCap) -> None:
        """The texts of all kinds that are a shard's."""
        provider, needs = self._provider, self._needs
        if isinstance(provider, PaidProvider):
            provider.count_spent(max(spent_so_far(self._store, self._clock), cap.held()))
            provider.budget.share = cap
        try:
            for kind, owners in self._owners.items():
                summary_stage.make_part(
                    provider,
                    kind,
                    needs.asked(kind, owners),
                    shard=shard,
                    known=self._look_up,
                    report=self.counter,
                    stop=self._stop,
                )
        finally:
            if isinstance(provider, PaidProvider):
                self._clock.spent = provider.budget.spent
                record_cost(self._clock.cost, self.counter, cached=self._known)

    def _write(self, kind: Kind) -> SummarySet:
        needs, owners = self._needs, self._owners[kind]
        return summary_stage.make_summaries(
            self._provider,
            needs.text_dataset,
            kind,
            owners,
            unit=needs.unit_of(kind),
            known=self._look_up,
            report=self.counter,
            stop=self._stop,
            source_owners=needs.asked(kind, owners),
        )

    def _look_up(self, keys: list[str]) -> dict[str, str]:
        """Stored summaries by request key, and those that this stage made and that are not published yet."""
        found = caches.known_summaries(self._store, keys)
        self._known += len(found)
        wanted = set(keys)
        return found | {key: text for key, text in (self.counter.texts or {}).items() if key in wanted}
