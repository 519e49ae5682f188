"""Ingests journals into the databases. Offsets move in the same transaction, so ingesting twice changes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb

from store.database.connection import fetch_few, quoted, spare_memory, take_memory
from store.home import Home
from store.journal.journal import Line, read_lines, segment_name, segment_number, segments
from store.process_state import Alive
from store.publishing import removals
from store.publishing.liveness import OPEN_RUNS, dead_runs, process_state
from store.publishing.new_runs import NewRuns
from store.publishing.paid_events import TABLES
from store.publishing.projection import EDITS, Projector, Unreadable, read_table
from store.publishing.run_rows import RunRows

_MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
_REFUSED = (duckdb.DataError, duckdb.IntegrityError, duckdb.ProgrammingError, duckdb.NotSupportedError)
"""Errors by which the database refuses values; others, such as a full disk, are not the event's fault."""


BATCH_BYTES = 8_000_000
"""Bytes of journals that are decoded and taken in at a time: a batch takes some ten times that in memory."""


@dataclass(frozen=True)
class Segment:
    """A journal segment with bytes that have not been ingested yet."""

    source: str
    """A run's id, or `EDITS`."""
    number: int
    path: Path
    start: int
    """Bytes that have been ingested."""
    end: int
    """Bytes to ingest up to: where the segment ended when it was looked at, or where another database has read to."""


@dataclass
class SegmentEvents:
    """New events of one segment, and the byte offset behind them."""

    source: str
    number: int
    lines: list[Line]
    end: int
    held: bool = False
    """Whether the rest of the segment waits."""


def offsets_of(connection: duckdb.DuckDBPyConnection, database: str = "") -> dict[tuple[str, int], int]:
    """Bytes ingested so far, by source and number of the segment, in the open file or in an attached database."""
    table = f"{quoted(database)}.main.journal_offsets" if database else "journal_offsets"
    rows = connection.execute(f"SELECT source, segment, position FROM {table}").fetchall()
    return {(source, segment): position for source, segment, position in rows}


def pending_segments(home: Home, offsets: dict[tuple[str, int], int], *, thorough: bool = False) -> Iterator[Segment]:
    """Segments that have grown: of runs in the order of their ids, those in the trash too, then of edits.

    Args:
        thorough: list every folder, also where nothing was added to it since the last publish.
    """
    last: dict[str, int] = {}
    for source, number in offsets:
        last[source] = max(number, last.get(source, 0))
    folders = _folders(home)
    since = 0.0
    if not thorough:
        with suppress(FileNotFoundError):
            since = home.database.stat().st_mtime
    for source in [*sorted(folders), EDITS]:
        folder = str(home.edits) if source == EDITS else folders[source]
        for number, path, size in _sizes(folder, last.get(source, 0), since):
            start = offsets.get((source, number), 0)
            if size > start:
                yield Segment(source, number, Path(path), start, size)


def missing_segments(
    home: Home, offsets: dict[tuple[str, int], int], others: dict[tuple[str, int], int]
) -> list[Segment]:
    """What a database with `offsets` lacks of what one with the offsets `others` has, in the order of `pending_segments`."""
    found: list[Segment] = []
    for (source, number), end in others.items():
        start = offsets.get((source, number), 0)
        if end > start:
            folder = home.edits if source == EDITS else home.present_folder(source)
            found.append(Segment(source, number, folder / segment_name(number), start, end))
    return sorted(found, key=lambda segment: (segment.source == EDITS, segment.source, segment.number))


def _folders(home: Home) -> dict[str, str]:
    """Paths of the folders of runs by their ids, as text: ten thousand pathlib paths take longer than their `stat`."""
    found: dict[str, str] = {}
    with suppress(FileNotFoundError):
        found = {e.name: e.path for e in os.scandir(home.trash) if e.is_dir() and not e.name.startswith(".")}
    return found | {entry.name: entry.path for entry in os.scandir(home.runs) if entry.is_dir()}


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
    parts = _parts(segment, [])
    return next(parts, None) is not None


def batches(segments: Iterable[Segment], warnings: list[str]) -> Iterator[list[SegmentEvents]]:
    """The events of segments, a batch of about BATCH_BYTES at a time, so that a long journal takes no more memory than a short one.

    Messages about lines that cannot be read go to `warnings`.
    """
    batch: list[SegmentEvents] = []
    room = BATCH_BYTES
    for segment in segments:
        for events, size in _parts(segment, warnings):
            batch.append(events)
            room -= size
            if room < BATCH_BYTES // 2:
                yield batch
                batch, room = [], BATCH_BYTES
    if batch:
        yield batch


def _parts(segment: Segment, warnings: list[str]) -> Iterator[tuple[SegmentEvents, int]]:
    """Parts of a segment of at most BATCH_BYTES, or of one line, each with its size in bytes."""
    start, size = segment.start, BATCH_BYTES
    while start < segment.end:
        until = min(start + size, segment.end)
        lines, end, problems = read_lines(segment.path, start, until=until)
        warnings += problems
        if end > start:
            events = SegmentEvents(segment.source, segment.number, lines, end)
            yield events, end - start
            if events.held:
                return
            start, size = end, BATCH_BYTES
        elif problems or until == segment.end:  # one run hinders no other; a torn line is left
            return
        else:
            size *= 2  # a line that is longer


