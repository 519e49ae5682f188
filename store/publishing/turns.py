"""Two files take turns at being the published one, so that a publish writes what is new and not the whole database.

The file that was published before the present one is its *standby*. It lacks what the last publish brought: this is taken in
from the journals once more, the result is compared with the published file, and then the new events follow. The
file is renamed into place, and the one that was there becomes the standby. A file is copied whole where there is no standby,
where somebody still reads it or has changed either file, and where the journals no longer give what they gave.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from store.database.connection import explain, open_for_writing
from store.database.database import kept_open, reading
from store.database.migrate import DatabaseName, migrate, own_names, version_of
from store.errors import StoreBusy, StoreError
from store.home import Home
from store.publishing import ingest
from store.publishing.replacement import (
    busy,
    copy_file,
    discard,
    drop_standby,
    path_of,
    replace_file,
    run_file_swap,
    standbys_of,
    take_standby,
)
from store.run_states import OPEN

INTERRUPTED = "Query interrupted"
"""DuckDB's message where ctrl+c comes during a statement."""
SMALL_BYTES = 2_000_000
"""A file up to this size is copied: that costs no more than the changes of a standby, which always write some blocks."""
COPIED_PER_TAKEN = 64
"""Bytes of a file that are copied in the time in which one byte of a journal is taken in, about."""
_IS_OPEN = f"WHERE state IN {(*sorted(OPEN),)!r}"
_OPEN = f"SELECT run_id FROM runs {_IS_OPEN}"
_ENDS = "SELECT run_id, state, reason, ended_at FROM runs"
_MIRRORED = {"queue", "schema_version"}
"""Tables that each publish or migration writes by itself."""


@dataclass
class _Facts:
    """What the published file has, with which a standby has to agree."""

    version: int
    rows: dict[str, int]
    """Rows by table."""
    offsets: dict[tuple[str, int], int]
    """Of the main database."""


