"""Statistics of a dataset: distributions of lengths, popularity, times and ties, and how complete its items are."""

from __future__ import annotations

from typing import Any

from store.database.database import Store

DAYS = 200
"""Interactions of a dataset that spans at most this many days are counted by day, otherwise by month."""
_SPREADS = {
    "lengths": "SELECT count(*) AS value FROM interactions WHERE dataset_id = $1 GROUP BY user_id",
    "popularity": "SELECT count(*) AS value FROM interactions WHERE dataset_id = $1 GROUP BY item_id",
    "ties": "SELECT count(*) AS value FROM interactions WHERE dataset_id = $1 AND ts IS NOT NULL GROUP BY user_id, ts",
    "years": "SELECT year(ts) AS value FROM interactions WHERE dataset_id = $1 AND ts IS NOT NULL",
}
_TIMES = """
SELECT strftime(date_trunc($2, ts), $3) AS value, count(*) AS count
FROM interactions WHERE dataset_id = $1 AND ts IS NOT NULL GROUP BY ALL ORDER BY ALL
"""
_ITEMS = """
SELECT
    count(*) FILTER (title <> '') AS titles,
    median(length(text)) FILTER (text <> '') AS characters
FROM items WHERE dataset_id = $1
"""
_FIELDS = """
SELECT field, count(*) AS items
FROM (SELECT unnest(json_keys(attributes)) AS field FROM items WHERE dataset_id = $1)
GROUP BY field ORDER BY items DESC, field
"""
_PLACES = """
WITH lengths AS (SELECT user_id, count(*) AS n FROM interactions WHERE dataset_id = $1 GROUP BY user_id)
SELECT
    count(*) - count(DISTINCT (user_id, item_id)) AS repeated,
    count(DISTINCT item_id) - count(DISTINCT item_id) FILTER (n < 3 OR position <= n - 2) AS untrained,
    count(*) FILTER (ts <> date_trunc('day', ts)) AS timed
FROM interactions JOIN lengths USING (user_id) WHERE dataset_id = $1
"""
_POPULAR = """
SELECT item_id, raw_id, title, count(*) AS count
FROM interactions JOIN items USING (dataset_id, item_id)
WHERE dataset_id = $1 GROUP BY ALL ORDER BY count DESC, item_id LIMIT $2
"""


def statistics(store: Store, dataset: dict[str, Any], *, popular: int = 10) -> dict[str, Any]:
    """Statistics over all rows of a dataset; takes a second for 10 million interactions.

    Args:
        dataset: a row of `datasets.get`.
        popular: number of most popular items to list.

    Returns:
        `lengths`, `popularity`, `ties`, `years`: rows of `value` and `count`, by value. The value of `ties` is the number
        of interactions that one user has at one time, so value 1 counts those without a tie.
        `unit` and `times`: interactions by `day` or `month`, without empty ones.
        `titles`, `characters` (median of the texts), `fields` (items by attribute), `repeated` (interactions with an item
        that the user had before), `untrained` (items without a training interaction), `timed` (interactions with a time of day), `popular`.
    """
    key = [dataset["dataset_id"]]
    found: dict[str, Any] = {
        name: store.rows(f"SELECT value, count(*) AS count FROM ({query}) GROUP BY value ORDER BY value", key)
        for name, query in _SPREADS.items()
    }
    first, last = dataset["first_ts"], dataset["last_ts"]
    unit = "month" if first is None or (last - first).days > DAYS else "day"
    found |= {"unit": unit, "times": store.rows(_TIMES, [*key, unit, "%Y-%m" if unit == "month" else "%Y-%m-%d"])}
    (items,), (places,) = store.rows(_ITEMS, key), store.rows(_PLACES, key)
    fields = {row["field"]: row["items"] for row in store.rows(_FIELDS, key)}
    return found | items | places | {"fields": fields, "popular": store.rows(_POPULAR, [*key, popular])}
