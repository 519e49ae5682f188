"""Structured logs, a JSON object a line: one of the app and the commands in `logs/sracl.log` of the home, one per run.

Both are rotated: when a file is full it becomes `NAME.1`, and so on. Several processes may write to the same one. A log
that cannot be written hinders nobody.
"""

from __future__ import annotations

import json
import logging
import os
import time
import traceback
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from sracl_tui.redaction import hidden
from store.home import Home
from store.locks import FileLock

APP = "sracl.log"
RUN = "run.log"
MOST_BYTES, KEPT = 1_000_000, 4
FIELDS = "fields"
_LOGGER = "sracl"


class Shared(RotatingFileHandler):
    """A rotated file that several processes write to."""

    def __init__(
        self, path: Path, home: Path, *, alone: bool = False, most_bytes: int = MOST_BYTES, kept: int = KEPT
    ) -> None:
        """Nothing is opened before the first line.

        Args:
            alone: no other process writes to it.
        """
        super().__init__(path, maxBytes=most_bytes, backupCount=kept, encoding="utf-8", errors="replace", delay=True)
        self._alone = alone
        self._file_lock = FileLock(path.with_name(f".{path.name}.lock"), mode=0o600)
        self.setFormatter(Lines(home))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, in the file that has the name now: another process may have rotated it."""
        with suppress(OSError):
            if self._alone:
                super().emit(record)
                return
            with self._file_lock:
                self._reopen()
                super().emit(record)

    def _reopen(self) -> None:
        """Open the file that has the name now, where that is another one."""
        stream = self.stream
        if stream is None:
            return
        try:
            same = os.stat(self.baseFilename).st_ino == os.fstat(stream.fileno()).st_ino
        except OSError:
            same = False
        if not same:
            stream.close()
            self.stream = self._open()

    def _open(self) -> Any:
        return os.fdopen(
            os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600),
            "a",
            encoding="utf-8",
        )

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk is told elsewhere."""


class Lines(logging.Formatter):
    """A record as a JSON object, without keys."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        told = {"at": at, "level": record.levelname.lower(), "pid": record.process, "what": record.getMessage()}
        told |= getattr(record, FIELDS, {})
        if record.exc_info:
            told["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        told = {name: hidden(value, self._home) if isinstance(value, str) else value for name, value in told.items()}
        return hidden(json.dumps(told, ensure_ascii=False, default=str), self._home)


def path_of(home: Home) -> Path:
    """The app's log."""
    return home.path / "logs" / APP


def app_log(home: Home) -> logging.Logger:
    """The log of the app and the commands of a home."""
    path = path_of(home)
    log = logging.getLogger(f"{_LOGGER}.{path}".replace(".", "_"))
    if not log.handlers:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            log.addHandler(Shared(path, home.path))
        except OSError:
            log.addHandler(logging.NullHandler())
        log.setLevel(logging.INFO)
        log.propagate = False
    return log


def say(home: Home, what: str, /, *, level: int = logging.INFO, **fields: Any) -> None:
    """Write a line into the app's log."""
    app_log(home).log(level, what, extra={FIELDS: fields})


def crash(home: Home, error: BaseException, what: str) -> str:
    """Write an error of ours that nobody expected into the app's log, and the sentence for the person."""
    app_log(home).error(what, exc_info=error, extra={FIELDS: {"error": type(error).__name__}})
    return f"{what}: {type(error).__name__}. This is a bug of sracl; where it happened stands in {path_of(home)}."


class RunLog:
    """The log of a run, beside its journal: what a person would be told, warnings of libraries, tracebacks."""

    def __init__(self, folder: Path, home: Path) -> None:
        self._handler = Shared(folder / RUN, home, alone=True)
        self._handler.setLevel(logging.INFO)
        self._libraries = logging.getLogger()
        self._libraries.addHandler(self._handler)
        logging.captureWarnings(True)

    def say(
        self, what: str, /, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Any
    ) -> None:
        """Write a line."""
        record = logging.LogRecord("run", level, "", 0, what, (), None)
        if error is not None:
            record.exc_info = (type(error), error, error.__traceback__)
        setattr(record, FIELDS, fields)
        self._handler.handle(record)

    def close(self) -> None:
        """Let go of the libraries' words too."""
        self._libraries.removeHandler(self._handler)
        logging.captureWarnings(False)
        self._handler.close()
