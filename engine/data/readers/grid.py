"""Columns by name for every kind of file, with the line of each row for error messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.data.readers.base import USUAL_ITEM, USUAL_TIME, USUAL_TITLE, USUAL_USER, Roles, Wanted
from engine.data.scratch import TEMPORARY, Workspace, grouped
from engine.errors import DataError

_CELL_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_CELL_TIME = re.compile(r"\d{9,10}(\.\d+)?|\d{13}|\d{16}|\d{19}|\d{4}-\d{2}-\d{2}([ T].*)?")

DROPPED = "`--bad-rows drop` leaves such rows out and counts them."
_SECOND = frozenset({"asin", "username"})
"""Plain names that give way to another: `parent_asin` is the product, and an id says who a user is."""


def plain_name(name: str) -> str:
    """A column's name in lower case without signs: `User-ID` is `user_id`."""
    return re.sub(r"[\W_]", "", name).lower() or name


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
    """A table with named columns, which need not be in memory."""

    path: Path
    names: list[str]
    rows: int
    arrays: Callable[[str], Iterable[pa.Array]]
    """The pieces of a column, in order and all of one type."""
    work: Workspace = TEMPORARY
    where: Callable[[int], str]
    """File and line of a row, from 0."""
    head: str
    """File and line of the names."""
    malformed: int = 0
    """Rows that were left out as they have too few or too many cells."""
    malformed_first: str = ""
    """What is wrong with the first of them."""

    def parts(self, name: str) -> Iterator[pa.ChunkedArray]:
        """A column in consecutive parts of some `PART` rows; one part where it is short or empty."""
        return grouped(self.arrays(name))

    def column(self, name: str) -> pa.ChunkedArray:
        """A column in one piece, for tables that are known to be short."""
        return pa.chunked_array([chunk for part in self.parts(name) for chunk in part.chunks])

    def begin(self, name: str, count: int) -> pa.ChunkedArray:
        """The first cells of a column."""
        chunks: list[pa.Array] = []
        for part in self.parts(name):
            chunks += part.chunks
            if sum(map(len, chunks)) >= count:
                break
        return pa.chunked_array(chunks).slice(0, count)

    def cell(self, name: str, row: int) -> pa.ChunkedArray:
        """A single cell of a column, as a column of one row."""
        for part in self.parts(name):
            if row < len(part):
                return part.slice(row, 1)
            row -= len(part)
        raise IndexError(row)

    def kept(self, mask: NDArray[np.bool_]) -> Grid:
        """The rows of a mask (N,) alone; their places in the file stay known."""

        def arrays(name: str) -> Iterator[pa.Array]:
            first = 0
            for array in self.arrays(name):
                yield array.filter(pa.array(mask[first : first + len(array)]))
                first += len(array)

        def where(row: int) -> str:
            return self.where(int(np.flatnonzero(mask)[row]))

        return replace(self, rows=int(mask.sum()), arrays=arrays, where=where)

    def pick(self, named: str | None, usual: tuple[str, ...], flag: str) -> str | None:
        """The column that the user named, else the first with a usual name; none where neither exists.

        Raises:
            DataError: the named column does not exist, or the name occurs twice.
        """
        found = named if named in self.names else None
        if found is not None and (hint := headerless_hint(self.names)):
            raise DataError(
                f"the first line looks like a row, not like names of columns: {', '.join(self.names)}",
                where=self.head,
                hint=f"{hint} With {flag} {named} the first row would be lost.",
            )
        if named is None:
            order = [plain_name(name) for name in usual]
            found = next((n for n in usual if n in self.names), None)
            found = found or min(self._usual(usual), key=lambda name: order.index(plain_name(name)), default=None)
        elif found is None:
            raise DataError(f"there is no column {named!r}; {self.listing}", where=self.head, hint=f"Correct {flag}.")
        if found is not None and self.names.count(found) > 1:
            raise DataError(f"the column {found!r} is there {self.names.count(found)} times", where=self.head)
        return found

    def need(self, named: str | None, usual: tuple[str, ...], flag: str, others: Sequence[str] = ()) -> str:
        """`pick` for a column that must exist.

        Args:
            others: flags of further columns that are not found by themselves, for the hint.

        Raises:
            DataError: it does not exist, or several have usual names.
        """
        several = [name for name in self._usual(usual) if plain_name(name) not in _SECOND]
        if named is None and len(several) > 1:
            raise self._question(several, f"the {flag.removeprefix('--').removesuffix('-column')} ids", flag)
        found = self.pick(named, usual, flag)
        if found is None:
            what = flag.removeprefix("--").removesuffix("-column")
            hint = delimiter_hint(self.names) or headerless_hint(self.names)
            more = f", and others with {' and '.join(others)}" if others else ""
            hint = hint or f"Name it with {flag}{more}; found by itself: {', '.join(usual)}."
            raise DataError(f"there is no column with the {what} ids; {self.listing}", where=self.head, hint=hint)
        return found

    def pick_time(self, named: str | None, usual: tuple[str, ...] = USUAL_TIME) -> str | None:
        """`pick` for the column of times, where several usual names are a question: a day would go before milliseconds.

        Raises:
            DataError: as `pick`, or several columns have usual names.
        """
        found = self._usual(usual)
        if named is None and len(found) > 1:
            raise self._question(found, "the times", "--time-column")
        return self.pick(named, usual, "--time-column")

    def _usual(self, usual: tuple[str, ...]) -> list[str]:
        """The columns with one of the usual names, in their order."""
        plain = set(map(plain_name, usual))
        return [name for name in dict.fromkeys(self.names) if plain_name(name) in plain]

    def _question(self, names: list[str], what: str, flag: str) -> DataError:
        return DataError(
            f"several columns may hold {what}: {', '.join(names)}", where=self.head, hint=f"Name one with {flag}."
        )

    def roles(self, wanted: Wanted) -> Roles:
        """The columns to read of a table of interactions.

        Raises:
            DataError: a required column does not exist.
        """
        rest = (("--item-column", wanted.item, USUAL_ITEM), ("--time-column", wanted.time, USUAL_TIME))
        others = [flag for flag, named, usual in rest if named is None and not self._usual(usual)]
        return Roles(
            user=self.need(wanted.user, USUAL_USER, "--user-column", others),
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
        hint = f"{hint or ''} {DROPPED}".strip()
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
    """What to do where the first line seems to be a row: a cell is a time or has decimals, or most are numbers."""
    numbers = [name for name in names if _CELL_NUMBER.fullmatch(name)]
    timed = any(_CELL_TIME.fullmatch(name) for name in names) or any("." in name for name in numbers)
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


def names_only(path: Path, names: list[str]) -> Grid:
    """A table with column names and no rows, for choosing columns."""

    def arrays(name: str) -> Iterable[pa.Array]:
        raise LookupError(name)

    return Grid(path=path, names=names, rows=0, arrays=arrays, where=lambda row: str(path), head=f"{path}:1")
