"""Publishes the journals into the databases: copy, ingest on the copy, replace. Readers never wait and never block.

Order of a publish: take the side lock; see that nobody writes; copy in a child process; ingest in one transaction;
close; sync; see again that nobody wrote; `os.replace`. Whatever fails before the replacement changes nothing, and the
journals wait for the next time.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from store import ingest
from store.database import explain, fetch, open_for_writing
from store.errors import StoreBusy, StoreError
from store.home import Home
from store.migrate import Which, migrate, migrations, version_of

EVERY_SECONDS, TIMES_LAST = 10.0, 50.0
"""A run publishes every EVERY_SECONDS, or every TIMES_LAST times what the last publish took, whichever is longer."""
COPIER = Path(__file__).with_name("_copier.py")
Apply = Callable[[duckdb.DuckDBPyConnection], Any]


@dataclass
class Published:
    """What a publish did."""

    events: int = 0
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)


def publish(home: Home, *, apply: Apply | None = None, wait: float = 30.0) -> Published:
    """Take every journal in, and `apply` a change of our own, in one transaction each file; then replace the files.

    Args:
        apply: called with the connection of the copied main database, inside the transaction.
        wait: seconds to wait for another publisher, or for a person who has a file open for writing.

    Raises:
        StoreBusy: it took longer than that; nothing was changed.
        StoreError: disk full, no permission, a damaged file, a newer schema; nothing was changed.
    """
    started, deadline = time.monotonic(), time.monotonic() + wait
    home.create()
    with _side_lock(home, deadline):
        while True:
            try:
                report = _publish_once(home, apply)
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
    """Make the two files where one is missing, and bring older ones to the newest schema."""
    if not home.database.exists() or not home.vectors.exists():
        publish(home)
        return
    if any(_outdated(home, which) for which in _WHICH):
        publish(home)


def catch_up(home: Home) -> None:
    """Publish what dead runs left in their journals, and what people edited; leave living runs to themselves."""
    offsets, active = _published(home)
    left = [batch for batch in ingest.pending_segments(home, offsets) if not ingest.is_live(home, batch.source)]
    if left or ingest.dead_runs(home, active):
        publish(home)


def write_sql(home: Home, query: str) -> Any:
    """Run a person's statements on the main database, in one transaction, and publish the result.

    Raises:
        QueryFailed: the database refused; nothing was changed.
        StoreBusy: somebody else writes.
    """
    from store.database import run_sql

    result: list[Any] = []
    publish(home, apply=lambda connection: result.append(run_sql(connection, query)))
    return result[0]


class Publisher:
    """A thread that publishes while a run lives: on request, and from time to time."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._wake, self._closed = threading.Event(), threading.Event()
        self._last = 0.0
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self.warnings: list[str] = []

    def start(self) -> None:
        """Begin, with a first publish at once."""
        self._wake.set()
        self._thread.start()

    def request(self) -> None:
        """Publish soon: a stage has ended."""
        self._wake.set()

    def close(self) -> None:
        """End, with a last publish; what it cannot write stays in the journals, and `warnings` says why."""
        self._closed.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._publish(wait=10.0)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(max(EVERY_SECONDS, TIMES_LAST * self._last))
            self._wake.clear()
            if not self._closed.is_set():
                self._publish(wait=2.0)

    def _publish(self, *, wait: float) -> None:
        try:
            report = publish(self._home, wait=wait)
        except (StoreError, duckdb.Error, OSError) as error:
            self.warnings = [str(error)]
        else:
            self._last, self.warnings = report.seconds, report.warnings


_WHICH: tuple[Which, Which] = ("main", "vectors")


def _path(home: Home, which: Which) -> Path:
    return home.database if which == "main" else home.vectors


def _publish_once(home: Home, apply: Apply | None) -> Published:
    _remove_stale(home)
    report = Published()
    with _copy(home, "main") as main:
        batches = ingest.read_pending(home, ingest.offsets_of(main.connection), report.warnings)
        report.events = sum(len(batch.lines) for batch in batches)
        if ingest.has_vectors(batches) or not home.vectors.exists() or _outdated(home, "vectors"):
            with _copy(home, "vectors") as vectors:
                ingest.take_vectors(vectors.connection, batches, report.warnings)
        main.connection.begin()
        try:
            ingest.take_events(main.connection, batches, report.warnings)
            ingest.bury(home, main.connection)
            if apply is not None:
                apply(main.connection)
            main.connection.commit()
        except BaseException:
            main.connection.rollback()
            raise
    return report


