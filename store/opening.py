"""Opening a home: the one way to a `Store`, which first brings the home's files up to date."""

from __future__ import annotations

from store.database.database import Store
from store.home import Home
from store.publishing.publish import catch_up, create, upgrade


def open_store(home: Home, *, ingest: bool = True) -> Store:
    """Open a home for reading; a new home gets its folders and empty databases first.

    Args:
        ingest: publish the journals of dead runs first, and people's edits. What hinders that is `Store.behind`.

    Raises:
        StoreError: the home cannot be read, was written by a newer version, or is open for writing elsewhere.
    """
    home.create()
    create(home)
    store = Store(home)
    try:
        upgrade(home)
        if ingest:
            store.behind = catch_up(home)
    except BaseException:
        store.close()
        raise
    return store
