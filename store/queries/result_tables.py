"""Results as Arrow tables for other programs: metrics, ranks, neighbors with their weights, texts, data sets."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from store.database.database import Store
from store.run_row import StoredRun


def metrics(store: Store, run_ids: Sequence[str], *, split: str | None, subgroup: str | None) -> pa.Table:
    """Every measured value: run_id, run, seed, epoch, step, split, subgroup, name, value, is_best."""
    return store.table(
        "SELECT m.run_id, r.name AS run, r.seed, m.epoch, m.step, m.split, m.subgroup, m.name, m.value, "
        "m.epoch = r.best_epoch AS is_best FROM metrics m JOIN runs r USING (run_id) WHERE list_contains($1, m.run_id) "
        "AND ($2 IS NULL OR m.split = $2) AND ($3 IS NULL OR m.subgroup = $3) "
        "ORDER BY list_position($1, m.run_id), m.epoch, m.split, m.subgroup, m.name",
        [list(run_ids), split, subgroup],
    )


def ranks(store: Store, run_ids: Sequence[str], split: str) -> pa.Table:
    """The rank of each user's target: run_id, run, seed, user_id, raw_id, rank."""
    return store.table(
        "SELECT k.run_id, r.name AS run, r.seed, k.user_id, u.raw_id, k.rank FROM user_ranks k JOIN runs r USING (run_id) "
        "LEFT JOIN users u ON u.dataset_id = r.dataset_id AND u.user_id = k.user_id "
        "WHERE list_contains($1, k.run_id) AND k.split = $2 ORDER BY list_position($1, k.run_id), k.user_id",
        [list(run_ids), split],
    )


def neighbors(store: Store, run: StoredRun, user_id: int | None) -> pa.Table:
    """Users' neighbors by similarity, of one user or of all, with the run's stored weights.

    Columns: user_id, anchor_id, position, rank, neighbor_user_id, neighbor_anchor_id, neighbor_position, similarity,
    weight_initial, weight, weight_last. Weights are stored for the prefix that represents its user; elsewhere they are NULL.
    """
    return store.table(
        """
        SELECT
            a.user_id, n.anchor_id, a.position, n.rank::INTEGER AS rank, b.user_id AS neighbor_user_id,
            n.neighbor_id AS neighbor_anchor_id, b.position AS neighbor_position, n.similarity,
            w.weight_initial, w.weight, w.weight_last
        FROM neighbors n
        JOIN anchors a ON a.dataset_id = $1 AND a.anchor_id = n.anchor_id
        JOIN anchors b ON b.dataset_id = $1 AND b.anchor_id = n.neighbor_id
        LEFT JOIN (
            SELECT anchor_id, neighbor_id, max(weight) FILTER (phase = 'initial') AS weight_initial,
                max(weight) FILTER (phase = 'best') AS weight, max(weight) FILTER (phase = 'last') AS weight_last
            FROM synthesizer_weights WHERE run_id = $2 GROUP BY ALL
        ) w ON w.anchor_id = n.anchor_id AND w.neighbor_id = n.neighbor_id
        WHERE n.list_id = $3 AND ($4 IS NULL OR a.user_id = $4)
        ORDER BY a.user_id, a.position, n.rank
        """,
        [run["dataset_id"], run["run_id"], run["user_list_id"], user_id],
    )


def summaries(store: Store, run: StoredRun, kind: str) -> pa.Table:
    """Texts that a run trained on: owner_id (anchor_id of a user's prefix, or item_id), user_id, position, text, provider, model, usd, fallback."""
    set_id = run["user_set_id"] if kind == "user" else run["item_set_id"]
    return store.table(
        "SELECT l.owner_id, a.user_id, a.position, t.text, s.provider, s.model, s.prompt_version, t.tokens_in, t.tokens_out, "
        "t.usd, t.fallback FROM summary_links l JOIN summary_sets s USING (set_id) JOIN summaries t USING (key) "
        "LEFT JOIN anchors a ON s.kind = 'user' AND a.dataset_id = s.dataset_id AND a.anchor_id = l.owner_id "
        "WHERE l.set_id = $1 ORDER BY l.owner_id",
        [set_id],
    )


def datasets(store: Store) -> pa.Table:
    """The data sets, by name: counts, source and what the import dropped."""
    return store.table("SELECT * FROM datasets ORDER BY name")


def interactions(store: Store, dataset_id: str) -> pa.Table:
    """All interactions of a data set, by user and place: user_id, raw ids, item_id, title, position, ts."""
    return store.table(
        "SELECT i.user_id, u.raw_id AS user_raw_id, i.item_id, t.raw_id AS item_raw_id, t.title, i.position, i.ts "
        "FROM interactions i JOIN users u USING (dataset_id, user_id) JOIN items t USING (dataset_id, item_id) "
        "WHERE i.dataset_id = $1 ORDER BY i.user_id, i.position",
        [dataset_id],
    )


def costs(store: Store) -> pa.Table:
    """What each run spent on calls: run_id, name, kind, calls, failed_calls, tokens, usd (NULL where a price is unknown)."""
    return store.table("SELECT * FROM run_costs ORDER BY run_id")
