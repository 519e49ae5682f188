"""Times, progress and costs of the stages of a run."""

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
from store.database.database import Store

if TYPE_CHECKING:
    pass


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


def spent_so_far(store: Store, clock: Clock) -> float:
    """What the run has spent so far."""
    from store.queries import costs

    if clock.spent is None and clock.run_id is not None:
        return costs.spent_by(store, clock.run_id)
    return clock.spent or 0.0
