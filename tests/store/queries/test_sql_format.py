"""The formatter of SQL: it moves blanks and writes keywords in upper case, and nothing else."""

from __future__ import annotations

import re

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.home import Home
from store.opening import open_store
from store.queries.sql_format import format_sql
from tests.support.commands import ROOT

STEADY = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
PARTS = st.sampled_from(
    [
        *[
            "select",
            "from",
            "where",
            "group",
            "by",
            "having",
            "order",
            "limit",
            "union",
            "all",
            "with",
            "as",
            "values",
            "left",
            "join",
            "outer",
            "on",
            "using",
            "and",
            "or",
            "not",
            "in",
            "is",
            "null",
        ],
        *[
            "distinct",
            "between",
            "case",
            "when",
            "then",
            "else",
            "end",
            "over",
            "partition",
            "filter",
            "asc",
            "desc",
            "offset",
            "qualify",
            "name",
            "set",
            "x",
            "t1",
            '"a',
            'b"',
            "'it''s'",
            "'two\nlines'",
        ],
        *[
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ",",
            ".",
            ";",
            "::",
            "->",
            "->>",
            ":=",
            "=",
            "<>",
            "*",
            "||",
            "1",
            "1.5e3",
            "$1",
            "?",
            "$$raw$$",
            "e'\\n'",
            "é",
            "/*",
            "/*",
            "a\nb",
            "*/",
        ],
        *("-- a comment\n", "-- -- x \n", "/* block\n comment */", "'open", '"open', "1e5.x", "\u2028", "\t", "\r\n"),
    ]
)


def tokens_of(query: str) -> list[tuple[str, str]]:
    """Texts of DuckDB's tokens, keywords in one case."""
    data, places = query.encode(), duckdb.tokenize(query)
    ends = [*(start for start, _ in places[1:]), len(data)][: len(places)]
    texts = [data[start:end].decode().rstrip() for (start, _), end in zip(places, ends, strict=True)]
    return [
        (text.upper() if kind.name == "keyword" else text, kind.name)
        for text, (_, kind) in zip(texts, places, strict=True)
    ]


@STEADY
@given(st.lists(st.tuples(PARTS, st.sampled_from(["", " ", "\n", "   "]))))
def test_no_token_is_changed_added_or_lost(parts: list[tuple[str, str]]) -> None:
    query = "".join(part + blank for part, blank in parts)
    assert tokens_of(format_sql(query)) == tokens_of(query)


@STEADY
@given(st.text(max_size=40))
def test_any_text_is_left_or_laid_out(text: str) -> None:
    assert tokens_of(format_sql(text)) == tokens_of(text)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("select a,b from t where x=1 order by a", "SELECT a,b\nFROM t\nWHERE x=1\nORDER BY a"),
        ("select 1 as select, r.order, name from r", "SELECT 1 AS select, r.order, name\nFROM r"),
        ("select left(x, 2) from a left outer join b using (i)", "SELECT left(x, 2)\nFROM a\nLEFT OUTER JOIN b USING (i)"),
        ("select extract(year from ts), a is not distinct from b from t", "SELECT extract(year FROM ts), a IS NOT DISTINCT FROM b\nFROM t"),
        ("with a as (select 1 x) from a", "WITH a AS (\n  SELECT 1 x\n)\nFROM a"),
        ("select list(x order by y) over (partition by z) from t", "SELECT list(x ORDER BY y) over (partition BY z)\nFROM t"),
        ("select 1 -- one\n, 2; select 3", "SELECT 1 -- one\n, 2;\n\nSELECT 3"),
        ("select 'a  b\n c', $$ x  y $$", "SELECT 'a  b\n c', $$ x  y $$"),
        ("select '", "SELECT '"),
        ("", ""),
    ],
)  # fmt: skip
def test_what_it_looks_like(query: str, wanted: str) -> None:
    assert format_sql(query) == wanted


def test_a_long_clause_goes_on_behind_a_comma_or_before_and() -> None:
    found = format_sql(
        f"select {', '.join(f'column_{n}' for n in range(30))} from t where {' and '.join(f'column_{n} = {n}' for n in range(12))}"
    )
    lines = found.splitlines()
    assert max(map(len, lines)) <= 88
    assert len(lines) == 8
    assert lines[1].startswith("  column_")
    assert lines[-1].startswith("  AND column_")
    assert format_sql(found) == found


def test_the_examples_have_the_same_columns_and_stay_as_they_are_laid_out(tmp_path) -> None:
    queries = [text for text in re.split(r";\s*\n", (ROOT / "examples" / "queries.sql").read_text()) if text.strip()]
    assert len(queries) > 5
    with open_store(Home(tmp_path / "home")) as store:
        for query in queries:
            found = format_sql(query)
            assert format_sql(found) == found
            before, after = store.user_sql(query), store.user_sql(found)
            assert (before and before.schema) == (after and after.schema)
