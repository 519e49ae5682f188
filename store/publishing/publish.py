"""Publishes the journals into the databases: copy, ingest on the copy, replace. Readers never wait and never block.

Order of a publish: take the side lock; check that no process writes; copy in a child process; ingest in one transaction;
checkpoint; close; sync; and, in a child process that keeps writers out, check that nothing was written and replace.
Whatever fails before the replacing changes nothing, and the journals wait for the next publish.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from store import queue
from store.database.connection import explain, fetch_few, open_for_writing
from store.database.database import reading
from store.database.migrate import DatabaseName, migrate, migrations, version_of
from store.database.person_sql import Cancel, change
from store.errors import StoreBusy, StoreError
from store.home import Home
from store.publishing import ingest, liveness
from store.publishing.birth import birth
from store.publishing.replacement import (
    copy_file,
    discard,
    path_of,
    remove_stale,
    replace_file,
    run_file_swap,
    side_lock,
)

EVERY_SECONDS, TIMES_LAST, AGAIN_SECONDS = 10.0, 45.0, 1.0
"""A run publishes every EVERY_SECONDS, or every TIMES_LAST times the duration of the last publish, whichever is longer: so
readers are behind by at most 15 seconds or 50 publishes. Where another process publishes, it waits AGAIN_SECONDS."""
READER_SECONDS = 0.5
"""How long a command that only reads waits for a publisher, which may be stuck, before it says that it is behind."""
Apply = Callable[[duckdb.DuckDBPyConnection], Any]
"""A change of the main database, made inside the transaction of a publish."""


@dataclass
class PublishReport:
    """Result of a publish: events ingested, its duration, and what was skipped and why."""

    events: int = 0
    seconds: float = 0.0
    """Without the time spent waiting for other processes."""
    warnings: list[str] = field(default_factory=list)


def publish(
    home: Home, *, apply: Apply | None = None, wait: float = 30.0, both: bool = False, thorough: bool = False
) -> PublishReport:
    """Ingest every journal and apply a change of our own, in one transaction per file; then replace the files.

    Args:
        apply: called with the connection to the copied main database, inside the transaction; called again each time
            that the publish starts over because another process wrote meanwhile.
        both: publish the vectors too, even where no journal has new ones.
        thorough: look for new segments in every folder, also in those that have not changed since the last publish.
        wait: seconds to wait for another publisher, or for a person's session that has a file open for writing.

    Raises:
        StoreBusy: the other process did not end in that time; nothing was changed.
        StoreError: disk full, no permission, a damaged file, a newer schema; nothing was changed.
    """
    deadline = time.monotonic() + wait
    home.create()
    with side_lock(home, deadline):
        while True:
            started = time.monotonic()
            try:
                with birth(home):
                    report = _publish_once(home, apply, both=both, thorough=thorough)
                break
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
        report.seconds = time.monotonic() - started
    return report


def create(home: Home) -> None:
    """Make the files of a new home, and a missing vector file, with what the journals hold.

    Raises:
        StoreError: the main database is missing, and the home is not new.
    """
    if not home.database.exists() or not home.vectors.exists():
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
        publish(home, both=True)


def catch_up(home: Home) -> StoreError | None:
    """Publish what dead runs left in their journals, and edits; living runs publish their own journals.

    Returns:
        The error that kept the publish from succeeding, such as a full disk, as it does not keep anybody from reading.

    Raises:
        StoreError: the database cannot be read.
    """
    with reading(home) as cursor:
        offsets, active = ingest.offsets_of(cursor), fetch_few(cursor, liveness.OPEN_RUNS)
    unpublished = (part for part in ingest.pending_segments(home, offsets) if not ingest.is_live(home, part.source))
    if any(map(ingest.has_lines, unpublished)) or liveness.dead_runs(home, active):
        try:
            publish(home, wait=READER_SECONDS)
        except StoreError as error:
            return error
    return None


def write_sql(home: Home, query: str, *, files: bool = False, started: Callable[[Cancel], None] | None = None) -> Any:
    """Run statements that a person wrote on the main database, in one transaction, and publish the result.

    Args:
        files: statements may read and write files of the machine.
        started: called with a function that cancels the statements, from any thread; then nothing is changed.

    Returns:
        Rows of the last statement as an Arrow table, None where it has none.

    Raises:
        QueryFailed: the database refused a statement, or it changes what the program needs; nothing was changed.
        StoreBusy: another process writes.
    """
    result: list[Any] = []
    publish(home, apply=lambda connection: result.append(change(connection, query, files=files, started=started)))
    return result[-1]


class Publisher:
    """A thread that publishes while a run lives: on request, and every EVERY_SECONDS or less often (see there)."""

    def __init__(self, home: Home, *, done: Callable[[PublishReport], None] = lambda report: None) -> None:
        """Args: done: called after every publish that succeeded, from the thread."""
        self._home, self._done = home, done
        self._wake, self._closed = threading.Event(), threading.Event()
        self._pause = EVERY_SECONDS
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self.warnings: list[str] = []
        self._told: dict[str, None] = {}

    def start(self) -> None:
        """Start the thread, which publishes at once."""
        self._wake.set()
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
        self._publish(wait=10.0)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(self._pause)
            self._wake.clear()
            if not self._closed.is_set():
                self._publish(wait=2.0)

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
            self._pause = max(EVERY_SECONDS, TIMES_LAST * report.seconds)
            self._done(report)


def _publish_once(home: Home, apply: Apply | None, *, both: bool, thorough: bool) -> PublishReport:
    remove_stale(home)
    report = PublishReport()
    vectors_lost = not home.vectors.exists()
    with _copy(home, "main") as main:
        offsets = ingest.offsets_of(main)
        pending = ingest.read_pending(home, offsets, report.warnings, thorough=thorough)
        report.events = sum(len(segment.lines) for segment in pending)
        if both or vectors_lost or ingest.has_vectors(pending):
            every = ingest.read_pending(home, {}, []) if vectors_lost and offsets else pending
            with _copy(home, "vectors") as vectors:
                ingest.ingest_vectors(vectors, every, report.warnings)
        ingest.ingest_events(main, pending, report.warnings)
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
    return report


@contextmanager
def _copy(home: Home, which: DatabaseName) -> Iterator[duckdb.DuckDBPyConnection]:
    """A writable, migrated copy of a database, which replaces the published file unless the block raises."""
    path = path_of(home, which)
    temporary = path.with_name(f"{path.name}.new-{os.getpid()}")
    try:
        before = copy_file(path, temporary)
        connection = open_for_writing(temporary)
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
        replace_file(path, temporary, before)
    except duckdb.Error as error:
        raise explain(error, path) from None
    finally:
        discard(temporary)


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
