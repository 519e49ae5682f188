"""One JSON object per line: Amazon reviews as published in 2014, 2018 and 2023, Yelp, and others with named fields.

The metadata of 2014 are Python literals instead of JSON; they are parsed as literals and never run. Reviews are read
in a stream, of which the columns of ids and times alone stay in memory.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

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
from engine.data.readers.columns import ids_of, repeats
from engine.data.readers.grid import Grid, names_only
from engine.data.readers.json_items import read_json_items
from engine.data.readers.json_rows import PARSE_ERRORS, parse, rows_of
from engine.data.readers.lines import Lines
from engine.data.readers.packed import is_packed
from engine.data.readers.selection import needed_columns, read_rows
from engine.data.readers.text import suffix_of
from engine.data.readers.times import times_of
from engine.errors import DataError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".jl")
_CHUNK = 1 << 16


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
        head = begin(path, count)
        items = None if wanted.items is not None else self._items_file(path)
        return Head(
            names=head.names, rows=head.rows, total=None, about=head.about, roles=self._roles(path, wanted), items=items
        )

    def read(self, path: Path, wanted: Wanted) -> Raw:
        roles = self._roles(path, wanted)
        further = needed_columns(list(_begun(path)), wanted)
        grid, lines = _columns(path, roles, further, drop_bad=wanted.drop_bad)
        raw = read_rows(grid, wanted, lambda grid: self._read(path, grid, roles, wanted))
        return replace(raw, warnings=[*lines.warnings, *raw.warnings])

    def _read(self, path: Path, grid: Grid, roles: Roles, wanted: Wanted) -> Raw:
        users, items = ids_of(grid, roles.user, "user"), ids_of(grid, roles.item, "item")
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


def begin(path: Path, count: int) -> Head:
    """The fields and the first `count` rows of a file.

    Raises:
        DataError: it cannot be read.
    """
    lines = Lines(path)
    rows: list[dict[str, Any]] = []
    for _, row in rows_of(path, lines):
        rows.append(row)
        if len(rows) == count:
            break
    names = list(dict.fromkeys(name for row in rows for name in row))
    packed = is_packed(path)
    about = None if packed else round(path.stat().st_size * len(rows) / max(1, lines.read))
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    return Head(names=names, rows=cells, total=len(rows) if len(rows) < count else None, about=about)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _columns(path: Path, roles: Roles, further: list[str], *, drop_bad: bool) -> tuple[Grid, Lines]:
    """The columns of ids and times as text, and further ones."""
    named = dict.fromkeys((roles.user, roles.item, roles.time, *further))
    names = [name for name in named if name is not None]
    lines = Lines(path)
    chunks: dict[str, list[pa.Array]] = {name: [] for name in names}
    cells: dict[str, list[str]] = {name: [] for name in names}
    places: list[np.ndarray[Any, Any]] = []
    place: list[int] = []

    def flush() -> None:
        for name in names:
            chunks[name].append(pa.array(cells[name], pa.string()))
            cells[name].clear()
        places.append(np.array(place, np.uint32))
        place.clear()

    takers = [(name, cells[name].append) for name in names]
    for number, row in rows_of(path, lines, drop_bad=drop_bad):
        for name, take in takers:
            value = row.get(name)
            take(value if type(value) is str else _plain(value))
        place.append(number)
        if len(place) == _CHUNK:
            flush()
    flush()
    numbers = np.concatenate(places)
    return Grid(
        path=path,
        names=names,
        rows=len(numbers),
        column=lambda name: pa.chunked_array(chunks[name], pa.string()),
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
        return f"\x1a{json.dumps(value, default=str)[:40]}"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
