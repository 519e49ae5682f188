"""Interactions in order of user and time, filtered and numbered, a part of the users at a time.

Legend: N rows of the source, M rows in order, U users, V items. A user's rows are in memory together, no other column is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.data import scratch
from engine.data.readers.base import Coded, Raw
from engine.data.scratch import Column, Workspace, give_back, shares, slices

PASSES = 16
"""How often all rows are gone through, at most, for those of some users."""
Duplicates = Literal["keep", "first", "last"]


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """The rows that are kept, by user code, time, and the order of ties."""

    items: NDArray[np.int32]
    """(M,) item codes."""
    times: NDArray[np.int64] | None
    """(M,) microseconds since 1970."""
    rows: NDArray[np.int64]
    """(M,) row in the source."""
    offsets: NDArray[np.int64]
    """(U + 1,) where each user's rows begin."""
    work: Workspace

    def __len__(self) -> int:
        return len(self.items)

    def users(self) -> Iterator[tuple[slice, slice, NDArray[np.int64]]]:
        """Consecutive users with their rows, some `PART` rows at a time, and the user code of each row."""
        for users in shares(self.offsets):
            rows = slice(int(self.offsets[users.start]), int(self.offsets[users.stop]))
            lengths = np.diff(self.offsets[users.start : users.stop + 1])
            yield users, rows, np.repeat(np.arange(users.start, users.stop), lengths)
            give_back(self.items, self.times, self.rows)

    def kept(self, alive: NDArray[np.bool_]) -> Ordered:
        """The rows of a mask (M,) alone."""
        counts = np.zeros(len(self.offsets) - 1, np.int64)
        for chosen, rows, owners in self.users():
            counts[chosen] = np.bincount(owners[alive[rows]] - chosen.start, minlength=chosen.stop - chosen.start)

        def left(column: NDArray[Any]) -> NDArray[Any]:
            parts = (column[rows][alive[rows]] for rows in slices(len(column), column))
            return self.work.gathered(parts, column.dtype)

        times = None if self.times is None else left(self.times)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return replace(self, items=left(self.items), times=times, rows=left(self.rows), offsets=offsets)

    def firsts(self, items: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first source row of each user (U,) and of each of so many items; -1 for those without rows."""
        users, none = np.full(len(self.offsets) - 1, -1, np.int64), np.iinfo(np.int64).max
        of_items = np.full(items, none, np.int64)
        for chosen, rows, _ in self.users():
            source, starts = self.rows[rows], self.offsets[chosen] - rows.start
            here = np.flatnonzero(np.diff(self.offsets[chosen.start : chosen.stop + 1]))
            if len(here):
                users[here + chosen.start] = np.minimum.reduceat(source, starts[here])
            np.minimum.at(of_items, self.items[rows], source)
        of_items[of_items == none] = -1
        return users, of_items

    def by_users(self, order: NDArray[np.int64], column: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """A column with the users in another order, in parts."""
        lengths = np.diff(self.offsets)[order]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        for users in shares(ends):
            starts, own = self.offsets[order[users]], lengths[users]
            within = np.arange(int(ends[users.start]), int(ends[users.stop])) - np.repeat(ends[users], own)
            yield column[np.repeat(starts, own) + within]
            give_back(column)


def late_rows(raw: Raw) -> int:
    """How many rows are earlier than the row before of their user."""
    if raw.times is None:
        return 0
    latest, count = np.full(len(raw.users.values), np.iinfo(np.int64).min), 0
    for rows in slices(len(raw.times), raw.users.codes, raw.times):
        users, times = raw.users.codes[rows], raw.times[rows]
        order = np.argsort(users, kind="stable")
        users, times = users[order], times[order]
        begins = np.append(True, users[1:] != users[:-1])
        before = np.where(begins, latest[users], np.append(times[:1], times[:-1]))
        count += int((times < before).sum())
        ends = np.append(begins[1:], True)
        latest[users[ends]] = times[ends]
    return count


def ordered(raw: Raw, *, ties: NDArray[np.int64] | None, duplicates: Duplicates, work: Workspace) -> Ordered:
    """All rows of a source, or of a user's repeated items the first or the last.

    Args:
        ties: (N,) order of a user's rows at the same time; none is that of the source.
    """
    lengths = np.zeros(len(raw.users.values), np.int64)
    for rows in slices(len(raw.users.codes), raw.users.codes):
        lengths += np.bincount(raw.users.codes[rows], minlength=len(lengths))
    kinds = {"items": np.int32, "rows": np.int64} | ({} if raw.times is None else {"times": np.int64})
    columns = {name: Column(work, kind) for name, kind in kinds.items()}
    counts: list[NDArray[np.int64]] = []
    part_rows = max(4 * scratch.PART, len(raw.users.codes) // PASSES)
    for users in shares(np.concatenate([[0], np.cumsum(lengths)]), part_rows):
        owners, part = _rows_of(raw, users, ties)
        keys = [part[name] for name in ("ties", "times") if name in part]
        order = np.lexsort((*keys, owners)) if keys else np.argsort(owners, kind="stable")
        if duplicates != "keep":
            pairs = owners[order].astype(np.int64) * len(raw.items.values) + part["items"][order]
            order = order[_once(pairs, duplicates)]
        counts.append(np.bincount(owners[order] - users.start, minlength=users.stop - users.start))
        for name, column in columns.items():
            column.append(part[name][order])
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    items, rows = columns["items"].whole(), columns["rows"].whole()
    times = columns["times"].whole() if "times" in columns else None
    return Ordered(items=items, times=times, rows=rows, offsets=offsets, work=work)


def _rows_of(
    raw: Raw, users: slice, ties: NDArray[np.int64] | None
) -> tuple[NDArray[np.int32], dict[str, NDArray[Any]]]:
    """The rows of some users in the order of the source: the user of each, and their columns."""
    found = {"users": raw.users.codes, "items": raw.items.codes, "times": raw.times, "ties": ties}
    columns = {name: column for name, column in found.items() if column is not None}
    parts: list[dict[str, NDArray[Any]]] = []
    for rows in slices(len(raw.users.codes), *columns.values()):
        owners = raw.users.codes[rows]
        chosen = np.flatnonzero((owners >= users.start) & (owners < users.stop))
        parts.append({name: column[rows][chosen] for name, column in columns.items()} | {"rows": chosen + rows.start})
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return whole.pop("users"), whole


def _once(pairs: NDArray[np.int64], duplicates: Duplicates) -> NDArray[np.int64]:
    """Indices of the first or the last of equal values, ascending."""
    if duplicates == "first":
        return np.sort(np.unique(pairs, return_index=True)[1])
    return np.sort(len(pairs) - 1 - np.unique(pairs[::-1], return_index=True)[1])


def in_core(rows: Ordered, items: int, least: int, tell: Callable[[str], None]) -> NDArray[np.bool_]:
    """(M,) the rows of the k-core: each user and each of so many items has at least `least` of them."""
    alive, left = np.ones(len(rows), bool), len(rows)
    while least > 1 and left:
        of_users, of_items = np.zeros(len(rows.offsets) - 1, np.int64), np.zeros(items, np.int64)
        for _, part, owners in rows.users():
            of_users += np.bincount(owners[alive[part]], minlength=len(of_users))
            of_items += np.bincount(rows.items[part][alive[part]], minlength=items)
        for _, part, owners in rows.users():
            alive[part] &= (of_users[owners] >= least) & (of_items[rows.items[part]] >= least)
        before, left = left, int(alive.sum())
        if left == before:
            break
        tell(f"filtering: {left:,} interactions left")
    return alive


def long_enough(rows: Ordered, least: int) -> NDArray[np.bool_]:
    """(M,) the rows of users with at least so many."""
    lengths = np.diff(rows.offsets)
    return np.repeat(lengths >= least, lengths)


def newest(rows: Ordered, most: int) -> NDArray[np.bool_]:
    """(M,) the last `most` rows of each user."""
    mask = np.zeros(len(rows), bool)
    for _, part, owners in rows.users():
        mask[part] = rows.offsets[owners + 1] - np.arange(part.start, part.stop) <= most
    return mask


def numbered(ids: Coded, first: NDArray[np.int64], also: list[str]) -> NDArray[np.int64]:
    """The codes that still have a row, in the order of their numbers in the dataset.

    Args:
        first: of each code its first row in the source, -1 for none.
        also: further ids of the source, included when testing whether the ids are exactly 1..n.
    """
    codes = np.flatnonzero(first >= 0)
    if is_count(ids.values) or is_count(list({*ids.values, *also})):
        numbers = np.array([int(value) for value in ids.values])
        return codes[np.argsort(numbers[codes], kind="stable")]
    return codes[np.argsort(first[codes], kind="stable")]


def is_count(values: list[str]) -> bool:
    """Whether different ids are exactly 1..n, written plainly."""
    return all(value.isdigit() for value in values) and set(values) == {
        str(number) for number in range(1, len(values) + 1)
    }
