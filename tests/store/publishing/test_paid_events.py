"""What was paid for and does not fit the tables: the rest of it is kept, and it is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.publishing.publish import publish

FIELDS = {"provider": "p", "model": "m"}


def _calls(**columns: list[Any]) -> dict[str, list[Any]]:
    plain: dict[str, list[Any]] = {
        "key": ["a", "b"], "attempt": [1, 1], "sent_at": [1.0, 2.0], "status": [200, 200], "error": [None, None],
        "latency_seconds": [0.1, 0.1], "tokens_in": [7, 8], "tokens_out": [1, 1], "tokens_cached": [0, 0],
        "usd_per_million_in": [1.0, 1.0], "usd_per_million_out": [1.0, 1.0], "usd_per_million_cached": [1.0, 1.0],
        "usd": [0.5, 0.25], "usd_reserved": [None, None], "batch": [None, None],
    }  # fmt: skip
    return plain | columns


def test_counts_beyond_32_bits_are_held(home: Home, new_run: Callable[..., Journal], rows: Any) -> None:
    new_run("one").append("api_called", FIELDS, columns=_calls(tokens_in=[3_000_000_000, 8]), durable=True)
    assert publish(home).warnings == []
    assert rows("SELECT tokens_in FROM api_calls ORDER BY key") == [(3_000_000_000,), (8,)]


@pytest.mark.parametrize("inline", [100, 0])
def test_a_refused_value_costs_no_other(
    home: Home, new_run: Callable[..., Journal], rows: Any, monkeypatch: pytest.MonkeyPatch, inline: int
) -> None:
    monkeypatch.setattr("store.journal.journal.INLINE_ROWS", inline)
    journal = new_run("one")
    journal.append("api_called", FIELDS, columns=_calls(status=[2**40, 200]), durable=True)
    answer = {"key": ["a"], "text": ["likes"], "tokens_in": ["many"], "usd": [0.5], "fallback": [False], "fresh": [1]}
    answer |= {"tokens_out": [1], "tokens_cached": [0], "finish_reason": ["stop"]}
    journal.append("summaries_made", {}, columns=answer, durable=True)
    warnings = publish(home).warnings
    assert len(warnings) == 2, warnings
    assert "'api_called', which was paid for, status: 1 of 2 values do not fit" in warnings[0]
    assert "'summaries_made', which was paid for, tokens_in" in warnings[1]
    assert rows("SELECT key, status, tokens_in, usd FROM api_calls ORDER BY key") == [
        ("a", None, 7, 0.5),
        ("b", 200, 8, 0.25),
    ]
    assert rows("SELECT key, text, tokens_in, usd FROM summaries") == [("a", "likes", None, 0.5)]


ODD = st.one_of(
    st.integers(-(2**80), 2**80), st.floats(allow_subnormal=False), st.text(st.characters(exclude_categories=()), max_size=6), st.none(),
    st.booleans(), st.lists(st.integers(), max_size=2), st.dictionaries(st.text("ab"), st.integers(), max_size=1),
)  # fmt: skip
COUNTS = ("attempt", "status", "latency_seconds", "tokens_in", "tokens_out", "tokens_cached", "sent_at", "batch")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd=st.dictionaries(st.sampled_from(COUNTS), ODD, min_size=1, max_size=3))
def test_dollars_are_kept_whatever_stands_beside_them(
    fresh_home: Callable[[Path], Home], begin_run: Callable[..., Journal], tmp_path_factory: Any, odd: dict[str, Any]
) -> None:
    home = fresh_home(tmp_path_factory.mktemp("odd"))
    journal = begin_run(home, "one")
    columns = _calls()
    for name, value in odd.items():
        columns[name] = [value, columns[name][1]]
    journal.append("api_called", FIELDS, columns=columns, durable=True)
    publish(home)
    with open_store(home) as store:
        assert store.rows("SELECT count(*)::INT AS n, sum(usd) AS usd FROM api_calls") == [{"n": 2, "usd": 0.75}]
