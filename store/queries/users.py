"""One user of a run with prefixes, summary, neighbors and weights, as the Inspector shows it; and all users of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.database.database import Store
from store.queries.naming import find_named, id_of, number_of
from store.run_row import StoredRun


def find_user(store: Store, dataset_id: str, text: str) -> dict[str, Any]:
    """A user by number (`#7`), by the id in the source (`id:7`), or by either where both mean one user.

    Raises:
        LookupFailed: the dataset has no such user, or the text may mean two.
    """
    return find_named(store, "users", dataset_id, text)


def sequence(store: Store, dataset_id: str, user_id: int) -> list[dict[str, Any]]:
    """The user's interactions in order: position, item_id, title, ts, and the item's role as a target."""
    return store.rows(
        "SELECT i.position, i.item_id, t.title, i.ts, a.role FROM interactions i JOIN items t USING (dataset_id, item_id) "
        "LEFT JOIN anchors a ON a.dataset_id = i.dataset_id AND a.user_id = i.user_id AND a.position = i.position - 1 "
        "WHERE i.dataset_id = ? AND i.user_id = ? ORDER BY i.position",
        [dataset_id, user_id],
    )


def anchors(store: Store, dataset_id: str, user_id: int) -> list[dict[str, Any]]:
    """The user's anchors (prefixes of the sequence), shortest first."""
    return store.rows(
        "SELECT anchor_id, position, length, item_id, role, represents FROM anchors WHERE dataset_id = ? AND user_id = ? "
        "ORDER BY position",
        [dataset_id, user_id],
    )


def summary(store: Store, set_id: str | None, owner_id: int) -> dict[str, Any] | None:
    """The summary of an owner (anchor or item) with provider, model, prompt version, tokens and USD; None without one."""
    rows = store.rows(
        "SELECT t.*, s.kind, s.provider, s.model, s.prompt_version, s.unit FROM summary_links l JOIN summary_sets s "
        "USING (set_id) JOIN summaries t USING (key) WHERE l.set_id = ? AND l.owner_id = ?",
        [set_id, owner_id],
    )
    return rows[0] if rows else None


def ranks(store: Store, run_id: str, user_id: int) -> dict[str, int]:
    """Rank of the user's target by split; 1 is the best rank."""
    rows = store.rows("SELECT split, rank FROM user_ranks WHERE run_id = ? AND user_id = ?", [run_id, user_id])
    return {row["split"]: row["rank"] for row in rows}


def recorded_epochs(store: Store, run_id: str, user_id: int) -> list[dict[str, Any]]:
    """The user over the recorded epochs: epoch, rank of the validation target, weights by rank of the neighbor; none without."""
    return store.rows(
        "SELECT epoch, rank, weights FROM user_epochs WHERE run_id = ? AND user_id = ? ORDER BY epoch",
        [run_id, user_id],
    )


