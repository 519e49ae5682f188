"""Ingests journals into the databases. Offsets move in the same transaction, so ingesting twice changes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb

from store.database.connection import fetch_few
from store.home import Home
from store.journal.journal import Line, read_lines, segment_name, segment_number, segments
from store.process_state import Alive
from store.publishing.liveness import OPEN_RUNS, dead_runs, process_state
from store.publishing.paid_events import TABLES
from store.publishing.projection import EDITS, Projector, read_table
from store.publishing.run_rows import RunRows

_MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
_REFUSED = (duckdb.DataError, duckdb.IntegrityError, duckdb.ProgrammingError, duckdb.NotSupportedError)
"""Errors by which the database refuses values; others, such as a full disk, are not the event's fault."""


@dataclass(frozen=True)
class Segment:
    """A journal segment with bytes that have not been ingested yet."""

    source: str
    """A run's id, or `EDITS`."""
    number: int
    path: Path
    start: int
    """Bytes that have been ingested."""


@dataclass
class SegmentEvents:
    """New events of one segment, and the byte offset behind them."""

    source: str
    number: int
    lines: list[Line]
    end: int


def offsets_of(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, int], int]:
    """Bytes ingested so far, by source and number of the segment."""
    rows = connection.execute("SELECT source, segment, position FROM journal_offsets").fetchall()
    return {(source, segment): position for source, segment, position in rows}


def pending_segments(home: Home, offsets: dict[tuple[str, int], int], *, thorough: bool = False) -> Iterator[Segment]:
    """Segments that have grown: of runs in the order of their ids, then of edits.

    Args:
        thorough: list every folder, also where nothing was added to it since the last publish.
    """
    last: dict[str, int] = {}
    for source, number in offsets:
        last[source] = max(number, last.get(source, 0))
    sources = sorted(entry.name for entry in os.scandir(home.runs) if entry.is_dir())
    runs = str(home.runs)  # as text: a pathlib path for each of ten thousand runs takes longer than its `stat`
    since = 0.0
    if not thorough:
        with suppress(FileNotFoundError):
            since = home.database.stat().st_mtime
    for source in [*sources, EDITS]:
        folder = str(home.edits) if source == EDITS else f"{runs}/{source}"
        for number, path, size in _sizes(folder, last.get(source, 0), since):
            start = offsets.get((source, number), 0)
            if size > start:
                yield Segment(source, number, Path(path), start)


def _sizes(folder: str, last: int, since: float) -> list[tuple[int, str, int]]:
    """Number, path and size in bytes of a folder's segments; those up to number `last` are known to exist.

    Numbers count from 1, so the names are tried in turn: listing ten thousand folders takes three times as long. A folder
    that has changed after `since`, the time of the last publish, is listed: a segment may follow one that was deleted.
    """
    found: list[tuple[int, str, int]] = []
    number = 1
    while True:
        path = f"{folder}/{_name(number)}"
        if number > last and not os.access(path, os.F_OK):  # cheaper than the exception of `stat`
            break
        found += _size(number, path)
        number += 1
    with suppress(OSError):
        if number == 1 or os.stat(folder).st_mtime >= since:
            return [size for path in segments(Path(folder)) for size in _size(segment_number(path), str(path))]
    return found


def _size(number: int, path: str) -> list[tuple[int, str, int]]:
    """The segment with its size, where it is a plain file: to open a FIFO would never end."""
    with suppress(OSError):
        found = os.stat(path)
        if stat.S_ISREG(found.st_mode):
            return [(number, path, found.st_size)]
    return []


_name = cache(segment_name)


def has_lines(segment: Segment) -> bool:
    """Whether a segment has more than a torn last line beyond its start."""
    with suppress(OSError):
        return read_lines(segment.path, segment.start)[1] > segment.start
    return False


def read_pending(
    home: Home, offsets: dict[tuple[str, int], int], warnings: list[str], *, thorough: bool = False
) -> list[SegmentEvents]:
    """All new events of the home; messages about lines that cannot be read go to `warnings`. Args: as in `pending_segments`."""
    pending: list[SegmentEvents] = []
    for segment in pending_segments(home, offsets, thorough=thorough):
        try:
            lines, end, problems = read_lines(segment.path, segment.start)
        except OSError as error:  # one run hinders no other
            warnings.append(f"{segment.path}: cannot be read: {error.strerror}")
            continue
        warnings += problems
        if end > segment.start:
            pending.append(SegmentEvents(segment.source, segment.number, lines, end))
    return pending


