"""Publishes the journals into the databases: in a private file, which then replaces the published one. Readers never wait and never block.

Order of a publish: take the side lock; check that no process writes; take the standby or a copy (see `turns`); ingest in batches, each
in one transaction; checkpoint; close; sync; and, in a child process that keeps writers out, check that nothing was written and replace.
Whatever fails before the replacing changes nothing, and the journals wait for the next publish.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from store import queue
from store.database.connection import fetch_few
from store.database.database import reading
from store.database.migrate import DatabaseName, migrations, version_of
from store.database.person_sql import Cancel, change
from store.errors import StoreBusy, StoreError
from store.home import Home
from store.publishing import ingest, liveness, removals
from store.publishing.birth import birth
from store.publishing.new_runs import NewRuns
from store.publishing.replacement import path_of, remove_stale, side_lock
from store.publishing.turns import StandbyFailed, next_state

if TYPE_CHECKING:
    from store.database.result_texts import Form

EVERY_SECONDS, TIMES_LAST, AGAIN_SECONDS = 10.0, 45.0, 1.0
"""A run publishes every EVERY_SECONDS, or every TIMES_LAST times the duration of the last publish, whichever is longer: so
readers are behind by at most 15 seconds or 50 publishes. Where another process publishes, it waits AGAIN_SECONDS. A publish takes in
the journals of all runs, so this is counted from the last one of whichever run: ten runs publish no more often than one."""
BYTES_PER_SECOND, LONGEST, AFTER_COPY = 1e9 / 3600, 1800.0, 90.0
"""A run writes about 1 GB an hour for publishing: a publish that wrote much is followed by a longer pause, up to LONGEST seconds. After
one that copied the file, which the next one will rarely do, it is AFTER_COPY at most. Where that one copied it too, as somebody keeps
opening it, there is no limit: so many bytes an hour, and readers are behind."""
READER_SECONDS = 0.5
"""How long a command that only reads waits for a publisher, which may be stuck, before it says that it is behind."""
TAKEN_IN_SECONDS = 180.0
"""How long a process that does not publish waits for the one that does."""
ELSEWHERE = "`sracl db sync` on the machine that publishes makes it; `sracl db follow` there takes in the runs of other machines."
Apply = Callable[[duckdb.DuckDBPyConnection], Any]
"""A change of the main database, made inside the transaction of a publish."""


@dataclass
class PublishReport:
    """Result of a publish: events ingested, its duration, and what was skipped and why."""

    events: int = 0
    seconds: float = 0.0
    """Without the time spent waiting for other processes."""
    written: int = 0
    """Bytes that this process and what it started gave the disk meanwhile; 0 where the system does not say."""
    warnings: list[str] = field(default_factory=list)


def publish(
    home: Home,
    *,
    apply: Apply | None = None,
    wait: float = 30.0,
    both: bool = False,
    thorough: bool = False,
    files: bool = False,
) -> PublishReport:
    """Ingest every journal and apply a change of our own, in one transaction per file; then replace the files.

    Args:
        apply: called with the connection to the copied main database, inside the transaction; called again each time
            that the publish starts over because another process wrote meanwhile.
        both: publish the vectors too, even where no journal has new ones.
        thorough: look for new segments in every folder, also in those that have not changed since the last publish.
        files: the change may read and write files of the machine.
        wait: seconds to wait for another publisher, or for a person's session that has a file open for writing.

    Raises:
        StoreBusy: the other process did not end in that time; nothing was changed.
        StoreError: disk full, no permission, a damaged file, a newer schema; nothing was changed. Or a change is to be
            made in a home that this process does not publish.
    """
    if not home.publishes:
        if apply is not None:
            raise StoreError("this process does not write the database", where=str(home.database), hint=ELSEWHERE)
        return PublishReport()
    deadline = time.monotonic() + wait
    home.create()
    with side_lock(home, deadline):
        while True:
            started, before = time.monotonic(), _written()
            try:
                with birth(home):
                    report = _publish_once(home, apply, both=both, thorough=thorough, files=files)
                break
            except StandbyFailed:
                continue
            except StoreBusy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            except OSError as error:
                raise StoreError(
                    f"the store cannot be written: {error.strerror or error}",
                    where=str(home.path),
                    hint="Nothing is lost: the journals are kept, and the next command that can write takes them in.",
                ) from None
        report.seconds, report.written = time.monotonic() - started, _written() - before
    return report


def create(home: Home) -> None:
    """Make the files of a new home, and a missing vector file, with what the journals hold.

    Raises:
        StoreError: the main database is missing, and the home is not new, or this process does not publish.
    """
    if not home.database.exists() or not home.vectors.exists():
        if not home.publishes:
            raise StoreError("the home has no database yet", where=str(home.path), hint=ELSEWHERE)
        publish(home)


def upgrade(home: Home) -> None:
    """Migrate files of an older schema to the newest one.

    Raises:
        StoreError: a file has a newer schema than this program knows, or cannot be read.
    """
    found: dict[DatabaseName, int] = {}
    with reading(home) as cursor:
        found["main"] = version_of(cursor)
        cursor.execute("USE vectors")
        found["vectors"] = version_of(cursor)
    newest = {which: migrations(which)[-1].version for which in found}
    for which, version in found.items():
        if version > newest[which]:
            raise StoreError(
                f"this file has schema version {version}; this program knows {newest[which]}",
                where=str(path_of(home, which)),
                hint="A newer sracl wrote it: upgrade, or use another --home. Nothing was changed.",
            )
    if found != newest:
        if not home.publishes:
            raise StoreError(f"this file has schema version {found['main']}", where=str(home.database), hint=ELSEWHERE)
        publish(home, both=True)


def catch_up(home: Home) -> StoreError | None:
    """Publish what dead runs left in their journals, and edits; living runs publish their own journals.

    Returns:
        The error that kept the publish from succeeding, such as a full disk, as it does not keep anybody from reading.

    Raises:
        StoreError: the database cannot be read.
    """
    if not home.publishes:
        return None
    with reading(home) as cursor:
        offsets, active = ingest.offsets_of(cursor), fetch_few(cursor, liveness.OPEN_RUNS)
        untidy = removals.is_untidy(home, cursor)
    unpublished = (part for part in ingest.pending_segments(home, offsets) if not ingest.is_live(home, part.source))
    if untidy or any(map(ingest.has_lines, unpublished)) or liveness.dead_runs(home, active):
        try:
            publish(home, wait=READER_SECONDS)
        except StoreError as error:
            return error
    return None


def wait_until_taken_in(home: Home, *, stop: Callable[[], bool], seconds: float = TAKEN_IN_SECONDS) -> bool:
    """Wait until another process has published all that the journals of the home hold at this moment; whether it has.

    Args:
        stop: asked again and again; True ends the waiting.
        seconds: most of it.
    """
    deadline = time.monotonic() + seconds
    waiting: list[ingest.Segment] | None = None
    while True:
        with reading(home, newest=True) as cursor:
            offsets = ingest.offsets_of(cursor)
        if waiting is None:
            waiting = list(ingest.pending_segments(home, offsets, thorough=True))
        waiting = [replace(part, start=max(part.start, offsets.get((part.source, part.number), 0))) for part in waiting]
        waiting = [part for part in waiting if part.start < part.end and ingest.has_lines(part)]
        if not waiting or stop() or time.monotonic() > deadline:
            return not waiting
        time.sleep(AGAIN_SECONDS)


def write_sql(
    home: Home,
    query: str,
    *,
    files: bool = False,
    started: Callable[[Cancel], None] | None = None,
    form: Form = "values",
) -> Any:
    """Run statements that a person wrote on the main database, in one transaction, and publish the result.

    Args:
        files: statements may read and write files of the machine.
        started: called with a function that cancels the statements, from any thread; then nothing is changed.
        form: what the cells of the result are, see `store.database.result_texts`.

    Returns:
        Rows of the last statement as an Arrow table, None where it has none.

    Raises:
        QueryFailed: the database refused a statement, or it changes what the program needs; nothing was changed.
        StoreBusy: another process writes.
    """
    result: list[Any] = []

    def apply(connection: duckdb.DuckDBPyConnection) -> None:
        result.append(change(connection, query, files=files, started=started, form=form))

    publish(home, apply=apply, files=files)
    return result[-1]


class Publisher:
    """A thread that publishes while a run lives: on request, and every EVERY_SECONDS or less often (see there)."""

    def __init__(
        self, home: Home, *, done: Callable[[PublishReport], None] = lambda report: None, every: float = EVERY_SECONDS
    ) -> None:
        """Args: done: called after every publish that succeeded, from the thread. every: least seconds between two."""
        self._home, self._done, self._every = home, done, every
        self._wake, self._closed = threading.Event(), threading.Event()
        self._pause = 0.0
        """Seconds to wait after a publish that failed."""
        self._interval = every
        self._copied = False
        """Whether the last publish copied the whole file."""
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self.warnings: list[str] = []
        self._told: dict[str, None] = {}

    def start(self) -> None:
        """Start the thread, which publishes at once; where this process does not publish, there is none."""
        self._wake.set()
        if self._home.publishes:
            self._thread.start()

    def request(self) -> None:
        """Publish now rather than at the next interval; returns at once."""
        self._wake.set()

    def close(self) -> None:
        """End the thread and publish once more; what cannot be published stays in the journals (see `warnings`)."""
        self._closed.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._home.publishes:
            self._publish(wait=10.0)

    def _run(self) -> None:
        while not self._closed.is_set():
            asked = self._wake.wait(max(self._pause, self._rest()))
            self._wake.clear()
            if self._closed.is_set() or not (asked or self._rest() <= 0):
                continue
            if asked or self._anything_waits():
                self._publish(wait=2.0)
            else:
                self._pause = self._every

    def _anything_waits(self) -> bool:
        """Whether a journal has lines that are not in the database; True where nobody can tell now."""
        try:
            with reading(self._home) as cursor:
                offsets = ingest.offsets_of(cursor)
            return any(map(ingest.has_lines, ingest.pending_segments(self._home, offsets)))
        except (StoreError, OSError):
            return True

    def _rest(self) -> float:
        """Seconds until it is time again, after the last publish of any process."""
        with suppress(OSError):
            return min(self._home.database.stat().st_mtime + self._interval - time.time(), self._interval)
        return 0.0

    def _publish(self, *, wait: float) -> None:
        try:
            report = publish(self._home, wait=wait)
        except Exception as error:  # of any kind: the run goes on, and its journal waits
            self.warnings = [str(error) or repr(error)]
            publishing = isinstance(error, StoreBusy) and error.pid is None  # not a session that stays open for hours
            self._pause = AGAIN_SECONDS if publishing else EVERY_SECONDS
        else:
            self._told = dict.fromkeys([*self._told, *report.warnings])
            self.warnings = list(self._told)
            copied = not self._is_part(report.written)
            longest = LONGEST if not copied else math.inf if self._copied else AFTER_COPY
            by_bytes = min(report.written / BYTES_PER_SECOND, longest)
            self._pause, self._interval = 0.0, max(self._every, TIMES_LAST * report.seconds, by_bytes)
            self._copied = copied
            self._done(report)

    def _is_part(self, written: int) -> bool:
        """Whether a publish wrote less than the whole file."""
        with suppress(OSError):
            return written < self._home.database.stat().st_size
        return False


def _written() -> int:
    """Bytes that this process and its children that have ended gave the disk; 0 where the system does not say."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/io").read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
    return 0


