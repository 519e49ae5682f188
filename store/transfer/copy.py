"""What a run was made from, taken from one home into another: its data, its summaries, their vectors."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

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
    """Owners of a summary set, ascending, with key and text; no text where a summary is not there."""
    found = store.table(
        "SELECT l.owner_id, l.key, s.text FROM summary_links l LEFT JOIN summaries s USING (key) WHERE l.set_id = ? "
        "ORDER BY l.owner_id",
        [set_id],
    )
    return found["owner_id"].to_pylist(), found["key"].to_pylist(), found["text"].to_pylist()


def copy_sets(store: Store, to: Home, set_ids: list[str]) -> dict[str, int]:
    """Copy summary sets with all that belongs to them; rows by table."""
    tables = {name: store.table(f"SELECT * FROM {name} WHERE {chosen}", [set_ids]) for name, chosen in _TABLES.items()}

    def apply(connection: duckdb.DuckDBPyConnection) -> None:
        for name, table in tables.items():
            connection.register("incoming", table)
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming")
            connection.unregister("incoming")

    publish(to, apply=apply)
    return {name: table.num_rows for name, table in tables.items()}


def copy_vectors(store: Store, to: Home, encoder: str, sha256s: list[str]) -> int:
    """Copy the vectors of texts that are stored, by the hashes of the texts; how many."""
    names, vectors = caches.known_vectors(store, encoder, sha256s)
    if names:
        journal = Journal(to.edits)
        columns = {"sha256": names, "vector": vectors}
        journal.append("vectors_made", {"encoder": encoder, "dimension": vectors.shape[1]}, columns=columns)
        journal.close()
        publish(to)
    return len(names)


def encoder_of(store: Store, list_id: str) -> str | None:
    """Name of the encoder behind a neighbor list; none for a backbone's vectors, and where there is no such list."""
    rows = store.rows(
        "SELECT json_extract_string(parameters, '$.encoder') AS encoder FROM neighbor_lists WHERE list_id = ?",
        [list_id],
    )
    return rows[0]["encoder"] if rows else None


def differing_lists(store: Store, other: Store, list_id: str, other_id: str) -> tuple[int, int]:
    """How many owners have other neighbors in the second home, and how many owners there are."""
    rows = [_owners(store, list_id), _owners(other, other_id)]
    there, here = (dict(zip(t["anchor_id"].to_pylist(), t["neighbors"].to_pylist(), strict=True)) for t in rows)
    owners = there.keys() | here.keys()
    return sum(there.get(owner) != here.get(owner) for owner in owners), len(owners)


def _owners(store: Store, list_id: str) -> pa.Table:
    query = (
        "SELECT anchor_id, list(neighbor_id ORDER BY rank) AS neighbors FROM neighbors WHERE list_id = ? GROUP BY ALL"
    )
    return store.table(query, [list_id])


def metrics_of(store: Store, run_id: str) -> dict[tuple[str, str, str], Any]:
    """Value of every final metric by split, subgroup and name; those of the analysis too."""
    rows = store.rows(
        "SELECT m.split, m.subgroup, m.name, m.value FROM metrics m JOIN runs r USING (run_id) WHERE m.run_id = ? AND "
        "(m.split IN ('test', 'analysis') OR (m.split = 'valid' AND m.epoch = r.best_epoch AND m.name <> 'seconds')) "
        "ORDER BY m.split = 'analysis', m.split, m.subgroup, m.name",
        [run_id],
    )
    return {(row["split"], row["subgroup"], row["name"]): row["value"] for row in rows}
