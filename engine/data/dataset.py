"""A dataset in memory: users' items in time order, item texts, and the anchors derived from them.

Legend: U users, V items, N interactions, A anchors. User and item ids count from 1; item 0 is padding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.scratch import shares, slices
from engine.errors import DataError

TRAIN, VALID, TEST = 0, 1, 2
LINES = 10_000
"""Texts that are joined at a time."""
ROLES = ("train", "valid", "test")
"""Names of the roles by their number."""


@dataclass(frozen=True)
class Items:
    """Ids and texts of the V items, by item id - 1."""

    raw_ids: list[str]
    """The source's own ids."""
    titles: list[str]
    """One readable line each; empty where the source has none."""
    attributes: list[dict[str, list[str]]]
    """Further text by field name (`brand`, `category`, `price`, `description`, ...), each a list of values."""

    def __len__(self) -> int:
        return len(self.raw_ids)

    @cached_property
    def texts(self) -> list[str]:
        """Each item as one text: its title, then `field: values` for each attribute."""
        return list(self.each_text())

    def each_text(self) -> Iterator[str]:
        """`texts` one after the other: all together they are as large as titles and attributes."""
        for title, more in zip(self.titles, self.attributes, strict=True):
            parts = [f"{name}: {', '.join(values)}" for name, values in more.items()]
            yield ". ".join([title, *parts] if title else parts)


@dataclass(frozen=True)
class Anchors:
    """Every prefix of every user, in order of user and position; anchor ids count from 1, so row = id - 1.

    Leave-one-out (paper section 3.1): targets i_2 .. i_{N-2} are train, i_{N-1} valid, i_N test; a user with
    N < 3 only trains.
    """

    user_ids: NDArray[np.int32]
    """(A,)"""
    positions: NDArray[np.int32]
    """(A,) position of the prefix's last item, from 1: also its length before windowing."""
    targets: NDArray[np.int32]
    """(A,) the item that follows."""
    roles: NDArray[np.uint8]
    """(A,) TRAIN, VALID or TEST."""
    ends: NDArray[np.int64]
    """(A,) index behind the prefix's last item in `Dataset.sequence`."""

    def __len__(self) -> int:
        return len(self.user_ids)

    def ids(self, role: int) -> NDArray[np.int64]:
        """Anchor ids of a role, ascending."""
        return np.flatnonzero(self.roles == role) + 1

    @cached_property
    def representing(self) -> NDArray[np.int64]:
        """Ids of each user's longest training prefix, in order of user; users without one are left out."""
        train = self.ids(TRAIN)
        users = self.user_ids[train - 1]
        return train[np.append(users[1:] != users[:-1], True)] if len(train) else train


