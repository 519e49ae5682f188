"""The items of a prefix, and the training prefixes that precede an item.

Legend: B anchors, T items of all their windows together, V items, M histories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import TRAIN, Dataset


@dataclass(frozen=True)
class WindowItems:
    """The last items of B prefixes, concatenated, each oldest first."""

    items: NDArray[np.int32]
    """(T,) item ids."""
    starts: NDArray[np.int64]
    """(B + 1,) window b is `items[starts[b]:starts[b + 1]]`."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def newest_first(self, row: int) -> list[int]:
        """Item ids of one window, newest first."""
        return self.items[self.starts[row] : self.starts[row + 1]][::-1].tolist()


def window_items(dataset: Dataset, anchor_ids: NDArray[np.int64], max_length: int) -> WindowItems:
    """The last `max_length` items of each anchor's prefix, for anchors (B,)."""
    rows = np.asarray(anchor_ids, np.int64) - 1
    lengths = np.minimum(dataset.anchors.positions[rows], max_length).astype(np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    first = dataset.anchors.ends[rows] - lengths
    index = np.repeat(first - starts[:-1], lengths) + np.arange(starts[-1])
    return WindowItems(items=dataset.sequence[index], starts=starts)


def source_anchors(dataset: Dataset, anchor_ids: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    """For each anchor (B,) the anchor whose summary it uses: its own, or with `every-m` its user's latest m-th prefix so far.

    A user's first prefix is always one of those, so a summary never covers items later than the prefix that uses it.

    Args:
        unit: `semantics.unit`: `prefix`, `user` or `every-m`.
    """
    if not unit.startswith("every-"):
        return np.asarray(anchor_ids, np.int64)
    rows = np.asarray(anchor_ids, np.int64) - 1
    return rows + 1 - (dataset.anchors.positions[rows].astype(np.int64) - 1) % int(unit.removeprefix("every-"))


@dataclass(frozen=True)
class ItemHistories:
    """Training prefixes by the item that followed them (paper section 3.2.2)."""

    anchor_ids: NDArray[np.int64]
    """(M,) by item, then by user and position."""
    starts: NDArray[np.int64]
    """(V + 2,) item v's anchors are `anchor_ids[starts[v]:starts[v + 1]]`."""

    def of(self, item_id: int) -> NDArray[np.int64]:
        """Training anchors whose target is the item; empty for padding and for items that are no target in training."""
        return self.anchor_ids[self.starts[item_id] : self.starts[item_id + 1]]


def item_histories(dataset: Dataset, *, limit: int) -> ItemHistories:
    """At most `limit` training prefixes per item, lowest anchor ids first; validation and test prefixes are left out."""
    train = dataset.anchors.ids(TRAIN)
    targets = dataset.anchors.targets[train - 1]
    order = np.argsort(targets, kind="stable")
    counts = np.bincount(targets, minlength=len(dataset.items) + 1)
    first = np.cumsum(counts) - counts
    place = np.arange(len(order)) - first[targets[order]]
    kept = np.minimum(counts, limit)
    return ItemHistories(
        anchor_ids=train[order][place < limit],
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)]),
    )