def _publish_once(home: Home, apply: Apply | None, *, both: bool, thorough: bool, files: bool) -> PublishReport:
    remove_stale(home)
    report = PublishReport()
    vectors_lost = not home.vectors.exists()
    with ExitStack() as stack:
        main = stack.enter_context(next_state(home, "main", keep=apply is None, files=files))
        offsets, new_runs = ingest.offsets_of(main), NewRuns()
        vectors: duckdb.DuckDBPyConnection | None = None  # put in place before the main file
        if both or vectors_lost:
            vectors = stack.enter_context(next_state(home, "vectors"))
        if vectors is not None and vectors_lost and offsets:
            for batch in ingest.batches(ingest.pending_segments(home, {}), []):
                ingest.ingest_vectors(vectors, batch, report.warnings)
        for batch in ingest.batches(ingest.pending_segments(home, offsets, thorough=thorough), report.warnings):
            report.events += sum(len(segment.lines) for segment in batch)
            if vectors is None and ingest.has_vectors(batch):
                vectors = stack.enter_context(next_state(home, "vectors"))
            if vectors is not None:
                ingest.ingest_vectors(vectors, batch, report.warnings)
            ingest.ingest_events(main, batch, report.warnings, new_runs)
        _finish(home, main, apply)
        removed = removals.marks(main)
        removals.put_folders_away(home, removed)  # before readers see it: no folder of a run is without its row
    removals.tidy(home, removed)
    return report


def _finish(home: Home, main: duckdb.DuckDBPyConnection, apply: Apply | None) -> None:
    """What every publish writes after the events, in one transaction."""
    main.begin()
    try:
        ingest.mark_dead(home, main)
        queue.mirror(main, home)
        if apply is not None:
            apply(main)
        main.commit()
    except BaseException:
        with suppress(duckdb.Error):
            main.rollback()
        raise
