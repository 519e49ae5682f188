"""Maintenance of the database files: checking, repairing, backing up and compacting them."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from store.database.connection import explain, open_for_writing
from store.database.database import reading
from store.database.migrate import DatabaseName
from store.errors import StoreError
from store.home import Home
from store.journal.journal import read_lines, segment_name
from store.publishing.ingest import offsets_of, pending_segments
from store.publishing.publish import copy_of, publish, replacing

IMPORTED = ("datasets", "users", "items", "interactions", "anchors")
"""Tables that no journal can restore: they come from a backup, or from the damaged file where they are readable."""
_RULES = {
    # problem: query that counts the rows that have it
    "metrics of a run that does not exist": "SELECT count(*) FROM metrics m ANTI JOIN runs r USING (run_id)",
    "metrics that are stored twice": (
        "SELECT count(*) - count(DISTINCT (run_id, epoch, step, split, subgroup, name)) FROM metrics"
    ),
    "ranks of a run that does not exist": "SELECT count(*) FROM user_ranks m ANTI JOIN runs r USING (run_id)",
    "links to a summary that does not exist": "SELECT count(*) FROM summary_links l ANTI JOIN summaries s USING (key)",
    "neighbors of a list that does not exist": "SELECT count(*) FROM neighbors n ANTI JOIN neighbor_lists l USING (list_id)",
    "interactions of a dataset that does not exist": (
        "SELECT count(*) FROM interactions i ANTI JOIN datasets d USING (dataset_id)"
    ),
}


@dataclass
class Health:
    """Result of `check_home`: rows by table, and problems in sentences."""

    rows: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    waiting: int = 0
    """Journal segments with lines that are not in the database yet."""


def check_home(home: Home) -> Health:
    """Read every row of both files and every line of the journals, and check that they refer to each other correctly."""
    health = Health()
    try:
        with reading(home) as cursor:
            for name in _tables(cursor):
                try:
                    count = cursor.execute(f"SELECT count(*), bit_xor(hash(t)) FROM {name} t").fetchall()
                    health.rows[name] = count[0][0]
                except duckdb.Error as error:
                    health.problems.append(f"table {name} cannot be read: {str(error).splitlines()[0]}")
            _check_rules(cursor, health)
            offsets = offsets_of(cursor)
    except StoreError as error:
        health.problems.append(str(error))
        return health
    for (source, number), position in offsets.items():
        path = (home.edits if source == "edits" else home.runs / source) / segment_name(number)
        with suppress(FileNotFoundError):  # the folder of a run may be deleted by hand
            if path.stat().st_size < position:
                health.problems.append(f"{path}: shorter than the part of it that was ingested")
    for source in [*(path for path in home.runs.iterdir() if path.is_dir()), home.edits]:
        for path in sorted(source.glob("events-*.jsonl")):
            health.problems += read_lines(path)[2]
    health.waiting = sum(1 for _ in pending_segments(home, offsets))
    return health


def _tables(cursor: duckdb.DuckDBPyConnection) -> list[str]:
    rows = cursor.execute(
        "SELECT if(database_name = 'vectors', 'vectors.', '') || table_name FROM duckdb_tables() ORDER BY ALL"
    ).fetchall()
    return [row[0] for row in rows]


def _check_rules(cursor: duckdb.DuckDBPyConnection, health: Health) -> None:
    for what, query in _RULES.items():
        with suppress(duckdb.Error):  # the unreadable table is a problem already
            count = cursor.execute(query).fetchall()[0][0]
            if count:
                health.problems.append(f"{count:,} {what}")


def backup(home: Home, folder: Path | None = None) -> Path:
    """Publish, copy both files into a new folder, `backups/TIME` by default, and read every row of the copies.

    Returns:
        The folder.

    Raises:
        StoreError: the folder exists already or cannot be written, or a copy cannot be read.
    """
    target = folder or home.path / "backups" / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    publish(home)
    try:
        target.mkdir(parents=True)
    except OSError as error:
        raise StoreError(f"cannot be made: {error.strerror}", where=str(target)) from None
    for path in (home.database, home.vectors):
        copy_of(home, path, target / path.name)
        connection = duckdb.connect(str(target / path.name))  # merges the write-ahead log
        try:
            for name in _tables(connection):
                connection.execute(f"SELECT bit_xor(hash(t)) FROM {name} t").fetchall()
        except duckdb.Error as error:
            raise explain(error, target / path.name) from None
        finally:
            connection.close()
    return target


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
        target = open_for_writing(fresh)
        try:
            quoted = str(copied).replace("'", "''")
            target.execute(f"ATTACH '{quoted}' AS old (READ_ONLY)")
            target.execute(f"COPY FROM DATABASE old TO {_name(target)}")
            target.execute("DETACH old")
            target.execute("CHECKPOINT")
        except duckdb.Error as error:
            raise explain(error, fresh) from None
        finally:
            target.close()


def _name(connection: duckdb.DuckDBPyConnection) -> str:
    name = connection.execute("SELECT current_database()").fetchall()[0][0]
    return '"' + name.replace('"', '""') + '"'


def repair_home(home: Home) -> list[str]:
    """Rebuild damaged files from the journals, and the datasets from the damaged file or a backup.

    The damaged files are kept under another name.

    Returns:
        What was done, in sentences; empty where nothing is damaged.

    Raises:
        StoreError: the home cannot be written.
    """
    if not check_home(home).problems:
        return []
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    done: list[str] = []
    aside: list[Path] = []
    for path in (home.database, home.vectors):
        for suffix in ("", ".wal"):
            old = Path(f"{path}{suffix}")
            if old.exists():
                new = old.with_name(f"{path.stem}.damaged-{stamp}.duckdb{suffix}")
                old.rename(new)
                aside += [new] if not suffix and path == home.database else []
                done.append(f"{old.name} was moved to {new.name}")
    sources = [*aside, *sorted(home.path.glob("backups/*/sracl.duckdb"), reverse=True)]
    sources += sorted(home.path.glob("sracl.before-v*.duckdb"), reverse=True)
    rows, origin = _imported(sources)
    publish(home, apply=lambda connection: _insert_imported(connection, rows))
    done.append("the journals were ingested again")
    names = rows["datasets"]["name"].to_pylist() if "datasets" in rows else []
    if origin is not None:
        done.append(f"{len(names)} datasets came back from {origin.name}: {', '.join(names) or 'none'}")
    else:
        done.append("no dataset could be read: import them again")
    return done


def _imported(sources: list[Path]) -> tuple[dict[str, pa.Table], Path | None]:
    """The `IMPORTED` tables of the first file in which all of them can be read, and that file."""
    for path in sources:
        try:
            connection = duckdb.connect(str(path), read_only=True)
        except duckdb.Error:
            continue
        try:
            found = {name: connection.sql(f"FROM {name}").to_arrow_table() for name in IMPORTED}
        except duckdb.Error:
            continue
        else:
            return found, path
        finally:
            connection.close()
    return {}, None


def _insert_imported(connection: duckdb.DuckDBPyConnection, rows: dict[str, pa.Table]) -> Any:
    for name, table in rows.items():
        connection.register("incoming", table)
        connection.execute(f"DELETE FROM {name}")
        connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming")
        connection.unregister("incoming")


def sizes(home: Home) -> dict[str, int]:
    """Bytes of both files by name."""
    return {path.name: os.stat(path).st_size for path in (home.database, home.vectors) if path.exists()}
