"""The examples, executed."""

from __future__ import annotations

import json

import pytest

from engine.method_table import METHODS
from tests.support.commands import ROOT, sracl_inside

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


def test_the_example_of_methods_is_planned_row_by_row(tmp_path):
    words = ("run", "--variants", EXAMPLES / "methods.toml", "--dry-run", "--json")
    document = json.loads(sracl_inside(tmp_path, *words).stdout)
    names = [row["name"].removesuffix("-1") for row in document["runs"]]
    assert {*METHODS.ours} <= {*names}
    for row in document["runs"]:
        assert row["minutes"] > 0
        assert [stage["stage"] for stage in row["stages"]][:: len(row["stages"]) - 1] == ["import", "train"]
    assert document["minutes"] < 10
