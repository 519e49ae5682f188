"""Slices of users, and the difference between two systems in each: whom a method helps.

Legend: S seeds of a side, U users, V items, A anchors (prefixes of histories), P pairs of an anchor and a neighbor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.estimates import Estimate, estimate
from engine.evaluation.metrics import HEAD_SHARE, gains, most_popular
from engine.metric_registry import split_name

SMALL = 30
"""Slices of fewer users are marked: of so few skewed values the t interval is rough."""
MIDDLE_SHARE = 0.5
"""Items that are no head items and belong to this share of the most popular ones are the middle; the others are the tail."""
HEAD, MIDDLE, TAIL = 0, 1, 2
Codes = NDArray[np.int64]
"""(U,) number of each user's slice, from 0; -1 for a user in none."""


def quartile_codes(values: NDArray[np.floating]) -> Codes:
    """Slices of users by the quartiles of their values (U,), lowest first; users whose value is NaN are in none.

    Equal values are never parted, so slices may be of unequal size, and there may be fewer than four.
    """
    codes = np.full(len(values), -1, np.int64)
    known = ~np.isnan(values)
    if known.any():
        bounds = np.unique(np.quantile(values[known], (0.25, 0.5, 0.75)))
        places = np.searchsorted(bounds, values[known], side="left")  # a bound belongs to the slice below it
        codes[known] = np.unique(places, return_inverse=True)[1]
    return codes


def popularity_codes(train_counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """(V + 1,) HEAD, MIDDLE or TAIL of each item by its interactions in training (V + 1,); entry 0 is padding."""
    codes = np.full(len(train_counts), TAIL, np.int64)
    codes[most_popular(train_counts, MIDDLE_SHARE)] = MIDDLE
    codes[most_popular(train_counts, HEAD_SHARE)] = HEAD
    return codes


@dataclass(frozen=True)
class NeighborList:
    """A list of neighbors, and the anchors that it is of."""

    anchors: NDArray[np.integer]
    """(P,) ids, from 1."""
    neighbors: NDArray[np.integer]
    """(P,) ids of other anchors."""
    similarity: NDArray[np.floating]
    """(P,)"""
    represented: NDArray[np.integer]
    """(A + 1,) the user whom each anchor represents; 0 for none."""
    next_items: NDArray[np.integer]
    """(A + 1,) the item that follows each anchor."""


@dataclass(frozen=True)
class NeighborProfile:
    """What the neighbors of each user are like; (U + 1,) by user id, NaN without neighbors."""

    similarity: NDArray[np.float64]
    """Mean over the neighbors."""
    occurrence: NDArray[np.float64]
    """Mean k-occurrence of the neighbors: in how many lists each is (Radovanovic et al. 2010)."""
    has_target: NDArray[np.float64]
    """1 where the user's target is the item that follows one of the neighbors, else 0."""


def neighbor_profile(found: NeighborList, targets: NDArray[np.integer]) -> NeighborProfile:
    """The neighbors of each user are those of the anchor that represents the user.

    Args:
        targets: (U + 1,) the item that is to be ranked first for each user; 0 for none.
    """
    occurrences = np.bincount(found.neighbors, minlength=len(found.represented))  # over the lists of all anchors
    owners = found.represented[found.anchors]
    kept = (owners > 0) & (owners < len(targets))
    owners, neighbors = owners[kept], found.neighbors[kept]

    def total(values: NDArray[np.generic] | None) -> NDArray[np.float64]:
        return np.bincount(owners, values, minlength=len(targets)).astype(np.float64)

    counts = total(None)
    counts[counts == 0] = np.nan
    matches = total(found.next_items[neighbors] == targets[owners])
    return NeighborProfile(
        similarity=np.round(total(found.similarity[kept]) / counts, 6),  # the order of the pairs does not decide
        occurrence=total(occurrences[neighbors]) / counts,
        has_target=np.where(np.isnan(counts), np.nan, matches > 0),
    )


def user_values(ranks: Sequence[NDArray[np.integer]], metric: str) -> NDArray[np.float64]:
    """(S, U) value of each user in a metric such as `ndcg@20`, from the ranks (U,) of the targets, an array per seed.

    Raises:
        ConfigError: an installed metric cannot be imported.
        KeyError: users have no value of the metric.
    """
    name, k = split_name(metric)
    return np.stack([gains(one, (k,), (name,))[metric] for one in ranks])


def slice_estimates(a: NDArray[np.floating], b: NDArray[np.floating], codes: Codes) -> list[Estimate]:
    """Estimate of b minus a in each slice, from the values (S, U) of the same users on both sides; S may differ.

    Raises:
        ValueError: a slice below the highest has no users, or the users differ.
    """
    chosen = [codes == code for code in range(int(codes.max(initial=-1)) + 1)]
    return [estimate(a[:, mask], b[:, mask]) for mask in chosen]
