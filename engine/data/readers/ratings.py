"""Lines `user item rating` or `user item rating time` without column names, between blanks, tabs, commas, `;` or `::`.

Read only where the format is named: such lines of integers look like those of `sequences`, and a line of names like a row.
"""

from __future__ import annotations

import re
from pathlib import Path

from engine.data.readers.base import ROW_CHOICES, Head, Raw, Reader, Roles, Wanted
from engine.data.readers.columns import ids_of, repeats
from engine.data.readers.delimited import grid_of
from engine.data.readers.grid import Grid
from engine.data.readers.packed import is_packed
from engine.data.readers.selection import read_rows
from engine.data.readers.text import HEAD_BYTES, Blocks, Mapped, first_line, read_text, suffix_of
from engine.data.readers.times import times_of
from engine.errors import DataError

NAMES = ("user", "item", "rating", "timestamp")
_BETWEEN = re.compile(rb"[ \t]*(?:::|[,;\t ])[ \t]*")
_EDGES = re.compile(rb"^[ \t]+|[ \t]+(?=\r?$)", re.MULTILINE)
_STARS = re.compile(r"\d(\.\d+)?|10(\.0+)?")
_TIME = re.compile(r"\d{9,10}(\.\d+)?|\d{12,13}")
_ASIN, _REVIEWER = re.compile(r"B[0-9A-Z]{9}|\d{9}[0-9X]"), re.compile(r"A[0-9A-Z]{11,20}")
_RATING = re.compile(r"[+-]?\d+(\.\d+)?")


class Ratings(Reader):
    """Reads bare lines of ratings; each is an interaction, whatever its rating, and a third cell may be the time."""

    name = "ratings"
    suffixes: tuple[str, ...] = ()
    choices = ROW_CHOICES

    def recognizes(self, path: Path, wanted: Wanted) -> bool:
        """Whether a table without names begins with a user, an item, a rating from 0 to 10, and a Unix time."""
        if suffix_of(path) in (".txt", ".inter", ".parquet") or wanted.delimiter is not None:
            return False
        cells = _tabs(first_line(path).encode()).decode().split("\t")
        return len(cells) == 4 and _STARS.fullmatch(cells[2]) is not None and _TIME.fullmatch(cells[3]) is not None

    def head(self, path: Path, wanted: Wanted, count: int) -> Head:
        data = read_text(path, limit=HEAD_BYTES)
        rows = [line.split("\t") for line in _tabs(data).decode().splitlines() if line.strip()]
        about = None if is_packed(path) else round(path.stat().st_size * len(rows) / len(data))
        names = _names(path)
        return Head(names=names, rows=rows[:count], total=None, about=about, roles=_roles(names))

    def read(self, path: Path, wanted: Wanted) -> Raw:
        names = _names(path)
        lines = Mapped(Blocks(path, wanted.work), _tabs)
        grid = grid_of(path, lines, names, "\t", quoting=False, first=1, drop_bad=wanted.drop_bad, work=wanted.work)

        def take(grid: Grid) -> Raw:
            users, items = ids_of(grid, "user", "user"), ids_of(grid, "item", "item")
            times, warnings = times_of(grid, _roles(names).time, wanted.time_format)
            if self.recognizes(path, wanted):
                warnings.insert(0, f"the file has no column names: its cells are taken as {', '.join(names)}")
            warnings = [*warnings, *repeats(path, users, items, times)]
            return Raw(source=str(path), users=users, items=items, times=times, warnings=warnings)

        return read_rows(grid, wanted, take)


def _tabs(data: bytes) -> bytes:
    """The same lines with one tab between their cells."""
    return _BETWEEN.sub(b"\t", _EDGES.sub(b"", data))


def _names(path: Path) -> list[str]:
    """The columns, from the first line.

    Raises:
        DataError: it has another number of cells, or no number for a rating.
    """
    cells = _tabs(first_line(path).encode()).decode().split("\t")
    if len(cells) not in (3, 4) or _RATING.fullmatch(cells[2]) is None:
        raise DataError(
            f"the line {first_line(path)[:60]!r} is not `user item rating` or `user item rating time`",
            where=f"{path}:1",
            hint="A line of column names makes it a table: --format csv or tsv.",
        )
    names: list[str] = list(NAMES[: len(cells)])
    if len(cells) == 3 and _TIME.fullmatch(cells[2]):
        names[2] = "timestamp"
    if _ASIN.fullmatch(cells[0]) and _REVIEWER.fullmatch(cells[1]):  # Amazon's ratings of 2018 begin with the item
        names[:2] = "item", "user"
    return names


def _roles(names: list[str]) -> Roles:
    return Roles(user="user", item="item", time="timestamp" if "timestamp" in names else None)
