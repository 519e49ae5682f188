"""MovieLens as published: `ratings.csv`, `u.data` or `ratings.dat`, each with a file of movies.

The two old forms have no header, and their movies are in Latin-1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from engine.data.readers.base import ROW_CHOICES, Catalog, Head, Raw, Reader, Roles, Wanted
from engine.data.readers.catalog import item_file
from engine.data.readers.columns import as_text, ids_of, pc, repeats
from engine.data.readers.delimited import grid_of, head_of, read_delimited
from engine.data.readers.grid import Grid, names_only
from engine.data.readers.lines import mended, mended_warning
from engine.data.readers.packed import is_packed
from engine.data.readers.selection import read_rows
from engine.data.readers.text import HEAD_BYTES, Blocks, Mapped, first_line, read_bytes
from engine.data.readers.times import flagged, times_of
from engine.data.scratch import TEMPORARY, Workspace
from engine.errors import DataError

NAMES = ["userId", "movieId", "rating", "timestamp"]
NO_GENRE = "(no genres listed)"
_GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
FIRST = 788_918_400_000_000
"""1995, in microseconds: an earlier time is one whose digits were cut off."""
_UNIT = "\x1f"
"""Stands for `::`, as a delimiter has one character."""


@dataclass(frozen=True)
class Form:
    """One of the three forms."""

    ratings: str
    movies: str
    delimiter: str
    first: re.Pattern[str]
    """Pattern of the first line of the ratings."""
    first_movie: re.Pattern[str]
    columns: tuple[str, ...] = ()
    """Of the movies, where the file does not name them."""


_FLAGS = tuple(f"genre {genre}" for genre in _GENRES)
FORMS = (
    Form(
        "ratings.csv",
        "movies.csv",
        ",",
        re.compile("userId,movieId,rating,timestamp"),
        re.compile("movieId,title,genres"),
    ),
    Form(
        "u.data",
        "u.item",
        "\t",
        re.compile(r"\d+\t\d+\t\d+(\.\d+)?\t\d+"),
        re.compile(r"\d+\|.*(\|[01]){19}"),
        ("movieId", "title", "released", "video", "url", *_FLAGS),
    ),
    Form(
        "ratings.dat",
        "movies.dat",
        "::",
        re.compile(r"\d+::\d+::\d+(\.\d+)?::\d+"),
        re.compile(r"\d+::.*::.*"),
        ("movieId", "title", "genres"),
    ),
)


def _named(path: Path, *, movies: bool = False) -> Form | None:
    """The form whose name a file has."""
    name = path.name.lower().removesuffix(".gz")
    return next((form for form in FORMS if name == (form.movies if movies else form.ratings)), None)


def _is(path: Path, *, movies: bool = False) -> bool:
    """Whether a file has the name of a form and begins like it."""
    form = _named(path, movies=movies)
    pattern = None if form is None else form.first_movie if movies else form.first
    return pattern is not None and pattern.fullmatch(first_line(path).strip()) is not None


class MovieLens(Reader):
    """Reads the ratings, and the movies in the same folder."""

    name = "movielens"
    suffixes: tuple[str, ...] = (".csv", ".data", ".dat")
    published = True
    choices = ROW_CHOICES

    def recognizes(self, path: Path, wanted: Wanted) -> bool:
        named = {name for name in (wanted.user, wanted.item, wanted.time) if name is not None}
        return _is(path) and named <= set(NAMES)

    def head(self, path: Path, wanted: Wanted, count: int) -> Head:
        form = _needed(path)
        items = None if wanted.items is not None else _items_file(path, form)
        head = (
            _head(path, form.delimiter, NAMES, count) if form.columns else head_of(path, ",", quoting=True, count=count)
        )
        return replace(head, roles=_roles(), items=items)

    def read(self, path: Path, wanted: Wanted) -> Raw:
        form = _needed(path)
        drop = wanted.drop_bad
        grid, told = (
            _grid(path, form.delimiter, NAMES, drop_bad=drop, work=wanted.work)
            if form.columns
            else (read_delimited(path, ",", quoting=True, drop_bad=drop, work=wanted.work), list[str]())
        )
        raw = read_rows(grid, wanted, lambda grid: self._read(path, grid, wanted, form))
        return replace(raw, warnings=[*told, *raw.warnings])

    def _read(self, path: Path, grid: Grid, wanted: Wanted, form: Form) -> Raw:
        for name in ("userId", "movieId", "timestamp"):
            grid.need(name, (), "--format")
        users, items = ids_of(grid, "userId", "user"), ids_of(grid, "movieId", "item")
        times, time_warnings = times_of(grid, "timestamp", wanted.time_format)
        early = flagged(times, lambda part: part < FIRST) if times is not None else None
        if early is not None:
            raise grid.bad_rows(
                early, lambda row: f"the time (timestamp) {grid.cell('timestamp', row)[0]} is before MovieLens"
            )
        items_file = None if wanted.items is not None else _items_file(path, form)
        return Raw(
            source=str(path),
            users=users,
            items=items,
            times=times,
            catalog=None if items_file is None else _read_movies(items_file),
            warnings=[*time_warnings, *repeats(path, users, items, times)],
        )

    def reads_items(self, path: Path) -> bool:
        return _is(path, movies=True)

    def items_head(self, path: Path, count: int) -> Head:
        form = _named(path, movies=True)
        if form is None or not form.columns:
            return head_of(path, ",", quoting=True, count=count)
        return _head(path, _separator(form), list(form.columns), count)

    def read_items(self, path: Path, wanted: Wanted, *, only: set[str] | None = None) -> Catalog:
        return _read_movies(path)


def _roles() -> Roles:
    return Roles(user="userId", item="movieId", time="timestamp")


def _needed(path: Path) -> Form:
    form = _named(path)
    if form is None:
        names = ", ".join(form.ratings for form in FORMS)
        raise DataError(
            "not called as MovieLens calls its ratings", where=str(path), hint=f"They are called {names}, or with .gz."
        )
    return form


def _items_file(path: Path, form: Form) -> Path | None:
    names = {form.movies, f"{form.movies}.gz"}
    return next((other for other in sorted(path.parent.iterdir()) if other.name.lower() in names), None)


def _read_movies(path: Path) -> Catalog:
    """Titles and genres.

    Raises:
        DataError: it cannot be read, or its lines have not the fields of its form.
    """
    form = _named(path, movies=True)
    if form is None:
        raise DataError("not called as MovieLens calls its movies", where=str(path))
    if not form.columns:
        grid, warnings = read_delimited(path, ",", quoting=True), []
    else:
        grid, warnings = _grid(path, _separator(form), list(form.columns))
    if not form.columns:
        for name in ("movieId", "title", "genres"):
            grid.need(name, (), "--format")
    genres = _flagged(grid) if form.movies == "u.item" else as_text(grid.column("genres"))
    genres = pc.if_else(pc.equal(genres, NO_GENRE), "", genres)
    columns = {"movieId": grid.column("movieId"), "title": grid.column("title"), "genres": genres}
    catalog = item_file(
        replace(grid, names=list(columns), arrays=lambda name: columns[name].chunks), "movieId", "title"
    )
    return replace(catalog, warnings=[*warnings, *catalog.warnings])


def _separator(form: Form) -> str:
    return "|" if form.movies == "u.item" else form.delimiter


def _flagged(grid: Grid) -> pa.ChunkedArray:
    """Genres that are marked with a 1 in a column each, as one text."""
    flags = zip(*(as_text(grid.column(f"genre {genre}")).to_pylist() for genre in _GENRES), strict=True)
    genres = ["|".join(g for g, flag in zip(_GENRES[1:], row[1:], strict=True) if flag == "1") for row in flags]
    return pa.chunked_array([pa.array(genres, pa.string())])


def _grid(
    path: Path, delimiter: str, names: list[str], *, drop_bad: bool = False, work: Workspace = TEMPORARY
) -> tuple[Grid, list[str]]:
    """Lines without column names as a table, and a warning about those in another encoding."""
    blocks = Blocks(path, work, older=True)
    lines: Iterable[bytes] = blocks
    if len(delimiter) > 1:
        lines = Mapped(blocks, lambda data, old=delimiter.encode(): data.replace(old, _UNIT.encode()))
        delimiter = _UNIT
    grid = grid_of(path, lines, names, delimiter, quoting=False, first=1, drop_bad=drop_bad, work=work)
    return grid, mended_warning(path, blocks.mended)


def _head(path: Path, delimiter: str, names: list[str], count: int) -> Head:
    data, _ = mended(read_bytes(path, limit=HEAD_BYTES))
    rows = [line.split(delimiter) for line in data.decode().splitlines() if line.strip()]
    about = None if is_packed(path) else round(path.stat().st_size * len(rows) / len(data))
    checked = names_only(path, names).names
    return Head(names=checked, rows=rows[:count], total=None, about=about)
