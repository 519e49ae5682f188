"""Batches of requests that are at a provider: one log each, written before and after every step, so that none is paid twice.

`batches/NAME.jsonl` begins with all that is known before anything is sent; each later line adds to it. Beside it lies the file
of requests until the answers are in the journal of a run; then the log goes to `batches/done`.
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


class BatchFiles:
    """The logs of a home. A process that takes a batch has it alone until `release`."""

    def __init__(self, home: Home) -> None:
        self._folder = home.path / "batches"
        self._held: dict[str, FileLock] = {}

    def begin(self, name: str, known: dict[str, Any], lines: Iterable[bytes]) -> Path:
        """Write the file of requests and the log's first line, both on the disk; the batch is then taken."""
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
        """Add what is now known, on the disk before this returns."""
        with self._log(name).open("ab") as file:
            file.write(b"\n" + json.dumps(known).encode() + b"\n")  # on a line of its own, even behind a torn one
            file.flush()
            os.fsync(file.fileno())

    def take(self, name: str) -> bool:
        """Have a batch alone; false where another process has it, or where it is done."""
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
        """Let all batches go."""
        for lock in self._held.values():
            lock.release()
        self._held.clear()

    def close(self, name: str) -> None:
        """All of it is in a journal, or nothing was sent: the log is put away, the files of requests and answers are removed."""
        done = self._folder / "done"
        done.mkdir(exist_ok=True)
        self._log(name).replace(done / f"{name}.jsonl")
        for path in (self.input_of(name), self.output_of(name)):
            path.unlink(missing_ok=True)
        if (lock := self._held.pop(name, None)) is not None:
            lock.release()

    def read(self, *, done: bool = False) -> dict[str, dict[str, Any]]:
        """What is known of every batch that is not done, or of those that are, by name, oldest first."""
        folder = self._folder / "done" if done else self._folder
        return {path.stem: _known(path) for path in sorted(folder.glob("*.jsonl"))}

    def find(self, text: str) -> str:
        """The name of the open batch that begins so.

        Raises:
            LookupFailed: none does, or several do.
        """
        names = list(self.read())
        found = [name for name in names if name == text] or [name for name in names if name.startswith(text)]
        if len(found) != 1:
            raise LookupFailed(f"{len(found)} open batches begin with {text!r}", hint="`sracl llm batches` lists them.")
        return found[0]

    def input_of(self, name: str) -> Path:
        """Where a batch's requests lie."""
        return self._folder / f"{name}.input"

    def output_of(self, name: str) -> Path:
        """Where its answers lie while they are taken in."""
        return self._folder / f"{name}.output"

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"


def _known(path: Path) -> dict[str, Any]:
    """All lines of a log as one; a torn one is passed over."""
    known: dict[str, Any] = {}
    with suppress(FileNotFoundError):  # done meanwhile
        for line in path.read_bytes().splitlines():
            with suppress(ValueError):
                known |= json.loads(line or b"{}")
    return known