@dataclass
class _Copy:
    connection: duckdb.DuckDBPyConnection


@contextmanager
def _copy(home: Home, which: Which) -> Iterator[_Copy]:
    """A writable, migrated copy of a database; replaces the published one when the block ends well."""
    path = _path(home, which)
    temporary = path.with_name(f"{path.name}.new-{os.getpid()}")
    before = _copied(path, temporary)
    try:
        connection = open_for_writing(temporary)
    except duckdb.Error as error:
        temporary.unlink(missing_ok=True)
        raise explain(error, path) from None
    try:
        try:
            old = version_of(connection)
            migrated = bool(migrate(connection, which))
            yield _Copy(connection)
        finally:
            connection.close()
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if before is not None and _ask("look", path)["state"] != before:
            raise StoreBusy("somebody wrote to the file meanwhile", pid=None, where=str(path))
        if before is not None and migrated:
            _keep_backup(path, old)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except duckdb.Error as error:
        raise explain(error, path) from None
    finally:
        temporary.unlink(missing_ok=True)
        temporary.with_name(temporary.name + ".wal").unlink(missing_ok=True)


def _copied(path: Path, temporary: Path) -> list[Any] | None:
    """Copy the published file, once nobody writes to it; what it looked like, none where there is none yet.

    Raises:
        StoreBusy: a person has it open for writing.
    """
    answer = _ask("copy", path, temporary)
    if answer["kind"] == "write":
        pid = answer["pid"]
        raise StoreBusy(
            f"process {pid or 'unknown'} has the file open for writing",
            pid=pid,
            where=str(path),
            hint="Publishing waits so that those rows are not lost: close that session. The journals are kept.",
        )
    if answer["state"] is None:
        return None
    if answer["state"][3]:  # a session was killed and left its log: fold it in, then look again
        _ask("fold", path)
        answer = _ask("copy", path, temporary)
    if answer.get("after") != answer["state"] or answer["kind"] == "write":
        raise StoreBusy("somebody wrote to the file meanwhile", pid=answer["pid"], where=str(path))
    return answer["state"]


def _ask(action: str, path: Path, *more: Path) -> dict[str, Any]:
    flags = ["-I"] if action == "fold" else ["-I", "-S"]
    done = subprocess.run(
        [sys.executable, *flags, str(COPIER), action, str(path), *map(str, more)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise StoreError(
            f"copying failed: {reason[0]}",
            where=str(path),
            hint="Look at disk space and permissions. Nothing is lost: the journals are kept.",
        )
    return json.loads(done.stdout)


def _keep_backup(path: Path, version: int) -> None:
    """The file as it was before a migration stays beside the new one, under the number of its schema."""
    if version > 0:
        with suppress(FileExistsError):
            os.link(path, path.with_name(f"{path.stem}.before-v{version + 1}.duckdb"))


def _outdated(home: Home, which: Which) -> bool:
    path = _path(home, which)
    try:
        connection = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise explain(error, path) from None
    try:
        found, newest = version_of(connection), migrations(which)[-1].version
    finally:
        connection.close()
    if found > newest:
        raise StoreError(
            f"this file has schema version {found}; this program knows {newest}",
            where=str(path),
            hint="A newer sracl wrote it: upgrade, or use another --home. Nothing was changed.",
        )
    return found < newest


def _published(home: Home) -> tuple[dict[tuple[str, int], int], list[dict[str, Any]]]:
    """Offsets and active runs of the published database."""
    try:
        connection = duckdb.connect(str(home.database), read_only=True)
    except duckdb.Error as error:
        raise explain(error, home.database) from None
    try:
        return ingest.offsets_of(connection), fetch(connection, ingest.ACTIVE).to_pylist()
    finally:
        connection.close()


@contextmanager
def _side_lock(home: Home, deadline: float) -> Iterator[None]:
    """One publisher at a time, of any process and thread."""
    path = home.path / "publish.lock"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"the store cannot be written: {error.strerror}", where=str(path)) from None
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreBusy("another process is publishing", pid=None, where=str(path)) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(file)


def _remove_stale(home: Home) -> None:
    """Copies that a killed publisher left; the side lock is ours, so nobody is at work on one."""
    for left in home.path.glob("*.duckdb.new-*"):
        left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
