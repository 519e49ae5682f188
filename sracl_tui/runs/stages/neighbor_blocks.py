"""A list that takes long is searched in blocks of queries. Finished blocks are kept in the home's cache, so that a search that was
killed goes on where it was, and several processes search the same list together.

Every process takes any block that is not finished and that no living process has claimed. All lists of a block are those of
`Search.run`, so the joined list is the one of a single process.
"""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from engine.errors import StopRequested
from engine.events import Report, Warned
from engine.retrieval.neighbors import NeighborTable, Search, progress
from store.atomic_write import atomic_write
from store.errors import StoreError
from store.home import Home
from store.locks import FileLock
from store.regular_file import open_regular, read_regular

PLAN, REPORTED = "plan.json", "reported"
POLL_SECONDS = 1.0
BLOCKS_PER_JOB = 8
"""Blocks that a job of several has at least, so that the others need not wait long for the slowest."""


class Blocks:
    """The blocks of one list, in a folder that all processes of the list share."""

    def __init__(self, home: Home, list_id: str, search: Search, *, jobs: int = 1) -> None:
        """Args:
        jobs: that share the list. The first of them decides how it is divided.
        """
        self._folder, self._search = folder_of(home, list_id), search
        queries, size = len(search.queries), search.block_size
        if jobs > 1:
            size = max(1, min(size, -(-queries // (BLOCKS_PER_JOB * jobs))))
        size = self._agreed(size)
        self.ranges = [slice(first, min(first + size, queries)) for first in range(0, queries, size)]
        self.searched = 0
        """Blocks that this object has searched."""

    def find(self, *, first: int, report: Report, stop: Callable[[], bool], wait: bool) -> bool:
        """Search what is neither finished nor claimed; whether all blocks are finished then.

        Args:
            first: block to begin with, so that jobs begin at different ones.
            wait: for blocks that others have claimed, and search them where these die.

        Raises:
            StopRequested: `stop` returned true; finished blocks are kept.
        """
        told = False
        while missing := [part for part in self.ranges[first:] + self.ranges[:first] if not self._path(part).exists()]:
            before = self.searched
            for part in missing:
                self._search_one(part, report, stop)
            if self.searched > before:
                continue
            if not wait:
                return False
            if not told:
                report(
                    Warned(message=f"other processes search {len(missing)} blocks of the same list: waiting for them")
                )
                told = True
            if stop():
                raise StopRequested
            time.sleep(POLL_SECONDS)
        return True

    def _search_one(self, part: slice, report: Report, stop: Callable[[], bool]) -> None:
        """Search a block and keep it, unless it is claimed or finished."""
        lock = FileLock(self._path(part).with_suffix(".lock"))
        if not lock.acquire():
            return
        try:
            if self._path(part).exists():
                return
            asking = self._search.asking
            done = sum(int(asking[other].sum()) for other in self.ranges if self._path(other).exists())
            step = progress(report, stop, done, int(asking.sum()))
            step(0)
            table = self._search.run(part, step=step)
            with atomic_write(self._path(part), sync=True) as temporary, temporary.open("wb") as file:
                np.savez(file, ids=table.ids, similarity=table.similarity)
            self.searched += 1
        finally:
            lock.release()

    def whole(self) -> NeighborTable | None:
        """The whole list; none where a block is missing or damaged, and a damaged one is removed."""
        damaged = False

        def found() -> Iterator[NeighborTable]:
            nonlocal damaged
            for part in self.ranges:
                table = self._read(part)
                damaged = damaged or table is None
                if table is not None:
                    yield table

        table = self._search.joined(found())
        return None if damaged else table

    @contextmanager
    def end(self) -> Iterator[bool]:
        """Whether it is for this job to report the list while the block runs; false where another one does, or has done so."""
        lock = FileLock(self._folder / "end.lock")
        mine = lock.acquire()
        try:
            yield mine and not (self._folder / REPORTED).exists()
        finally:
            lock.release()

    def mark_reported(self) -> None:
        """No other job reports the list."""
        (self._folder / REPORTED).touch()

    def _read(self, part: slice) -> NeighborTable | None:
        path, shape = self._path(part), (part.stop - part.start, self._search.k)
        try:
            with open_regular(path) as file, np.load(cast(BinaryIO, file), allow_pickle=False) as arrays:
                ids, similarity = arrays["ids"], arrays["similarity"]
            if ids.shape == similarity.shape == shape:
                return NeighborTable(self._search.queries[part], ids, similarity)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass
        path.unlink(missing_ok=True)
        return None

    def _path(self, part: slice) -> Path:
        return self._folder / f"{part.start:012d}-{part.stop:012d}.npz"

    def _agreed(self, size: int) -> int:
        """The size of blocks that the first process has chosen."""
        path = self._folder / PLAN
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / "plan.lock"):
                with suppress(OSError, ValueError, KeyError, TypeError):
                    return max(1, int(json.loads(read_regular(path))["queries"]))
                with atomic_write(path) as temporary:
                    temporary.write_text(json.dumps({"queries": size}), "utf-8")
        except OSError as error:
            raise StoreError(f"blocks of neighbors cannot be kept: {error.strerror}", where=str(self._folder)) from None
        return size


def folder_of(home: Home, list_id: str) -> Path:
    """Where the blocks of a list are."""
    return home.cache / f"neighbors-{list_id}"


def are_begun(home: Home, list_id: str) -> bool:
    """Whether some process has begun to search a list in blocks."""
    return (folder_of(home, list_id) / PLAN).exists()


def forget(home: Home, list_id: str) -> None:
    """Remove the blocks of a list that is stored."""
    shutil.rmtree(folder_of(home, list_id), ignore_errors=True)
