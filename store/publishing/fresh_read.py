"""A query beside the look for journals that wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from store.database.database import signature
from store.errors import StoreError
from store.home import Home
from store.publishing.publish import catch_up

Found = TypeVar("Found")


def read_beside(home: Home, read: Callable[[], Found]) -> tuple[Found, StoreError | None]:
    """What `read` finds with all that `catch_up` takes in, and what hindered the taking in.

    To ask ten thousand runs whether they left something takes as long as a query, and there rarely is something: so it is
    asked while the query runs, which is done again where something was published.

    Raises:
        StoreError: the database cannot be read.
    """
    before, ended = signature(home), list[StoreError | None]()
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            ended.append(catch_up(home))
        except BaseException as error:  # raised where it is waited for
            failed.append(error)

    asking = threading.Thread(target=ask, name="catch-up")
    asking.start()
    try:
        found = read()
    finally:
        asking.join()
    if failed:
        raise failed[0]
    return (found if signature(home) == before else read()), ended[0]
