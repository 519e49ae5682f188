"""Takes journals into the databases. Offsets move in the same transaction, so ingesting twice changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import duckdb

from store.database.connection import fetch_few
from store.home import Home
from store.journal.journal import Line, lock_held, read_lines, segment_name, segment_number, segments
from store.publishing.liveness import OPEN_RUNS, dead_runs
from store.publishing.projection import EDITS, Projector, read_table
from store.publishing.run_rows import RunRows

_MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)
_REFUSED = (duckdb.DataError, duckdb.IntegrityError, duckdb.ProgrammingError, duckdb.NotSupportedError)
"""The database refused values; other errors, such as a full disk, are not the event's fault."""


@dataclass(frozen=True)
class Segment:
    """A journal segment with bytes that have not been taken in."""

    source: str
    number: int
    path: Path
    start: int


@dataclass
class Batch:
    """New events of one segment."""

    source: str
    number: int
    lines: list[Line]
    end: int
    problems: list[str] = field(default_factory=list)


def offsets_of(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, int], int]:
    """Bytes taken in, by source and segment."""
    rows = connection.execute("SELECT source, segment, position FROM journal_offsets").fetchall()
    return {(source, segment): position for source, segment, position in rows}


def pending_segments(home: Home, offsets: dict[tuple[str, int], int]) -> Iterator[Segment]:
    """Segments that have grown: of runs first, then of people's edits."""
    last: dict[str, int] = {}
    for source, number in offsets:
        last[source] = max(number, last.get(source, 0))
    sources = sorted(entry.name for entry in os.scandir(home.runs) if entry.is_dir())
    runs = str(
        home.runs
    )  # made once: a path of pathlib for each of ten thousand runs takes longer than to ask for its size
    for source in [*sources, EDITS]:
        folder = str(home.edits) if source == EDITS else f"{runs}/{source}"
        for number, path, size in _sizes(folder, last.get(source, 0)):
            start = offsets.get((source, number), 0)
            if size > start:
                yield Segment(source, number, Path(path), start)


def _sizes(folder: str, last: int) -> list[tuple[int, str, int]]:
    """Number, path and bytes of a folder's segments, of which `last` is known.

    Numbers count from 1, so asking for one name after the other does; listing ten thousand folders takes three times as long.
    """
    found: list[tuple[int, str, int]] = []
    number = 1
    while True:
        path = f"{folder}/{_name(number)}"
        if number > last and not os.access(path, os.F_OK):  # without the exception that `stat` raises
            break
        with suppress(FileNotFoundError, NotADirectoryError):
            found.append((number, path, os.stat(path).st_size))
        number += 1
    if number == 1:  # the first one is not there: are others?
        return [(segment_number(path), str(path), path.stat().st_size) for path in segments(Path(folder))]
    return found


_name = cache(segment_name)


def has_lines(segment: Segment) -> bool:
    """Whether there is more than a torn last line."""
    return read_lines(segment.path, segment.start)[1] > segment.start


def read_pending(home: Home, offsets: dict[tuple[str, int], int], warnings: list[str]) -> list[Batch]:
    """All new events."""
    batches: list[Batch] = []
    for segment in pending_segments(home, offsets):
        lines, end, problems = read_lines(segment.path, segment.start)
        warnings += problems
        if end > segment.start:
            batches.append(Batch(segment.source, segment.number, lines, end))
    return batches


def is_live(home: Home, source: str) -> bool:
    """Whether a run's process lives and publishes by itself."""
    return source != EDITS and lock_held(home.runs / source)


def has_vectors(batches: list[Batch]) -> bool:
    """Whether the second file has to be published too."""
    return any(line.event == "vectors_made" for batch in batches for line in batch.lines)


def take_vectors(connection: duckdb.DuckDBPyConnection, batches: list[Batch], warnings: list[str]) -> None:
    """Add the vectors that are new."""
    for batch in batches:
        for line in batch.lines:
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
                warnings.append(_skipped(batch, line, error))


def take_events(connection: duckdb.DuckDBPyConnection, batches: list[Batch], warnings: list[str]) -> None:
    """Begin a transaction, add everything else, and move the offsets.

    An event that the database refuses is left out, so that it hinders no other. As a refusal ends the transaction,
    it starts again then, event by event, until all that is refused is known.
    """
    refused: set[int] = set()
    one_by_one = False
    while True:
        found: list[str] = []
        connection.begin()
        problem = _take_all(connection, batches, found, refused=refused, one_by_one=one_by_one)
        if problem is None:
            break
        connection.rollback()
        if one_by_one:
            refused.add(id(problem[0]))
            warnings.append(problem[1])
        one_by_one = True
    warnings += found
    if batches:
        offsets = [(batch.source, batch.number, batch.end) for batch in batches]
        import pyarrow as pa

        columns = dict(zip(("source", "segment", "position"), map(list, zip(*offsets, strict=True)), strict=True))
        connection.register("incoming", pa.table(columns))
        connection.execute(
            "INSERT INTO journal_offsets SELECT * FROM incoming ON CONFLICT DO UPDATE SET position = excluded.position"
        )
        connection.unregister("incoming")


def _take_all(
    connection: duckdb.DuckDBPyConnection,
    batches: list[Batch],
    warnings: list[str],
    *,
    refused: set[int],
    one_by_one: bool,
) -> tuple[Line, str] | None:
    """Take every event but the ones that are refused; the event at which the database refused, and why."""
    rows = RunRows(connection)
    taker = Projector(connection, rows, warnings)
    events = [(batch, line) for batch in batches for line in batch.lines if id(line) not in refused]
    for place, (batch, line) in enumerate(events, start=1):
        try:
            try:
                taker.take(batch.source, batch.number, line)
            except _MALFORMED as error:
                warnings.append(_skipped(batch, line, error))
            if one_by_one or place == len(events):
                taker.flush()
        except (*_MALFORMED, *_REFUSED) as error:
            return line, _skipped(batch, line, error)
    return None


def _skipped(batch: Batch, line: Line, error: Exception) -> str:
    return f"{batch.source}: an event {line.event!r} was skipped: {error!r}"


def mark_dead(home: Home, connection: duckdb.DuckDBPyConnection) -> None:
    """Write down which active runs are dead.

    A run that ended after its journal was read has said so since, and is left to the next publish.
    """
    dead = dead_runs(home, fetch_few(connection, OPEN_RUNS))
    if not dead:
        return
    spoke = {part.source for part in pending_segments(home, offsets_of(connection)) if has_lines(part)}
    for run_id, state, reason in dead:
        if run_id not in spoke:
            connection.execute(
                "UPDATE runs SET state = ?, reason = ?, ended_at = heartbeat_at WHERE run_id = ?",
                [state, reason, run_id],
            )
