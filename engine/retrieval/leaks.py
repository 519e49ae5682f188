"""Leaks in a neighbor list: prefixes of the anchor's own user, the anchor's target, held-out prefixes.

Legend: Q queries, k neighbors, E entries (neighbors), T items of windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import TRAIN, Dataset
from engine.data.histories import window_items
from engine.retrieval.neighbors import NeighborTable

ENTRIES_AT_ONCE = 200_000


@dataclass(frozen=True)
class LeakReport:
    """Shares between 0 and 1; 0 where there is nothing to count."""

    own_share: float
    """Of the entries: prefixes of the anchor's own user."""
    target_share: float
    """Of the anchors: those with a neighbor whose window holds the anchor's target."""
    heldout_share: float
    """Of the entries: prefixes that are not training prefixes."""
    entries: int
    anchors: int


def leak_table(table: NeighborTable, dataset: Dataset, *, max_length: int) -> LeakReport:
    """Count the leaks of a list of prefixes.

    Args:
        max_length: the window, in items: only a neighbor's last items count.
    """
    anchors = dataset.anchors
    rows, ranks = np.nonzero(table.ids)
    queries, neighbors = table.query_ids[rows], table.ids[rows, ranks]
    own = anchors.user_ids[queries - 1] == anchors.user_ids[neighbors - 1]
    heldout = anchors.roles[neighbors - 1] != TRAIN
    holds = np.zeros(len(table.query_ids), bool)
    for start in range(0, len(rows), ENTRIES_AT_ONCE):
        part = slice(start, start + ENTRIES_AT_ONCE)
        hit = _holds(dataset, neighbors[part].astype(np.int64), anchors.targets[queries[part] - 1], max_length)
        holds[rows[part][hit]] = True
    return LeakReport(
        own_share=_share(own),
        target_share=_share(holds),
        heldout_share=_share(heldout),
        entries=len(rows),
        anchors=len(table.query_ids),
    )


def _holds(
    dataset: Dataset, anchor_ids: NDArray[np.int64], items: NDArray[np.int32], max_length: int
) -> NDArray[np.bool_]:
    """(E,) whether each anchor's window holds the item of the same row."""
    window = window_items(dataset, anchor_ids, max_length)
    same = window.items == np.repeat(items, np.diff(window.starts))  # (T,)
    return np.logical_or.reduceat(same, window.starts[:-1])  # no window is empty


def _share(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else 0.0