@contextmanager
def next_state(
    home: Home, which: DatabaseName, *, keep: bool = True, files: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A writable, migrated file with all that the published one has, which replaces that one unless the block raises.

    Args:
        keep: the present file may become the standby: all that the block changes is in the journals, too.
        files: the connection may reach other files, until it is locked down.

    Raises:
        StoreBusy: a session has the published file open for writing, or has written to it meanwhile; nothing was changed.
        StoreError: the disk is full, or the file cannot be read; nothing was changed.
    """
    path = path_of(home, which)
    temporary = path.with_name(f"{path.name}.new-{os.getpid()}")
    caught_up = False
    try:
        begun = None if files else _begin_with_standby(home, which, path, temporary)
        caught_up = begun is not None
        before, connection = begun or (copy_file(path, temporary), open_for_writing(temporary, files=files))
        try:
            old = version_of(connection)
            migrated = migrate(connection, which)
            yield connection
            if not before:
                temporary.chmod(0o600)
            connection.execute("CHECKPOINT")  # closing does so too, but reports no full disk
        finally:
            connection.close()
        if migrated and old > 0:
            _keep_backup(path, before, old)
        keep = keep and not migrated and temporary.stat().st_size > SMALL_BYTES
        replace_file(path, temporary, before, keep=keep)
    except duckdb.Error as error:
        raise StandbyFailed(str(error)) if caught_up else explain(error, path) from None
    except RuntimeError as error:
        raise KeyboardInterrupt if str(error) == INTERRUPTED else error from None
    finally:
        discard(temporary)


class StandbyFailed(StoreError):
    """The standby, which is gone now, could not be written to; with a copy of the published file it may succeed."""


def _begin_with_standby(
    home: Home, which: DatabaseName, path: Path, temporary: Path
) -> tuple[dict[str, Any], duckdb.DuckDBPyConnection] | None:
    """The state of the published file, and a connection to the standby, which has the same content; None without one."""
    if not standbys_of(path):
        return None
    with kept_open(home):
        facts = _facts(home, which)  # first: a reader of this process that is behind lets the standby go
        if facts is None:  # the standby may be all that a repair has
            return None
        before = take_standby(path, temporary)
        if before is not None:
            connection = _caught_up(home, which, temporary, facts, path)
            if connection is not None:
                return before, connection
            discard(temporary)
    drop_standby(path)
    return None


def _facts(home: Home, which: DatabaseName) -> _Facts | None:
    """Read what a standby has to agree with; None where the published files cannot be read together."""
    try:
        with reading(home, newest=True) as cursor:
            if which == "vectors":
                cursor.execute("USE vectors")
            offsets = ingest.offsets_of(cursor) if which == "main" else {}
            return _Facts(version_of(cursor), _rows(cursor, which), offsets)
    except StoreBusy as error:
        if error.pid is not None:
            raise busy(path_of(home, which), error.pid) from None
        return None
    except StoreError:
        return None


def _rows(connection: duckdb.DuckDBPyConnection, which: DatabaseName) -> dict[str, int]:
    """Rows by table of the schema."""
    found = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = 'main'"
    ).fetchall()
    tables = sorted({row[0] for row in found} & own_names(which) - _MIRRORED)
    counts = connection.execute(" UNION ALL ".join(f"SELECT '{name}', count(*) FROM main.{name}" for name in tables))
    return dict(counts.fetchall())


def _caught_up(
    home: Home, which: DatabaseName, temporary: Path, facts: _Facts, path: Path
) -> duckdb.DuckDBPyConnection | None:
    """Bring a standby to the state of the published file; None where that does not succeed, or costs more than a copy."""
    connection = None
    try:
        connection = open_for_writing(temporary)
        if version_of(connection) == facts.version:
            take = _take_vectors if which == "vectors" else _take_events
            if take(home, connection, facts, path):
                return connection
    except (duckdb.Error, StoreError):  # it is damaged, or the published file is
        pass
    if connection is not None:
        with suppress(duckdb.Error):
            connection.close()
    return None


def _take_events(home: Home, connection: duckdb.DuckDBPyConnection, facts: _Facts, path: Path) -> bool:
    """Take in what the published file has of the journals; whether the result agrees with it."""
    missing = ingest.missing_segments(home, ingest.offsets_of(connection), facts.offsets)
    if sum(part.end - part.start for part in missing) * COPIED_PER_TAKEN > path.stat().st_size:
        return False
    warnings = list[str]()
    ingest.ingest_all(connection, missing, warnings)
    _take_deaths(home, connection)
    agrees = ingest.offsets_of(connection) == facts.offsets and _rows(connection, "main") == facts.rows
    return agrees and not warnings


def _take_deaths(home: Home, connection: duckdb.DuckDBPyConnection) -> None:
    """Take over how runs ended that an earlier publish found dead: no journal says so, and it may look otherwise by now."""
    open_runs = [row[0] for row in connection.execute(_OPEN).fetchall()]
    if not open_runs:
        return
    with reading(home, newest=True) as cursor:
        ended = cursor.execute(f"{_ENDS} WHERE run_id IN (SELECT unnest($1)) EXCEPT {_ENDS} {_IS_OPEN}", [open_runs])
        found = ended.fetchall()
    for run_id, *values in found:
        connection.execute("UPDATE runs SET state = ?, reason = ?, ended_at = ? WHERE run_id = ?", [*values, run_id])


def _take_vectors(home: Home, connection: duckdb.DuckDBPyConnection, facts: _Facts, path: Path) -> bool:
    """Add the vectors that a standby lacks: they are never deleted nor changed, so these are the last rows."""
    have, wanted = _rows(connection, "vectors")["vectors"], facts.rows["vectors"]
    if have > wanted or 2 * have < wanted:
        return False
    with reading(home, newest=True) as cursor:
        found = cursor.sql("SELECT * FROM vectors.vectors WHERE rowid >= $1 ORDER BY rowid", params=[have])
        connection.begin()
        for batch in found.to_arrow_reader(10_000):
            connection.register("incoming", batch)
            connection.execute("INSERT INTO vectors SELECT * FROM incoming")
            connection.unregister("incoming")
        connection.commit()
    return _rows(connection, "vectors") == facts.rows


def _keep_backup(path: Path, before: dict[str, Any], old: int) -> None:
    """Keep the file as it was before a migration beside the new one, under the number of the schema after its own."""
    backup = path.with_name(f"{path.stem}.before-v{old + 1}.duckdb")
    try:
        for suffix in before:
            os.link(f"{path}{suffix}", f"{backup}{suffix}")
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        run_file_swap("copy", path, backup)
