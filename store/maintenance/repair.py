"""Makes damaged databases anew from all that can be read of them, of the newest backup and of the journals.

The new file is built aside under the publishers' lock, compared with what could be read before, run by run, and only then
renamed into place; the damaged file stays beside it. Whatever dies before the renaming has changed nothing.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from store.database.connection import FOREIGN, LOGS, explain, forbidden, open_for_writing, open_foreign
from store.database.migrate import DatabaseName, migrate
from store.errors import StoreError
from store.home import Home
from store.maintenance.check import Health, check_home
from store.maintenance.lock_files import set_aside
from store.maintenance.placing import logs_of, put_in_place, set_logs_aside
from store.maintenance.schema_check import file_problems
from store.maintenance.sources import Source, open_source
from store.maintenance.tables import Table
from store.maintenance.union import LEFT, Union
from store.publishing import ingest, removals
from store.publishing.ingest import Segment, offsets_of, pending_segments
from store.publishing.publish import publish
from store.publishing.replacement import copy_file, discard, drop_standby, path_of, side_lock, standbys_of

_OFFSETS = Table("main", "journal_offsets")
_RUNS = Table("main", "runs")


@dataclass
class Repaired:
    """Result of `repair_home`, in sentences."""

    done: list[str] = field(default_factory=list)
    """What was done; empty where nothing had to be."""
    missing: list[str] = field(default_factory=list)
    """What did not come back, and what is still wrong."""


def repair_home(home: Home, *, wait: float = 30.0) -> Repaired:
    """Bring back what is damaged or missing; rows that can be read are never fewer afterwards.

    What a person deleted with SQL stays deleted where the file that says so can be read, or a backup made since.

    Raises:
        StoreError: the home cannot be written or read by this user, or a newer version wrote it; nothing was changed.
        StoreBusy: another process publishes or has a file open for writing; nothing was changed.
    """
    home.create()
    report = Repaired(done=set_aside(home))
    with side_lock(home, time.monotonic() + wait):
        for which in ("main", "vectors"):
            if (denied := forbidden(path_of(home, which))) is not None:
                raise denied
        health = check_home(home)
        if health.newer:
            raise StoreError(health.newer[0], where=str(home.path), hint="Use that version. Nothing was changed.")
        damaged: list[DatabaseName] = [which for which in ("vectors", "main") if health.files[which]]
        for which in damaged:
            try:
                _make_anew(home, which, report)
            except OSError as error:
                raise StoreError(f"cannot be written: {error.strerror}", where=str(home.path)) from None
        if health.standbys:
            for which in ("vectors", "main"):
                drop_standby(path_of(home, which))
            report.done.append("a damaged standby was removed")
    if "main" in damaged or health.waiting:
        try:
            taken = publish(home, wait=wait, thorough=True)
        except StoreError as error:
            report.missing.append(str(error))
        else:
            report.done += [f"{taken.events:,} events of the journals were taken in"] * bool(taken.events)
    report.missing += health.torn if "main" in damaged else []  # the database that knew more is gone
    health = check_home(home) if report.done else health
    report.missing += _left(health)
    return report


def _left(health: Health) -> list[str]:
    lines = [f"{text}. What the database has of it stays" for texts in health.journals.values() for text in texts]
    return [
        *health.files["main"],
        *health.files["vectors"],
        *health.content,
        *lines,
        *health.backups,
        *health.standbys,
        *health.locks,
    ]


def _make_anew(home: Home, which: DatabaseName, report: Repaired) -> None:
    path = path_of(home, which)
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}")
    discard(fresh)
    report.done += [f"{name} was no log, and stands aside" for name in set_logs_aside(path)]
    try:
        copied = fresh.with_name(f"{fresh.name}-damaged")
        before = copy_file(path, copied) if path.is_file() else logs_of(path)
        sources = _sources(home, which, copied, report)
        report.missing += [
            f"the log beside {one.label} cannot be replayed: of its rows those come back that the journals have"
            for one in sources
            if one is not None and one.without_log
        ]
        with _new_file(fresh, which) as connection:
            build = _build_main if which == "main" else _build_vectors
            build(home, connection, sources, fresh, report)
            connection.execute("CHECKPOINT")
        kept = put_in_place(path, fresh, before, "damaged")
        report.done.append(f"{path.name} was made anew" + (f"; the damaged one is kept as {kept}" if kept else ""))
    except duckdb.Error as error:
        raise explain(error, path) from None
    finally:
        discard(fresh)


@contextmanager
def _new_file(path: Path, which: DatabaseName) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = open_for_writing(path, files=True)  # files are attached to it, and it is locked down then
    try:
        migrate(connection, which)
        yield connection
    finally:
        connection.close()


def _sources(home: Home, which: DatabaseName, copied: Path, report: Repaired) -> list[Source | None]:
    """The damaged file itself, then the newest backup that can be read; None for each that cannot.

    The standby, which is as new as the publish before the last, counts as a backup where all of it can be read.
    """
    path = path_of(home, which)
    current = open_source(copied, which, str(path)) if copied.exists() else None
    standbys = [file for file in standbys_of(path) if not file.is_symlink()]
    found = [*home.path.glob(f"backups/*/{path.name}"), *home.path.glob(f"{path.stem}.before-v*.duckdb"), *standbys]
    backups = sorted((file for file in found if file.is_file()), key=lambda file: file.stat().st_mtime, reverse=True)
    for number, file in enumerate(backups):
        private = copied.with_name(f"{copied.name}-backup-{number}")
        for suffix in ("", *LOGS):  # the logs of a killed session hold rows, too
            if os.path.isfile(f"{file}{suffix}"):
                shutil.copyfile(f"{file}{suffix}", f"{private}{suffix}")
        backup = open_source(private, which, str(file))
        odd = [] if backup is None else file_problems(private, which)
        if odd and file not in standbys:
            report.missing.append(f"backup {file} is not as this program makes it, and was not used: {odd[0]}")
            continue
        needed = {_OFFSETS, _RUNS} if which == "main" else set()
        if backup is not None and needed <= backup.whole.keys() and not (file in standbys and (backup.pieces or odd)):
            return [current, backup]
        if file not in standbys:
            report.missing.append(f"backup {file} cannot be read, and was not used")
    return [current, None]


def _build_main(
    home: Home, connection: duckdb.DuckDBPyConnection, sources: list[Source | None], fresh: Path, report: Repaired
) -> None:
    """Fill a new main database.

    A file whose offsets can be read is the truth as of these offsets, for every table that can be read in whole; only the
    others are completed. So what a person deleted stays deleted. Later events are ingested afterwards.
    """
    current, backup = sources
    truth = current if current is not None and _OFFSETS in current.whole else backup if current is None else None
    journals = _from_journals(home, truth, fresh, report)
    union = Union(connection, [source for source in (current, backup, journals) if source is not None])
    for table in union.ours:
        if truth is not None and table in truth.whole:
            union.take_all(table, truth)
            continue
        if current is not None:
            union.fill(table, current)
        union.fill(table, journals, newer=backup)
        if backup is not None and table != _OFFSETS:
            union.fill(table, backup, short=True)
        report.done.append(f"table {table} was put together from {_names(table, (current, journals, backup))}")
    _take_own_tables(union, truth or current or backup, [current, backup], report)
    for source in (current, truth):
        if source is not None:
            union.check_nothing_lost(source)
    removals.settle(connection)  # one source may know that a run was removed, and another have its rows
    if truth is not None and truth is not current:
        report.done.append(f"the rows came from {truth.label}, and from the journals what is newer")


def _names(table: Table, sources: tuple[Source | None, ...]) -> str:
    labels = [source.label for source in sources if source is not None and source.queries(table, "x")]
    return ", ".join(labels) or "nothing: no copy of it can be read"


def _take_own_tables(union: Union, first: Source | None, sources: list[Source | None], report: Repaired) -> None:
    """Tables and views of a person: of the file that is the truth, else the newest copy of each."""
    taken = {*union.ours, *LEFT}
    for source in [first, *sources]:
        if source is None or (source is not first and first is not None and not first.pieces):
            continue
        for table in source.tables():
            if table not in taken:
                taken.add(table)
                if not union.take_own(table, source):
                    report.missing.append(f"table {table} could not be made again; {source.label} has its rows")
    if first is not None:
        report.missing += [f"view {name} could not be made again" for name in union.take_views(first)]
        lost = [table for table, ranges in first.pieces.items() if not ranges and table not in taken]
        report.missing += [f"table {table}: no row of it can be read" for table in lost]


def _from_journals(home: Home, truth: Source | None, fresh: Path, report: Repaired) -> Source:
    """A database of the journals alone, up to the offsets of the file that is the truth, else to their ends."""
    limits: dict[tuple[str, int], int] | None = None
    if truth is not None:
        with open_foreign(truth.path) as connection:
            limits = offsets_of(connection, FOREIGN)
    path = fresh.with_name(f"{fresh.name}-journals")
    with _new_file(path, "main") as connection:
        if truth is None or truth.pieces:
            warnings: list[str] = []
            ingest.ingest_all(connection, _segments(home, limits), warnings)
            report.done.append("the journals were ingested again")
    found = open_source(path, "main", "the journals")
    if found is None:
        raise StoreError(
            "the database that was made of the journals cannot be read: is the disk damaged?", where=str(path)
        )
    return found


def _segments(home: Home, limits: dict[tuple[str, int], int] | None) -> list[Segment]:
    """All segments of the journals, in whole or up to the offsets."""
    found = list(pending_segments(home, {}, thorough=True))
    if limits is None:
        return found
    ends = ((part, min(part.end, limits.get((part.source, part.number), 0))) for part in found)
    return [replace(part, end=end) for part, end in ends if end]


def _build_vectors(
    home: Home, connection: duckdb.DuckDBPyConnection, sources: list[Source | None], fresh: Path, report: Repaired
) -> None:
    """Fill a new file of vectors: they are never deleted, so all that can be read anywhere are united."""
    found = [source for source in sources if source is not None]
    warnings: list[str] = []
    for batch in ingest.batches(_segments(home, None), warnings):
        ingest.ingest_vectors(connection, batch, warnings)
    union = Union(connection, found)
    for source in found:
        for table in union.ours:
            union.fill(table, source)
    for source in found:
        union.check_nothing_lost(source)
