"""The append-only event log of a run, and the lock that says whether its process lives.

Each start of a run opens a new segment, `events-0001.jsonl`, `events-0002.jsonl`, ... Every line is one event:
`{"n": 17, "at": 1790000000.123, "event": "epoch_finished", ...}`, where `n` counts from 1 in each segment. An event
with a table names the Parquet file beside the segment that holds it, written and synced before the line. Answers and
calls that come a few at a time have their `columns` in the line itself. Lines and tables carry checksums (see `seals`).
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from store.atomic_write import atomic_write
from store.errors import StoreBusy
from store.journal.event_facts import PLAIN, RECORDED
from store.journal.processes import start_of
from store.journal.seals import is_sealed, sealed, table_facts
from store.locks import FileLock, held, holder_name, holder_pid, holder_words, host
from store.regular_file import open_regular

if TYPE_CHECKING:
    import pyarrow as pa

_SEGMENT = re.compile(r"events-(\d{4,})\.jsonl")
_HEAD = 120
"""Bytes at the beginning of a line that hold its number, time and event."""
_GROUP = 122_880
"""Rows of a row group in DuckDB."""
INLINE_ROWS = 100
"""Most rows that a durable event keeps in its line: such events come many times a minute."""


def segments(folder: Path) -> list[Path]:
    """Paths of a folder's journal segments, oldest first."""
    return sorted((path for path in folder.glob("events-*") if _SEGMENT.fullmatch(path.name)), key=segment_number)


def segment_name(number: int) -> str:
    """File name of a segment by number."""
    return f"events-{number:04d}.jsonl"


def segment_number(path: Path) -> int:
    """Number of a segment by path; the first one is 1."""
    return int(path.stem.removeprefix("events-"))


@runtime_checkable
class InParts(Protocol):
    """Columns that are made and written some rows at a time."""

    def parts(self) -> Iterator[Mapping[str, Any]]:
        """All columns of consecutive rows, of the same types in each part; at least one part."""
        ...


class Journal:
    """Writes one segment. Any thread may append; each line is handed to the operating system at once."""

    def __init__(self, folder: Path) -> None:
        """Open the next segment of a folder, which is made where it is missing."""
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
        at: float | None = None,
    ) -> None:
        """Write an event.

        Args:
            columns: a table that belongs to the event: in the line of a durable event with at most `INLINE_ROWS` rows, else
                in a file beside the journal, part by part where they are `InParts`; a 2-d float array becomes fixed-size lists.
            durable: sync before returning; None for what `RECORDED` states of the event.
            at: Unix seconds of an event that is copied from another journal; None for now.

        Raises:
            OSError: the disk is full; the next line begins a new one, so readers skip only the torn line.
        """
        if durable is None:
            durable = RECORDED.get(event, PLAIN).durable
        with self._lock:
            line: dict[str, Any] = {
                "n": self._lines + 1,
                "at": round(time.time(), 3) if at is None else at,
                "event": event,
                **fields,
            }
            if columns is not None and durable and len(next(iter(columns.values()))) <= INLINE_ROWS:
                line["columns"] = columns
            elif columns is not None:
                line["table"] = self.next_file(".parquet")
                line |= _write_table(self._folder / line["table"], columns)
            text = json.dumps(line, ensure_ascii=False, default=_plain, separators=(",", ":"))
            self._write(sealed(text.encode(errors="replace")) + b"\n")
            self._lines += 1
            if durable:
                os.fsync(self._file.fileno())

    def next_file(self, suffix: str) -> str:
        """Name of the file that belongs to the next event."""
        return f"events-{self.segment:04d}-{self._lines + 1:06d}{suffix}"

    def _write(self, line: bytes) -> None:
        """Write a whole line; after a line that a full disk has cut, begin a new one first."""
        rest = memoryview(b"\n" + line if self._torn else line)
        self._torn = True
        while rest:
            rest = rest[self._file.write(rest) :]
        self._torn = False

    def close(self) -> None:
        """Sync the segment and close it."""
        with self._lock:
            if not self._file.closed:
                os.fsync(self._file.fileno())
                self._file.close()


