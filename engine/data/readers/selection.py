"""Which rows of a table are read: those that a person asks for; bad ones are an error or, where asked, left out and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.readers.base import Raw, Wanted
from engine.data.readers.columns import NO_TEXT, as_text, coded
from engine.data.readers.grid import BadRows, Grid, plain_name
from engine.errors import DataError

USUAL_RATING = (
    "rating", "overall", "stars", "score", "ratings", "review_score", "user_rating", "star_rating", "book_rating",
)  # fmt: skip
USUAL_EVENT = ("event", "event_type", "action", "action_type", "behavior", "behavior_type", "interaction_type")
"""Columns that tell a view from a purchase."""
BAD = "bad rows"
LOW = "rows below the minimum rating"
OTHERS = "rows without the values asked for"
"""Reasons of rows that were left out."""
_TRUTH = {"true": "1", "false": "0"}
SHOWN = 4
"""Values of an event column that a warning names."""


def read_rows(grid: Grid, wanted: Wanted, take: Callable[[Grid], Raw]) -> Raw:
    """The interactions that `take` makes of the rows that are wanted.

    Args:
        take: called again without the rows that it refuses by `BadRows`, where bad rows are to be left out.

    Raises:
        DataError: a named column is not there, a row is bad, or none is left.
    """
    grid, dropped, bad = _selected(grid, wanted)
    count, first = grid.malformed + int(bad.sum()), grid.malformed_first
    if bad.any():
        first, grid = first or _rated(grid, bad).message, _kept(grid, ~bad)
    while True:
        try:
            raw = take(grid)
            break
        except BadRows as error:
            if not wanted.drop_bad or error.path != grid.path or len(error.rows) != grid.rows or error.rows.all():
                raise
            count += int(error.rows.sum())
            first = first or f"{error.where}: {error.first}"
            grid = _kept(grid, ~error.rows)
    warnings = list(raw.warnings)
    if count:
        dropped[BAD] = count
        warnings.append(f"{count:,} bad rows are left out, the first for {first}")
    return replace(raw, dropped=dropped, warnings=[*warnings, *ignored(grid, wanted)])


def _kept(grid: Grid, mask: NDArray[np.bool_]) -> Grid:
    if not mask.any():
        raise DataError("all rows are bad", where=grid.head)
    return grid.kept(mask)


def needed_columns(names: list[str], wanted: Wanted) -> list[str]:
    """Columns that a choice of rows reads, of those that are there."""
    found = [column for column, _ in wanted.only if column in names]
    rating = _usual(names, USUAL_RATING)
    return found if rating is None or wanted.min_rating is None else [*found, rating]


def _usual(names: list[str], usual: tuple[str, ...]) -> str | None:
    low = {plain_name(name): name for name in reversed(names)}
    return next((low[plain_name(name)] for name in usual if plain_name(name) in low), None)


def _selected(grid: Grid, wanted: Wanted) -> tuple[Grid, dict[str, int], NDArray[np.bool_]]:
    """The rows that `only` and `min_rating` choose, how many others there are, and which ratings are none."""
    dropped: dict[str, int] = {}
    asked: dict[str, list[str]] = {}
    for column, value in wanted.only:
        asked.setdefault(grid.need(column, (), "--only"), []).append(value)
    for column, values in asked.items():
        keep = by_value(grid, column, lambda cell, values=values: any(_same(cell, value) for value in values), bool)
        if not keep.any():
            some = [cell.removeprefix(NO_TEXT) for cell in _some(grid, column)]
            raise DataError(
                f"no row has {' or '.join(map(repr, values))} in the column {column!r}",
                where=grid.head,
                hint=f"Correct --only; the column has {', '.join(map(repr, some[:SHOWN]))}{' and others' * (len(some) > SHOWN)}.",
            )
        grid = _counted(grid, keep, OTHERS, dropped)
    if wanted.min_rating is None:
        return grid, dropped, np.zeros(grid.rows, bool)
    name = _usual(grid.names, USUAL_RATING)
    if name is None:
        raise DataError(
            f"there is no column of ratings; {grid.listing}", where=grid.head, hint="Leave --min-rating out."
        )
    numbers = by_value(grid, name, _number, np.float64)
    bad = ~np.isfinite(numbers)
    if bad.any() and not wanted.drop_bad:
        raise _rated(grid, bad)
    keep = bad | (numbers >= wanted.min_rating)
    if not (keep & ~bad).any():
        raise DataError(
            f"no rating ({name}) is {wanted.min_rating:g} or more", where=grid.head, hint="Lower --min-rating."
        )
    return _counted(grid, keep, LOW, dropped), dropped, bad[keep]


def by_value(grid: Grid, name: str, value: Callable[[str], Any], dtype: Any) -> NDArray[Any]:
    """(N,) what a function makes of the texts of a column; it is called once for each different one of a part."""

    def parts() -> Iterator[NDArray[Any]]:
        for part in grid.parts(name):
            cells = coded(as_text(part))
            yield np.array([value(cell) for cell in cells.values], dtype)[cells.codes]

    return grid.work.gathered(parts(), dtype)


def _some(grid: Grid, name: str) -> list[str]:
    """The first different texts of a column, one more of them than are shown."""
    found: dict[str, None] = {}
    for part in grid.parts(name):
        found |= dict.fromkeys(coded(as_text(part)).values)
        if len(found) > SHOWN:
            break
    return list(found)[: SHOWN + 1]


def _range(grid: Grid, name: str) -> tuple[float, float] | None:
    """The lowest and the highest number of a column; none where a cell is no finite number."""
    low, high = np.inf, -np.inf
    for part in grid.parts(name):
        numbers = [_number(cell) for cell in coded(as_text(part)).values]
        if not np.isfinite(numbers).all():
            return None
        low, high = min(low, *numbers), max(high, *numbers)
    return low, high


def _rated(grid: Grid, bad: NDArray[np.bool_]) -> BadRows:
    name = _usual(grid.names, USUAL_RATING) or ""
    return grid.bad_rows(
        bad, lambda row: f"the rating ({name}) {as_text(grid.cell(name, row))[0].as_py()!r} is no number"
    )


def _counted(grid: Grid, keep: NDArray[np.bool_], reason: str, dropped: dict[str, int]) -> Grid:
    if keep.all():
        return grid
    dropped[reason] = dropped.get(reason, 0) + int((~keep).sum())
    return grid.kept(keep)


def _same(cell: str, value: str) -> bool:
    cell, value = (_TRUTH.get(text.removeprefix(NO_TEXT).lower(), text) for text in (cell, value))
    return cell == value or (np.isfinite(_number(cell)) and _number(cell) == _number(value))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def ignored(grid: Grid, wanted: Wanted) -> list[str]:
    """Warnings about a column that tells rows apart and that nothing chooses by: of ratings, or of kinds of events."""
    warnings: list[str] = []
    chosen = {column for column, _ in wanted.only}
    rating, event = _usual(grid.names, USUAL_RATING), _usual(grid.names, USUAL_EVENT)
    if rating is not None and wanted.min_rating is None and rating not in chosen:
        ends = _range(grid, rating)
        if ends is not None and len(_some(grid, rating)) > 1:
            low, high = ends
            warnings.append(
                f"{rating} ({low:g} to {high:g}) is not read: every row is an interaction; --min-rating N takes those of N and more"
            )
    if event is not None and event not in chosen:
        values = _some(grid, event)
        if len(values) > 1:
            some = ", ".join(values[:SHOWN]) + ", ..." * (len(values) > SHOWN)
            warnings.append(
                f"{event} ({some}) is not read: every row is an interaction; --only {event}={values[0]} takes one kind"
            )
    return warnings
