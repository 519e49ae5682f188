"""One damaged row is shown as damaged, or as what it says, and hinders no command: every column of runs and what stands beside them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.database.connection import quoted
from store.home import Home
from store.opening import open_store
from tests.support.commands import sracl_inside
from tests.support.earlier_demo import add_earlier_demo
from tests.support.shared_homes import written_once

GOOD, WHOLE = "20260101-090000-0001", "20260101-092000-0003"
RECORDED = Path(__file__).parents[1] / "support" / "recorded"
DEEP = "[" * 3000 + "]" * 3000
TEXTS = (
    None,
    "",
    " ",
    "x" * 50_000,
    "[3]",
    "{",
    DEEP,
    "NaN",
    "\x1b[31mred\x1b]0;t\x07",
    "\u202egpj",
    "../../../etc",
    "'; DROP TABLE runs; --",
    "[red]x[/b]",
)
DOCUMENTS = (
    None, "null", "7", '"x"', "[3]", "[]", "true", DEEP, '{"a": ' * 500 + "1" + "}" * 500, '{"total": "x"}', '{"total": 1e999}', '{"total": [1]}',
    '{"data": 3}', '{"data": {"dataset": 3}}', '{"data": {"dataset": null}}', '{"train": {"select": 3, "epochs": "many"}}', '{"x": {}}',
    '{"model": {"backbone": ["x"]}}', '{"loss": {"alpha": "' + "9" * 5000 + '"}}', '{"a": 1e400}', '{"a": ' + "9" * 400 + "}", '{"\\u0000": {}}',
)  # fmt: skip
NUMBERS = (None, -1, 0, 2**31 - 1, -(2**31))
VALUES: dict[str, tuple[Any, ...]] = {
    # by type of the column
    "VARCHAR": TEXTS,
    "JSON": DOCUMENTS,
    "VARCHAR[]": (None, [], [None], ["x" * 5000], ["\x1b[31m", "\u202e"], ["a"] * 5000),
    "INTEGER": NUMBERS,
    "SMALLINT": (None, -1, 2**15 - 1),
    "BIGINT": (*NUMBERS, 2**63 - 1),
    "DOUBLE": (None, "nan", "inf", "-inf", -1.0, 1e308),
    "FLOAT": (None, "nan", "inf"),
    "FLOAT[]": (None, [], [None], ["nan", "-inf"], [3e38] * 5000),
    "TIMESTAMP": (
        None,
        "infinity",
        "-infinity",
        "290000-01-01",
        "290000-01-01 (BC)",
        "0001-01-01",
        "9999-12-31 23:59:59",
    ),
    "BOOLEAN": (None,),
}
EVERY = int(os.environ.get("SRACL_EVERY", "15"))
"""Of how many damaged runs one is shown; with 1, all."""
BESIDE = ("metrics", "run_warnings", "api_calls", "summary_sets", "summary_links", "summaries", "neighbor_lists", "neighbors", "user_ranks",
          "synthesizer_weights", "machine_samples", "user_epochs", "prompts", "queue", "study_claims", "study_files", "study_verdicts", "findings", "datasets")  # fmt: skip
WHOLE_HOME = (
    ("runs",), ("runs", "--json"), ("runs", "--filter", "state:finished ndcg@20>0"), ("costs",),
    ("queue", "list", "--all"), ("study", "list"), ("data", "list"),
    ("prompts", "list"), ("findings", "list"), ("findings", "list", "--json"), ("show", "last"), ("sql", "SELECT run_id, state FROM runs"),
    ("show", GOOD), ("show", GOOD, "--json"), ("compare", GOOD, WHOLE), ("tag", GOOD, "seen"),
)  # fmt: skip


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def write(folder: Path) -> None:
        home = Home(folder)
        add_earlier_demo(home)
        shutil.copytree(RECORDED, home.runs, dirs_exist_ok=True)
        open_store(home).close()

    return written_once(tmp_path_factory, "recorded-runs", write)


@pytest.fixture
def home(clean: Path, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(clean, tmp_path / "home")))


def columns(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[tuple[str, str, Any]]:
    """Column, type and damage, for every pair that there is of them."""
    for name, kind, *_ in connection.execute(f"DESCRIBE {table}").fetchall():
        assert kind in VALUES, f"say how a column of type {kind} can be damaged"
        for value in VALUES[kind]:
            yield name, kind, value


def damage_runs(home: Home) -> dict[str, tuple[str, Any]]:
    """A copy of a run for every damage of every column; the damage by run id."""
    made: dict[str, tuple[str, Any]] = {}
    with duckdb.connect(str(home.database)) as connection:
        for number, (name, kind, value) in enumerate(columns(connection, "runs")):
            run_id = f"bad-{number:03d}"
            if name == "run_id":
                continue
            try:
                connection.execute(
                    f"INSERT INTO runs BY NAME SELECT * REPLACE ($1 AS run_id, $2::{kind} AS {quoted(name)}) FROM runs WHERE run_id = '{WHOLE}'",
                    [run_id, value],
                )
            except duckdb.Error:  # the schema refuses it
                continue
            made[run_id] = name, value
    return made


def test_runs(home: Home) -> None:
    made = damage_runs(home)
    assert len(made) > 250
    for words in WHOLE_HOME:
        sracl_inside(home.path, *words)
    listed = {row["run_id"]: row for row in json.loads(sracl_inside(home.path, "runs", "--json").stdout)}
    assert {*made, GOOD, WHOLE} <= listed.keys()
    for run_id, (name, value) in made.items():
        if name in ("config", "timings") and value in ("7", "[3]", DEEP):
            assert "damaged" in listed[run_id]["reason"], (name, value)
    for run_id in list(made)[::EVERY]:
        sracl_inside(home.path, "show", run_id)


PLAIN = {"VARCHAR": "x", "VARCHAR[]": "[]", "FLOAT[]": "[]", "JSON": "{}", "TIMESTAMP": "2026-01-01", "BOOLEAN": "true"}
"""What stands in a row of a table that has none yet; 1 for numbers."""


def damage_beside(home: Home) -> dict[str, int]:
    """Rows of the tables beside runs, each with one damage; their number by table."""
    made = dict.fromkeys(BESIDE, 0)
    with duckdb.connect(str(home.database)) as connection:
        for table in BESIDE:
            kinds = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {table}").fetchall()}
            connection.execute(f"CREATE TEMP TABLE one AS FROM {table} LIMIT 1")
            if not connection.execute("FROM one").fetchall():
                values = [f"'{PLAIN.get(kind, '1')}'::{kind} AS {quoted(name)}" for name, kind in kinds.items()]
                connection.execute(f"INSERT INTO one SELECT {', '.join(values)}")
                if "run_id" in kinds:
                    connection.execute(f"UPDATE one SET run_id = '{WHOLE}'")
            for number, (name, kind, value) in enumerate(columns(connection, table)):
                other = [f"{quoted(key)} || '{number}' AS {quoted(key)}" for key in kinds
                         if kinds[key] == "VARCHAR" and key not in (name, "run_id", "state", "split", "kind")][:1]  # fmt: skip
                for keys in ([], other):  # as another row, where the first is one already
                    replaced = ", ".join([f"$1::{kind} AS {quoted(name)}", *keys])
                    try:
                        connection.execute(
                            f"INSERT INTO {table} BY NAME SELECT * REPLACE ({replaced}) FROM one", [value]
                        )
                    except duckdb.Error:
                        continue
                    made[table] += 1
                    break
            connection.execute("DROP TABLE one")
    return made


def test_beside_runs(home: Home) -> None:
    made = damage_beside(home)
    assert all(count > 5 for count in made.values()), made
    for words in WHOLE_HOME:
        sracl_inside(home.path, *words)
    assert len(json.loads(sracl_inside(home.path, "runs", "--json").stdout)) == 5
    assert "problems" in sracl_inside(home.path, "db", "check", code=4).stderr


VIEWS = ("run_results", "run_metrics", "run_costs", "spend_by_day", "neighbor_weights", "user_view")
SUM = 2**63 - 1
"""Two of these are more than a BIGINT holds."""
NO_NUMBERS = {
    # column of a view, which is NULL for the run with this damage: change of its row
    "k": """config = '{"retrieval": {"k": "many"}}'""",
    "alpha": """config = '{"loss": {"alpha": [0.1]}}'""",
    "beta": """config = '{"loss": {"beta": "high"}}'""",
    "seconds": """timings = '{"total": "x"}'""",
    "train_seconds": """timings = '{"train": {}}'""",
}
"""What stands in a row of `runs` that no number can be made of."""


def test_a_person_s_sql_reads_every_view_beside_damaged_rows(home: Home) -> None:
    runs = damage_runs(home)
    damage_beside(home)
    with open_store(home) as store:
        made = {row["view_name"] for row in store.rows("SELECT view_name FROM duckdb_views() WHERE NOT internal")}
        assert made == set(VIEWS)
        for view in VIEWS:
            store.user_sql(f"FROM {view}")
            store.user_sql(f"SELECT count(*) AS rows, max(COLUMNS(*)) FROM {view}")
    listed = json.loads(sracl_inside(home.path, "sql", "SELECT run_id FROM run_results", "--json").stdout)
    assert {row["run_id"] for row in listed} >= {GOOD, WHOLE, *runs}


@pytest.mark.parametrize("column", NO_NUMBERS)
def test_what_is_no_number_is_null_in_run_results(home: Home, column: str) -> None:
    with duckdb.connect(str(home.database)) as connection:
        before = connection.execute(f"SELECT {column} FROM run_results WHERE run_id = ?", [GOOD]).fetchall()
        connection.execute(f"UPDATE runs SET {NO_NUMBERS[column]} WHERE run_id = ?", [WHOLE])
        found = dict(connection.execute(f"SELECT run_id, {column} FROM run_results").fetchall())
    assert found[WHOLE] is None
    assert [(found[GOOD],)] == before


def test_costs_that_are_no_numbers_are_null_for_their_run_alone(home: Home) -> None:
    call = "INSERT INTO api_calls (run_id, key, provider, model, attempt, sent_at, tokens_in, usd) VALUES"
    with duckdb.connect(str(home.database)) as connection:
        for number, (run_id, tokens, usd) in enumerate(
            [(GOOD, 7, 0.5), (WHOLE, SUM, 0.25), (WHOLE, SUM, "inf"), (WHOLE, 1, "nan")]
        ):
            connection.execute(f"{call} ($2, $1, 'p', $3, 1, TIMESTAMP '2026-01-01', $4, $5)",
                               [f"c{number}", run_id, "good" if run_id == GOOD else "bad", tokens, usd])  # fmt: skip
        costs = connection.execute("SELECT run_id, tokens_in, usd FROM run_costs WHERE calls > 0").fetchall()
        days = connection.execute(
            "SELECT model, tokens_in, usd, calls_of_unknown_price FROM spend_by_day WHERE provider = 'p' ORDER BY model"
        ).fetchall()
    assert sorted(costs) == [(GOOD, 7, 0.5), (WHOLE, None, None)]
    assert days == [("bad", None, 0.25, 2), ("good", 7, 0.5, 0)]