def _plain(value: Any) -> Any:
    """Convert numbers and arrays of numpy to Python's; anything else to text."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def _write_table(path: Path, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Write columns as Parquet, laid out so that writing and ingesting are fast; returns the file's length and hash.

    Numbers get no dictionary, which would be built in vain where most of them differ. Row groups have the size of
    DuckDB's, which would otherwise split and join them while ingesting.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = map(_arrow, columns.parts() if isinstance(columns, InParts) else [columns])
    first = next(tables)
    texts: Any = [field.name for field in first.schema if pa.types.is_string(field.type)]  # the stubs say bool
    with atomic_write(path, sync=True) as temporary:
        with pq.ParquetWriter(temporary, first.schema, compression="zstd", use_dictionary=texts) as writer:
            for table in chain([first], tables):
                writer.write_table(table, row_group_size=_GROUP)
        return table_facts(temporary)


def _arrow(columns: Mapping[str, Any]) -> pa.Table:
    import pyarrow as pa

    arrays = {}
    for name, values in columns.items():
        if getattr(values, "ndim", 1) == 2:
            arrays[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
        else:
            arrays[name] = pa.array(values)
    return pa.table(arrays)


@dataclass(frozen=True)
class Line:
    """One line of a journal: an event with its time in Unix seconds and its fields."""

    event: str
    at: float
    fields: dict[str, Any]
    table: Path | None
    """The Parquet file of its table, where it has one."""
    folder: Path = Path()
    """The folder of its segment."""
    segment: int = 1
    """Number of its segment, thus of the start of its run."""
    number: int = 0
    """Place in its segment, from 1; 0 where the line does not say."""
    start: int = 0
    """Byte offset of the line in its segment."""
    sealed: bool = False
    """Whether the line carries a checksum; those of versions up to 0.1.0 carry none."""
    table_bytes: int | None = None
    """Length of its table's file as it was written; None in lines of those versions."""
    table_sha256: str | None = None
    """Hash of its table's file."""


def read_lines(
    path: Path, offset: int = 0, *, skip: Collection[str] = (), until: int | None = None
) -> tuple[list[Line], int, list[str]]:
    """Complete lines of a segment from a byte offset on.

    A torn last line, which may still be being written, is left for the next call.

    Args:
        skip: names of events that are skipped without being decoded, such as those that carry many texts.
        until: the byte offset to stop at; None for the end.

    Returns:
        The events, the offset behind the last complete line, and a message for each line that could not be read, or one for
        a file that cannot be, or is none.
    """
    signs = [f'"event":"{event}"'.encode() for event in skip]
    try:
        with open_regular(path) as file:
            file.seek(offset)
            data = file.read(-1 if until is None else max(until - offset, 0))
    except OSError as error:
        return [], offset, [f"{path}: it cannot be read: {error.strerror or error}"]
    end = data.rfind(b"\n") + 1
    lines: list[Line] = []
    problems: list[str] = []
    segment, unsealed = segment_number(path), False
    position = offset
    for raw in data[:end].split(b"\n"):
        start, position = position, position + len(raw) + 1
        head = raw[:_HEAD]
        if not head.strip() or any(sign in head for sign in signs):
            continue
        try:
            line = _decoded(raw, path.parent, segment, start)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # the last: lists in lists in lists
            problems.append(f"{path}: a damaged line was skipped: {raw[:80]!r}")
        else:
            lines.append(line)
            unsealed = unsealed or not line.sealed
    if unsealed and (any(line.sealed for line in lines) or (offset and _begins_sealed(path))):
        problems += [
            f"{path}: a damaged line was skipped, which has lost its checksum: number {line.number}, {line.event!r}"
            for line in lines
            if not line.sealed
        ]
        lines = [line for line in lines if line.sealed]
    return lines, offset + end, problems


def _decoded(raw: bytes, folder: Path, segment: int, start: int) -> Line:
    """The event of a line.

    Raises:
        ValueError: the line is no JSON, or is not as it was written; or KeyError, TypeError, AttributeError: no event.
    """
    whole = is_sealed(raw)
    if whole is False:
        raise ValueError("the checksum differs")
    fields = json.loads(raw)
    if whole:
        del fields["crc"]
    table, size, sha256 = (fields.pop(name, None) for name in ("table", "table_bytes", "table_sha256"))
    if table is not None and (Path(table).name != table or table.startswith(".")):
        raise ValueError("its table is no file beside it")
    number, event, at = fields.pop("n", 0), fields.pop("event"), fields.pop("at")
    if not isinstance(event, str) or not isinstance(at, int | float) or not math.isfinite(at):
        raise ValueError("it is no event")
    return Line(
        event,
        at,
        fields,
        None if table is None else folder / table,
        folder,
        segment,
        number=number,
        start=start,
        sealed=whole is True,
        table_bytes=size,
        table_sha256=sha256,
    )


