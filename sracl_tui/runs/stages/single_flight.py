"""What a job that may cost money takes care of: that no two processes pay for the same summaries, and the bill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from engine.config import content_hash
from engine.errors import StopRequested
from engine.events import Report, Warned
from store.errors import StoreError
from store.home import Home
from store.locks import FileLock, holder_pid
from store.publishing.publish import publish

if TYPE_CHECKING:
    from engine.semantics.summaries.provider import Provider
    from sracl_tui.runs.stages.clock import Counter

LOOK_SECONDS = 0.2


@contextmanager
def only_payer(
    place: Home, payer: str | None, what: str, *, report: Report, stop: Callable[[], bool]
) -> Iterator[None]:
    """Let one process at a time pay for the same answers; a second one waits, then finds them made.

    Args:
        payer: names them, such as a hash of dataset and model; none where they cost nothing: these wait for nobody.
        what: `summaries` or `vectors`.

    Raises:
        StopRequested: asked to stop while waiting.
    """
    if payer is None:
        yield
        return
    lock = FileLock(place.cache / f"{what}-{payer}.lock")
    told = False
    while not lock.acquire():
        if not told:
            holder = holder_pid(lock.path) or "unknown"
            report(Warned(message=f"process {holder} is having the same {what} made: waiting for it"))
            told = True
        if stop():
            raise StopRequested
        time.sleep(LOOK_SECONDS)
    try:
        lock.write_holder()
        with suppress(StoreError):  # what others have in their journals by now counts as known
            publish(place)
        yield
    finally:
        lock.release()


def payer_of(dataset: str, provider: Provider) -> str | None:
    """Names the summaries that one process at a time pays for; none where they cost nothing."""
    if provider.model is None:
        return None
    return content_hash([dataset, provider.name, provider.model, provider.prompt_version, provider.parameters])


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