def recorded_places(store: Store, run_id: str) -> dict[int, tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """By recorded epoch the ids (M,) of users and their places (M, 2) in the map of that epoch."""
    found = store.table(
        "SELECT epoch, user_id, x, y FROM user_epochs WHERE run_id = ? AND x IS NOT NULL ORDER BY epoch, user_id",
        [run_id],
    )
    epochs, users = found["epoch"].to_numpy(), found["user_id"].to_numpy()
    places = np.stack([found["x"].to_numpy(), found["y"].to_numpy()], axis=1)
    return {int(epoch): (users[epochs == epoch], places[epochs == epoch]) for epoch in np.unique(epochs)}


def target_ranks(store: Store, run_id: str, split: str) -> dict[int, int]:
    """Rank of every user's target on a split, by user id."""
    found = store.table("SELECT user_id, rank FROM user_ranks WHERE run_id = ? AND split = ?", [run_id, split])
    return dict(zip(found["user_id"].to_pylist(), found["rank"].to_pylist(), strict=True))


def neighbors(store: Store, run: StoredRun, anchor_id: int) -> list[dict[str, Any]]:
    """The anchor's neighbors by similarity, with the titles of their items, latest first, and stored weights by phase.

    Only anchors of the run's list have any: with unit `user`, or a pool of users, the anchor that represents the user.
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


def prefixes(store: Store, dataset_id: str, anchor_ids: list[int]) -> dict[int, tuple[int, int, str | None]]:
    """User, position of the last item and its title, by anchor."""
    rows = store.tuples(
        "SELECT a.anchor_id, a.user_id, a.position, t.title FROM anchors a JOIN interactions i USING (dataset_id, user_id, position) "
        "JOIN items t ON t.dataset_id = i.dataset_id AND t.item_id = i.item_id WHERE a.dataset_id = $1 AND list_contains($2, a.anchor_id)",
        [dataset_id, anchor_ids],
    )
    return {anchor_id: (user_id, position, title) for anchor_id, user_id, position, title in rows}


def anchors_with_item(store: Store, dataset_id: str, item_id: int, anchor_ids: list[int]) -> dict[int, str]:
    """How anchors relate to an item: `has` where the prefix contains it, `next` where it follows; else left out."""
    rows = store.rows(
        "SELECT a.anchor_id, bool_or(i.position <= a.position) AS has, bool_or(i.position = a.position + 1) AS next "
        "FROM anchors a JOIN interactions i USING (dataset_id, user_id) WHERE a.dataset_id = $1 AND i.item_id = $2 "
        "AND list_contains($3, a.anchor_id) GROUP BY a.anchor_id",
        [dataset_id, item_id, anchor_ids],
    )
    found = {row["anchor_id"]: "has" if row["has"] else "next" if row["next"] else "" for row in rows}
    return {anchor_id: word for anchor_id, word in found.items() if word}


def holders_of_items(
    store: Store, dataset_id: str, item_ids: list[int], anchor_ids: list[int]
) -> dict[int, tuple[int, int]]:
    """By item, how many of the anchors have it in their prefix, and for how many it follows; others are left out."""
    rows = store.rows(
        "SELECT item_id, count(*) FILTER (has) AS has, count(*) FILTER (follows) AS follows FROM ("
        "SELECT i.item_id, a.anchor_id, bool_or(i.position <= a.position) AS has, "
        "bool_or(i.position = a.position + 1) AS follows FROM anchors a JOIN interactions i USING (dataset_id, user_id) "
        "WHERE a.dataset_id = $1 AND list_contains($2, i.item_id) AND list_contains($3, a.anchor_id) "
        "GROUP BY i.item_id, a.anchor_id) GROUP BY item_id",
        [dataset_id, item_ids, anchor_ids],
    )
    return {row["item_id"]: (row["has"], row["follows"]) for row in rows}


def population(store: Store, run: StoredRun) -> pa.Table:
    """All users of a run's dataset by number: raw_id, representing anchor, its length, rank of the target on test."""
    return store.table(
        "SELECT u.user_id, u.raw_id, a.anchor_id, a.length, r.rank FROM users u "
        "LEFT JOIN anchors a ON a.dataset_id = u.dataset_id AND a.user_id = u.user_id AND a.represents "
        "LEFT JOIN user_ranks r ON r.run_id = $2 AND r.split = 'test' AND r.user_id = u.user_id "
        "WHERE u.dataset_id = $1 ORDER BY u.user_id",
        [run["dataset_id"], run["run_id"]],
    )


def weighed_pairs(store: Store, run: StoredRun, phase: str) -> pa.Table:
    """Columns anchor_id, rank, similarity and weight of every stored pair of anchor and neighbor in a phase."""
    return store.table(
        "SELECT w.anchor_id, n.rank::INTEGER AS rank, n.similarity, w.weight FROM synthesizer_weights w "
        "JOIN neighbors n ON n.list_id = $2 AND n.anchor_id = w.anchor_id AND n.neighbor_id = w.neighbor_id "
        "WHERE w.run_id = $1 AND w.phase = $3",
        [run["run_id"], run["user_list_id"], phase],
    )


def weight_epochs(store: Store, run_id: str) -> dict[str, int]:
    """Epoch of the stored weights by phase: initial, best, last."""
    rows = store.rows("SELECT DISTINCT phase, epoch FROM synthesizer_weights WHERE run_id = ?", [run_id])
    return {row["phase"]: row["epoch"] for row in rows}


def search_users(store: Store, run: StoredRun, text: str, *, limit: int = 500) -> list[dict[str, Any]]:
    """Users whose number, raw id, item titles or summary contain a text: user_id and the match, best match first.

    `#7` finds the number alone, `id:7` the id alone.
    """
    number, id_ = number_of(text), id_of(text.strip())
    if number is not None or id_ is not None:
        return store.rows(
            "SELECT user_id, CASE WHEN $2 IS NULL THEN 'id ' || raw_id ELSE 'number' END AS found FROM users "
            "WHERE dataset_id = $1 AND (user_id = $2 OR raw_id = $3)",
            [run["dataset_id"], number, id_],
        )
    return store.rows(
        """
        SELECT user_id, arg_min(found, place) AS found FROM (
            SELECT user_id, 0 AS place, 'number' AS found FROM users
            WHERE dataset_id = $1 AND user_id::VARCHAR = $3
            UNION ALL
            SELECT user_id, 1, 'id ' || raw_id FROM users WHERE dataset_id = $1 AND contains(lower(raw_id), lower($3))
            UNION ALL
            SELECT i.user_id, 2, min(t.title) FROM interactions i JOIN items t USING (dataset_id, item_id)
            WHERE i.dataset_id = $1 AND contains(lower(t.title), lower($3)) GROUP BY i.user_id
            UNION ALL
            SELECT a.user_id, 3, min(s.text) FROM anchors a JOIN summary_links l ON l.owner_id = a.anchor_id
            JOIN summaries s USING (key)
            WHERE a.dataset_id = $1 AND a.represents AND l.set_id = $2 AND contains(lower(s.text), lower($3))
            GROUP BY a.user_id
        ) GROUP BY user_id ORDER BY min(place), user_id LIMIT $4
        """,
        [run["dataset_id"], run["user_set_id"], text.strip(), limit],
    )
