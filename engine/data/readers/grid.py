"""Columns by name for every kind of file, with the line of each row for error messages.

Text is parsed in bulk; only when something is wrong does a second, slow pass look for the line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from engine.data.readers.base import USUAL_ITEM, USUAL_TIME, USUAL_TITLE, USUAL_USER, Head, Roles, Wanted
from engine.data.readers.packed import is_packed
from engine.data.readers.text import HEAD_BYTES, read_text, split_header
from engine.errors import DataError

_CELL_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_CELL_TIME = re.compile(r"\d{9,10}(\.\d+)?|\d{13}|\d{16}|\d{19}")


class BadRows(DataError):
    """Some rows of a table are bad; which ones, so that they can be left out."""

    def __init__(self, message: str, *, where: str, hint: str | None, path: Path, rows: NDArray[np.bool_]) -> None:
        """Args: rows: (N,) mask of the bad ones."""
        super().__init__(message, where=where, hint=hint)
        self.path, self.rows = path, rows
        self.first = message.partition(" such rows in all)")[0].rpartition(" (")[0] if rows.sum() > 1 else message
        """What is wrong with the first."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table with named columns."""

    path: Path
    names: list[str]
    rows: int
    column: Callable[[str], pa.ChunkedArray]
    where: Callable[[int], str]
    """File and line of a row, from 0."""
    head: str
    """File and line of the names."""
    malformed: int = 0
    """Rows that were left out as they have too few or too many cells."""
    malformed_first: str = ""
    """What is wrong with the first of them."""

    def kept(self, mask: NDArray[np.bool_]) -> Grid:
        """The rows of a mask (N,) alone; their places in the file stay known."""
        rows, chosen = np.flatnonzero(mask), pa.array(mask)
        return replace(
            self,
            rows=len(rows),
            column=lambda name: self.column(name).filter(chosen),
            where=lambda row: self.where(int(rows[row])),
        )

    def pick(self, named: str | None, usual: tuple[str, ...], flag: str) -> str | None:
        """The column that the user named, else the first with a usual name; none where neither exists.

        Raises:
            DataError: the named column does not exist, or the name occurs twice.
        """
        low = [name.lower() for name in self.names]
        found = named if named in self.names else None
        if found is not None and (hint := headerless_hint(self.names)):
            raise DataError(
                f"the first line looks like a row, not like names of columns: {', '.join(self.names)}",
                where=self.head,
                hint=f"{hint} With {flag} {named} the first row would be lost.",
            )
        if named is None:
            found = next((n for n in usual if n in self.names), None)
            found = found or next((self.names[low.index(n.lower())] for n in usual if n.lower() in low), None)
        elif found is None:
            raise DataError(f"there is no column {named!r}; {self.listing}", where=self.head, hint=f"Correct {flag}.")
        if found is not None and self.names.count(found) > 1:
            raise DataError(f"the column {found!r} is there {self.names.count(found)} times", where=self.head)
        return found

    def need(self, named: str | None, usual: tuple[str, ...], flag: str) -> str:
        """`pick` for a column that must exist.

        Raises:
            DataError: it does not exist.
        """
        found = self.pick(named, usual, flag)
        if found is None:
            what = flag.removeprefix("--").removesuffix("-column")
            hint = delimiter_hint(self.names) or headerless_hint(self.names)
            hint = hint or f"Name it with {flag}; found by itself: {', '.join(usual)}."
            raise DataError(f"there is no column with the {what} ids; {self.listing}", where=self.head, hint=hint)
        return found

    def pick_time(self, named: str | None, usual: tuple[str, ...] = USUAL_TIME) -> str | None:
        """`pick` for the column of times, where several usual names are a question: a day would go before milliseconds.

        Raises:
            DataError: as `pick`, or several columns have usual names.
        """
        low = {name.lower() for name in usual}
        found = [name for name in dict.fromkeys(self.names) if name.lower() in low]
        if named is None and len(found) > 1:
            raise DataError(
                f"several columns may hold the times: {', '.join(found)}",
                where=self.head,
                hint="Name one with --time-column.",
            )
        return self.pick(named, usual, "--time-column")

    def roles(self, wanted: Wanted) -> Roles:
        """The columns to read of a table of interactions.

        Raises:
            DataError: a required column does not exist.
        """
        return Roles(
            user=self.need(wanted.user, USUAL_USER, "--user-column"),
            item=self.need(wanted.item, USUAL_ITEM, "--item-column"),
            time=self.pick_time(wanted.time),
            title=None if wanted.items else self.pick(wanted.title, USUAL_TITLE, "--title-column"),
        )

    @property
    def listing(self) -> str:
        """The columns in words."""
        return f"its columns are {', '.join(self.names)}"

    def bad_rows(self, bad: NDArray[np.bool_], problem: Callable[[int], str], hint: str | None = None) -> BadRows:
        """The error about invalid rows, from a mask of the rows: line and problem of the first, and their number."""
        first = int(bad.argmax())
        error = many_bad(int(bad.sum()), where=self.where(first), problem=problem(first))
        hint = f"{hint or ''} `--bad-rows drop` leaves such rows out and counts them.".strip()
        return BadRows(error.message, where=self.where(first), hint=hint, path=self.path, rows=bad)


