"""A dataset in memory: users' items in time order, item texts, and the anchors derived from them.

Legend: U users, V items, N interactions, A anchors. User and item ids count from 1; item 0 is padding.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError

TRAIN, VALID, TEST = 0, 1, 2
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
        return [
            ". ".join([*([title] if title else []), *(f"{name}: {', '.join(values)}" for name, values in more.items())])
            for title, more in zip(self.titles, self.attributes, strict=True)
        ]


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
        for part in (
            "\n".join(self.user_raw_ids).encode(),
            "\n".join(self.items.raw_ids).encode(),
            "\n".join(self.items.titles).encode(),
            "\n".join(self.items.texts).encode(),
            self.sequence.astype("<i4").tobytes(),
            self.offsets.astype("<i8").tobytes(),
            b"" if self.timestamps is None else self.timestamps.astype("<i8").tobytes(),
            *([] if self.microseconds is None else [self.microseconds.astype("<i8").tobytes()]),
        ):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.hexdigest()

    @property
    def dataset_id(self) -> str:
        """Identifies this content in every table of the store."""
        return self.sha256[:16]

    @cached_property
    def anchors(self) -> Anchors:
        """All prefixes of all users, with their roles."""
        prefixes = np.maximum(self.lengths - 1, 0)
        users = np.repeat(np.arange(1, self.users + 1, dtype=np.int32), prefixes)
        first = np.repeat(np.cumsum(prefixes) - prefixes, prefixes)
        positions = np.arange(len(users), dtype=np.int64) - first + 1
        ends = self.offsets[users - 1] + positions
        left = self.lengths[users - 1] - positions  # items behind the prefix: 1 is test, 2 is valid
        splits = self.lengths[users - 1] >= 3
        roles = np.full(len(users), TRAIN, np.uint8)
        roles[splits & (left == 2)] = VALID
        roles[splits & (left == 1)] = TEST
        return Anchors(
            user_ids=users,
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
