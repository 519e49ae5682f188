"""The queue of a home: one file per entry, which a worker claims by renaming it.

`queue/waiting/ORDER-RUN.json` becomes `queue/working/SLOT@HOST/RUN.json` when the worker of a slot claims it, and
`queue/done/RUN.json` when its run has ended. The name alone says which run it is and where it stands, so a full disk
or a torn file loses no entry. A worker holds the lock of its slot: entries in a slot whose lock is free were left by a dead
worker.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from store.atomic_write import atomic_write
from store.errors import LookupFailed, StoreBusy, StoreError
from store.home import Home
from store.locks import FileLock, held, holder_name, holder_pid, host
from store.regular_file import read_regular

EntryState = Literal["working", "waiting", "done"]
_WAITING = re.compile(r"(\d{12})-(.+)\.json")
_GAP = 1000
"""Distance of two neighbors in the order, so that an entry can move without renaming the others."""
CLAIM_SECONDS = 60.0
"""How long after a claim on another machine its run may take to give a sign of life."""
KEPT = 200
"""Ended entries that stay in the list; older ones are removed."""


@dataclass(frozen=True)
class QueueEntry:
    """A run in the queue. Times are Unix seconds; they and `attempts` are unknown where the file is torn."""

    run_id: str
    state: EntryState
    path: Path
    order: int = 0
    slot: str | None = None
    added_at: float | None = None
    changed_at: float | None = None
    """When it was added, claimed, or ended: the last change of its file."""
    attempts: int = 0
    """How many workers have claimed it."""


class Queue:
    """The queue of a home, as its files say at each call; every method may be called from any process."""

    def __init__(self, home: Home) -> None:
        self._folder = home.path / "queue"
        self._trash = home.trash
        self.waiting, self.working, self.done = (self._folder / name for name in ("waiting", "working", "done"))

    def create(self) -> None:
        """Make the folders that are missing.

        Raises:
            StoreError: the folder of the queue cannot be written.
        """
        try:
            for folder in (self.waiting, self.working, self.done):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the queue cannot be made: {error.strerror}", where=str(self._folder)) from None

    def add(self, run_ids: Sequence[str], *, first: bool = False) -> None:
        """Put runs at the end of the queue, or before all others, in the given order.

        Raises:
            StoreError: the folder of the queue cannot be written.
        """
        self.create()
        with self._changing():
            orders = [entry.order for entry in self._waiting()]
            start = max(orders, default=0) + _GAP
            if first:
                start = min(orders, default=_GAP * (len(run_ids) + 1)) - _GAP * len(run_ids)
                if start < 0:
                    self._renumber(self._waiting(), _GAP * (len(run_ids) + 1))
                    start = _GAP
            for place, run_id in enumerate(run_ids):
                text = json.dumps({"run_id": run_id, "added_at": round(time.time(), 3), "attempts": 0})
                _write(self.waiting / f"{start + _GAP * place:012d}-{run_id}.json", text)
                (self.done / f"{run_id}.json").unlink(missing_ok=True)  # of a run that is continued

    def entries(self) -> list[QueueEntry]:
        """All entries: the working ones, then those that wait in their order, then the ended ones, newest first.

        Those of removed runs are not listed; they are again when their runs are restored.
        """
        removed = {path.name for path in _sorted_files(self._trash)}
        done = [entry for entry in self._entries_in(self.done, "done") if entry.run_id not in removed]
        done.sort(key=lambda entry: -(entry.changed_at or 0))
        return [*self._working(), *self._waiting(), *done]

    def forget(self, run_id: str) -> None:
        """Drop the ended entry of a run that is deleted for good."""
        (self.done / f"{run_id}.json").unlink(missing_ok=True)

    def active(self) -> set[str]:
        """Ids of the runs that wait or that a worker has claimed."""
        return {entry.run_id for entry in [*self._working(read=False), *self._waiting(read=False)]}

    def waits(self) -> set[str]:
        """Ids of the runs that wait and that no worker has claimed."""
        return {entry.run_id for entry in self._waiting(read=False)}

    def find(self, run_id: str) -> QueueEntry | None:
        """The entry of a run in any state; None where the queue does not list it."""
        return next((entry for entry in self.entries() if entry.run_id == run_id), None)

    def move(self, run_id: str, place: int) -> int:
        """Move a waiting entry to a place, counted from 1, and return the place it has then (the last one at most).

        Raises:
            LookupFailed: no entry of this run waits.
        """
        with self._changing():
            waiting = self._waiting()
            entry = next((entry for entry in waiting if entry.run_id == run_id), None)
            if entry is None:
                raise self._not_waiting(run_id)
            rest = [other for other in waiting if other is not entry]
            place = max(1, min(place, len(rest) + 1))
            before = rest[place - 2].order if place > 1 else 0
            after = rest[place - 1].order if place <= len(rest) else before + 2 * _GAP
            if after - before < 2:
                rest = self._renumber(rest, _GAP * 2)
                before = rest[place - 2].order if place > 1 else 0
                after = rest[place - 1].order if place <= len(rest) else before + 2 * _GAP
            try:
                entry.path.rename(self.waiting / f"{(before + after) // 2:012d}-{run_id}.json")
            except FileNotFoundError:
                raise self._not_waiting(run_id) from None
            return place

    def remove(self, run_id: str) -> None:
        """Take a waiting entry out of the queue.

        Raises:
            LookupFailed: no entry of this run waits; a worker may have been quicker.
        """
        self.create()
        with self._changing():
            for entry in self._waiting(read=False):
                if entry.run_id == run_id and self._rename(entry.path, self.done / f"{run_id}.json"):
                    return
        raise self._not_waiting(run_id)

    def claim(self, slot: str, *, lives: Callable[[str], bool] = lambda run_id: False) -> QueueEntry | None:
        """Claim the next entry for a slot, first those that a dead worker left; None when nothing waits, or in a pause.

        Args:
            lives: whether a run lives, by id: asked about runs that workers of other machines claimed, as their locks may
                not be seen here.
        """
        folder = self.working / _full(slot)
        folder.mkdir(parents=True, exist_ok=True)
        self._adopt(folder.name, lives)
        while True:
            if self.paused:
                return None
            left = self._entries_in(folder, "working", folder.name)
            if left:
                return self._count_claim(min(left, key=lambda entry: entry.run_id))
            waiting = self._waiting(read=False)
            if not waiting:
                return None
            for entry in waiting:
                if self._rename(entry.path, folder / f"{entry.run_id}.json"):
                    break

    def end(self, entry: QueueEntry) -> None:
        """Move the entry of a run that has ended to the ended ones, of which the newest KEPT stay."""
        self._rename(entry.path, self.done / f"{entry.run_id}.json")
        with suppress(OSError):
            os.utime(self.done / f"{entry.run_id}.json")
            ended = sorted(self.done.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in ended[:-KEPT]:
                path.unlink(missing_ok=True)

    @property
    def paused(self) -> bool:
        """Whether workers claim no new entries."""
        return (self._folder / "paused").exists()

    @property
    def wanted(self) -> int:
        """The number of workers that `start` was given; 0 when the queue was never started."""
        try:
            return int(read_regular(self._folder / "started"))
        except (OSError, ValueError):
            return 0

    def pause(self) -> None:
        """Let no worker claim a new entry; claimed runs go on."""
        self.create()
        (self._folder / "paused").touch()

    @property
    def executor(self) -> str:
        """Name of the executor that the queue was started on; empty where nobody said."""
        try:
            return read_regular(self._folder / "executor").decode().strip()
        except (OSError, ValueError):
            return ""

    def start(self, workers: int, executor: str = "") -> None:
        """End a pause and set how many workers the queue should have, and the name of the executor that their runs are given to."""
        self.create()
        if executor != self.executor:
            _write(self._folder / "executor", executor)
        _write(self._folder / "started", str(workers))
        (self._folder / "paused").unlink(missing_ok=True)

    def slots(self) -> dict[str, int]:
        """PID of the living worker of each slot that has one (0 where it is unknown); `SLOT@HOST` for other machines."""
        return {_short(path.stem): holder_pid(path) or 0 for path in sorted(self.working.glob("*.lock")) if held(path)}

    def works_elsewhere(self) -> bool:
        """Whether there are workers, but none of this machine."""
        found = self.slots()
        return bool(found) and all("@" in slot for slot in found)

    @contextmanager
    def slot(self, name: str) -> Iterator[None]:
        """Hold a slot while the block runs.

        Raises:
            StoreBusy: another worker holds it.
        """
        self.create()
        lock = FileLock(self.working / f"{_full(name)}.lock")
        if not lock.acquire(wait=1.0):  # a probe by `slots` takes it for an instant
            pid = holder_pid(lock.path) or 0
            raise StoreBusy(
                f"{holder_name(lock.path)} works on slot {name} of the queue", pid=pid, where=str(lock.path)
            )
        try:
            lock.write_holder()
            yield
        finally:
            lock.release()

    def _adopt(self, slot: str, lives: Callable[[str], bool]) -> None:
        """Move the entries of dead workers' slots to this slot; of another machine's, those that have been idle for a while."""
        for folder in self.working.iterdir():
            if folder.name == slot or not folder.is_dir() or not any(folder.iterdir()):
                continue
            lock = FileLock(folder.with_name(f"{folder.name}.lock"))
            if lock.acquire():
                try:
                    for path in folder.iterdir():
                        if "@" not in _short(folder.name) or (_idle(path) and not lives(path.stem)):
                            self._rename(path, self.working / slot / path.name)
                finally:
                    lock.release()

    def _count_claim(self, entry: QueueEntry) -> QueueEntry:
        """Count one more claim in the entry's file; a full disk leaves it uncounted and stops nothing."""
        text = json.dumps({"run_id": entry.run_id, "added_at": entry.added_at, "attempts": entry.attempts + 1})
        with suppress(OSError):
            _write(entry.path, text)
        return QueueEntry(**{**entry.__dict__, "attempts": entry.attempts + 1})

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let one process at a time change the order; claiming needs no lock."""
        self.create()
        with FileLock(self._folder / "order.lock"):
            yield

    def _renumber(self, entries: list[QueueEntry], start: int) -> list[QueueEntry]:
        """Rename entries to new, evenly spread orders, the last one first, so that none overtakes another on the way."""
        made = []
        for place, entry in reversed(list(enumerate(entries))):
            order = start + max((other.order for other in entries), default=0) + _GAP * place
            path = self.waiting / f"{order:012d}-{entry.run_id}.json"
            if self._rename(entry.path, path):
                made.append(QueueEntry(**{**entry.__dict__, "path": path, "order": order}))
        return made[::-1]

    def _rename(self, path: Path, to: Path) -> bool:
        try:
            path.rename(to)
        except FileNotFoundError:  # somebody was quicker
            return False
        return True

    def _waiting(self, *, read: bool = True) -> list[QueueEntry]:
        found = []
        for path in _sorted_files(self.waiting):
            if match := _WAITING.fullmatch(path.name):
                fields = _file_fields(path) if read else {}
                found.append(QueueEntry(match[2], "waiting", path, int(match[1]), **fields))
        return sorted(found, key=lambda entry: (entry.order, entry.run_id))

    def _working(self, *, read: bool = True) -> list[QueueEntry]:
        folders = [path for path in _sorted_files(self.working) if path.is_dir()]
        return [entry for folder in folders for entry in self._entries_in(folder, "working", folder.name, read=read)]

    def _entries_in(
        self, folder: Path, state: EntryState, slot: str | None = None, *, read: bool = True
    ) -> list[QueueEntry]:
        return [
            QueueEntry(
                path.stem, state, path, slot=_short(slot) if slot else None, **(_file_fields(path) if read else {})
            )
            for path in _sorted_files(folder)
            if path.suffix == ".json"
        ]

    def _not_waiting(self, run_id: str) -> LookupFailed:
        entry = self.find(run_id)
        how = {"working": "claimed by a worker", "done": "done"}.get(entry.state, "") if entry else "not in the queue"
        return LookupFailed(
            f"run {run_id} is {how or 'just being claimed'}", hint="`sracl queue list` shows what waits."
        )


def _full(slot: str) -> str:
    """Name of a slot's folder and lock: workers of two machines that share a home have slots of their own."""
    return slot if "@" in slot else f"{slot}@{host()}"


