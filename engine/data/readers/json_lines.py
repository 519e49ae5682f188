"""One JSON object per line: Amazon reviews as published in 2014, 2018 and 2023, Yelp, and others with named fields.

The metadata of 2014 are Python literals instead of JSON; they are parsed as literals and never run. Reviews are read
in a stream, of which the columns of ids and times alone stay in memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.data.readers.base import (
    ROW_CHOICES,
    USUAL_ITEM,
    USUAL_TIME,
    USUAL_USER,
    Catalog,
    Head,
    Raw,
    Reader,
    Roles,
    Wanted,
)
from engine.data.readers.columns import NO_TEXT, as_text, coded, repeats
from engine.data.readers.grid import Grid, names_only
from engine.data.readers.json_items import read_json_items
from engine.data.readers.json_rows import PARSE_ERRORS, parse, rows_of
from engine.data.readers.lines import Lines
from engine.data.readers.ownership import checked_ids, refuse_others
from engine.data.readers.packed import is_packed
from engine.data.readers.parts import joined, parts_of
from engine.data.readers.selection import ignored, needed_columns, read_rows
from engine.data.readers.text import suffix_of
from engine.data.readers.times import times_of
from engine.data.scratch import Spool
from engine.errors import DataError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".jl")
_CHUNK = 1 << 16
SAMPLE = 1000
"""Rows whose other fields are looked at, too."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The field names of a publisher."""

    name: str
    user: tuple[str, ...]
    item: tuple[str, ...]
    time: tuple[str, ...]
    marks: tuple[frozenset[str], ...] = ()
    """A file is recognized where its first line has all fields of one of these; else by user and item."""
    items_files: tuple[tuple[str, str], ...] = ()
    """Pattern of a name without its endings, and the name of the file with the items' texts, in order."""


AMAZON = Profile(
    name="amazon",
    user=("reviewerID", "user_id"),
    item=("parent_asin", "asin"),
    time=("unixReviewTime", "timestamp"),
    marks=(frozenset({"reviewerID", "asin"}), frozenset({"user_id", "parent_asin", "timestamp"})),
    items_files=((r"reviews_(.+?)(_\d+)?", r"meta_\1"), (r"(.+?)(_\d+)?", r"meta_\1")),
)
YELP = Profile(
    name="yelp",
    user=("user_id",),
    item=("business_id",),
    time=("date",),
    marks=(frozenset({"user_id", "business_id", "stars"}),),
    items_files=((r"(.*)review(.*)", r"\1business\2"),),
)
ANY = Profile(name="jsonl", user=USUAL_USER, item=USUAL_ITEM, time=USUAL_TIME)


class JsonLines(Reader):
    """Reads interactions with the field names of a profile."""

    suffixes: tuple[str, ...] = SUFFIXES
    choices = ROW_CHOICES
    parted = True
    profile: ClassVar[Profile]

    def __init__(self) -> None:
        self.name = self.profile.name
        self.published = bool(self.profile.marks)

    def recognizes(self, path: Path, wanted: Wanted) -> bool:
        row = first_row(path)
        if row is None:
            return False
        if self.published:
            named = [name for name in (wanted.user, wanted.item) if name is not None]
            return any(mark <= row.keys() for mark in self.profile.marks) and row.keys() >= set(named)
        has = [
            any(name in row for name in ((named,) if named else usual))
            for named, usual in ((wanted.user, self.profile.user), (wanted.item, self.profile.item))
        ]
        return all(has)

    def head(self, path: Path, wanted: Wanted, count: int) -> Head:
        parts = parts_of(path) if path.is_dir() else []
        path = parts[0] if parts else path
        head = begin(path, count)
        items = None if wanted.items is not None else self._items_file(path)
        return Head(
            names=head.names, rows=head.rows, total=None, about=head.about, roles=self._roles(path, wanted), items=items
        )

    def read(self, path: Path, wanted: Wanted) -> Raw:
        parts = parts_of(path) if path.is_dir() else [path]
        roles = self._roles(parts[0], wanted)
        further = needed_columns(list(_begun(parts[0])), wanted)
        read = [_columns(part, roles, further, wanted) for part in parts]
        grid = joined(path, [grid for grid, _ in read]) if path.is_dir() else read[0][0]
        raw = read_rows(grid, wanted, lambda grid: self._read(path, grid, roles, wanted))
        begun = _sample(parts[0], wanted)
        owners, owned = (coded(as_text(begun.column(name))) for name in (roles.user, roles.item))
        refuse_others(begun, roles, owners, owned)
        told = [] if further else ignored(begun, wanted)
        lines = [warning for _, lines in read for warning in lines.warnings]
        lines += [f"{len(parts):,} parts are read as one table"] * (len(parts) > 1)
        return replace(raw, warnings=[*lines, *raw.warnings, *told])

    def _read(self, path: Path, grid: Grid, roles: Roles, wanted: Wanted) -> Raw:
        users, items = checked_ids(grid, roles, wanted)
        times, warnings = times_of(grid, roles.time, wanted.time_format)
        warnings = [*warnings, *repeats(path, users, items, times)]
        items_file = None if wanted.items is not None else self._items_file(path)
        catalog = None if items_file is None else read_json_items(items_file, wanted, only=set(items.values))
        return Raw(source=str(path), users=users, items=items, times=times, catalog=catalog, warnings=warnings)

    def reads_items(self, path: Path) -> bool:
        return suffix_of(path) in SUFFIXES

    def items_head(self, path: Path, count: int) -> Head:
        return begin(path, count)

    def read_items(self, path: Path, wanted: Wanted, *, only: set[str] | None = None) -> Catalog:
        return read_json_items(path, wanted, only=only)

    def _roles(self, path: Path, wanted: Wanted) -> Roles:
        names = names_only(path, list(_begun(path)))
        return Roles(
            user=names.need(wanted.user, self.profile.user, "--user-column"),
            item=names.need(wanted.item, self.profile.item, "--item-column"),
            time=names.pick_time(wanted.time, self.profile.time),
        )

    def _items_file(self, path: Path) -> Path | None:
        """The file with the items' texts that is published with this one, packed or not, if it is there."""
        stem, ending = _split(path)
        for pattern, name in self.profile.items_files:
            match = re.fullmatch(pattern, stem)
            for end in (ending, ending.removesuffix(".gz"), f"{ending}.gz"):
                other = path.with_name(f"{match.expand(name)}{end}") if match else path
                if other != path and other.is_file():
                    return other
        return None


