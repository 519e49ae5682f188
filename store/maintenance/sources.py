"""Where rows come back from: a private copy of a database file that may be damaged, and what can be read of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from store.database.connection import FOREIGN, LOGS, open_for_writing, open_foreign
from store.database.migrate import DatabaseName, migrate, version_of
from store.errors import StoreError
from store.maintenance.tables import Table, read_file

_SMALLEST = 2048
"""Rows that DuckDB reads at a time: damage takes at least these."""
_GROUP = 122_880
"""Rows of a row group."""
_MOST_TRIES = 400


@dataclass
class Source:
    """A file of which at least the catalog can be read."""

    path: Path
    label: str
    """What to call it in messages."""
    whole: dict[Table, int]
    """Rows of the tables that can be read in whole."""
    pieces: dict[Table, list[tuple[int, int]]] = field(default_factory=dict)
    """Of the other tables, the ranges of row ids that can be read: from the first, to below the second."""
    without_log: bool = False
    """Whether a log of a killed session lies beside it that cannot be replayed."""

    def tables(self) -> list[Table]:
        """Tables of which anything can be read."""
        return sorted([*self.whole, *(table for table, ranges in self.pieces.items() if ranges)])

    def queries(self, table: Table, database: str) -> list[str]:
        """Parts of the readable rows of a table as SQL that can stand after FROM."""
        name = table.sql(database)
        if table in self.whole:
            return [name]
        return [f"(SELECT * FROM {name} WHERE rowid >= {a} AND rowid < {b})" for a, b in self.pieces.get(table, [])]


def open_source(copied: Path, which: DatabaseName, label: str) -> Source | None:
    """Find out what can be read of a private copy of a file; None where it is no database any more.

    A log of a killed session that cannot be replayed is left out; the file is then as it was before that session.
    """
    logs = [log for suffix in LOGS if (log := Path(f"{copied}{suffix}")).exists()]
    for replayed in (True, False):
        if not replayed:
            for log in logs:
                log.unlink(missing_ok=True)
        with suppress(duckdb.Error):
            whole, broken = read_file(copied)
            pieces = {table: _readable(copied, table) for table in broken}
            if not broken and _migrated(copied, which):
                whole = read_file(copied)[0]
            return Source(copied, label, whole, pieces, without_log=bool(logs) and not replayed)
    return None


def _migrated(path: Path, which: DatabaseName) -> bool:
    """Bring a copy of an older version to the newest schema, where that is possible."""
    connection = open_for_writing(path)
    try:
        return version_of(connection) > 0 and bool(migrate(connection, which))
    except (duckdb.Error, StoreError):
        return False
    finally:
        connection.close()


def _readable(path: Path, table: Table) -> list[tuple[int, int]]:
    """Ranges of row ids of a damaged table that can be read: halves of halves around the damage."""
    found: list[tuple[int, int]] = []
    tries = 0

    def attempt(query: str) -> int | None:
        nonlocal tries
        tries += 1
        with suppress(duckdb.Error):
            connection = open_foreign(path)
            try:
                return connection.execute(query.format(table.sql(FOREIGN))).fetchall()[0][0]
            finally:
                connection.close()
        return None

    def look(first: int, end: int) -> None:
        if tries >= _MOST_TRIES or first >= end:
            return
        part = f"(SELECT * FROM {{}} WHERE rowid >= {first} AND rowid < {end})"
        if attempt(f"SELECT count(*) + 0 * coalesce(bit_xor(hash(t)), 0) % 2 FROM {part} t") is not None:
            found.append((first, end))
        elif end - first > _SMALLEST:
            middle = first + max(_SMALLEST, (end - first) // 2 // _SMALLEST * _SMALLEST)
            look(first, middle)
            look(middle, end)

    count = attempt("SELECT count(*) FROM {}") or 0
    for first in range(0, count, _GROUP):
        look(first, min(first + _GROUP, count))
    return found
