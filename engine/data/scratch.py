"""Columns of more rows than should be in memory: in files without a name, read and written in parts.

A file without a name vanishes with its process, however that ends. What is small stays in memory.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from engine.errors import ScratchFull

if TYPE_CHECKING:
    import pyarrow as pa

PART = 1 << 18
"""Rows that are in memory at a time."""
SMALL = 8 << 20
"""Bytes up to which a column or a table stays in memory."""


def silent(detail: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Workspace:
    """Where an import keeps what does not fit in memory, and whom it tells how far it is."""

    folder: Callable[[], Path | None] = lambda: None
    """Asked where a file is needed; none is the system's folder for temporary files."""
    tell: Callable[[str], None] = silent

    def file(self) -> BinaryIO:
        """An empty file without a name.

        Raises:
            ScratchFull: it cannot be made.
        """
        try:
            return cast(BinaryIO, tempfile.TemporaryFile(dir=self.folder()))
        except OSError as error:
            raise full(error, self) from None

    def gathered(self, parts: Iterable[NDArray[Any]], dtype: Any) -> NDArray[Any]:
        """Parts of a column (N,) as one array, which cannot be written to where it is large.

        Raises:
            ScratchFull: there is no room for it.
        """
        column = Column(self, dtype)
        for part in parts:
            column.append(part)
        return column.whole()


TEMPORARY = Workspace()
"""The system's folder for temporary files, and nobody who is told."""


class Column:
    """An array that grows at its end, in memory while it is small."""

    def __init__(self, work: Workspace, dtype: Any) -> None:
        self._work, self._dtype = work, dtype
        self._held: list[NDArray[Any]] = []
        self._size = 0
        self._file: BinaryIO | None = None

    def append(self, part: NDArray[Any]) -> None:
        """Add cells.

        Raises:
            ScratchFull: there is no room for them.
        """
        part = np.ascontiguousarray(part, self._dtype)
        self._held.append(part)
        self._size += part.nbytes
        if self._size > SMALL:
            self._file = self._file or self._work.file()
            self._write(self._file)

    def whole(self) -> NDArray[Any]:
        """All of it, which cannot be written to where it is large."""
        if self._file is None:
            return np.concatenate(self._held) if self._held else np.zeros(0, self._dtype)
        return np.memmap(self._file, self._dtype, mode="r")

    def _write(self, file: BinaryIO) -> None:
        try:
            for part in self._held:
                file.write(part.data)
            file.flush()
        except OSError as error:
            raise full(error, self._work) from None
        self._held.clear()


def full(error: OSError, work: Workspace) -> ScratchFull:
    """The error about a temporary file that cannot be written."""
    return ScratchFull(
        f"there is no room for temporary files: {error.strerror or error}",
        where=str(work.folder() or tempfile.gettempdir()),
        hint="A large import needs about as much room there as the file has, unpacked. Nothing was stored.",
    )


def slices(rows: int, *arrays: NDArray[Any] | None, part: int | None = None) -> Iterator[slice]:
    """Consecutive slices of so many rows; pages of large arrays are given back after each.

    Args:
        arrays: those that are read in the loop.
        part: rows of a slice; by default `PART`.
    """
    part = PART if part is None else part
    for first in range(0, rows, part):
        yield slice(first, min(rows, first + part))
        give_back(*arrays)


def shares(offsets: NDArray[np.int64], part: int | None = None) -> Iterator[slice]:
    """Consecutive owners (U,) with so many rows together, or one owner with more.

    Args:
        offsets: (U + 1,) where the rows of each owner begin.
        part: by default `PART`.
    """
    first, last = 0, len(offsets) - 1
    while first < last:
        end = int(np.searchsorted(offsets, offsets[first] + (part or PART), side="right")) - 1
        end = min(last, max(end, first + 1))
        yield slice(first, end)
        first = end


def give_back(*arrays: NDArray[Any] | None) -> None:
    """Let go of the memory of arrays that are in files; the next reading takes it from the file."""
    for array in arrays:
        base = None if array is None else array.base
        if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED)


class Spool:
    """Record batches that are written once and read by column, as often as wanted."""

    def __init__(self, schema: pa.Schema, work: Workspace) -> None:
        self.schema, self.rows = schema, 0
        self._work = work
        self._held: list[pa.RecordBatch] = []
        self._size = 0
        self._file: BinaryIO | None = None
        self._writer: Any = None

    def append(self, batch: pa.RecordBatch) -> None:
        """Add rows.

        Raises:
            ScratchFull: there is no room for them.
        """
        self.rows += batch.num_rows
        self._held.append(batch)
        self._size += batch.nbytes
        if self._writer is None and self._size <= SMALL:
            return
        try:
            if self._writer is None:
                import pyarrow as pa

                self._file = self._work.file()
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writer = pa.ipc.new_file(self._file, self.schema, options=options)
            for held in self._held:
                self._writer.write_batch(held)
        except OSError as error:
            raise full(error, self._work) from None
        self._held = []

    def close(self) -> None:
        """End the writing.

        Raises:
            ScratchFull: there is no room for the rest.
        """
        if self._writer is None or self._file is None:
            return
        try:
            self._writer.close()
            self._file.flush()
        except OSError as error:
            raise full(error, self._work) from None

    def column(self, index: int) -> Iterator[pa.Array]:
        """The batches of a column, in order."""
        if self._file is None:
            yield from (batch.column(index) for batch in self._held)
            return
        import pyarrow as pa

        options = pa.ipc.IpcReadOptions(included_fields=[index], use_threads=False)
        reader = pa.ipc.open_file(pa.PythonFile(self._file, mode="r"), options=options)
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number).column(0)


def grouped(arrays: Iterable[pa.Array], kind: pa.DataType | None = None) -> Iterator[pa.ChunkedArray]:
    """Consecutive arrays together, so that each group but the last has at least `PART` rows; at least one group."""
    import pyarrow as pa

    held: list[pa.Array] = []
    rows, given = 0, False
    for array in arrays:
        held.append(array)
        rows += len(array)
        if rows >= PART:
            yield pa.chunked_array(held)
            held, rows, given = [], 0, True
    if held or not given:
        yield pa.chunked_array(held, None if held else kind or pa.string())
