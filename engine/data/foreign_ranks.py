"""Ranks of a model that was trained elsewhere, from a file: a rank for each user, or scored items of which the rank is made.

Legend: U users of the split, N rows of the file, V items.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from engine.data.dataset import ROLES, Dataset
from engine.data.readers.base import USUAL_ITEM, USUAL_USER, Coded
from engine.data.readers.columns import as_text, ids_of
from engine.data.readers.grid import Grid
from engine.data.readers.recbole import is_atomic, untyped_columns
from engine.data.readers.table import table_of
from engine.errors import DataError

pc: Any = pyarrow.compute
RANK_COLUMNS = ("rank", "target_rank", "position")
SCORE_COLUMNS = ("score", "scores", "prediction", "rating")
TARGET_COLUMNS = ("target", "target_item", "target_id", "label", *USUAL_ITEM)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Columns named by a person; none means that usual names are tried."""

    user: str | None = None
    item: str | None = None
    rank: str | None = None
    score: str | None = None


@dataclass(frozen=True, kw_only=True)
class ForeignRanks:
    """Ranks of every user's target, in order of the split's anchors."""

    user_ids: NDArray[np.int32]
    """(U,)"""
    ranks: NDArray[np.int32]
    """(U,) from 1; V where the target stands in no list."""
    form: str
    """`ranks` or `scores`."""
    depth: int | None = None
    """Of scores: the fewest items that a user has; ranks are exact up to it. None for ranks."""
    unlisted: int = 0
    """Of scores: users whose target is not among their items."""


def read_ranks(
    path: Path, dataset: Dataset, *, split: str = "test", columns: Columns = Columns(), ties: str = "worst"
) -> ForeignRanks:
    """Read a table (CSV, TSV, Parquet, RecBole's `name:type`) of user and rank, or of user, item and score, by raw ids.

    A table of ranks may hold the target item, too; then it is compared with that of the split. Ranks of scores are counted
    as our own evaluation does: with `ties = worst` the items that score at least as high as the target, the target included.

    Raises:
        DataError: a column, user or item is unknown, a user of the split is missing or twice there, a target is another one
            than here, or a rank is no whole number from 1 to V.
    """
    if not path.is_file():
        raise DataError("there is no such file", where=str(path))
    grid = untyped_columns(path) if is_atomic(path) else table_of(path).grid(path)
    user = grid.need(columns.user, USUAL_USER, "--user-column")
    users = _numbers(grid, ids_of(grid, user, "user"), dataset.user_raw_ids, "user")
    anchors = dataset.anchors.ids(ROLES.index(split)) - 1
    wanted, targets = dataset.anchors.user_ids[anchors], dataset.anchors.targets[anchors]
    expected = np.zeros(dataset.users + 1, np.int32)
    expected[wanted] = targets  # 0 for users who are not in the split
    strangers = expected[users] == 0
    if strangers.any():
        raise grid.bad_rows(
            strangers,
            lambda row: f"user {dataset.user_raw_ids[users[row] - 1]!r} has no {split} target in {dataset.name}",
            "A user with fewer than three interactions is in training alone; leave such rows out.",
        )
    rank = grid.pick(columns.rank, RANK_COLUMNS, "--rank-column")
    if rank is not None and columns.score is None:
        return _of_ranks(grid, rank, columns, dataset, users, expected, wanted, split)
    score = grid.pick(columns.score, SCORE_COLUMNS, "--score-column")
    if score is None:
        raise DataError(
            f"there is no column of ranks or scores; {grid.listing}",
            where=grid.head,
            hint="Name one with --rank-column or --score-column.",
        )
    return _of_scores(grid, score, columns, dataset, users, expected, wanted, ties)


def _numbers(grid: Grid, ids: Coded, known: list[str], role: str) -> NDArray[np.int64]:
    """(N,) our ids of raw ones.

    Raises:
        DataError: one is unknown.
    """
    numbers = {raw: number for number, raw in enumerate(known, 1)}
    own = np.array([numbers.get(value, 0) for value in ids.values], np.int64)[ids.codes]
    if (own == 0).any():
        raise grid.bad_rows(
            own == 0,
            lambda row: f"the data set has no {role} {ids.values[ids.codes[row]]!r}",
            f"Ids are those of the source, such as {known[0]!r}; was the model trained on another import or filter?",
        )
    return own


def _floats(grid: Grid, name: str, what: str, *, masked: bool = False) -> NDArray[np.float64]:
    """(N,) a column of finite numbers; with `masked` minus infinity is one, too, as libraries score seen items.

    Raises:
        DataError: a cell is none.
    """
    column = grid.column(name)
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = np.asarray(pc.fill_null(pc.cast(column, pa.float64()), np.nan))
    else:
        text = as_text(column)
        try:
            values = np.asarray(pc.cast(text, pa.float64()))
        except pa.ArrowInvalid:
            values = np.array([_float(cell) for cell in text.to_pylist()])
    bad = ~np.isfinite(values) & ~(masked & np.isneginf(values))
    if bad.any():
        cells = as_text(column) if not pa.types.is_nested(kind) else column
        raise grid.bad_rows(bad, lambda row: f"the {what} {cells[row].as_py()!r} is no number")
    return values


