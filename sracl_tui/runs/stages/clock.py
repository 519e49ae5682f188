"""Times and costs of the stages of a run, and what they made anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.events import (
    ApiCalled,
    Report,
    StageFinished,
    StageStarted,
    SummariesMade,
    SummarySetMade,
    VectorsMade,
)

if TYPE_CHECKING:
    from store.database.database import Store


class Clock:
    """Times the stages of a run and reports their beginning and end."""

    def __init__(
        self, report: Report, seconds: dict[str, float], cost: dict[str, Any] | None = None, run_id: str | None = None
    ) -> None:
        """Args:
        report: receives StageStarted and StageFinished.
        seconds: of the run's result, by stage; each stage adds to it.
        cost: of the run's result; `record_cost` adds to it.
        run_id: the run whose earlier starts count against its budget.
        """
        self.report, self.seconds = report, seconds
        self.cost, self.run_id = {} if cost is None else cost, run_id
        self.spent: float | None = None
        """Dollars spent or reserved by the run's calls, earlier starts included; none before the first paid stage."""

    @contextmanager
    def stage(self, name: str, *, total: int = 0) -> Iterator[dict[str, Any]]:
        """Time a block as a stage; the block fills in `cached` and `detail` of StageFinished."""
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
    """A report that counts the texts, vectors, calls and dollars of the events that it passes on."""

    def __init__(self, report: Report, dataset_id: str) -> None:
        """Args:
        report: receives every event.
        dataset_id: of the stored dataset, put into SummarySetMade in place of that of a perturbed copy.
        """
        self._report, self._dataset_id = report, dataset_id
        self.made = self.calls = self.unknown = self.fallbacks = 0
        self.usd = 0.0
        """Dollars of the calls whose price is known; `unknown` counts the others."""
        self.texts: dict[str, str] | None = None
        """Set to a dict to keep new summaries by key, for lookups before they are published."""

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


def spent_so_far(store: Store, clock: Clock) -> float:
    """Dollars that count against the run's budget: of this start where it has paid stages, else of the earlier ones."""
    from store.queries import costs

    if clock.spent is None and clock.run_id is not None:
        return costs.spent_by(store, clock.run_id)
    return clock.spent or 0.0


def record_cost(cost: dict[str, Any], counter: Counter, *, cached: int) -> None:
    """Add dollars, calls and cached answers to a run's result; dollars are none where no price is known."""
    unpriced = cost.get("unpriced_calls", 0) + counter.unknown
    usd = (cost.get("usd") or 0.0) + counter.usd
    cost |= {
        "usd": round(usd, 9) if usd > 0 or not unpriced else None,  # refused calls cost $0, whatever the price is
        "calls": cost.get("calls", 0) + counter.calls,
        "cached": cost.get("cached", 0) + cached,
        "unpriced_calls": unpriced,
        "fallbacks": cost.get("fallbacks", 0) + counter.fallbacks,
    }
