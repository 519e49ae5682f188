"""What calls to models have cost, and what their answers tell about the next ones."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from store.database import Store

GROUPS = {
    "run": ("c.run_id AS run_id, r.name AS name, r.kind AS kind, r.state AS state", "max(c.sent_at) DESC"),
    "provider": ("c.provider AS provider", "1"),
    "model": ("c.provider AS provider, c.model AS model", "1, 2"),
    "day": ("strftime(c.sent_at, '%Y-%m-%d') AS day", "1 DESC"),
    "dataset": ("coalesce(r.dataset_name, '') AS dataset", "1"),
}
"""By what spending may be summed up: the columns, and the order."""
_SUMS = """
    count(*) AS calls, count(*) FILTER (c.error IS NOT NULL) AS failed,
    CAST(coalesce(sum(c.tokens_in), 0) AS BIGINT) AS tokens_in,
    CAST(coalesce(sum(c.tokens_out), 0) AS BIGINT) AS tokens_out,
    CAST(coalesce(sum(c.tokens_cached), 0) AS BIGINT) AS tokens_cached,
    sum(c.usd) AS usd,
    count(*) FILTER (c.usd IS NULL) AS unpriced,
    coalesce(sum(c.tokens_cached * (c.usd_per_million_in - c.usd_per_million_cached)), 0) / 1e6 AS usd_saved
"""


def spending(store: Store, by: str) -> list[dict[str, Any]]:
    """Calls, tokens and dollars by one of `GROUPS`.

    `usd` sums the known prices and is None where none is known; `unpriced` counts calls that come on top;
    `usd_saved` is what cached prompt tokens saved.
    """
    columns, order = GROUPS[by]
    return store.rows(
        f"SELECT {columns}, {_SUMS} FROM api_calls c LEFT JOIN runs r USING (run_id) GROUP BY ALL ORDER BY {order}"
    )


def spent_by(store: Store, run_id: str) -> float:
    """Known dollars that a run has spent."""
    return store.rows("SELECT coalesce(sum(usd), 0) AS usd FROM api_calls WHERE run_id = ?", [run_id])[0]["usd"]


def tokens_of(store: Store, keys: list[str]) -> dict[str, tuple[int, int, int]]:
    """Tokens in, out and cached of summaries that a model wrote, all attempts together, by key."""
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


def pace(store: Store, provider: str, model: str) -> float | None:
    """Mean seconds of a good call to a model; none where there was none yet."""
    found = store.rows(
        "SELECT avg(latency_seconds) AS seconds FROM api_calls WHERE provider = ? AND model = ? AND error IS NULL",
        [provider, model],
    )
    return found[0]["seconds"]
