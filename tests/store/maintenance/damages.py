"""Damages to the files of a home: what may happen to each class of them, and a process that root's rights do not help."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from store.home import Home

FILES = {
    # class: where its files lie
    "main": "sracl.duckdb",
    "log": "sracl.duckdb.wal",
    "vectors": "vectors.duckdb",
    "standby": "*.duckdb.standby-*",
    "backup": "backups/*/*.duckdb",
    "journal": "runs/*/events-0001.jsonl",
    "table": "runs/*/*.parquet",
    "edits": "edits/events-0001.jsonl",
    "trash": "trash/*/events-0001.jsonl",
    "folder": "runs/*",
    "removed folder": "trash/*",
    "request": "runs/*/request.json",
    "checkpoint": "runs/*/*.safetensors",
    "queue": "queue/waiting/*.json",
    "setting": "*.toml",
    "record": "*.json*",
    "secret": ".env",
    "study": "studies/*.toml",
    "prompt": "prompts/*.toml",
    "lock": "*.lock",
    "lock of a run": "runs/*/lock",
    "lock of the queue": "queue/order.lock",
}
GUARDED = {"main", "vectors", "standby", "backup", "journal", "table", "edits", "trash", "folder", "removed folder"}
"""Classes of which `db check` says when they are damaged; the others hold no rows."""
WITHOUT_ROWS = FILES.keys() - GUARDED - {"log"}
HOWS = ("cut", "flip", "delete", "directory", "pipe", "link", "loop", "dead link", "unreadable", "second name", "old")
OF_FOLDERS = ("delete", "link", "loop", "dead link", "unreadable", "pipe")
WHOLE = {"link", "second name"}
"""What damages nothing: the file lies elsewhere and a link leads to it, or it has a second name."""
UNDONE = {("main", "old"), *(("standby", how) for how in ("delete", "old", "loop", "dead link"))}
"""No damage either: an older database is whole once the journals are taken in again, and a standby is made when it is needed."""
Damage = tuple[str, str]
SINGLE: list[Damage] = [
    (kind, how)
    for kind in FILES
    for how in HOWS
    if ("folder" not in kind or how in OF_FOLDERS) and (kind, how) != ("backup", "old")
]


def wound(home: Home, kind: str, how: str, by: random.Random) -> Path | None:
    """Damage one file of a class; returns its path, None where the home has none."""
    paths = sorted(path for path in home.path.glob(FILES[kind]) if os.path.lexists(path))
    if not paths:
        return None
    path = by.choice(paths)
    if how in ("cut", "flip", "old"):
        if path.is_file() and path.stat().st_size > 1:
            _change(home, path, how, by)
    elif how == "unreadable":
        if not path.is_symlink():
            path.chmod(0)
    elif how == "second name":
        if path.is_file():
            _aside(home, by).hardlink_to(path)
    else:
        _replace(path, how, _aside(home, by))
    return path


def _aside(home: Home, by: random.Random) -> Path:
    (home.path / "kept").mkdir(exist_ok=True)
    return home.path / "kept" / f"{by.randrange(10**9)}"


def _change(home: Home, path: Path, how: str, by: random.Random) -> None:
    data = path.read_bytes()
    of_backups = home.path.glob(f"backups/*/{path.name.partition('.standby-')[0]}")
    old = sorted(one for one in of_backups if one.is_file())  # another damage may have replaced it
    if how == "old" and old:
        shutil.copy(old[0], path)
    elif how == "flip":
        at = by.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << by.randrange(8))]) + data[at + 1 :])
    else:  # an older copy of a file that only grows is the beginning of it
        path.write_bytes(data[: by.randrange(len(data) - 1)])


def _replace(path: Path, how: str, aside: Path) -> None:
    if how == "link":
        path.rename(aside)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    if how == "directory":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how != "delete":
        path.symlink_to({"link": aside, "loop": path}.get(how, aside))


@contextmanager
def without_privileges() -> Iterator[None]:
    """Have the permissions of files hold for root, too, in this thread and what it starts; needs Linux where root runs it."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    had, less = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()

    def call(function: Callable[..., int], *arguments: Any) -> None:
        assert function(*arguments) == 0, os.strerror(ctypes.get_errno())

    call(libc.capget, header, had)
    less[:] = had[:]
    less[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of the effective ones
    call(libc.prctl, 28, 1, 0, 0, 0)  # PR_SET_SECUREBITS: SECBIT_NOROOT, else a program that is started has all again
    call(libc.capset, header, less)
    try:
        yield
    finally:
        call(libc.capset, header, had)
        call(libc.prctl, 28, 0, 0, 0, 0)


class TooLong(BaseException):
    """A command hangs."""


@contextmanager
def within(cpu_seconds: float, seconds: float) -> Iterator[None]:
    """Raise `TooLong` in the main thread where a block takes longer, also where it waits in a system call."""

    def give_up(number: int, frame: Any) -> None:
        raise TooLong(signal.Signals(number).name)

    old = [signal.signal(number, give_up) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), old, strict=True):
            signal.signal(number, handler)