def _float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _of_ranks(
    grid: Grid,
    name: str,
    columns: Columns,
    dataset: Dataset,
    users: NDArray[np.int64],
    expected: NDArray[np.int32],
    wanted: NDArray[np.int32],
    split: str,
) -> ForeignRanks:
    values = _floats(grid, name, "rank")
    items = len(dataset.items)
    bad = (values < 1) | (values > items) | (values != np.floor(values))
    if bad.any():
        raise grid.bad_rows(
            bad,
            lambda row: f"the rank {values[row]:g} is no whole number from 1 to {items:,}, the number of items",
            "Ranks count from 1; add 1 to ranks that count from 0." if (values == 0).any() else None,
        )
    target = grid.pick(columns.item, TARGET_COLUMNS, "--item-column")
    if target is not None:
        own = _numbers(grid, ids_of(grid, target, "item"), dataset.items.raw_ids, "item")
        other = own != expected[users]
        if other.any():
            raise grid.bad_rows(other, lambda row: _other_target(dataset, users[row], own[row], expected, split))
    seen = np.bincount(users, minlength=dataset.users + 1)
    if (seen > 1).any():
        twice = _repeated(users)
        raise grid.bad_rows(twice, lambda row: f"user {dataset.user_raw_ids[users[row] - 1]!r} has a second rank")
    _all_there(grid, dataset, seen, wanted)
    by_user = np.zeros(dataset.users + 1, np.int32)
    by_user[users] = values
    return ForeignRanks(user_ids=wanted, ranks=by_user[wanted], form="ranks")


def _other_target(dataset: Dataset, user: int, item: int, expected: NDArray[np.int32], split: str) -> str:
    raw = dataset.items.raw_ids
    return (
        f"the target of user {dataset.user_raw_ids[user - 1]!r} is {raw[item - 1]!r}, but the {split} target here "
        f"is {raw[expected[user] - 1]!r}: the model was tested on another split"
    )


def _repeated(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) which values stand in an earlier row, too."""
    order = np.argsort(values, kind="stable")
    found = np.zeros(len(values), bool)
    found[order[1:]] = values[order[1:]] == values[order[:-1]]
    return found


def _all_there(grid: Grid, dataset: Dataset, seen: NDArray[np.int64], wanted: NDArray[np.int32]) -> None:
    """Refuse a file that lacks users: a mean over some users is none over all.

    Raises:
        DataError: a user is missing.
    """
    missing = wanted[seen[wanted] == 0]
    if len(missing):
        names = ", ".join(repr(dataset.user_raw_ids[user - 1]) for user in missing[:3])
        raise DataError(
            f"{len(missing):,} of {len(wanted):,} users are missing, such as {names}",
            where=str(grid.path),
            hint="Every user of the split needs a row: metrics over some users compare with no other run.",
        )


def _of_scores(
    grid: Grid,
    name: str,
    columns: Columns,
    dataset: Dataset,
    users: NDArray[np.int64],
    expected: NDArray[np.int32],
    wanted: NDArray[np.int32],
    ties: str,
) -> ForeignRanks:
    item = grid.need(columns.item, USUAL_ITEM, "--item-column")
    items = _numbers(grid, ids_of(grid, item, "item"), dataset.items.raw_ids, "item")
    scores = _floats(grid, name, "score", masked=True)
    pairs = users * (len(dataset.items) + 1) + items
    if (twice := _repeated(pairs)).any():
        raw = dataset.items.raw_ids
        raise grid.bad_rows(
            twice,
            lambda row: f"user {dataset.user_raw_ids[users[row] - 1]!r} has item {raw[items[row] - 1]!r} twice",
        )
    seen = np.bincount(users, minlength=dataset.users + 1)
    _all_there(grid, dataset, seen, wanted)
    own = np.full(dataset.users + 1, -np.inf)
    hit = items == expected[users]
    own[users[hit]] = scores[hit]
    above = scores >= own[users] if ties == "worst" else scores > own[users]
    ranks = np.bincount(users[above], minlength=dataset.users + 1) + (ties == "best")
    listed = np.zeros(dataset.users + 1, bool)
    listed[users[hit]] = True
    ranks[~listed] = len(dataset.items)
    return ForeignRanks(
        user_ids=wanted,
        ranks=ranks[wanted].astype(np.int32),
        form="scores",
        depth=int(seen[wanted].min()),
        unlisted=int((~listed[wanted]).sum()),
    )
