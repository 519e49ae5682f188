"""Copies and replacements of the published files, and the lock under which they are made."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from store.database.connection import forbidden
from store.database.migrate import DatabaseName
from store.errors import StoreBusy, StoreError
from store.home import Home
from store.locks import FileLock

_SCRIPT = Path(__file__).with_name("_file_swap.py")
STANDBY = ".standby-"
"""What follows the name of a published file in the name of its standby."""


def path_of(home: Home, which: DatabaseName) -> Path:
    """The published file of a database: behind a link, where it leads, so that a publish replaces the file and not the link."""
    path = home.database if which == "main" else home.vectors
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def copy_of(home: Home, path: Path, to: Path, *, wait: float = 30.0) -> None:
    """Copy a published file while the side lock keeps publishers out.

    Raises:
        StoreBusy: another process writes.
        StoreError: the copy cannot be written.
    """
    with side_lock(home, time.monotonic() + wait):
        copy_file(path, to)


@contextmanager
def replacing(home: Home, which: DatabaseName, *, wait: float = 30.0) -> Iterator[tuple[Path, Path]]:
    """Paths of a copy of a published file and of the new file to write, which replaces it unless the block raises.

    Raises:
        StoreBusy: another process writes.
        StoreError: the disk is full; nothing was changed.
    """
    path = path_of(home, which)
    copied = path.with_name(f"{path.name}.new-{os.getpid()}-old")
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}")
    with side_lock(home, time.monotonic() + wait):
        try:
            before = copy_file(path, copied)
            yield copied, fresh
            replace_file(path, fresh, before)
        finally:
            discard(copied)
            discard(fresh)


def copy_file(path: Path, temporary: Path) -> dict[str, Any]:
    """Copy the published file, where it exists, with the write-ahead log of a session that was killed.

    Returns:
        Inode, size and time of the file and of its logs, to tell later whether they have changed.

    Raises:
        StoreBusy: a session has it open for writing.
    """
    answer = run_file_swap("copy", path, temporary)
    if answer["writer"] is not None or ("" in answer["state"] and not answer["whole"]):
        raise busy(path, answer["writer"])
    return answer["state"]


def standbys_of(path: Path) -> list[Path]:
    """The standby of a published file, and what may be left of earlier ones."""
    return sorted(path.parent.glob(f"{path.name}{STANDBY}*"))


def take_standby(path: Path, temporary: Path) -> dict[str, Any] | None:
    """Rename the standby of a published file, where nobody uses it, so that the next state can be written into it.

    Returns:
        The state of the published file, as `copy_file` gives it; None where there is no standby, or not the right one.

    Raises:
        StoreBusy: a session has the published file open for writing.
    """
    answer = run_file_swap("take", path, temporary)
    if answer["writer"] is not None:
        raise busy(path, answer["writer"])
    return answer["state"] if answer["taken"] else None


def drop_standby(path: Path) -> None:
    """Remove the standby of a published file, and what is left of earlier ones."""
    for left in standbys_of(path):
        with suppress(OSError):  # a folder in its place
            left.unlink()


def replace_file(path: Path, fresh: Path, before: dict[str, Any], *, keep: bool = False) -> None:
    """Put a new file on the disk and in the place of a published one, of which `before` is what `copy_file` gave.

    Args:
        keep: the old file becomes the standby, for the next publish; otherwise a standby that there is goes.

    Raises:
        StoreBusy: another process writes, or has written since; nothing was changed.
        StoreError: it cannot be renamed.
    """
    with fresh.open("rb+") as file:
        os.fsync(file.fileno())
    answer = run_file_swap("replace", path, fresh, json.dumps(before), "keep" if keep else "drop")
    if not answer["done"]:
        raise busy(path, answer["writer"])
    sync_folder(path.parent)


def busy(path: Path, writer: int | None) -> StoreBusy:
    """The error to raise where another process has a file open for writing, or wrote to it meanwhile (`writer` None)."""
    if writer is None:
        return StoreBusy("another process wrote to the file meanwhile", pid=None, where=str(path))
    return StoreBusy(
        f"process {writer or 'unknown'} has the file open for writing",
        pid=writer or None,
        where=str(path),
        hint="Publishing waits so that those rows are not lost: close that session. The journals are kept.",
    )


def run_file_swap(action: str, path: Path, temporary: Path, *more: str) -> dict[str, Any]:
    """What `_file_swap.py` answers, run in a process of its own. Args: action: copy, take or replace.

    Raises:
        StoreError: the disk is full, or a file cannot be read or written.
    """
    import subprocess

    done = subprocess.run(
        [sys.executable, "-I", "-S", str(_SCRIPT), action, str(path), str(temporary), *more],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        if (denied := forbidden(path)) is not None:
            raise denied
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise StoreError(
            f"copying failed: {reason[0]}",
            where=str(path),
            hint="Look at disk space and permissions. Nothing is lost: the journals are kept.",
        )
    return json.loads(done.stdout)


@contextmanager
def side_lock(home: Home, deadline: float) -> Iterator[None]:
    """Keep out all other publishers, of any process and thread, while the block runs."""
    lock = FileLock(home.path / "publish.lock")
    try:
        taken = lock.acquire(wait=deadline - time.monotonic(), poll=0.02)
    except OSError as error:
        raise StoreError(f"the store cannot be written: {error.strerror}", where=str(lock.path)) from None
    if not taken:
        raise StoreBusy("another process is publishing", pid=None, where=str(lock.path))
    try:
        yield
    finally:
        lock.release()


def remove_stale(home: Home) -> None:
    """Remove what a killed publisher left; we hold the side lock, so no process uses these copies."""
    for which in ("main", "vectors"):
        path = path_of(home, which)
        discard(path.with_name(f"{path.name}.new-"))
        for left in path.parent.glob(f"{path.name}.wal*.taken-*"):
            log, inode = str(left).rsplit(".taken-", 1)
            if path.exists() and path.stat().st_ino == int(inode) and not os.path.exists(log):
                left.rename(log)  # its file was not replaced
            else:
                left.unlink()


def discard(temporary: Path) -> None:
    """Remove a copy with its logs and its folder of temporary data."""
    for left in temporary.parent.glob(f"{temporary.name}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