def delimiter_hint(names: list[str]) -> str:
    """What to do where a header of one column looks like several with another sign between them; empty for others."""
    if len(names) != 1 and not (len(names) == 2 and ":" in names[0]):
        return ""
    line = names[0]
    sign = max(";|\t, ", key=lambda sign: (line.count(sign), sign != " "))
    if not line.count(sign):
        return ""
    shown = {"\t": "tab", " ": "' '", ";": "';'", "|": "'|'"}.get(sign, repr(sign))
    return f"The cells seem to be separated by {shown}: --delimiter {shown}."


def headerless_hint(names: list[str]) -> str:
    """What to do where the first line seems to be a row: its cells are mostly numbers, or one of them is a Unix time."""
    numbers = [name for name in names if _CELL_NUMBER.fullmatch(name)]
    timed = any(_CELL_TIME.fullmatch(name) for name in numbers)
    if (
        len(names) < 2
        or not (timed or 2 * len(numbers) > len(names))
        or numbers == [str(n) for n in range(len(numbers))]
    ):
        return ""
    if len(names) in (3, 4) and _CELL_NUMBER.fullmatch(names[2]):
        shape = "user item rating time" if len(names) == 4 else "user item rating"
        return f"The file seems to have no line with column names: --format ratings reads `{shape}`; else put a line of names on top."
    return "The file seems to have no line with column names; put one on top."


def many_bad(count: int, *, where: str, problem: str, hint: str | None = None) -> DataError:
    """The error about `count` bad rows, of which the first is described."""
    more = f" ({count:,} such rows in all)" if count > 1 else ""
    return DataError(f"{problem}{more}", where=where, hint=hint)


def read_delimited(path: Path, delimiter: str, *, quoting: bool, drop_bad: bool = False) -> Grid:
    """A text file whose first line names the columns; every column is text.

    Args:
        quoting: whether a cell may stand in double quotes and then hold delimiters and line breaks.
        drop_bad: leave out rows with too few or too many cells, instead of raising.

    Raises:
        DataError: the text cannot be read, has no rows, or has rows with too few or too many cells.
    """
    data = read_text(path)
    header, begin, head_line = split_header(data)
    names = [cell.strip() for cell in next(csv.reader([header], delimiter=delimiter))]
    if not quoting:
        names = [cell.strip() for cell in header.split(delimiter)]
    body = data[begin:]
    if not body.strip():
        raise DataError("there is a line with column names and nothing below it", where=str(path))
    return grid_of(path, body, names, delimiter, quoting=quoting, first=head_line + 1, drop_bad=drop_bad)


def grid_of(
    path: Path, body: bytes, names: list[str], delimiter: str, *, quoting: bool, first: int, drop_bad: bool = False
) -> Grid:
    """Lines of text, in UTF-8, as a table.

    Args:
        first: number of the first line.
        drop_bad: as for `read_delimited`.

    Raises:
        DataError: rows have too few or too many cells.
    """
    lines = _Lines(path=path, body=body, first=first, delimiter=delimiter, quoting=quoting, width=len(names))
    table, wrong = _parse(lines)
    if quoting and b'"' in body:
        lines.check_quotes(table.num_rows)
    error = lines.wrong_width(wrong) if wrong else None
    if error is not None and (not drop_bad or not table.num_rows):
        raise error
    return Grid(
        path=path,
        names=names,
        rows=table.num_rows,
        column=lambda name: table.column(names.index(name)),
        where=lines.where,
        head=f"{path}:{max(1, first - 1)}",
        malformed=wrong,
        malformed_first="" if error is None else f"{error.where}: {error.message.partition(' (')[0]}",
    )


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


def names_only(path: Path, names: list[str]) -> Grid:
    """A table with column names and no rows, for choosing columns."""

    def column(name: str) -> pa.ChunkedArray:
        raise LookupError(name)

    return Grid(path=path, names=names, rows=0, column=column, where=lambda row: str(path), head=f"{path}:1")


def _parse(lines: _Lines) -> tuple[pa.Table, int]:
    """All rows as text, and how many have too few or too many cells."""
    wrong = 0

    def count(row: pa_csv.InvalidRow) -> str:
        nonlocal wrong
        wrong += bool(row.text.strip())
        return "skip"

    columns = [str(number) for number in range(lines.width)]
    table = pa_csv.read_csv(
        pa.BufferReader(lines.body),
        read_options=pa_csv.ReadOptions(
            column_names=columns, use_threads=False, block_size=min(max(len(lines.body) + 1, 1024), 1 << 30)
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=lines.delimiter,
            quote_char='"' if lines.quoting else False,
            newlines_in_values=lines.quoting,
            invalid_row_handler=count,
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False, check_utf8=False
        ),
    )
    return table, wrong


@dataclass(frozen=True, kw_only=True)
class _Lines:
    """The lines below the header, read one by one only to locate an error."""

    path: Path
    body: bytes
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
        return many_bad(
            count,
            where=f"{self.path}:{line}",
            problem=f"{cells} {'field' if cells == 1 else 'fields'} where {who} {self.width}",
            hint="`--bad-rows drop` leaves such rows out and counts them.",
        )

    def check_quotes(self, rows: int) -> None:
        """Raises where a quote that is never closed has swallowed lines; cells of several lines are fine."""
        breaks = self.body.rstrip().count(b"\n")
        last = self.body.rstrip().rpartition(b"\n")[2]
        if breaks < rows and last.count(b'"') % 2 == 0:
            return
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

    def _text(self) -> io.StringIO:
        return io.StringIO(self.body.decode("utf-8"), newline="")

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
