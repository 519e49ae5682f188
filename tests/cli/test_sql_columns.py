"""`sracl sql` shows every column of a result by its position, whatever the columns are called."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.database.result_texts import unique_names
from store.home import Home
from store.opening import open_store

NAMES = st.lists(st.sampled_from(["x", "X", "x_1", "x_1_1", 'q"uote', "y z"]), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("home")
    open_store(Home(path)).close()
    return path


@given(NAMES)
def test_each_name_occurs_once_and_first_ones_stay(names: list[str]) -> None:
    unique = unique_names(names)
    assert len({name.casefold() for name in unique}) == len(names)
    seen: set[str] = set()
    for name, new in zip(names, unique, strict=True):
        assert new.startswith(name)
        if name.casefold() not in seen:
            assert new == name
        seen.add(name.casefold())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES)
def test_every_way_out_has_every_value(sracl, place: Path, names: list[str]) -> None:
    quoted = [name.replace('"', '""') for name in names]
    query = "SELECT " + ", ".join(f'{value} AS "{name}"' for value, name in enumerate(quoted, start=1))
    values = list(range(1, len(names) + 1))
    found = json.loads(sracl("sql", query, "--json", home=place).stdout)
    assert found == [dict(zip(unique_names(names), values, strict=True))]
    table = list(csv.reader(io.StringIO(sracl("sql", query, "--format", "csv", home=place).stdout)))
    assert table == [names, [str(value) for value in values]]
    assert [word for word in sracl("sql", query, home=place).stdout.split() if word.isdigit()] == [*map(str, values)]
    for ending in ("json", "parquet", "csv"):
        out = place / f"out.{ending}"
        out.unlink(missing_ok=True)
        sracl("sql", query, "--out", out, home=place)
        if ending == "json":
            assert json.loads(out.read_text()) == dict(zip(unique_names(names), values, strict=True))
        elif ending == "parquet":
            assert pq.read_table(out).to_pylist() == [dict(zip(unique_names(names), values, strict=True))]
        else:
            assert [line.replace('"', "") for line in out.read_text().splitlines()][1] == ",".join(map(str, values))


def test_two_columns_of_one_name_are_two(sracl, place: Path) -> None:
    query = "SELECT 1 AS x, 2 AS x"
    assert json.loads(sracl("sql", query, "--json", home=place).stdout) == [{"x": 1, "x_1": 2}]
    assert sracl("sql", query, "--format", "csv", home=place).stdout.split() == ["x,x", "1,2"]