def is_live(home: Home, source: str) -> bool:
    """Whether the source is a run whose process lives, and so publishes its own journal."""
    return source != EDITS and isinstance(process_state(home, source), Alive)


def has_vectors(pending: list[SegmentEvents]) -> bool:
    """Whether there are new vectors, so that the second file has to be published too."""
    return any(line.event == "vectors_made" for segment in pending for line in segment.lines)


def ingest_vectors(connection: duckdb.DuckDBPyConnection, pending: list[SegmentEvents], warnings: list[str]) -> None:
    """Insert the vectors of new events; those that are stored already stay as they are."""
    for segment in [*pending]:
        for line in () if segment.held else segment.lines:
            if line.event != "vectors_made":
                continue
            try:
                table = read_table(line, warnings)
            except Unreadable as error:
                _hold(pending, error, warnings)
                break
            if table is None:
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


def ingest_all(connection: duckdb.DuckDBPyConnection, segments: Iterable[Segment], warnings: list[str]) -> None:
    """Project the events of segments onto the main tables, a batch and a transaction at a time."""
    new_runs = NewRuns()
    for batch in batches(segments, warnings):
        ingest_events(connection, batch, warnings, new_runs)


def ingest_events(
    connection: duckdb.DuckDBPyConnection,
    pending: list[SegmentEvents],
    warnings: list[str],
    new_runs: NewRuns | None = None,
) -> None:
    """Project the events of a batch onto the main tables and move the offsets, in one transaction.

    An event that the database refuses is skipped with a warning, so that it keeps no other from being ingested; of one that
    records what was paid for, what fits is kept. A refusal ends the transaction, so ingesting starts over then, one event at
    a time, until all refused events are known.

    Args:
        new_runs: of the batches before, where this is not the first one.
    """
    new_runs = NewRuns() if new_runs is None else new_runs
    refused: set[int] = set()
    fitted: set[int] = set()
    one_by_one, spared = False, True
    spare_memory(connection)
    while True:
        found: list[str] = []
        connection.begin()
        try:
            _bring_back(connection, pending)
            projector = Projector(connection, RunRows(connection, new_runs), found, fitted=fitted)
            problem = _ingest_all(projector, pending, found, refused=refused, fitted=fitted, one_by_one=one_by_one)
            if problem is None:
                _move_offsets(connection, pending)
                lines = _with_sources(pending)
                new_runs.begun |= removals.beginnings(lines)
                removals.settle(connection, removals.touched(lines, EDITS), new_runs.begun)
                connection.commit()
                take_memory(connection)
                break
        except Unreadable as error:
            connection.rollback()
            _hold(pending, error, warnings)
            continue
        except duckdb.OutOfMemoryException:
            connection.rollback()
            if not spared:
                raise
            spared = False
            take_memory(connection)
            continue
        except BaseException:
            with suppress(duckdb.Error):
                connection.rollback()
            raise
        connection.rollback()
        if one_by_one and problem[0].event in TABLES and id(problem[0]) not in fitted:
            fitted.add(id(problem[0]))
        elif one_by_one:
            refused.add(id(problem[0]))
            warnings.append(problem[1])
        one_by_one = True
    warnings += found


def _bring_back(connection: duckdb.DuckDBPyConnection, pending: list[SegmentEvents]) -> None:
    """Bring back removed runs that are changed by what is ingested; they leave again."""
    removed = {run_id for run_id, emptied in removals.marks(connection).items() if not emptied}
    if late := removed & removals.touched(_with_sources(pending), EDITS):
        removals.bring_back(connection, late)


def _hold(pending: list[SegmentEvents], error: Unreadable, warnings: list[str]) -> None:
    """Leave an event whose file cannot be read, and what follows it in its segment, to the next publish."""
    found = ((at, n) for at, part in enumerate(pending) for n, line in enumerate(part.lines) if line is error.line)
    at, place = next(found)
    own = pending[at]
    own.lines, own.end, own.held = own.lines[:place], error.line.start, True
    later = [part for part in pending[at + 1 :] if (part.source, part.number) == (own.source, own.number)]
    for part in later:
        part.held = True
    pending[at + 1 :] = [part for part in pending[at + 1 :] if not part.held]
    warnings.append(str(error))


def _move_offsets(connection: duckdb.DuckDBPyConnection, pending: list[SegmentEvents]) -> None:
    import pyarrow as pa

    offsets = {(segment.source, segment.number): segment.end for segment in pending}
    sources, numbers = map(list, zip(*offsets, strict=True))
    connection.register(
        "incoming", pa.table({"source": sources, "segment": numbers, "position": list(offsets.values())})
    )
    connection.execute(
        "INSERT INTO journal_offsets SELECT * FROM incoming ON CONFLICT DO UPDATE SET position = excluded.position"
    )
    connection.unregister("incoming")


def _ingest_all(
    projector: Projector,
    pending: list[SegmentEvents],
    warnings: list[str],
    *,
    refused: set[int],
    fitted: set[int],
    one_by_one: bool,
) -> tuple[Line, str] | None:
    """Ingest every event that is not known as refused; returns the first one that the database refuses, and why."""
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


def _with_sources(pending: list[SegmentEvents]) -> list[tuple[str, Line]]:
    return [(segment.source, line) for segment in pending for line in segment.lines]


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
