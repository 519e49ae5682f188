"""The examples, executed."""

from __future__ import annotations

import json

import pytest

from tests.support.commands import ROOT

EXAMPLES = ROOT / "examples"
TEXT = (EXAMPLES / "queries.sql").read_text()
QUERIES = [part.strip() for part in TEXT.split(";") if part.strip()]


@pytest.mark.parametrize(
    "query", QUERIES, ids=lambda query: next(x for x in query.splitlines() if x.startswith("--"))[3:40]
)
def test_every_query_is_answered(query, sracl, home):
    rows = json.loads(sracl("sql", query, "--json", home=home).stdout)
    assert rows, query


def test_the_whole_file_runs(sracl, home):
    assert "rows" in sracl("sql", "-f", EXAMPLES / "queries.sql", home=home).stderr


def test_the_quick_example_trains(sracl, tmp_path):
    document = json.loads(sracl("run", EXAMPLES / "quick.toml", "--headless", "--json", home=tmp_path).stdout)
    assert document["state"] == "finished"
