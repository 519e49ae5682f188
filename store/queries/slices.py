"""What users are sliced by: the length of the history, the target, times that tie, and what their neighbors are like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.database.database import Store

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def targets(store: Store, dataset_id: str, split: str) -> pa.Table:
    """Users with a target on a split, ascending: user_id, length of the history before it, the target's item_id, tied."""
    return store.table(
        "SELECT a.user_id, a.length, a.item_id, u.tied FROM anchors a JOIN users u USING (dataset_id, user_id) "
        "WHERE a.dataset_id = ? AND a.role = ? ORDER BY a.user_id",
        [dataset_id, split],
    )


def has_times(store: Store, dataset_id: str) -> bool:
    """Whether the interactions of a data set have times."""
    return bool(store.tuples("SELECT count(ts) > 0 FROM interactions WHERE dataset_id = ?", [dataset_id])[0][0])


def train_counts(store: Store, dataset_id: str) -> NDArray[np.int64]:
    """(V + 1,) training interactions of each item: what a training prefix is continued by, and first items; entry 0 is padding."""
    import numpy as np

    found = store.table(
        "SELECT t.item_id, count(i.item_id) AS count FROM items t LEFT JOIN (SELECT item_id FROM anchors WHERE dataset_id = $1 "
        "AND role = 'train' UNION ALL SELECT item_id FROM interactions WHERE dataset_id = $1 AND position = 1) i USING (item_id) "
        "WHERE t.dataset_id = $1 GROUP BY t.item_id",
        [dataset_id],
    )
    ids = found["item_id"].to_numpy()
    counts = np.zeros(int(ids.max(initial=0)) + 1, np.int64)
    counts[ids] = found["count"].to_numpy()
    return counts


def prefixes(store: Store, dataset_id: str) -> pa.Table:
    """Every prefix: anchor_id, item_id that follows it, and user_id of the user whom it represents, 0 where it represents nobody."""
    return store.table(
        "SELECT anchor_id, item_id, CASE WHEN represents THEN user_id ELSE 0 END AS user_id FROM anchors WHERE dataset_id = ?",
        [dataset_id],
    )


def pairs(store: Store, list_id: str) -> pa.Table:
    """Every pair of a neighbor list, in any order: anchor_id, neighbor_id, similarity."""
    return store.table("SELECT anchor_id, neighbor_id, similarity FROM neighbors WHERE list_id = ?", [list_id])