def _short(name: str) -> str:
    """Name of a slot for people: without the machine where it is this one."""
    return name.removesuffix(f"@{host()}")


def _idle(path: Path) -> bool:
    """Whether an entry's file was not changed for CLAIM_SECONDS, so that its run should have begun."""
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > CLAIM_SECONDS
    return False


def mirror(connection: Any, home: Home) -> None:
    """Write the entries of this moment into table `queue`, inside the transaction of a publish."""
    rows = [
        (entry.run_id, entry.state, place, entry.slot, entry.attempts, entry.added_at, entry.changed_at)
        for place, entry in enumerate(Queue(home).entries(), start=1)
    ]
    connection.execute("DELETE FROM queue")
    if rows:
        places = ", ".join(
            ["(?, ?, ?, ?, ?, to_timestamp(?) AT TIME ZONE 'UTC', to_timestamp(?) AT TIME ZONE 'UTC')"] * len(rows)
        )
        connection.execute(f"INSERT INTO queue VALUES {places}", [value for row in rows for value in row])


def _sorted_files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _file_fields(path: Path) -> dict[str, Any]:
    """Time and count in an entry's file, as fields of `QueueEntry`; empty where the file is torn."""
    try:
        values = json.loads(read_regular(path))
        changed = path.stat().st_ctime
        return {"added_at": values["added_at"], "attempts": int(values["attempts"]), "changed_at": changed}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _write(path: Path, text: str) -> None:
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, "utf-8")
    except OSError as error:
        raise StoreError(f"the queue cannot be written: {error.strerror}", where=str(path.parent)) from None