@dataclass(frozen=True)
class Dataset:
    """Users, items and interactions, complete and checked."""

    name: str
    user_raw_ids: list[str]
    """By user id - 1."""
    items: Items
    sequence: NDArray[np.int32]
    """(N,) item ids: user 1's items in time order, then user 2's, ..."""
    offsets: NDArray[np.int64]
    """(U + 1,) user u's items are `sequence[offsets[u - 1]:offsets[u]]`."""
    timestamps: NDArray[np.int64] | None
    """(N,) Unix seconds along `sequence`; none where the source has no times."""
    options: dict[str, object] = field(default_factory=dict)
    """How it was imported: format, filters, duplicate handling, tie order."""
    microseconds: NDArray[np.int64] | None = None
    """(N,) what the times have beyond their second; none where all are whole seconds."""

    def __post_init__(self) -> None:
        if len(self.sequence) == 0:
            raise DataError(f"dataset {self.name!r} has no interactions")
        if self.sequence.min() < 1 or self.sequence.max() > len(self.items):
            raise DataError(f"dataset {self.name!r} has item ids outside 1..{len(self.items)}")

    @property
    def users(self) -> int:
        """U."""
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(U,) interactions per user."""
        return np.diff(self.offsets)

    @cached_property
    def sha256(self) -> str:
        """Hash of all that training reads: raw ids, texts, sequences and times; not the name."""
        digest = hashlib.sha256()
        texts = self.items.each_text
        for lines in (self.user_raw_ids, self.items.raw_ids, self.items.titles):
            _add_lines(digest, lambda lines=lines: iter(lines))
        _add_lines(digest, texts)
        _add_numbers(digest, self.sequence, "<i4")
        _add_numbers(digest, self.offsets, "<i8")
        _add_numbers(digest, np.zeros(0) if self.timestamps is None else self.timestamps, "<i8")
        if self.microseconds is not None:
            _add_numbers(digest, self.microseconds, "<i8")
        return digest.hexdigest()

    @property
    def dataset_id(self) -> str:
        """Identifies this content in every table of the store."""
        return self.sha256[:16]

    @cached_property
    def anchors(self) -> Anchors:
        """All prefixes of all users, with their roles."""
        parts = list(self.anchor_parts())
        if len(parts) == 1:
            return parts[0]
        return Anchors(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Anchors)))

    def anchor_parts(self) -> Iterator[Anchors]:
        """`anchors` in parts of whole users, some million prefixes each."""
        for users in shares(self.offsets):
            first, end = users.start, users.stop
            lengths = self.lengths[first:end]
            prefixes = np.maximum(lengths - 1, 0)
            own = np.repeat(np.arange(end - first), prefixes)
            begun = np.repeat(np.cumsum(prefixes) - prefixes, prefixes)
            positions = np.arange(len(own), dtype=np.int64) - begun + 1
            ends = self.offsets[first:end][own] + positions
            left = lengths[own] - positions  # items behind the prefix: 1 is test, 2 is valid
            splits = lengths[own] >= 3
            roles = np.full(len(own), TRAIN, np.uint8)
            roles[splits & (left == 2)] = VALID
            roles[splits & (left == 1)] = TEST
            yield Anchors(
                user_ids=(own + first + 1).astype(np.int32),
                positions=positions.astype(np.int32),
                targets=self.sequence[ends].astype(np.int32),
                roles=roles,
                ends=ends,
            )

    @cached_property
    def train_mask(self) -> NDArray[np.bool_]:
        """(N,) which interactions are training interactions: all but the last two of a user with three or more."""
        position = np.arange(len(self.sequence)) - np.repeat(self.offsets[:-1], self.lengths)
        length = np.repeat(self.lengths, self.lengths)
        return (length < 3) | (position < length - 2)

    @cached_property
    def train_counts(self) -> NDArray[np.int64]:
        """(V + 1,) training interactions per item id; row 0 is padding and 0."""
        return np.bincount(self.sequence[self.train_mask], minlength=len(self.items) + 1)

    @cached_property
    def tied(self) -> NDArray[np.bool_]:
        """(U,) users whose validation and test interaction share a timestamp, to the microsecond."""
        if self.timestamps is None:
            return np.zeros(self.users, bool)
        last, before = self.offsets[1:] - 1, np.maximum(self.offsets[1:] - 2, 0)
        tied = (self.lengths >= 3) & (self.timestamps[last] == self.timestamps[before])
        if self.microseconds is not None:
            tied &= self.microseconds[last] == self.microseconds[before]
        return tied

    def history(self, anchor_id: int, max_length: int | None = None) -> NDArray[np.int32]:
        """Item ids of an anchor's prefix, oldest first; its last `max_length` ones where given."""
        row = anchor_id - 1
        length = int(self.anchors.positions[row])
        end = int(self.anchors.ends[row])
        return self.sequence[end - min(length, max_length or length) : end]

    def first_users(self, count: int | None) -> Dataset:
        """The same items with the first `count` users only; itself where that is all of them."""
        if count is None or count >= self.users:
            return self
        end = int(self.offsets[count])
        beyond = None if self.microseconds is None else self.microseconds[:end]
        return replace(
            self,
            user_raw_ids=self.user_raw_ids[:count],
            sequence=self.sequence[:end],
            offsets=self.offsets[: count + 1],
            timestamps=None if self.timestamps is None else self.timestamps[:end],
            microseconds=beyond if beyond is not None and beyond.any() else None,
        )


def _add_lines(digest: Any, lines: Callable[[], Iterator[str]]) -> None:
    """Add texts, joined by line breaks, after the number of their bytes."""
    total = sum(len(block) for block in _joined(lines()))
    digest.update(total.to_bytes(8, "little"))
    for block in _joined(lines()):
        digest.update(block)


def _joined(lines: Iterator[str]) -> Iterator[bytes]:
    first = True
    while block := list(islice(lines, LINES)):
        yield ("" if first else "\n").encode() + "\n".join(block).encode()
        first = False


def _add_numbers(digest: Any, column: NDArray[Any], kind: str) -> None:
    """Add a column as numbers of a kind, after the number of their bytes."""
    digest.update((len(column) * np.dtype(kind).itemsize).to_bytes(8, "little"))
    for rows in slices(len(column), column):
        digest.update(column[rows].astype(kind).tobytes())
