"""Every user of a run at once, a column for each measure: what the Inspector walks through and what Everyone counts.

Legend: U users, R users with a prefix that represents them and whose weights are stored, K neighbors.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.evaluation import geometry
from store.database.database import Store
from store.queries import users as user_queries
from store.run_row import StoredRun

Floats = NDArray[np.float64]
RowIndices = NDArray[np.int64]

ORDERS = {
    "number": "sorted by ID",
    "disagreement": "by disagreement of similarity and weight",
    "peaked": "by entropy of the weights, lowest first",
    "flat": "by entropy of the weights, highest first",
    "rank": "by rank of the test target, best first",
    "missed": "by rank of the test target, worst first",
    "changed": "by change of the test target's rank between the two runs",
}
"""In which order one may walk through the users, and how that is said."""
_KEYS = {
    "disagreement": ("spearman", 1),
    "peaked": ("entropy", 1),
    "flat": ("entropy", -1),
    "rank": ("ranks", 1),
    "missed": ("ranks", -1),
    "changed": ("changed", -1),
}


@dataclass(frozen=True)
class NeighborWeights:
    """Neighbors of the R users whose weights are stored; unequal counts are filled up, and `there` says what is real."""

    rows: RowIndices
    """(R,) place of each among all users."""
    similarity: NDArray[np.float32]
    """(R, K)"""
    weights: NDArray[np.float32]
    """(R, K)"""
    mask: NDArray[np.bool_]
    """(R, K)"""

    @property
    def counts(self) -> NDArray[np.int64]:
        """(R,) number of neighbors of each user."""
        return self.mask.sum(axis=1)

    def only(self, chosen: NDArray[np.bool_]) -> NeighborWeights:
        """Those of the chosen (U,) users, numbered among them."""
        kept = chosen[self.rows]
        rows = (np.cumsum(chosen) - 1)[self.rows[kept]]
        return NeighborWeights(rows, self.similarity[kept], self.weights[kept], self.mask[kept])


@dataclass(frozen=True, eq=False)
class UserSelection:
    """Some of the users, and what they have in common."""

    label: str
    user_ids: NDArray[np.int32]


@dataclass(frozen=True)
class Population:
    """All users by number; NaN where one has no such measure."""

    ids: NDArray[np.int32]
    """(U,), ascending."""
    raw_ids: pa.ChunkedArray
    anchors: Floats
    """(U,) anchor that represents each."""
    lengths: Floats
    ranks: Floats
    """(U,) of the test target."""
    spearman: Floats
    """(U,) rank correlation of similarity and weight."""
    entropy: Floats
    """(U,) of the weights, in nats."""
    neighbor_weights: NeighborWeights
    changed: Floats | None = None
    """(U,) how much 1 / log2(1 + rank) differs from that of a second run."""
    partial: bool = False
    """Whether these are only some of the run's users."""
    _orders: dict[str, RowIndices] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, user_ids: NDArray[np.int32]) -> Population:
        """Those of the users who have one of these ids."""
        chosen = np.isin(self.ids, user_ids)
        columns = {
            name: None if (values := getattr(self, name)) is None else values[chosen]
            for name in ("ids", "anchors", "lengths", "ranks", "spearman", "entropy", "changed")
        }
        raw_ids, weights = self.raw_ids.filter(pa.array(chosen)), self.neighbor_weights.only(chosen)
        return replace(self, **columns, raw_ids=raw_ids, neighbor_weights=weights, partial=True, _orders={})

    def order(self, name: str) -> RowIndices:
        """(U,) places in one of ORDERS; those without the measure come last, by number."""
        if name not in self._orders:
            column, sign = _KEYS.get(name, ("ids", 1))
            values = getattr(self, column)
            indices = np.arange(len(self)) if values is None else np.argsort(sign * values, kind="stable")
            self._orders[name] = indices
        return self._orders[name]

    def place_in(self, name: str, user_id: int) -> int | None:
        """Index of a user in an order, from 0."""
        place = self.place(user_id)
        return None if place is None else int(np.flatnonzero(self.order(name) == place)[0])

    def place(self, user_id: int) -> int | None:
        """Index of a user among all users, in order of user number."""
        at = int(np.searchsorted(self.ids, user_id))
        return at if at < len(self) and self.ids[at] == user_id else None

    def raw_id(self, place: int) -> str:
        """ID of a user in the source."""
        return self.raw_ids[place].as_py()


def read_population(store: Store, run: StoredRun, *, phase: str = "best", second_run: str | None = None) -> Population:
    """Every user of a run.

    Args:
        phase: of the weights: initial, best or last.
        beside: a second run, for `changed`.

    Raises:
        StoreError: the database cannot be read.
    """
    users = user_queries.population(store, run)
    columns = {name: _floats(users[name]) for name in ("anchor_id", "length", "rank")}
    anchors = columns["anchor_id"]
    neighbor_weights = _weighed(user_queries.weighed_pairs(store, run, phase), anchors)
    spearman, entropy = np.full(len(anchors), np.nan), np.full(len(anchors), np.nan)
    if len(neighbor_weights.rows):
        spearman[neighbor_weights.rows] = geometry.spearmans(
            neighbor_weights.similarity, neighbor_weights.weights, neighbor_weights.mask
        )
        entropy[neighbor_weights.rows] = geometry.weight_entropies(neighbor_weights.weights, neighbor_weights.mask)
    ids = users["user_id"].to_numpy()
    changed = (
        None
        if second_run is None
        else _changed(columns["rank"], ids, user_queries.target_ranks(store, second_run, "test"))
    )
    return Population(
        ids, users["raw_id"], anchors, columns["length"], columns["rank"], spearman, entropy, neighbor_weights, changed
    )


def _floats(column: pa.ChunkedArray) -> Floats:
    return column.cast(pa.float64()).to_numpy()  # NULL becomes NaN


def _weighed(pairs: pa.Table, anchors: Floats) -> NeighborWeights:
    """The pairs as matrices, in the order of the users."""
    owner, rank = pairs["anchor_id"].to_numpy(), pairs["rank"].to_numpy()
    row_of = np.full(int(np.nanmax(anchors, initial=0)) + 1, -1)
    known = ~np.isnan(anchors)
    row_of[anchors[known].astype(np.int64)] = np.flatnonzero(known)
    inside = owner < len(row_of)
    user = np.where(inside, row_of[np.where(inside, owner, 0)], -1)
    kept = user >= 0  # weights of a user who is represented by another prefix in this dataset are left out
    rows, row = np.unique(user[kept], return_inverse=True)
    shape = (len(rows), int(rank[kept].max(initial=0)))
    similarity, weights, mask = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    at = (row, rank[kept] - 1)
    similarity[at], weights[at], mask[at] = (
        pairs["similarity"].to_numpy()[kept],
        pairs["weight"].to_numpy()[kept],
        True,
    )
    return NeighborWeights(rows, similarity, weights, mask)


def _changed(ranks: Floats, ids: NDArray[np.int32], others: dict[int, int]) -> Floats:
    theirs = np.full(len(ids), np.nan)
    if others:
        numbers, values = np.fromiter(others, np.int64), np.fromiter(others.values(), np.float64)
        at = np.searchsorted(ids, numbers)
        found = (at < len(ids)) & (ids[np.minimum(at, len(ids) - 1)] == numbers)
        theirs[at[found]] = values[found]
    return np.abs(1 / np.log2(1 + ranks) - 1 / np.log2(1 + theirs))
