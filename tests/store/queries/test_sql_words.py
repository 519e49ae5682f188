"""DuckDB names every keyword and function that a query on runs needs."""

from __future__ import annotations

from store.home import Home
from store.opening import open_store
from store.queries.sql_words import sql_words

KEYWORDS = """SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET JOIN LEFT RIGHT FULL INNER OUTER CROSS ASOF SEMI ANTI ON
USING AS AND OR NOT IN IS NULL LIKE ILIKE BETWEEN CASE WHEN THEN ELSE END DISTINCT ALL UNION EXCEPT INTERSECT WITH RECURSIVE
VALUES OVER PARTITION ROWS RANGE QUALIFY WINDOW FILTER ASC DESC NULLS FIRST LAST CAST TRUE FALSE EXISTS DESCRIBE SHOW TABLES
SUMMARIZE EXPLAIN PIVOT UNPIVOT SAMPLE EXCLUDE REPLACE COLUMNS INTERVAL COALESCE"""
FUNCTIONS = """count sum avg min max median stddev_samp quantile_cont corr arg_max arg_min list string_agg round abs ln exp if
date_trunc strftime lower upper length substring split_part regexp_matches regexp_extract unnest row_number rank lag lead first
last histogram list_cosine_similarity json_extract_string"""


def test_usual_words_are_among_them(home: Home):
    with open_store(home) as store:
        words = sql_words(store)
    assert {*KEYWORDS.split()} <= {*words.keywords, *words.soft_keywords}
    assert {*FUNCTIONS.split()} <= {*words.functions}
    assert "SELECT" in words.keywords
    assert "NAME" in words.soft_keywords, "a column may be called so"
    assert words.functions.index("count") < words.functions.index("abs"), "aggregates first"
