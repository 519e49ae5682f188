"""One process at a time pays for the same answers; the others wait, and find them stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from engine.config import content_hash
from engine.errors import StopRequested
from engine.events import Report, Warned
from engine.semantics.summaries.shard import WHOLE, Shard
from store.errors import StoreError
from store.home import Home
from store.locks import FileLock, holder_name
from store.publishing.publish import ELSEWHERE, publish, wait_until_taken_in

if TYPE_CHECKING:
    from engine.semantics.summaries.provider import Provider

POLL_SECONDS = 0.2


@contextmanager
def single_flight(
    home: Home, lock_key: str | None, what: str, *, report: Report, stop: Callable[[], bool], shard: Shard = WHOLE
) -> Iterator[None]:
    """Hold the lock of a key; a second process waits for it, with a warning in its own journal.

    Args:
        lock_key: names the answers, such as a hash of dataset and model; none where they cost nothing, and no lock is taken.
        what: `summaries` or `vectors`, for the name of the lock and the warning.
        shard: of the keys of the answers: jobs whose ranges meet wait for each other, others do not.

    Raises:
        StopRequested: asked to stop while waiting.
        StoreError: this process does not publish, and none does.
    """
    if lock_key is None:
        yield
        return
    names = [f"{what}-{lock_key}"] if shard == WHOLE else []
    names += [f"{what}-{lock_key}-{number:x}" for number in shard.ranges]
    with ExitStack() as stack:
        warned = False
        for name in names:
            lock = FileLock(home.cache / f"{name}.lock")
            while not lock.acquire():
                if not warned:
                    report(Warned(message=f"{holder_name(lock.path)} is having the same {what} made: waiting for it"))
                    warned = True
                if stop():
                    raise StopRequested
                time.sleep(POLL_SECONDS)
            stack.callback(lock.release)
            lock.write_holder()
        _take_in_journals(home, stop)
        yield


def _take_in_journals(home: Home, stop: Callable[[], bool]) -> None:
    """See to it that what others have in their journals by now is known, so that nothing is paid for twice."""
    if home.publishes:
        with suppress(StoreError):
            publish(home)
    elif not wait_until_taken_in(home, stop=stop):
        if stop():
            raise StopRequested
        raise StoreError(
            "other runs may have these answers in their journals, which nobody takes in",
            where=str(home.path),
            hint=ELSEWHERE,
        )


def lock_key_of(dataset: str, provider: Provider) -> str | None:
    """The key of a provider's summaries of a dataset; none for a provider that costs nothing."""
    if provider.model is None:
        return None
    return content_hash([dataset, provider.name, provider.model, provider.prompt_version, provider.parameters])
