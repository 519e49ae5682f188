"""Exports of what a run made, as files for other programs: results, neighbor lists, weights, vectors.

Every function writes a .csv, .parquet or .json file, as the path ends, and returns the number of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from store.database.database import Store
from store.errors import LookupFailed
from store.queries.metric_columns import beyond, metric_columns
from store.run_row import StoredRun

_NEIGHBORS = """
SELECT
    'user' AS kind, a.user_id, u.raw_id, a.position, n.rank, b.user_id AS neighbor_user_id, v.raw_id AS neighbor_raw_id,
    b.position AS neighbor_position, n.similarity, n.anchor_id AS id, n.neighbor_id
FROM neighbors n
JOIN anchors a ON a.dataset_id = $1 AND a.anchor_id = n.anchor_id
JOIN users u ON u.dataset_id = $1 AND u.user_id = a.user_id
JOIN anchors b ON b.dataset_id = $1 AND b.anchor_id = n.neighbor_id
JOIN users v ON v.dataset_id = $1 AND v.user_id = b.user_id
WHERE n.list_id = $2
UNION ALL
SELECT
    'item', NULL, i.raw_id, NULL, n.rank, NULL, j.raw_id, NULL, n.similarity, n.anchor_id, n.neighbor_id
FROM neighbors n
JOIN items i ON i.dataset_id = $1 AND i.item_id = n.anchor_id
JOIN items j ON j.dataset_id = $1 AND j.item_id = n.neighbor_id
WHERE n.list_id = $3
ORDER BY kind DESC, id, rank
"""
_WEIGHTS = """
SELECT
    a.user_id, u.raw_id, a.position, b.user_id AS neighbor_user_id, v.raw_id AS neighbor_raw_id, b.position AS
    neighbor_position, n.rank, n.similarity, w.weight, w.anchor_id, w.neighbor_id
FROM weights w
JOIN anchors a ON a.dataset_id = $1 AND a.anchor_id = w.anchor_id
JOIN users u ON u.dataset_id = $1 AND u.user_id = a.user_id
JOIN anchors b ON b.dataset_id = $1 AND b.anchor_id = w.neighbor_id
JOIN users v ON v.dataset_id = $1 AND v.user_id = b.user_id
LEFT JOIN neighbors n ON n.list_id = $2 AND n.anchor_id = w.anchor_id AND n.neighbor_id = w.neighbor_id
ORDER BY w.anchor_id, w.weight DESC, w.neighbor_id
"""
_USERS = """
SELECT a.user_id, u.raw_id, a.position, h.*
FROM vectors_of_users h
JOIN anchors a ON a.dataset_id = $1 AND a.anchor_id = h.anchor_id
JOIN users u ON u.dataset_id = $1 AND u.user_id = a.user_id
ORDER BY a.user_id
"""
_TEXTS = """
SELECT s.kind, l.owner_id AS id, coalesce(u.raw_id, i.raw_id) AS raw_id, a.position, v.encoder, t.text, v.vector
FROM summary_sets s
JOIN summary_links l USING (set_id)
JOIN summaries t USING (key)
JOIN vectors.vectors v ON v.sha256 = sha256(t.text) AND v.encoder = $4
LEFT JOIN anchors a ON s.kind = 'user' AND a.dataset_id = $1 AND a.anchor_id = l.owner_id
LEFT JOIN users u ON u.dataset_id = $1 AND u.user_id = a.user_id
LEFT JOIN items i ON s.kind = 'item' AND i.dataset_id = $1 AND i.item_id = l.owner_id
WHERE s.set_id IN ($2, $3)
ORDER BY s.kind DESC, l.owner_id
"""


def results(store: Store, run_ids: Sequence[str], path: Path) -> int:
    """Write the rows of `run_results`, by group, name and seed, with a column for each other metric that these runs have on test."""
    return store.save_rows(_results(store, run_ids), [], path, wanted=_wanted(run_ids))


def result_rows(store: Store, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that `results` writes, as dictionaries."""
    return store.rows(_results(store, run_ids), wanted=_wanted(run_ids))


