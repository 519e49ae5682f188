"""What semantic search reads: summary sets, the owners and texts of their summaries, and the users and items found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.database.database import Store
from store.errors import LookupFailed

TITLES = 3
"""Titles of a user's latest items that a result shows."""


def find_set(
    store: Store,
    *,
    kind: str | None = None,
    set_id: str | None = None,
    run_id: str | None = None,
    dataset_id: str | None = None,
) -> dict[str, Any] | None:
    """The summary set of the newest run that fits all conditions, with that run's settings; None without one.

    Args:
        kind: `user` or `item`.
        set_id: the id, or the beginning of one.

    Raises:
        LookupFailed: several ids begin with `set_id`.
    """
    rows = store.rows(
        """
        SELECT
            s.set_id, s.kind, s.dataset_id, d.name AS dataset_name, d.sha256 AS dataset_sha256, s.provider, s.model,
            s.prompt_version, s.unit, r.run_id, r.user_set_id, r.item_set_id,
            r.config ->> '$.semantics.encoder' AS encoder, r.config ->> '$.semantics.pooling' AS pooling,
            r.config ->> '$.semantics.vector' AS vector
        FROM summary_sets s JOIN datasets d USING (dataset_id)
        LEFT JOIN runs r ON s.set_id IN (r.user_set_id, r.item_set_id)
        WHERE ($1 IS NULL OR s.kind = $1) AND ($2 IS NULL OR starts_with(s.set_id, $2)) AND ($3 IS NULL OR r.run_id = $3)
        AND ($4 IS NULL OR s.dataset_id = $4) AND s.set_id IN (SELECT set_id FROM summary_links)
        ORDER BY r.created_at DESC NULLS LAST, s.created_at DESC, s.set_id
        """,
        [kind, set_id, run_id, dataset_id],
    )
    if set_id is not None and len(fit := sorted({row["set_id"] for row in rows})) > 1:
        raise LookupFailed(f"{len(fit)} summary sets begin with {set_id!r}: {', '.join(fit[:5])}", hint="Name one.")
    return rows[0] if rows else None


def owners(store: Store, found: dict[str, Any], *, prefixes: bool) -> tuple[NDArray[np.int64], list[str]]:
    """Owners (B,) of a set's summaries, ascending, and the hash of each one's text; empty texts are left out.

    Args:
        found: a row of `find_set`.
        prefixes: include all anchors of a user, not only the one that represents the user.
    """
    table = store.table(
        "SELECT l.owner_id, sha256(t.text) AS sha256 FROM summary_links l JOIN summaries t USING (key) WHERE l.set_id = $1 "
        "AND regexp_matches(t.text, '\\S') AND ($2 OR l.owner_id IN (SELECT anchor_id FROM anchors WHERE dataset_id = $3 "
        "AND represents)) ORDER BY l.owner_id",
        [found["set_id"], prefixes or found["kind"] == "item", found["dataset_id"]],
    )
    return table["owner_id"].to_numpy().astype(np.int64), table["sha256"].to_pylist()


def texts(store: Store, set_ids: list[str]) -> dict[str, str]:
    """Distinct texts of summary sets, by SHA-256."""
    table = store.table(
        "SELECT DISTINCT sha256(t.text) AS sha256, t.text FROM summaries t SEMI JOIN (SELECT key FROM summary_links "
        "WHERE list_contains($1::VARCHAR[], set_id)) l USING (key)",
        [set_ids],
    )
    return dict(zip(table["sha256"].to_pylist(), table["text"].to_pylist(), strict=True))


def found_users(store: Store, found: dict[str, Any], anchor_ids: list[int]) -> dict[int, dict[str, Any]]:
    """User, prefix, summary and the titles of its latest items, latest first, by anchor id."""
    rows = store.rows(
        f"""
        SELECT
            a.anchor_id, a.user_id, u.raw_id AS "user", a.position, a.role, t.text AS summary,
            (SELECT list(x.title ORDER BY i.position DESC) FROM interactions i JOIN items x USING (dataset_id, item_id)
             WHERE i.dataset_id = a.dataset_id AND i.user_id = a.user_id AND i.position <= a.position
             AND i.position > a.position - {TITLES}) AS titles
        FROM anchors a JOIN wanted w ON w.id = a.anchor_id JOIN users u USING (dataset_id, user_id)
        JOIN summary_links l ON l.set_id = $1 AND l.owner_id = a.anchor_id JOIN summaries t USING (key)
        WHERE a.dataset_id = $2
        """,
        [found["set_id"], found["dataset_id"]],
        wanted=pa.table({"id": pa.array(anchor_ids, pa.int32())}),
    )
    return {row["anchor_id"]: row for row in rows}


def found_items(store: Store, found: dict[str, Any], item_ids: list[int]) -> dict[int, dict[str, Any]]:
    """Raw id, title and summary by item id."""
    rows = store.rows(
        'SELECT i.item_id, i.raw_id AS "item", i.title, t.text AS summary FROM items i JOIN wanted w ON w.id = i.item_id '
        "JOIN summary_links l ON l.set_id = $1 AND l.owner_id = i.item_id JOIN summaries t USING (key) "
        "WHERE i.dataset_id = $2",
        [found["set_id"], found["dataset_id"]],
        wanted=pa.table({"id": pa.array(item_ids, pa.int32())}),
    )
    return {row["item_id"]: row for row in rows}