def is_live(home: Home, source: str) -> bool:
    """Whether the source is a run whose process lives, and so publishes its own journal."""
    return source != EDITS and isinstance(process_state(home, source), Alive)


def has_vectors(pending: list[SegmentEvents]) -> bool:
    """Whether there are new vectors, so that the second file has to be published too."""
    return any(line.event == "vectors_made" for segment in pending for line in segment.lines)


def ingest_vectors(connection: duckdb.DuckDBPyConnection, pending: list[SegmentEvents], warnings: list[str]) -> None:
    """Insert the vectors of new events; those that are stored already stay as they are."""
    for segment in pending:
        for line in segment.lines:
            if line.event != "vectors_made" or (table := read_table(line, warnings)) is None:
                continue
            connection.register("incoming", table)
            try:
                connection.execute(
                    "INSERT INTO vectors SELECT sha256, $1, $2, vector FROM incoming i WHERE NOT EXISTS "
                    "(SELECT 1 FROM vectors v WHERE v.sha256 = i.sha256 AND v.encoder = $1)",
                    [line.fields["encoder"], line.fields["dimension"]],
                )
                connection.unregister("incoming")
            except (*_MALFORMED, *_REFUSED) as error:
                warnings.append(_skipped(segment, line, error))


def ingest_events(connection: duckdb.DuckDBPyConnection, pending: list[SegmentEvents], warnings: list[str]) -> None:
    """Begin a transaction, project all events onto the main tables, and move the offsets; the caller commits.

    An event that the database refuses is skipped with a warning, so that it keeps no other from being ingested; of one that
    records what was paid for, what fits is kept. A refusal ends the transaction, so ingesting starts over then, one event at
    a time, until all refused events are known.
    """
    refused: set[int] = set()
    fitted: set[int] = set()
    one_by_one = False
    while True:
        found: list[str] = []
        connection.begin()
        problem = _ingest_all(connection, pending, found, refused=refused, fitted=fitted, one_by_one=one_by_one)
        if problem is None:
            break
        connection.rollback()
        if one_by_one and problem[0].event in TABLES and id(problem[0]) not in fitted:
            fitted.add(id(problem[0]))
        elif one_by_one:
            refused.add(id(problem[0]))
            warnings.append(problem[1])
        one_by_one = True
    warnings += found
    if pending:
        offsets = [(segment.source, segment.number, segment.end) for segment in pending]
        import pyarrow as pa

        columns = dict(zip(("source", "segment", "position"), map(list, zip(*offsets, strict=True)), strict=True))
        connection.register("incoming", pa.table(columns))
        connection.execute(
            "INSERT INTO journal_offsets SELECT * FROM incoming ON CONFLICT DO UPDATE SET position = excluded.position"
        )
        connection.unregister("incoming")


def _ingest_all(
    connection: duckdb.DuckDBPyConnection,
    pending: list[SegmentEvents],
    warnings: list[str],
    *,
    refused: set[int],
    fitted: set[int],
    one_by_one: bool,
) -> tuple[Line, str] | None:
    """Ingest every event that is not known as refused; returns the first one that the database refuses, and why."""
    rows = RunRows(connection)
    projector = Projector(connection, rows, warnings, fitted=fitted)
    events = [(segment, line) for segment in pending for line in segment.lines if id(line) not in refused]
    for place, (segment, line) in enumerate(events, start=1):
        try:
            try:
                projector.take(segment.source, line)
            except _MALFORMED as error:
                if line.event in TABLES and id(line) not in fitted:  # once more, value by value
                    fitted.add(id(line))
                    projector.take(segment.source, line)
                else:
                    warnings.append(_skipped(segment, line, error))
            if one_by_one or place == len(events):
                projector.flush()
        except (*_MALFORMED, *_REFUSED) as error:
            return line, _skipped(segment, line, error)
    return None


def _skipped(segment: SegmentEvents, line: Line, error: Exception) -> str:
    return f"{segment.source}: an event {line.event!r} was skipped: {error!r}"


def mark_dead(home: Home, connection: duckdb.DuckDBPyConnection) -> None:
    """Write the state of runs whose process is dead into their rows.

    A run that ended after its journal was read has journaled its end since; it is left to the next publish.
    """
    dead = dead_runs(home, fetch_few(connection, OPEN_RUNS))
    if not dead:
        return
    unpublished = {part.source for part in pending_segments(home, offsets_of(connection)) if has_lines(part)}
    for run_id, state, reason in dead:
        if run_id not in unpublished:
            connection.execute(
                "UPDATE runs SET state = ?, reason = ?, ended_at = heartbeat_at WHERE run_id = ?",
                [state, reason, run_id],
            )
