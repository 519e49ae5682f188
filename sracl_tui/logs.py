"""Structured logs, one JSON object per line: `logs/sracl.log` of a home for the app and the commands, `run.log` per run.

Files are rotated: a full one becomes `NAME.1`, and so on. Several processes may write to the same file. A failure to
write a log is ignored.
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

from sracl_tui.redaction import redact
from store.errors import StoreError
from store.home import Home
from store.locks import FileLock
from store.untrusted_text import json_text

APP = "sracl.log"
RUN = "run.log"
MOST_BYTES, KEPT = 1_000_000, 4
FIELDS = "fields"
_LOGGER = "sracl"


class SharedFileHandler(RotatingFileHandler):
    """A rotated log file that several processes may write to."""

    def __init__(
        self, path: Path, home: Path, *, alone: bool = False, most_bytes: int = MOST_BYTES, kept: int = KEPT
    ) -> None:
        """The file is opened by the first line.

        Args:
            home: whose secrets are redacted.
            alone: no other process writes to it, so no lock is taken.
            most_bytes: size at which it is rotated.
            kept: rotated files that are kept.
        """
        super().__init__(path, maxBytes=most_bytes, backupCount=kept, encoding="utf-8", errors="replace", delay=True)
        self._alone = alone
        self._file_lock = FileLock(path.with_name(f".{path.name}.lock"), mode=0o600)
        self.setFormatter(JsonFormatter(home))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line to the file that has the name now: another process may have rotated it."""
        with suppress(OSError, StoreError):
            if self._alone:
                super().emit(record)
                return
            with self._file_lock:
                self._reopen()
                super().emit(record)

    def _reopen(self) -> None:
        """Reopen by name, where another process has rotated the file."""
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
            os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o600),
            "a",
            encoding="utf-8",
        )

    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore it: a full disk is reported by whoever writes data."""


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object with secrets redacted."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self._home = home

    def format(self, record: logging.LogRecord) -> str:
        """A line with `at` (UTC), `level`, `pid`, `what`, the fields of the record, and `traceback` of an error."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        entry = {"at": at, "level": record.levelname.lower(), "pid": record.process, "what": record.getMessage()}
        entry |= getattr(record, FIELDS, {})
        if record.exc_info:
            entry["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        entry = {name: redact(value, self._home) if isinstance(value, str) else value for name, value in entry.items()}
        return redact(json_text(json.dumps(entry, ensure_ascii=False, default=str)), self._home)


def path_of(home: Home) -> Path:
    """The log file of the app and the commands."""
    return home.path / "logs" / APP


def app_log(home: Home) -> logging.Logger:
    """The logger of a home; its handler is added by the first call."""
    path = path_of(home)
    log = logging.getLogger(f"{_LOGGER}.{path}".replace(".", "_"))
    if not log.handlers:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            log.addHandler(SharedFileHandler(path, home.path))
        except OSError:
            log.addHandler(logging.NullHandler())
        log.setLevel(logging.INFO)
        log.propagate = False
    return log


def log(home: Home, what: str, /, *, level: int = logging.INFO, **fields: Any) -> None:
    """Write a line with further fields to the app's log."""
    app_log(home).log(level, what, extra={FIELDS: fields})


def crash(home: Home, error: BaseException, what: str) -> str:
    """Log the traceback of a bug.

    Args:
        what: what ended by it, such as `the command has ended by an error`.

    Returns:
        A sentence for the user that names the log.
    """
    app_log(home).error(what, exc_info=error, extra={FIELDS: {"error": type(error).__name__}})
    return f"{what}: {type(error).__name__}. This is a bug of sracl; the traceback is in {path_of(home)}."


class RunLog:
    """The log of a run, beside its journal: its messages, warnings of libraries, tracebacks."""

    def __init__(self, folder: Path, home: Path) -> None:
        self._handler = SharedFileHandler(folder / RUN, home, alone=True)
        self._handler.setLevel(logging.INFO)
        self._libraries = logging.getLogger()
        self._libraries.addHandler(self._handler)
        logging.captureWarnings(True)

    def write(
        self, what: str, /, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Any
    ) -> None:
        """Write a line with further fields, and the traceback of `error`."""
        record = logging.LogRecord("run", level, "", 0, what, (), None)
        if error is not None:
            record.exc_info = (type(error), error, error.__traceback__)
        setattr(record, FIELDS, fields)
        self._handler.handle(record)

    def close(self) -> None:
        """Close the file and stop capturing the warnings of libraries."""
        self._libraries.removeHandler(self._handler)
        logging.captureWarnings(False)
        self._handler.close()
