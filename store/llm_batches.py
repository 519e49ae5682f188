"""Logs of LLM batches, written before and after every step at the provider, so that no batch is paid for twice.

The first line of `batches/NAME.jsonl` holds all that is known before anything is sent; each later line adds to it. The
file of requests lies beside it until the answers are in the journal of a run; then the log moves to `batches/done`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from store.errors import LookupFailed
from store.home import Home
from store.locks import FileLock
from store.regular_file import read_regular


class BatchLogs:
    """The batch logs of a home. A process that takes a batch holds its lock until `release` or `close`."""

    def __init__(self, home: Home) -> None:
        self._folder = home.path / "batches"
        self._held: dict[str, FileLock] = {}

    def begin(self, name: str, known: dict[str, Any], lines: Iterable[bytes]) -> Path:
        """Write the file of requests (a JSON line each) and the log's first line, sync both, and take the batch."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self.input_of(name)
        with path.open("wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        self.note(name, **known)
        self.take(name)
        return path

    def note(self, name: str, **known: Any) -> None:
        """Add a line with what is known now; it is on the disk when this returns."""
        with self._log(name).open("ab") as file:
            file.write(b"\n" + json.dumps(known).encode() + b"\n")  # on a line of its own, even behind a torn one
            file.flush()
            os.fsync(file.fileno())

    def take(self, name: str) -> bool:
        """Take the lock of a batch; False where another process holds it, or where the batch is done."""
        if name in self._held:
            return True
        lock = FileLock(self._log(name), create=False)
        try:
            if not lock.acquire():
                return False
        except FileNotFoundError:
            return False
        if not lock.path.exists():  # done between opening and locking
            lock.release()
            return False
        self._held[name] = lock
        return True

    def release(self) -> None:
        """Give back the locks of all batches that this object has taken."""
        for lock in self._held.values():
            lock.release()
        self._held.clear()

    def close(self, name: str) -> None:
        """Move a log to the done ones and remove requests and answers: all is in a journal, or nothing was sent."""
        done = self._folder / "done"
        done.mkdir(exist_ok=True)
        self._log(name).replace(done / f"{name}.jsonl")
        for path in (self.input_of(name), self.output_of(name)):
            path.unlink(missing_ok=True)
        if (lock := self._held.pop(name, None)) is not None:
            lock.release()

    def read(self, *, done: bool = False) -> dict[str, dict[str, Any]]:
        """What is known of every open batch, or of every done one, by name, oldest first."""
        folder = self._folder / "done" if done else self._folder
        return {path.stem: _known(path) for path in sorted(folder.glob("*.jsonl"))}

    def find(self, text: str) -> str:
        """The full name of the one open batch whose name begins with `text`.

        Raises:
            LookupFailed: no name does, or several do.
        """
        names = list(self.read())
        found = [name for name in names if name == text] or [name for name in names if name.startswith(text)]
        if len(found) != 1:
            raise LookupFailed(f"{len(found)} open batches begin with {text!r}", hint="`sracl llm batches` lists them.")
        return found[0]

    def input_of(self, name: str) -> Path:
        """Path of the file of a batch's requests."""
        return self._folder / f"{name}.input"

    def output_of(self, name: str) -> Path:
        """Path of the downloaded answers of a batch, while they are read."""
        return self._folder / f"{name}.output"

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"


def _known(path: Path) -> dict[str, Any]:
    """All lines of a log merged: a later value replaces an earlier one. A torn line is skipped."""
    known: dict[str, Any] = {}
    with suppress(OSError):  # done meanwhile, or no file
        for line in read_regular(path).splitlines():
            with suppress(ValueError, TypeError, RecursionError):
                known |= json.loads(line or b"{}")
    return known
