"""Gives the room of deleted rows back."""

from __future__ import annotations

import duckdb

from store.database.connection import attach, explain, open_for_writing, quoted
from store.database.migrate import DatabaseName
from store.home import Home
from store.publishing.publish import publish
from store.publishing.replacement import replacing


def compact(home: Home) -> tuple[int, int]:
    """Rewrite both files without the space of deleted rows; returns their bytes before and after.

    Raises:
        StoreError: another process writes, or the disk is full; nothing was changed.
    """
    publish(home)
    before = home.database.stat().st_size + home.vectors.stat().st_size
    for which in ("main", "vectors"):
        _compact(home, which)
    return before, home.database.stat().st_size + home.vectors.stat().st_size


def _compact(home: Home, which: DatabaseName) -> None:
    with replacing(home, which) as (copied, fresh):
        target = open_for_writing(fresh, files=True)
        try:
            attach(target, {"old": copied})
            name = target.execute("SELECT current_database()").fetchall()[0][0]
            target.execute(f"COPY FROM DATABASE old TO {quoted(name)}")
            target.execute("DETACH old")
            target.execute("CHECKPOINT")
        except duckdb.Error as error:
            raise explain(error, fresh) from None
        finally:
            target.close()