def _begins_sealed(path: Path) -> bool:
    """Whether the first line of a segment carries a checksum, so that all have to."""
    with open_regular(path) as file:
        return is_sealed(file.readline().rstrip(b"\n")) is not None


def read_events(folder: Path) -> Iterator[tuple[int, Line]]:
    """Every readable event of a folder with the number of its segment, oldest first."""
    for path in segments(folder):
        for line in read_lines(path)[0]:
            yield segment_number(path), line


class Tail:
    """Follows a folder's journal: each `read` returns the events added since the last one, for two `stat` without any."""

    def __init__(self, folder: Path, *, skip: Collection[str] = ()) -> None:
        """Args: skip: names of events that are skipped (see `read_lines`)."""
        self._folder, self._skip = folder, skip
        self._number, self._offset = 0, 0

    def read(self) -> list[Line]:
        """New events, oldest first."""
        found: list[Line] = []
        if not self._number and not self._begin():
            return found
        while True:
            further = (
                self._folder / segment_name(self._number + 1)
            ).exists()  # then nothing is added to the current one any more
            path = self._folder / segment_name(self._number)
            if path.stat().st_size > self._offset:
                lines, self._offset, _ = read_lines(path, self._offset, skip=self._skip)
                found += lines
            if not further:
                return found
            self._number, self._offset = self._number + 1, 0

    def _begin(self) -> bool:
        """Find the first segment; returns whether one exists."""
        numbers = [1] if (self._folder / segment_name(1)).exists() else map(segment_number, segments(self._folder))
        self._number = next(iter(numbers), 0)
        return self._number > 0


class RunLock:
    """The lock that a run's process holds while it lives, and that says who it is: PID, when it began, and its machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(_lock_path(folder))

    def acquire(self) -> None:
        """Take the lock and write PID, start and machine of this process into it.

        Raises:
            StoreBusy: another process holds it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._lock.acquire(wait=1.0):  # a probe by `lock_held` takes it for an instant
            self._lock.write_holder(f"{os.getpid()} {start_of(os.getpid()) or 'nan'} {host()}")
            return
        pid = lock_pid(self._folder)
        raise StoreBusy(
            f"{holder_name(self._lock.path)} is already executing this run",
            pid=pid,
            where=str(self._folder),
            hint="`sracl stop RUN` stops it.",
        )

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


def _lock_path(folder: Path) -> Path:
    return folder / "lock"


def lock_held(folder: Path) -> bool:
    """Whether a living process holds the run's lock."""
    return held(_lock_path(folder))


def lock_pid(folder: Path) -> int | None:
    """PID of the process that took the run's lock last; None where none is written."""
    return holder_pid(_lock_path(folder))


def lock_process(folder: Path) -> tuple[int | None, float | None, str | None]:
    """PID, start (as `start_of` gives it) and machine of the process that took the run's lock last; None where unknown."""
    words = holder_words(_lock_path(folder))
    pid = holder_pid(_lock_path(folder))
    if pid is None:
        return None, None, None
    try:
        began = float(words[1])
    except (ValueError, IndexError):
        began = math.nan
    return pid, began if math.isfinite(began) else None, words[2] if len(words) > 2 else None


_TAIL_BYTES = 65536
"""Where the last event of a run is searched for: the end of its last segment."""


def end_of(folder: Path) -> dict[str, Any] | None:
    """The fields of `run_ended` in a run's latest segment; None where it has not ended by its own account."""
    found = segments(folder)
    if not found:
        return None
    try:
        offset = max(0, found[-1].stat().st_size - _TAIL_BYTES)  # an end is among the last lines
    except OSError:  # a link that leads nowhere
        return None
    for line in reversed(read_lines(found[-1], offset)[0]):
        if line.event == "run_ended":
            return line.fields
    return None