def _results(store: Store, run_ids: Sequence[str]) -> str:
    """The query of `results`; it names a table `wanted`."""
    measured = store.rows(
        "SELECT DISTINCT split, name FROM run_metrics SEMI JOIN wanted USING (run_id) WHERE split = 'test' ORDER BY ALL",
        wanted=_wanted(run_ids),
    )
    view = store.rows("SELECT column_name AS name FROM duckdb_columns() WHERE table_name = 'run_results'")
    others = beyond([(row["split"], row["name"]) for row in measured], [row["name"] for row in view])
    columns = metric_columns(others)
    return (
        f"SELECT r.*{columns.selected}, (SELECT count(*) FROM run_warnings w WHERE w.run_id = r.run_id) AS warnings "
        f"FROM run_results r SEMI JOIN wanted USING (run_id) {columns.joined} "
        "ORDER BY group_name, name, seed, run_id"
    )


def neighbors(store: Store, run: StoredRun, path: Path) -> int:
    """Write the neighbor lists that a run trained with: those of users' prefixes and of items.

    Raises:
        LookupFailed: the run has no neighbor lists.
    """
    if run["user_list_id"] is None and run["item_list_id"] is None:
        raise LookupFailed(f"{run['run_id']} has no neighbor lists", hint="A backbone alone needs none.")
    return store.save_rows(_NEIGHBORS, [run["dataset_id"], run["user_list_id"], run["item_list_id"]], path)


def weights(store: Store, run: StoredRun, path: Path) -> int:
    """Write the synthesizer's weights of every training prefix, in the state of the run's best epoch.

    Raises:
        LookupFailed: the run left no `weights.parquet`.
    """
    table = _table(store, run, "weights.parquet")
    return store.save_rows(_WEIGHTS, [run["dataset_id"], run["user_list_id"]], path, weights=table)


def user_vectors(store: Store, run: StoredRun, path: Path) -> int:
    """Write h of each user's longest training prefix and, where the run synthesized positives, h+.

    Raises:
        LookupFailed: the run left no `user_vectors.parquet`.
    """
    table = _table(store, run, "user_vectors.parquet")
    return store.save_rows(_USERS, [run["dataset_id"]], path, vectors_of_users=table)


def text_vectors(store: Store, run: StoredRun, path: Path) -> int:
    """Write the texts of users' prefixes and of items with their vectors.

    Raises:
        LookupFailed: the run has no neighbor lists of encoded texts.
    """
    found = store.rows(
        "SELECT parameters ->> '$.encoder' AS encoder FROM neighbor_lists WHERE list_id IN (?, ?)",
        [run["user_list_id"], run["item_list_id"]],
    )
    encoder = next((row["encoder"] for row in found if row["encoder"]), None)
    if encoder is None:
        raise LookupFailed(f"{run['run_id']} has no vectors of texts")
    return store.save_rows(_TEXTS, [run["dataset_id"], run["user_set_id"], run["item_set_id"], encoder], path)


def embeddings(store: Store, run: StoredRun, numbers: Sequence[int], vectors: pa.FixedSizeListArray, path: Path) -> int:
    """Write item embeddings with ids and titles.

    Args:
        numbers: item ids (V,).
        vectors: their embeddings (V, dimension).
    """
    table = pa.table({"item_id": pa.array(numbers, pa.int32()), "vector": vectors})
    query = (
        "SELECT i.item_id, i.raw_id, i.title, e.vector FROM embeddings e JOIN items i ON i.dataset_id = ? AND "
        "i.item_id = e.item_id ORDER BY i.item_id"
    )
    return store.save_rows(query, [run["dataset_id"]], path, embeddings=table)


def recommendations(store: Store, run: StoredRun, table: pa.Table, path: Path) -> int:
    """Write a table of user_id, rank, item_id and score, with raw ids and titles added."""
    query = (
        "SELECT r.user_id, u.raw_id AS user_raw_id, r.rank, r.item_id, i.raw_id AS item_raw_id, i.title, r.score FROM "
        "recommended r JOIN users u ON u.dataset_id = $1 AND u.user_id = r.user_id JOIN items i ON i.dataset_id = $1 AND "
        "i.item_id = r.item_id ORDER BY r.user_id, r.rank"
    )
    return store.save_rows(query, [run["dataset_id"]], path, recommended=table)


def _wanted(run_ids: Sequence[str]) -> pa.Table:
    return pa.table({"run_id": pa.array(run_ids, pa.string())})


def _table(store: Store, run: StoredRun, name: str) -> pa.Table:
    """A Parquet file that a run left in its folder."""
    file = store.home.run_folder(run["run_id"]) / name
    if not file.is_file():
        raise LookupFailed(
            f"{run['run_id']} has no {name}",
            hint="A run writes it when it is finished; weights need neighbors (alpha > 0).",
        )
    return pq.read_table(file)
