"""What a job that may cost money takes care of: that no two processes pay for the same summaries, and the bill."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from engine.config import content_hash
from engine.errors import StopRequested
from engine.events import Report, Warned
from store.errors import StoreError
from store.home import Home
from store.publish import publish

if TYPE_CHECKING:
    from engine.semantics.providers import Provider
    from sracl_tui.runner.stages import Counter

LOOK_SECONDS = 0.2


@contextmanager
def only_payer(
    place: Home, provider: Provider, dataset: str, *, report: Report, stop: Callable[[], bool]
) -> Iterator[None]:
    """Let one process at a time pay for summaries of a dataset by a model; a second one waits, then finds them made.

    Providers by rule cost nothing and wait for nobody.

    Raises:
        StopRequested: asked to stop while waiting.
    """
    if provider.model is None:
        yield
        return
    name = content_hash([dataset, provider.name, provider.model, provider.prompt_version, provider.parameters])
    path = place.cache / f"summaries-{name}.lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        told = False
        while not _taken(file):
            if not told:
                holder = os.pread(file, 20, 0).decode(errors="replace").strip() or "unknown"
                report(Warned(message=f"process {holder} is having the same summaries written: waiting for it"))
                told = True
            if stop():
                raise StopRequested
            time.sleep(LOOK_SECONDS)
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        with suppress(StoreError):  # what others have in their journals by now counts as known
            publish(place)
        yield
    finally:
        os.close(file)


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def record_cost(cost: dict[str, Any], provider: Provider, counter: Counter, *, cached: int) -> None:
    """Put dollars, calls and cached answers into a run's result; dollars are none where no price is known."""
    if provider.model is None:
        return
    priced = counter.usd > 0 or counter.unknown == 0  # calls that were refused cost $0, whatever the price is
    cost |= {
        "usd": round(counter.usd, 9) if priced else None,
        "calls": counter.calls,
        "cached": cached,
        "unpriced_calls": counter.unknown,
        "fallbacks": counter.fallbacks,
    }
