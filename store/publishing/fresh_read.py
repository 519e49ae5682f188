"""A query that runs at the same time as the search for journals to publish."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from store.database.database import signature
from store.errors import StoreError
from store.home import Home
from store.publishing.publish import catch_up

Found = TypeVar("Found")


def fresh_read(home: Home, read: Callable[[], Found]) -> tuple[Found, StoreError | None]:
    """Run a query on a state that includes the journals of dead runs; returns its result and the error of `catch_up`.

    Checking ten thousand runs for unpublished events takes as long as a query, and there rarely are any. So `catch_up`
    runs in a thread beside the query, and the query runs again only where something was published.

    Raises:
        StoreError: the database cannot be read.
    """
    before, results = signature(home), list[StoreError | None]()
    failed: list[BaseException] = []

    def publish_journals() -> None:
        try:
            results.append(catch_up(home))
        except BaseException as error:  # raised again by the calling thread
            failed.append(error)

    thread = threading.Thread(target=publish_journals, name="catch-up")
    thread.start()
    try:
        found = read()
    finally:
        thread.join()
    if failed:
        raise failed[0]
    return (found if signature(home) == before else read()), results[0]
