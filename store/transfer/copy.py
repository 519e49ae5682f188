"""Copies what a run was made from into another home, where it is reproduced, and reads what both homes found."""

from __future__ import annotations

from typing import Any

import duckdb

from store.database.database import Store
from store.home import Home
from store.journal.journal import Journal
from store.publishing.publish import publish
from store.queries import caches

_TABLES = {
    "summary_sets": "set_id IN (SELECT unnest($1))",
    "summary_links": "set_id IN (SELECT unnest($1))",
    "summaries": "key IN (SELECT key FROM summary_links WHERE set_id IN (SELECT unnest($1)))",
    "prompts": "version IN (SELECT prompt_version FROM summary_sets WHERE set_id IN (SELECT unnest($1)))",
}


def set_rows(store: Store, set_id: str) -> tuple[list[int], list[str], list[str | None]]:
    """Owners of a summary set (anchors or items), ascending, their keys and texts; None for a text that is not stored."""
    found = store.table(
        "SELECT l.owner_id, l.key, s.text FROM summary_links l LEFT JOIN summaries s USING (key) WHERE l.set_id = ? "
        "ORDER BY l.owner_id",
        [set_id],
    )
    return found["owner_id"].to_pylist(), found["key"].to_pylist(), found["text"].to_pylist()


def copy_sets(store: Store, to: Home, set_ids: list[str]) -> dict[str, int]:
    """Copy summary sets with their links, summaries and prompts; returns the number of rows by table."""
    tables = {name: store.table(f"SELECT * FROM {name} WHERE {chosen}", [set_ids]) for name, chosen in _TABLES.items()}

    def apply(connection: duckdb.DuckDBPyConnection) -> None:
        for name, table in tables.items():
            connection.register("incoming", table)
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming")
            connection.unregister("incoming")

    publish(to, apply=apply)
    return {name: table.num_rows for name, table in tables.items()}


def copy_vectors(store: Store, to: Home, encoder: str, sha256s: list[str]) -> int:
    """Copy the vectors that are stored for the hashes of some texts; returns how many were."""
    names, vectors = caches.known_vectors(store, encoder, sha256s)
    if names:
        journal = Journal(to.edits)
        columns = {"sha256": names, "vector": vectors}
        journal.append("vectors_made", {"encoder": encoder, "dimension": vectors.shape[1]}, columns=columns)
        journal.close()
        publish(to)
    return len(names)


def encoder_of(store: Store, list_id: str) -> str | None:
    """Name of the encoder of a neighbor list's vectors; None for a backbone's own vectors, and for an unknown list."""
    rows = store.rows(
        "SELECT json_extract_string(parameters, '$.encoder') AS encoder FROM neighbor_lists WHERE list_id = ?",
        [list_id],
    )
    return rows[0]["encoder"] if rows else None


def differing_lists(store: Store, other: Store, list_id: str, other_id: str) -> tuple[int, int]:
    """How many owners have different neighbors in the second home, and how many owners there are in either."""
    first, second = _neighbors_by_owner(store, list_id), _neighbors_by_owner(other, other_id)
    owners = first.keys() | second.keys()
    return sum(first.get(owner) != second.get(owner) for owner in owners), len(owners)


def _neighbors_by_owner(store: Store, list_id: str) -> dict[int, list[int]]:
    query = (
        "SELECT anchor_id, list(neighbor_id ORDER BY rank) AS neighbors FROM neighbors WHERE list_id = ? GROUP BY ALL"
    )
    table = store.table(query, [list_id])
    return dict(zip(table["anchor_id"].to_pylist(), table["neighbors"].to_pylist(), strict=True))


def metrics_of(store: Store, run_id: str) -> dict[tuple[str, str, str], Any]:
    """Value of every final metric, those of the analysis included, by split, subgroup and name."""
    rows = store.rows(
        "SELECT m.split, m.subgroup, m.name, m.value FROM metrics m JOIN runs r USING (run_id) WHERE m.run_id = ? AND "
        "(m.split IN ('test', 'analysis') OR (m.split = 'valid' AND m.epoch = r.best_epoch AND m.name <> 'seconds')) "
        "ORDER BY m.split = 'analysis', m.split, m.subgroup, m.name",
        [run_id],
    )
    return {(row["split"], row["subgroup"], row["name"]): row["value"] for row in rows}
