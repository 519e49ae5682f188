"""One item of a run, its neighbors and the users who have it, as the Inspector shows them."""

from __future__ import annotations

from typing import Any

from store.database.database import Store
from store.errors import LookupFailed
from store.queries.naming import id_of, number_of
from store.run_row import StoredRun


def get_item(store: Store, dataset_id: str, item_id: int) -> dict[str, Any]:
    """An item with raw_id, title, text, its counts of interactions and users, and first_ts and last_ts.

    Raises:
        LookupFailed: the dataset has no such item.
    """
    rows = store.rows(
        """
        SELECT t.item_id, t.raw_id, t.title, t.text,
            (SELECT count(*) FROM items x WHERE x.dataset_id = $1) AS items,
            count(i.user_id) AS interactions, count(DISTINCT i.user_id) AS users, min(i.ts) AS first_ts, max(i.ts) AS last_ts
        FROM items t LEFT JOIN interactions i ON i.dataset_id = t.dataset_id AND i.item_id = t.item_id
        WHERE t.dataset_id = $1 AND t.item_id = $2 GROUP BY ALL
        """,
        [dataset_id, item_id],
    )
    if not rows:
        raise LookupFailed(f"there is no item {item_id}", hint="`/` finds an item by its title.")
    return rows[0]


def titles(store: Store, dataset_id: str, item_ids: list[int]) -> dict[int, str]:
    """Titles by item; empty where the source has none."""
    rows = store.rows(
        "SELECT item_id, coalesce(title, '') AS title FROM items WHERE dataset_id = ? AND list_contains(?, item_id)",
        [dataset_id, item_ids],
    )
    return {row["item_id"]: row["title"] for row in rows}


def substitutes(store: Store, run: StoredRun, item_id: int) -> list[dict[str, Any]]:
    """The item's neighbors by similarity, with the number of users who have each, and who have both."""
    return store.rows(
        """
        WITH own AS (SELECT DISTINCT user_id FROM interactions WHERE dataset_id = $1 AND item_id = $3),
        found AS (SELECT rank, neighbor_id, similarity FROM neighbors WHERE list_id = $2 AND anchor_id = $3),
        counts AS (
            SELECT i.item_id, count(DISTINCT i.user_id) AS users, count(DISTINCT own.user_id) AS shared
            FROM interactions i SEMI JOIN found ON found.neighbor_id = i.item_id LEFT JOIN own ON own.user_id = i.user_id
            WHERE i.dataset_id = $1 GROUP BY i.item_id
        )
        SELECT f.rank AS cosine_rank, f.neighbor_id, f.similarity, t.raw_id, t.title, t.text,
            coalesce(c.users, 0) AS users, coalesce(c.shared, 0) AS shared
        FROM found f JOIN items t ON t.dataset_id = $1 AND t.item_id = f.neighbor_id
        LEFT JOIN counts c ON c.item_id = f.neighbor_id ORDER BY f.rank
        """,
        [run["dataset_id"], run["item_list_id"], item_id],
    )


def users_with_item(store: Store, dataset_id: str, item_id: int, *, limit: int = 500) -> list[dict[str, Any]]:
    """Users who have the item, latest first: user_id, raw_id, position, ts, and the item's role as a target."""
    return store.rows(
        "SELECT i.user_id, u.raw_id, i.position, i.ts, a.role FROM interactions i JOIN users u USING (dataset_id, user_id) "
        "LEFT JOIN anchors a ON a.dataset_id = i.dataset_id AND a.user_id = i.user_id AND a.position = i.position - 1 "
        "WHERE i.dataset_id = ? AND i.item_id = ? ORDER BY i.ts DESC NULLS LAST, i.user_id LIMIT ?",
        [dataset_id, item_id, limit],
    )


def search_items(store: Store, run: StoredRun, text: str, *, limit: int = 500) -> list[dict[str, Any]]:
    """Items whose number, raw id, title or summary contains a text, best match first; all by popularity without one.

    `#7` finds the number alone, `id:7` the id alone.
    """
    number, id_ = number_of(text), id_of(text.strip())
    return store.rows(
        """
        WITH taken AS (
            SELECT item_id, count(DISTINCT user_id) AS users FROM interactions WHERE dataset_id = $1 GROUP BY item_id
        ), placed AS (
            SELECT t.item_id, t.raw_id, t.title, coalesce(k.users, 0) AS users,
                CASE WHEN $5 IS NOT NULL OR $6 IS NOT NULL THEN
                    CASE WHEN t.item_id = $5 OR t.raw_id = $6 THEN 1 END
                    WHEN $3 = '' THEN 0 WHEN t.item_id::VARCHAR = $3 THEN 1 WHEN contains(lower(t.title), lower($3)) THEN 2
                    WHEN contains(lower(t.raw_id), lower($3)) THEN 3 WHEN contains(lower(s.text), lower($3)) THEN 4 END AS place,
                CASE WHEN place = 4 THEN s.text ELSE '' END AS found
            FROM items t LEFT JOIN taken k USING (item_id)
            LEFT JOIN summary_links l ON l.set_id = $2 AND l.owner_id = t.item_id LEFT JOIN summaries s ON s.key = l.key
            WHERE t.dataset_id = $1
        )
        SELECT item_id, raw_id, title, users, found FROM placed WHERE place IS NOT NULL
        ORDER BY place, users DESC, item_id LIMIT $4
        """,
        [run["dataset_id"], run["item_set_id"], text.strip(), limit, number, id_],
    )
