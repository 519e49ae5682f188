"""Operating-system locks on files (flock). They end with the process that holds them, so none is ever left behind.

`flock` binds a lock to an open file, so two `FileLock` objects exclude each other in one process as they do in two. `held`
takes a shared lock for an instant: whoever must not fail because of such a probe tries again for a moment.
"""

from __future__ import annotations

import fcntl
import os
import platform
import stat
import time
from pathlib import Path
from types import TracebackType

from store.errors import StoreError
from store.regular_file import read_regular

MAX_PID = 2**31 - 1
"""The largest PID. Zero and negative numbers mean groups of processes, or all of them, to whoever sends a signal."""


class FileLock:
    """An exclusive lock on a file; `with` waits for it without end."""

    def __init__(self, path: Path, *, create: bool = True, mode: int = 0o644) -> None:
        """Args:
        create: make the file where it is missing, with `mode`; otherwise it has to exist.
        """
        self.path = path
        self._create, self._mode = create, mode
        self._file: int | None = None

    def acquire(self, *, wait: float | None = 0.0, poll: float = 0.05) -> bool:
        """Take the lock.

        Args:
            wait: seconds to try for, every `poll` seconds; 0 tries once, None waits without end.

        Returns:
            Whether this object has the lock now.

        Raises:
            StoreError: something else is in its place, such as a folder or a pipe.
            OSError: the file cannot be opened.
        """
        flags = os.O_RDWR | os.O_CREAT if self._create else os.O_RDONLY
        try:
            file = os.open(self.path, flags | os.O_NONBLOCK | os.O_CLOEXEC, self._mode)  # a pipe must not block
        except OSError:
            if is_misplaced(self.path):
                raise self._misplaced() from None
            raise
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise self._misplaced()
            taken = _lock(file, wait, poll)
        except BaseException:
            os.close(file)
            raise
        if taken:
            self._file = file
        else:
            os.close(file)
        return taken

    def _misplaced(self) -> StoreError:
        hint = "`sracl db repair` sets it aside. Nothing was changed."
        return StoreError("it is no lock file", where=str(self.path), hint=hint)

    def release(self) -> None:
        """Give the lock back, where this object has it."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def write_holder(self, text: str | None = None) -> None:
        """Write who holds the lock into its file.

        Args:
            text: PID, start of the process and machine, by words; by default of this process, without its start.

        Raises:
            OSError: the disk is full.
        """
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, (text or f"{os.getpid()} nan {host()}").encode(), 0)

    def __enter__(self) -> FileLock:
        self.acquire(wait=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _lock(file: int, wait: float | None, poll: float) -> bool:
    if wait is None:
        fcntl.flock(file, fcntl.LOCK_EX)
        return True
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(poll)
        else:
            return True


def is_misplaced(path: Path) -> bool:
    """Whether something else stands in the place of a lock file: a folder, pipe, socket, device or dead link."""
    return os.path.lexists(path) and not os.path.isfile(path)


def held(path: Path) -> bool:
    """Whether some process holds the lock of a file; a file that does not exist has none."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe in its place must not block
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def holder_name(path: Path) -> str:
    """`process 7`, or `process 7 on machine HOST` where that is another one, for messages."""
    words = holder_words(path)
    machine = words[2] if len(words) > 2 else host()
    return f"process {holder_pid(path) or 'unknown'}" + (f" on machine {machine}" if machine != host() else "")


def host() -> str:
    """Network name of this machine, by which locks tell which of several machines with one file system holds them."""
    return platform.node()


def holder_words(path: Path) -> list[str]:
    """What `write_holder` wrote last, by words, the PID first; empty where it never did."""
    try:
        return read_regular(path).decode(errors="replace").split()
    except OSError:
        return []


def holder_pid(path: Path) -> int | None:
    """PID of the process that held the lock last; None where it was not written, or the file is damaged."""
    try:
        pid = int(holder_words(path)[0])
    except (IndexError, ValueError):
        return None
    return pid if 0 < pid <= MAX_PID else None
