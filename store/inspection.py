"""One user of one run, as the Inspector shows it."""

from __future__ import annotations

from typing import Any

from store.database import Store
from store.errors import LookupFailed


def find_user(store: Store, dataset_id: str, text: str) -> dict[str, Any]:
    """A user by number or by the source's own id; the number wins.

    Raises:
        LookupFailed: there is none.
    """
    rows = store.rows(
        "SELECT * FROM users WHERE dataset_id = $1 AND (user_id = try_cast($2 AS INTEGER) OR raw_id = $2) "
        "ORDER BY user_id <> coalesce(try_cast($2 AS INTEGER), -1) LIMIT 1",
        [dataset_id, text],
    )
    if not rows:
        count = store.rows("SELECT count(*) AS n FROM users WHERE dataset_id = ?", [dataset_id])[0]["n"]
        raise LookupFailed(
            f"there is no user {text!r}", hint=f"Users are numbered 1 to {count}; their own ids work too."
        )
    return rows[0]


def sequence(store: Store, dataset_id: str, user_id: int) -> list[dict[str, Any]]:
    """The user's items in order: position, item_id, title, ts, and the role of each as a target."""
    return store.rows(
        "SELECT i.position, i.item_id, t.title, i.ts, a.role FROM interactions i JOIN items t USING (dataset_id, item_id) "
        "LEFT JOIN anchors a ON a.dataset_id = i.dataset_id AND a.user_id = i.user_id AND a.position = i.position - 1 "
        "WHERE i.dataset_id = ? AND i.user_id = ? ORDER BY i.position",
        [dataset_id, user_id],
    )


def anchors(store: Store, dataset_id: str, user_id: int) -> list[dict[str, Any]]:
    """The user's prefixes, shortest first."""
    return store.rows(
        "SELECT anchor_id, position, length, item_id, role, represents FROM anchors WHERE dataset_id = ? AND user_id = ? "
        "ORDER BY position",
        [dataset_id, user_id],
    )


def summary(store: Store, set_id: str | None, owner_id: int) -> dict[str, Any] | None:
    """A summary with its provider, model, prompt, tokens and dollars; none where it has none."""
    rows = store.rows(
        "SELECT t.*, s.kind, s.provider, s.model, s.prompt_version, s.unit FROM summary_links l JOIN summary_sets s "
        "USING (set_id) JOIN summaries t USING (key) WHERE l.set_id = ? AND l.owner_id = ?",
        [set_id, owner_id],
    )
    return rows[0] if rows else None


def ranks(store: Store, run_id: str, user_id: int) -> dict[str, int]:
    """Rank of the user's target by split."""
    rows = store.rows("SELECT split, rank FROM user_ranks WHERE run_id = ? AND user_id = ?", [run_id, user_id])
    return {row["split"]: row["rank"] for row in rows}


def neighbors(store: Store, run: dict[str, Any], anchor_id: int) -> list[dict[str, Any]]:
    """The anchor's neighbors by similarity: who they are, and their weights by phase where they are stored.

    With unit `user`, or a pool of users, a list is kept for the anchor that represents the user; that one is used where
    the anchor has none of its own.
    """
    return store.rows(
        """
        SELECT
            n.rank AS cosine_rank, n.neighbor_id, b.user_id AS neighbor_user_id, u.raw_id AS neighbor_raw_id,
            b.position AS neighbor_position, n.similarity, t.title AS next_title,
            (SELECT list(x.title ORDER BY i.position DESC) FROM interactions i JOIN items x USING (dataset_id, item_id)
             WHERE i.dataset_id = b.dataset_id AND i.user_id = b.user_id AND i.position <= b.position) AS titles,
            max(w.weight) FILTER (w.phase = 'initial') AS weight_initial,
            max(w.weight) FILTER (w.phase = 'best') AS weight,
            max(w.weight) FILTER (w.phase = 'last') AS weight_last
        FROM neighbors n
        JOIN anchors b ON b.dataset_id = $1 AND b.anchor_id = n.neighbor_id
        JOIN users u ON u.dataset_id = b.dataset_id AND u.user_id = b.user_id
        JOIN items t ON t.dataset_id = b.dataset_id AND t.item_id = b.item_id
        LEFT JOIN synthesizer_weights w ON w.run_id = $2 AND w.anchor_id = n.anchor_id AND w.neighbor_id = n.neighbor_id
        WHERE n.list_id = $3 AND n.anchor_id = $4
        GROUP BY ALL ORDER BY cosine_rank
        """,
        [run["dataset_id"], run["run_id"], run["user_list_id"], anchor_id],
    )
