"""The append-only event log of a run, and the lock that says whether its process lives.

A start of a run opens a new segment, `events-0001.jsonl`, `events-0002.jsonl`, ... Every line is one event:
`{"n": 17, "at": 1790000000.123, "event": "epoch_finished", ...}`, `n` counting from 1 in each segment. An event
with a table names the Parquet file beside the journal that holds it, written and synced before the line; answers and
calls that come a few at a time have their `columns` in the line itself.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.atomic_write import atomic_write
from store.errors import StoreBusy
from store.journal.event_facts import PLAIN, RECORDED
from store.journal.processes import start_of
from store.locks import FileLock, held, holder_pid, holder_words

_SEGMENT = re.compile(r"events-(\d{4,})\.jsonl")
_HEAD = 120
"""Bytes of a line in which its number, time and event stand."""
_GROUP = 122_880
"""Rows of a group in DuckDB."""
INLINE_ROWS = 100
"""Durable events with so few rows keep them in their line: they come many times a minute."""


def segments(folder: Path) -> list[Path]:
    """Journal segments of a folder, oldest first."""
    return sorted((path for path in folder.glob("events-*") if _SEGMENT.fullmatch(path.name)), key=segment_number)


def segment_name(number: int) -> str:
    """File name of a segment."""
    return f"events-{number:04d}.jsonl"


def segment_number(path: Path) -> int:
    """Number of a segment, from 1."""
    return int(path.stem.removeprefix("events-"))


class Journal:
    """Writes one segment. Any thread may append; each line reaches the operating system at once."""

    def __init__(self, folder: Path) -> None:
        """Open the folder's next segment."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        while True:
            existing = segments(folder)
            self.segment = segment_number(existing[-1]) + 1 if existing else 1
            with suppress(FileExistsError):  # another process was quicker
                self._file = (folder / segment_name(self.segment)).open("xb", buffering=0)
                break
        self._lock = threading.Lock()
        self._lines = 0
        self._torn = False

    def append(
        self,
        event: str,
        fields: Mapping[str, Any],
        *,
        columns: Mapping[str, Any] | None = None,
        durable: bool | None = None,
    ) -> None:
        """Write an event.

        Args:
            columns: a table to keep beside the journal, or in the line if the event is durable and has at most `INLINE_ROWS`
                rows; a 2-d float array becomes fixed-size lists.
            durable: return only when it is on the disk; none for what `RECORDED` states of the event.
        """
        if durable is None:
            durable = RECORDED.get(event, PLAIN).durable
        with self._lock:
            line: dict[str, Any] = {
                "n": self._lines + 1,
                "at": round(time.time(), 3),
                "event": event,
                **fields,
            }
            if columns is not None and durable and len(next(iter(columns.values()))) <= INLINE_ROWS:
                line["columns"] = columns
            elif columns is not None:
                line["table"] = f"events-{self.segment:04d}-{self._lines + 1:06d}.parquet"
                _write_table(self._folder / line["table"], columns)
            text = json.dumps(line, ensure_ascii=False, default=_plain, separators=(",", ":"))
            self._write(text.encode(errors="replace") + b"\n")
            self._lines += 1
            if durable:
                os.fsync(self._file.fileno())

    def _write(self, line: bytes) -> None:
        """Write a whole line; after one that a full disk has cut, on a line of its own."""
        rest = memoryview(b"\n" + line if self._torn else line)
        self._torn = True
        while rest:
            rest = rest[self._file.write(rest) :]
        self._torn = False

    def close(self) -> None:
        """Put everything on the disk and end the segment."""
        with self._lock:
            if not self._file.closed:
                os.fsync(self._file.fileno())
                self._file.close()


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as plain ones."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def _write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns as Parquet, in a way that is fast to write and to take in.

    Numbers have no dictionary, which is made in vain where most of them differ. The groups are those that DuckDB keeps a
    table in: others would be cut and joined again when they are taken in.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for name, values in columns.items():
        if getattr(values, "ndim", 1) == 2:
            arrays[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
        else:
            arrays[name] = pa.array(values)
    texts: Any = [name for name, array in arrays.items() if pa.types.is_string(array.type)]  # its type is told as bool
    with atomic_write(path, sync=True) as temporary:
        pq.write_table(pa.table(arrays), temporary, compression="zstd", use_dictionary=texts, row_group_size=_GROUP)


@dataclass(frozen=True)
class Line:
    """One event as it stands in a journal."""

    event: str
    at: float
    fields: dict[str, Any]
    table: Path | None
    folder: Path = Path()
    """Where its segment lies."""


def read_lines(path: Path, offset: int = 0, *, skip: Collection[str] = ()) -> tuple[list[Line], int, list[str]]:
    """Whole lines of a segment from a byte offset on: the events, the offset behind them, and what was unreadable.

    A torn last line, which a writer may be at, is left for the next time.

    Args:
        skip: events that are passed over without being decoded, such as those that carry many texts.
    """
    signs = [f'"event":"{event}"'.encode() for event in skip]
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    end = data.rfind(b"\n") + 1
    lines: list[Line] = []
    problems: list[str] = []
    for raw in data[:end].split(b"\n"):
        head = raw[:_HEAD]
        if not head.strip() or any(sign in head for sign in signs):
            continue
        try:
            fields = json.loads(raw)
            table = fields.pop("table", None)
            fields.pop("n", None)
            line = Line(
                fields.pop("event"), fields.pop("at"), fields, path.parent / table if table else None, path.parent
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            problems.append(f"{path}: a damaged line was skipped: {raw[:80]!r}")
        else:
            lines.append(line)
    return lines, offset + end, problems


def read_events(folder: Path) -> Iterator[tuple[int, Line]]:
    """Every event of a folder with the number of its segment, oldest first."""
    for path in segments(folder):
        for line in read_lines(path)[0]:
            yield segment_number(path), line


class Tail:
    """Follows a folder's journal: each call gives what has been added since the last one, for a few `stat` where that is nothing."""

    def __init__(self, folder: Path, *, skip: Collection[str] = ()) -> None:
        """Args: skip: events that are passed over (see `read_lines`)."""
        self._folder, self._skip = folder, skip
        self._number, self._offset = 0, 0

    def read(self) -> list[Line]:
        """New events, oldest first."""
        found: list[Line] = []
        if not self._number and not self._begin():
            return found
        while True:
            further = (self._folder / segment_name(self._number + 1)).exists()  # then nobody adds to this one any more
            path = self._folder / segment_name(self._number)
            if path.stat().st_size > self._offset:
                lines, self._offset, _ = read_lines(path, self._offset, skip=self._skip)
                found += lines
            if not further:
                return found
            self._number, self._offset = self._number + 1, 0

    def _begin(self) -> bool:
        """Find the first segment; whether there is one."""
        there = [1] if (self._folder / segment_name(1)).exists() else map(segment_number, segments(self._folder))
        self._number = next(iter(there), 0)
        return self._number > 0


class RunLock:
    """The lock that a run's process holds while it lives, and that says who it is: PID and when the process began."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(_lock_path(folder))

    def acquire(self) -> None:
        """Take it.

        Raises:
            StoreBusy: another process has it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._lock.acquire(wait=1.0):  # a probe by `lock_held` takes it for an instant
            self._lock.write_holder(f"{os.getpid()} {start_of(os.getpid()) or ''}")
            return
        pid = lock_pid(self._folder)
        raise StoreBusy(
            f"process {pid or 'unknown'} is already executing this run",
            pid=pid,
            where=str(self._folder),
            hint="`sracl stop RUN` stops it.",
        )

    def release(self) -> None:
        """Give it back."""
        self._lock.release()


def _lock_path(folder: Path) -> Path:
    return folder / "lock"


def lock_held(folder: Path) -> bool:
    """Whether a living process holds the run's lock."""
    return held(_lock_path(folder))


def lock_pid(folder: Path) -> int | None:
    """PID of the process that took the run's lock last."""
    return holder_pid(_lock_path(folder))


def lock_process(folder: Path) -> tuple[int | None, float | None]:
    """PID of the process that took the run's lock last, and when it began, in seconds after the machine's start."""
    words = holder_words(_lock_path(folder))
    try:
        return int(words[0]), float(words[1]) if len(words) > 1 else None
    except (ValueError, IndexError):
        return None, None


_TAIL_BYTES = 65536


def end_of(folder: Path) -> dict[str, Any] | None:
    """The fields of a run's last event, its end; none where the latest segment has none."""
    found = segments(folder)
    if not found:
        return None
    offset = max(0, found[-1].stat().st_size - _TAIL_BYTES)  # an end is among the last lines
    for line in reversed(read_lines(found[-1], offset)[0]):
        if line.event == "run_ended":
            return line.fields
    return None
