"""The caches: summaries, vectors and neighbor lists of earlier runs, which a new run uses again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.database.database import Store


def known_summaries(store: Store, keys: list[str]) -> dict[str, str]:
    """Texts of the summaries that are stored, by key. A fallback does not count: a model may answer next time."""
    wanted = pa.table({"key": pa.array(keys, pa.string())})
    found = store.table(
        "SELECT s.key, s.text FROM summaries s SEMI JOIN wanted USING (key) WHERE NOT s.fallback",
        wanted=wanted,
    )
    return dict(zip(found["key"].to_pylist(), found["text"].to_pylist(), strict=True))


def known_vectors(store: Store, encoder: str, sha256s: list[str]) -> tuple[list[str], NDArray[np.float32]]:
    """Hashes of texts whose vectors are stored, N of them in any order, and the vectors (N, dimension)."""
    wanted = pa.table({"sha256": pa.array(sha256s, pa.string())})
    found = store.table(
        "SELECT v.sha256, v.vector FROM vectors.vectors v SEMI JOIN wanted USING (sha256) WHERE v.encoder = ?",
        [encoder],
        wanted=wanted,
    )
    if found.num_rows == 0:
        return [], np.zeros((0, 0), np.float32)
    flat = found["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return found["sha256"].to_pylist(), flat.reshape(found.num_rows, -1)


def known_neighbors(store: Store, list_id: str) -> tuple[NDArray[np.int32], ...] | None:
    """Columns anchor_id, rank, neighbor_id (int32) and similarity (float32) of a list; None for an unknown one."""
    if not has_neighbors(store, list_id):
        return None
    table = store.table(
        "SELECT anchor_id, rank::INTEGER AS rank, neighbor_id, similarity FROM neighbors WHERE list_id = ? "
        "ORDER BY anchor_id, rank",
        [list_id],
    )
    return tuple(table[name].to_numpy() for name in table.column_names)


def has_neighbors(store: Store, list_id: str) -> bool:
    """Whether a list is stored."""
    return bool(store.rows("SELECT 1 FROM neighbor_lists WHERE list_id = ?", [list_id]))


def neighbor_parts(store: Store, list_id: str) -> Iterator[tuple[NDArray[np.integer], ...]]:
    """The columns of `known_neighbors`, some rows at a time and in no order: a long list is never in memory whole."""
    query = "SELECT anchor_id, rank::INTEGER AS rank, neighbor_id, similarity FROM neighbors WHERE list_id = ?"
    for batch in store.parts(query, [list_id]):
        yield tuple(column.to_numpy() for column in batch.columns)


def list_recall(store: Store, list_id: str) -> float | None:
    """Measured recall of a stored neighbor list; None for an exact or unknown one."""
    rows = store.rows("SELECT recall FROM neighbor_lists WHERE list_id = ?", [list_id])
    return rows[0]["recall"] if rows else None


def counts(store: Store) -> dict[str, int]:
    """Number of summaries, vectors, neighbor lists, runs and datasets that are stored."""
    row = store.rows(
        "SELECT (SELECT count(*) FROM summaries) AS summaries, (SELECT count(*) FROM vectors.vectors) AS vectors, "
        "(SELECT count(*) FROM neighbor_lists) AS neighbor_lists, (SELECT count(*) FROM runs) AS runs, "
        "(SELECT count(*) FROM datasets) AS datasets"
    )
    return row[0]