class Amazon(JsonLines):
    """Reviews of 2014, 2018 and 2023."""

    profile = AMAZON


class Yelp(JsonLines):
    """Reviews of the Yelp Open Dataset."""

    profile = YELP


class AnyJsonLines(JsonLines):
    """Lines with the usual names of users and items, or with named ones."""

    profile = ANY


def _split(path: Path) -> tuple[str, str]:
    """`reviews_X_5` and `.json.gz`."""
    match = re.fullmatch(r"(.*?)(\.[A-Za-z]+(?:\.gz)?)", path.name)
    return (match[1], match[2]) if match else (path.name, "")


def first_row(path: Path) -> dict[str, Any] | None:
    """The object in a file's first line; none where there is none."""
    try:
        line = next(iter(Lines(path, longest=1 << 20)))[1].strip()
        row = parse(line) if line.startswith("{") else None
    except (StopIteration, DataError, *PARSE_ERRORS):
        return None
    return row if isinstance(row, dict) else None


def _begun(path: Path) -> dict[str, Any]:
    """The first object.

    Raises:
        DataError: the first line holds none.
    """
    return next(rows_of(path, Lines(path)))[1]


def begin(path: Path, count: int, *, drop_bad: bool = False) -> Head:
    """The fields and the first `count` rows of a file; `drop_bad` passes over lines that hold none.

    Raises:
        DataError: it cannot be read.
    """
    lines = Lines(path)
    rows: list[dict[str, Any]] = []
    for _, row in rows_of(path, lines, drop_bad=drop_bad):
        rows.append(row)
        if len(rows) == count:
            break
    names = list(dict.fromkeys(name for row in rows for name in row))
    packed = is_packed(path)
    about = None if packed else round(path.stat().st_size * len(rows) / max(1, lines.read))
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    return Head(names=names, rows=cells, total=len(rows) if len(rows) < count else None, about=about)


def _sample(path: Path, wanted: Wanted) -> Grid:
    """All fields of the first rows, as text."""
    head = begin(path, SAMPLE, drop_bad=wanted.drop_bad)
    columns = [pa.chunked_array([pa.array(cells, pa.string())]) for cells in zip(*head.rows, strict=True)]
    by_name = dict(zip(head.names, columns, strict=True))
    return replace(names_only(path, head.names), rows=len(head.rows), arrays=lambda name: by_name[name].chunks)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _columns(path: Path, roles: Roles, further: list[str], wanted: Wanted) -> tuple[Grid, Lines]:
    """The columns of ids and times as text, and further ones."""
    named = dict.fromkeys((roles.user, roles.item, roles.time, *further))
    names = [name for name in named if name is not None]
    lines, work = Lines(path, work=wanted.work), wanted.work
    columns = Spool(pa.schema([(name, pa.string()) for name in names]), work)
    cells: dict[str, list[str]] = {name: [] for name in names}
    place: list[int] = []

    def flush() -> NDArray[np.int64]:
        arrays = [pa.array(cells[name], pa.string()) for name in names]
        columns.append(pa.RecordBatch.from_arrays(arrays, schema=columns.schema))
        places = np.array(place, np.int64)
        for held in (place, *cells.values()):
            held.clear()
        return places

    def flushed() -> Iterator[NDArray[np.int64]]:
        takers = [(name, cells[name].append) for name in names]
        for number, row in rows_of(path, lines, drop_bad=wanted.drop_bad):
            for name, take in takers:
                value = row.get(name)
                take(value if type(value) is str else _plain(value))
            place.append(number)
            if len(place) == _CHUNK:
                yield flush()
        yield flush()

    numbers = work.gathered(flushed(), np.int64)
    columns.close()
    return Grid(
        path=path,
        names=names,
        rows=len(numbers),
        arrays=lambda name: columns.column(names.index(name)),
        work=work,
        where=lambda row: f"{path}:{numbers[row]}",
        head=f"{path}:1",
        malformed=lines.bad,
        malformed_first=lines.bad_first,
    ), lines


def _plain(value: Any) -> str:
    """A cell as text; a value that is neither text nor number becomes a text that is no valid id and no valid time."""
    if value is None:
        return ""
    if isinstance(value, bool | list | dict | tuple | set | bytes):
        return f"{NO_TEXT}{json.dumps(value, default=str)[:40]}"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
