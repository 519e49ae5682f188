"""Text of cells between delimiters as tables, parsed in bulk and in parts; only when something is wrong a slow pass looks for the line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from engine.data.readers.base import Head
from engine.data.readers.grid import DROPPED, Grid, many_bad
from engine.data.readers.packed import is_packed
from engine.data.readers.text import HEAD_BYTES, Blocks, read_text, split_header
from engine.data.scratch import TEMPORARY, Spool, Workspace
from engine.errors import DataError

BLOCK, LONGEST = 1 << 23, 1 << 30
"""Bytes that are parsed at a time, and of a row at most."""
_IN_QUOTES = rb'(?m)(?:^|(?<=SIGN))"(?:[^"\\]|\\.|"")*"(?=SIGN|\r?$)'
"""A quoted cell in which a backslash may stand before a quote; SIGN is the delimiter."""
_OPEN = rb'(?m)(?:^|(?<=SIGN))"'
"""Where a quoted cell begins."""


def read_delimited(
    path: Path, delimiter: str, *, quoting: bool, drop_bad: bool = False, work: Workspace = TEMPORARY
) -> Grid:
    """A text file whose first line names the columns; every column is text.

    Args:
        quoting: whether a cell may stand in double quotes and then hold delimiters and line breaks.
        drop_bad: leave out rows with too few or too many cells, instead of raising.

    Raises:
        DataError: the text cannot be read, has no rows, or has rows with too few or too many cells.
        ScratchFull: there is no room for the columns.
    """
    blocks = iter(Blocks(path, work))
    data, header, begin, head_line = b"", "", 0, 1
    for block in blocks:
        data += block
        if not data.isspace():
            header, begin, head_line = split_header(data)
            if data[begin:].strip():
                break
    else:
        raise DataError("there is a line with column names and nothing below it", where=str(path))
    names = [cell.strip() for cell in next(csv.reader([header], delimiter=delimiter))]
    if not quoting:
        names = [cell.strip() for cell in header.split(delimiter)]
    body = _Below(path, begin, data[begin:], blocks)
    return grid_of(path, body, names, delimiter, quoting=quoting, first=head_line + 1, drop_bad=drop_bad, work=work)


@dataclass
class _Below:
    """What stands below the header: of the iteration that has read it, and read anew after that."""

    path: Path
    begin: int
    """Bytes of the header and before it."""
    data: bytes
    blocks: Iterator[bytes] | None

    def __iter__(self) -> Iterator[bytes]:
        if self.blocks is not None:
            blocks, self.blocks = self.blocks, None
            yield self.data
            self.data = b""
            yield from blocks
            return
        left = self.begin
        for block in Blocks(self.path):
            if left < len(block):
                yield block[left:]
            left = max(0, left - len(block))


def grid_of(
    path: Path,
    body: Iterable[bytes],
    names: list[str],
    delimiter: str,
    *,
    quoting: bool,
    first: int,
    drop_bad: bool = False,
    work: Workspace = TEMPORARY,
) -> Grid:
    """Lines of text as a table.

    Args:
        body: pieces of whole lines, in UTF-8; iterated over again to find the line of an error.
        first: number of the first line.
        drop_bad: as for `read_delimited`.

    Raises:
        DataError: rows have too few or too many cells.
        ScratchFull: there is no room for the columns.
    """
    body = _Doubled(body, delimiter) if quoting else body
    lines = _Lines(path=path, body=body, first=first, delimiter=delimiter, quoting=quoting, width=len(names))
    columns, wrong = _parse(lines, work)
    error = lines.wrong_width(wrong) if wrong else None
    if error is not None and (not drop_bad or not columns.rows):
        raise error
    return Grid(
        path=path,
        names=names,
        rows=columns.rows,
        arrays=lambda name: columns.column(names.index(name)),
        work=work,
        where=lines.where,
        head=f"{path}:{max(1, first - 1)}",
        malformed=wrong,
        malformed_first="" if error is None else f"{error.where}: {error.message.partition(' (')[0]}",
    )


class _Doubled:
    """The same text with a quote inside a quoted cell written as two, also where a backslash stands before it, as Spark does."""

    def __init__(self, body: Iterable[bytes], delimiter: str) -> None:
        sign = re.escape(delimiter).encode()
        self._body = body
        self._cell, self._open = (re.compile(pattern.replace(b"SIGN", sign)) for pattern in (_IN_QUOTES, _OPEN))

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for block in self._body:
            data, rest = rest + block, b""
            if rb"\"" in data or data.count(b'"') % 2:
                end = self._end(data)
                data, rest = self._changed(data[:end]), data[end:]
            if data:
                yield data
        if rest:
            yield self._changed(rest)

    def _end(self, data: bytes) -> int:
        """Where the last row ends that is not within an open quoted cell."""
        spans = [found.span() for found in self._cell.finditer(data)]
        begin = self._open.search(data, spans[-1][1] if spans else 0)
        if begin is None:
            return len(data)
        end = data.rfind(b"\n", 0, begin.start()) + 1
        for start, stop in reversed(spans):
            if stop <= end:
                break
            if start < end:
                end = data.rfind(b"\n", 0, start) + 1
        return end

    def _changed(self, data: bytes) -> bytes:
        if rb"\"" not in data:
            return data
        return self._cell.sub(lambda found: found[0].replace(rb"\"", b'""') if rb"\"" in found[0] else found[0], data)


def head_of(path: Path, delimiter: str, *, quoting: bool, count: int) -> Head:
    """The names and the first rows of a text file; its total where it is short.

    Raises:
        DataError: the text cannot be read, or has no rows.
    """
    data = read_text(path, limit=HEAD_BYTES)
    whole = len(data) < HEAD_BYTES and not is_packed(path) and len(data) >= path.stat().st_size - 3
    header, begin, _ = split_header(data)
    text = data[begin:].decode("utf-8", errors="ignore")
    split = (
        (lambda lines: csv.reader(lines, delimiter=delimiter))
        if quoting
        else (lambda lines: (line.rstrip("\r\n").split(delimiter) for line in lines))
    )
    try:
        rows = [cells for cells in split(io.StringIO(text, newline="")) if any(cell.strip() for cell in cells)]
    except csv.Error:  # a quote that the cut left open; reading the file tells more
        rows = []
    if not text.strip():
        raise DataError("there is a line with column names and nothing below it", where=str(path))
    names = [cell.strip() for cell in next(split([header]))]
    about = None if is_packed(path) else round(path.stat().st_size * len(rows) / len(data))
    return Head(names=names, rows=rows[:count], total=len(rows) if whole else None, about=about)


def _parse(lines: _Lines, work: Workspace) -> tuple[Spool, int]:
    """All rows as text, and how many have too few or too many cells."""
    size = BLOCK
    while True:
        try:
            stream = _Stream(lines.body)
            columns, wrong = _parsed(lines, stream, size, work)
            break
        except pa.ArrowInvalid as error:
            if "straddl" not in str(error) or size >= LONGEST:
                raise DataError(f"not readable as a table: {error}", where=str(lines.path)) from None
            if lines.quoting:
                lines.refuse_open_quotes()
            size *= 8  # a single row is longer than what is parsed at a time
    if lines.quoting and stream.quotes and (stream.breaks >= columns.rows or stream.last.count(b'"') % 2):
        lines.refuse_open_quotes()
    return columns, wrong


def _parsed(lines: _Lines, stream: _Stream, size: int, work: Workspace) -> tuple[Spool, int]:
    wrong = 0

    def count(row: pa_csv.InvalidRow) -> str:
        nonlocal wrong
        wrong += bool(row.text.strip())
        return "skip"

    names = [str(number) for number in range(lines.width)]
    columns = Spool(pa.schema([(name, pa.string()) for name in names]), work)
    reader = pa_csv.open_csv(
        pa.PythonFile(stream, mode="r"),
        read_options=pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=size),
        parse_options=pa_csv.ParseOptions(
            delimiter=lines.delimiter,
            quote_char='"' if lines.quoting else False,
            newlines_in_values=lines.quoting,
            invalid_row_handler=count,
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=False
        ),
    )
    for batch in reader:
        columns.append(batch)
    columns.close()
    return columns, wrong


class _Stream(io.RawIOBase):
    """Pieces of a text as a file, with what tells of quotes that are never closed."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._blocks, self._block, self._at = iter(body), b"", 0
        self.breaks = self._pending = 0
        """Line breaks before the last character that is not blank."""
        self.last = b""
        """The last line that is not blank."""
        self.quotes = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer only at the end."""
        pieces: list[bytes] = []
        while size > 0:
            if self._at == len(self._block):
                self._block, self._at = next(self._blocks, b""), 0
                if not self._block:
                    break
                self._note(self._block)
            piece = self._block[self._at : self._at + size]
            pieces.append(piece)
            self._at += len(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _note(self, block: bytes) -> None:
        text = block.rstrip()
        count = block.count(b"\n")
        if text:
            before = text.count(b"\n")
            self.breaks += self._pending + before
            self._pending = count - before
            self.last = text.rpartition(b"\n")[2]
            self.quotes = self.quotes or b'"' in text
        else:
            self._pending += count


_NOT_THE_NAMES = "The first line has to name the columns, one name for each cell: remove a comment or `sep=,` above it, or name all of them."


@dataclass(frozen=True, kw_only=True)
class _Lines:
    """The lines below the header, read one by one only to locate an error."""

    path: Path
    body: Iterable[bytes]
    first: int
    """Number of the body's first line."""
    delimiter: str
    quoting: bool
    width: int

    def where(self, row: int) -> str:
        whole = (line for line, cells in self._records() if cells == self.width)
        place = next((line for number, line in enumerate(whole) if number == row), self.first)
        return f"{self.path}:{place}"

    def wrong_width(self, count: int) -> DataError:
        line, cells = next(
            ((line, cells) for line, cells in self._records() if cells != self.width), (self.first, self.width)
        )
        who = "the header names" if self.first > 1 else "this format has"
        misplaced = self.first > 1 and line == self.first and cells > self.width
        return many_bad(
            count,
            where=f"{self.path}:{line}",
            problem=f"{cells} {'field' if cells == 1 else 'fields'} where {who} {self.width}",
            hint=_NOT_THE_NAMES if misplaced else DROPPED,
        )

    def refuse_open_quotes(self) -> None:
        """Raises where a quote that is never closed has swallowed lines; cells of several lines are fine."""
        reader = csv.reader(self._text(), delimiter=self.delimiter, strict=True)
        while True:
            before = reader.line_num
            try:
                next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if reader.line_num > before + 1 or "end of data" in str(error):
                    raise DataError(
                        "a double quote opens here and is not closed where the cell ends",
                        where=f"{self.path}:{self.first + before}",
                        hint='Close it, or write each double quote inside a cell as "".',
                    ) from None

    def _blank(self, cells: list[str]) -> bool:
        return (len(cells) <= 1 or self.delimiter.isspace()) and not any(cell.strip() for cell in cells)

    def _text(self) -> Iterator[str]:
        for block in self.body:
            yield from io.StringIO(block.decode("utf-8"), newline="")

    def _records(self) -> Iterator[tuple[int, int]]:
        """Line number and number of cells of each row, blank lines left out."""
        if not self.quoting:
            for number, line in enumerate(self._text()):
                if line.strip("\r\n") and (line.strip() or line.count(self.delimiter) == self.width - 1):
                    yield self.first + number, line.count(self.delimiter) + 1
            return
        reader = csv.reader(self._text(), delimiter=self.delimiter)
        before = 0
        try:
            for cells in reader:
                if len(cells) == self.width or not self._blank(cells):
                    yield self.first + before, len(cells)
                before = reader.line_num
        except csv.Error:  # a cell beyond the module's limit: the rows before it are known
            return
