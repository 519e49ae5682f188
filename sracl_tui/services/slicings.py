"""The ways to slice the users of a run: by history, target, times and neighbors.

Legend: U users.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.slices import (
    Codes,
    NeighborList,
    NeighborProfile,
    neighbor_profile,
    popularity_codes,
    quartile_codes,
)
from sracl_tui.services.missing_neighbors import why_none
from store.database.database import Store
from store.queries import slices as queries
from store.run_row import StoredRun

Floats = NDArray[np.float64]
POPULARITY = ("head", "middle", "tail")
UNKNOWN = "no neighbors"


@dataclass(frozen=True)
class Slicing:
    """One way to slice the users."""

    key: str
    """One of TITLES."""
    codes: Codes
    """(U,) of each user the place of the slice in `labels`; -1 for none."""
    labels: Sequence[str]
    why: str = ""
    """Why there are no slices; empty where there are."""


def slicings(
    store: Store, dataset_id: str, users: NDArray[np.int32], split: str, sides: Sequence[tuple[str, StoredRun]]
) -> tuple[list[Slicing], str]:
    """Every way to slice the users (U,), and whose neighbors they are; a way without slices says why.

    Args:
        sides: label and run of each side; the neighbors are those of the first one that has any.

    Raises:
        StoreError: the database cannot be read.
    """
    targets = _along(users, queries.targets(store, dataset_id, split))
    counts = queries.train_counts(store, dataset_id)
    found = [
        _by_quartile("length", targets["length"], _whole),
        _by_popularity(targets["item_id"], counts),
        _by_tie(targets["tied"], has_times=queries.has_times(store, dataset_id)),
    ]
    label, run = next(((label, run) for label, run in sides if run["user_list_id"] is not None), sides[0])
    if run["user_list_id"] is None:
        why = _why_no_neighbors(label, run)
        return [*found, *(_without(key, why) for key in NEIGHBORS)], ""
    profile = _profile(store, dataset_id, run["user_list_id"], users, targets["item_id"])
    with_target = profile.has_target[users]
    return [
        *found,
        _by_quartile("similarity", profile.similarity[users], _decimal),
        _sliced("next", np.where(np.isnan(with_target), -1, 1 - with_target), ("yes", "no")),
        _by_quartile("occurrence", profile.occurrence[users], _tenths),
    ], f"neighbors are those that {label} found for the longest training prefix of each user"


TITLES = {
    "length": "length of the history",
    "popularity": "popularity of the target",
    "tied": "last two items at the same time",
    "similarity": "mean similarity of the neighbors",
    "next": "the target follows a neighbor",
    "occurrence": "mean k-occurrence of the neighbors",
}
"""What each way to slice is called; the last three need neighbors."""
NEIGHBORS = ("similarity", "next", "occurrence")
ABOUT = {
    "length": "by quartiles of the number of items before the target; equal numbers are not parted",
    "popularity": "by interactions of the target in training: head is the fifth of the items that have most, middle those that complete the half, tail the others",
    "tied": "whether validation and test item have the same timestamp, so that their order is not known",
    "similarity": "by quartiles of the mean similarity of the user's neighbors",
    "next": "whether the item that follows one of the user's neighbors is the target",
    "occurrence": "by quartiles of the number of lists that a neighbor is in (k-occurrence), mean over the user's neighbors: high where they are hubs",
}


def _along(users: NDArray[np.int32], table: Any) -> dict[str, Floats]:
    """The columns of a table by user_id, each as (U,) along `users`; NaN where a user has no row."""
    ids = table["user_id"].to_numpy()
    places = np.searchsorted(ids, users)
    known = places < len(ids)
    known[known] = ids[places[known]] == users[known]
    found: dict[str, Floats] = {}
    for name in table.column_names[1:]:
        found[name] = np.full(len(users), np.nan)
        found[name][known] = table[name].to_numpy(zero_copy_only=False)[places[known]].astype(np.float64)
    return found


def _profile(store: Store, dataset_id: str, list_id: str, users: NDArray[np.int32], items: Floats) -> NeighborProfile:
    """What the neighbors of the users (U,) are like, whose targets are `items` (U,)."""
    prefixes, pairs = queries.prefixes(store, dataset_id), queries.pairs(store, list_id)
    ids = prefixes["anchor_id"].to_numpy()
    anchors, neighbors = (pairs[name].to_numpy() for name in ("anchor_id", "neighbor_id"))
    size = max(int(some.max(initial=0)) for some in (ids, anchors, neighbors)) + 1
    represented, next_items = np.zeros(size, np.int64), np.zeros(size, np.int64)
    represented[ids], next_items[ids] = prefixes["user_id"].to_numpy(), prefixes["item_id"].to_numpy()
    targets = np.zeros(int(users.max(initial=0)) + 1, np.int64)
    targets[users] = np.nan_to_num(items).astype(np.int64)
    found = NeighborList(anchors, neighbors, pairs["similarity"].to_numpy(), represented, next_items)
    return neighbor_profile(found, targets)


def _by_quartile(key: str, values: Floats, text: Callable[[float], str]) -> Slicing:
    codes = quartile_codes(values)
    labels = []
    for code in range(int(codes.max(initial=-1)) + 1):
        inside = values[codes == code]
        low, high = text(float(inside.min())), text(float(inside.max()))
        labels.append(low if low == high else f"{low} to {high}")
    return _sliced(key, codes, labels)


def _by_popularity(items: Floats, counts: NDArray[np.int64]) -> Slicing:
    """By the popularity of the target; the labels give the range of its training interactions."""
    known = ~np.isnan(items)
    ids = items[known].astype(np.int64)
    codes = np.full(len(items), -1, np.int64)
    codes[known] = popularity_codes(counts)[ids]
    labels = []
    for code, name in enumerate(POPULARITY):
        inside = counts[ids[codes[known] == code]]
        ends = f", {_whole(inside.min())} to {_whole(inside.max())}" if len(inside) else ""
        labels.append(name + ends)
    return _sliced("popularity", codes, labels)


def _by_tie(tied: Floats, *, has_times: bool) -> Slicing:
    if not has_times:
        return _without("tied", "The data set has no times.")
    return _sliced("tied", np.where(np.isnan(tied), -1, 1 - tied), ("yes", "no"))


def _sliced(key: str, codes: NDArray[Any], labels: Sequence[str]) -> Slicing:
    """Only slices that have users, those in none as the last one; with fewer than two there is nothing to tell apart."""
    codes = codes.astype(np.int64)
    names = [*labels, UNKNOWN]
    codes = np.where(codes < 0, len(labels), codes)
    there, codes = np.unique(codes, return_inverse=True)
    kept = [names[place] for place in there]
    if len(kept) < 2:
        why = f"All users are in one slice: {kept[0]}." if kept else "There are no users."
        return _without(key, why)
    return Slicing(key, codes, kept)


def _without(key: str, why: str) -> Slicing:
    return Slicing(key, np.zeros(0, np.int64), (), why)


def _why_no_neighbors(label: str, run: StoredRun) -> str:
    if run["kind"] != "train":
        return f"{label} was trained elsewhere: its neighbors are not known."
    why = why_none(run["config"], "inter", without="has no neighbors of users", found=False)
    told = why.replace("This run", label, 1)
    return (told if told != why else f"{label}: {why}") if why else f"{label} has no stored neighbors of users."


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _tenths(value: float) -> str:
    return f"{value:,.1f}"


def _decimal(value: float) -> str:
    return f"{value:.3f}"
