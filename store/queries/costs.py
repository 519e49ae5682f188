"""What calls to models have cost, and the tokens and times of past calls, from which later ones are estimated."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from store.database.database import Store

GROUPS = {
    "run": (
        "c.run_id AS run_id, r.name AS name, r.kind AS kind, r.state AS state, r.cap AS cap",
        "max(c.sent_at) DESC, 1",
    ),
    "provider": ("c.provider AS provider", "1"),
    "model": ("c.provider AS provider, c.model AS model", "1, 2"),
    "day": ("strftime(c.sent_at, '%Y-%m-%d') AS day", "1 DESC"),
    "dataset": ("coalesce(r.dataset_name, '') AS dataset", "1"),
}
"""What spending can be grouped by: the columns of each grouping, and its order."""
_CALLS = """
WITH asked AS (SELECT run_id, any_value(provider) AS provider, any_value(model) AS model FROM api_calls GROUP BY run_id),
c AS (
    SELECT *, false AS fallback FROM api_calls
    UNION ALL BY NAME
    SELECT s.run_id, a.provider, a.model, s.created_at AS sent_at, true AS fallback
    FROM summaries s JOIN asked a USING (run_id) WHERE s.fallback
),
r AS (
    SELECT run_id, name, kind, state, dataset_name, CAST(config ->> '$.semantics.budget' AS DOUBLE) AS cap FROM runs
    UNION ALL SELECT run_id, name, kind, state, dataset_name, budget FROM removed_runs
)
"""
"""Calls, and a row for each fallback text, with the provider and model of its run: a run asks only one; and the runs, removed ones too."""
_SUMS = """
    count(*) FILTER (NOT c.fallback) AS calls, count(*) FILTER (c.error IS NOT NULL) AS failed,
    count(*) FILTER (c.fallback) AS fallbacks,
    coalesce(TRY_CAST(sum(c.tokens_in) AS BIGINT), 0) AS tokens_in,
    coalesce(TRY_CAST(sum(c.tokens_out) AS BIGINT), 0) AS tokens_out,
    coalesce(TRY_CAST(sum(c.tokens_cached) AS BIGINT), 0) AS tokens_cached,
    sum(c.usd) AS usd,
    count(*) FILTER (c.usd IS NULL AND NOT c.fallback) AS unpriced,
    sum(c.tokens_cached * (c.usd_per_million_in - c.usd_per_million_cached)) / 1e6 AS usd_saved
"""


def spending(store: Store, by: str) -> list[dict[str, Any]]:
    """Calls, tokens and US dollars by one of `GROUPS`.

    `usd` sums the known prices and is None where none is known; `unpriced` counts the calls without one. `fallbacks`
    counts texts used in place of a failed answer; `usd_saved` is what cached prompt tokens saved, None without prices.
    """
    columns, order = GROUPS[by]
    return store.rows(
        f"{_CALLS} SELECT {columns}, {_SUMS} FROM c LEFT JOIN r USING (run_id) GROUP BY ALL ORDER BY {order}"
    )


def totals(store: Store) -> dict[str, Any]:
    """The columns of `spending` summed over all calls."""
    return store.rows(f"{_CALLS} SELECT {_SUMS} FROM c")[0]


def gains(store: Store) -> list[dict[str, Any]]:
    """Cost of the gain over the backbone, for finished runs with summaries that a model wrote, cheapest gain first.

    `usd` is what the run's summaries have cost, whichever run paid for them, as far as prices are known (`unpriced` calls
    come on top). `ndcg` and `backbone` are NDCG@20 on test, the backbone's as the mean of the dataset's finished runs
    of the plain backbone; `usd_per_gain` is dollars per 0.01 of NDCG@20, None where nothing was gained.
    """
    return store.rows(
        """
        WITH price AS (
            SELECT l.set_id, sum(c.usd) AS usd, count(*) FILTER (c.usd IS NULL) AS unpriced
            FROM (SELECT DISTINCT set_id, key FROM summary_links) l JOIN api_calls c USING (key) GROUP BY l.set_id
        ), backbone AS (
            SELECT r.dataset_id, avg(v.test_ndcg_20) AS ndcg, count(*) AS runs
            FROM runs r JOIN run_results v USING (run_id)
            WHERE r.state = 'finished' AND v.test_ndcg_20 IS NOT NULL AND r.config ->> '$.method.parts' IS NULL
                AND CASE coalesce(r.config ->> '$.method.name', 'sracl')
                    WHEN 'sracl' THEN v.alpha = 0 AND v.beta = 0 WHEN 'plain' THEN true ELSE false END
            GROUP BY r.dataset_id
        ), priced AS (
            SELECT
                r.run_id, r.name, r.dataset_name AS dataset, r.config ->> '$.semantics.unit' AS unit,
                list_sum([u.usd, i.usd]) AS usd, coalesce(u.unpriced, 0) + coalesce(i.unpriced, 0) AS unpriced,
                v.test_ndcg_20 AS ndcg, b.ndcg AS backbone, b.runs AS backbones
            FROM runs r JOIN run_results v USING (run_id) LEFT JOIN backbone b USING (dataset_id)
            LEFT JOIN price u ON u.set_id = r.user_set_id LEFT JOIN price i ON i.set_id = r.item_set_id
            WHERE r.state = 'finished' AND v.test_ndcg_20 IS NOT NULL AND coalesce(u.set_id, i.set_id) IS NOT NULL
        )
        SELECT *, ndcg - backbone AS gain, CASE WHEN ndcg > backbone THEN usd / (ndcg - backbone) * 0.01 END AS usd_per_gain
        FROM priced ORDER BY usd_per_gain NULLS LAST, run_id DESC
        """
    )


def spent_by(store: Store, run_id: str) -> float:
    """US dollars that a run has spent at most: a call of unknown cost counts with the amount reserved for it."""
    query = "SELECT coalesce(sum(coalesce(usd, usd_reserved)), 0) AS usd FROM api_calls WHERE run_id = ?"
    return store.rows(query, [run_id])[0]["usd"]


def recorded_keys(store: Store, batch: str) -> set[str]:
    """Keys of a batch's requests whose answers are in `api_calls` already."""
    found = store.table("SELECT key FROM api_calls WHERE batch = ?", [batch])
    return set(found["key"].to_pylist())


def tokens_of(store: Store, keys: list[str]) -> dict[str, tuple[int, int, int]]:
    """Tokens in, out and cached of summaries that a model wrote, summed over attempts, by key."""
    wanted = pa.table({"key": pa.array(keys, pa.string())})
    found = store.table(
        "SELECT s.key, s.tokens_in, s.tokens_out, s.tokens_cached FROM summaries s SEMI JOIN wanted USING (key) "
        "WHERE NOT s.fallback AND s.tokens_in > 0",
        wanted=wanted,
    ).to_pydict()
    return {
        key: (tokens_in, tokens_out, tokens_cached)
        for key, tokens_in, tokens_out, tokens_cached in zip(*found.values(), strict=True)
    }


def mean_call_seconds(store: Store, provider: str, model: str) -> float | None:
    """Mean seconds of a call to a model that succeeded; None without such a call."""
    found = store.rows(
        "SELECT avg(latency_seconds) AS seconds FROM api_calls WHERE provider = ? AND model = ? AND error IS NULL",
        [provider, model],
    )
    return found[0]["seconds"]
