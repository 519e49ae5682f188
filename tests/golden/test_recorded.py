"""A home, its journals and checkpoints, a bundle and a model that older code made (record.py) still work, and say the same.

Numbers that are computed anew carry a tolerance: processors differ.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from safetensors import safe_open

from engine.config import Config
from engine.recommend import load_model
from engine.training.checkpoint import FORMAT
from engine.training.trainer import LAST
from sracl_tui.runs import environment
from store.home import Home
from store.journal.journal import read_events
from store.maintenance.check import check_home
from store.maintenance.repair import repair_home
from store.opening import open_store

from .answers import COMMANDS, TABLES, answer_of, difference, stable
from .conftest import RECORDED

Sracl = Callable[..., str]
Recorded = Callable[[str], Any]
UNTOLD = ("datasets", "users", "items", "interactions", "anchors", "schema_version")
"""Tables that stand in no journal: data sets, and when a file was made."""
USERS = 40
NEAR_RANKS = 1.0
"""By how much a rank among 200 items may differ, on average, on another processor."""


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=[" ".join(words)[:50] for words in COMMANDS])
def test_every_command_that_reads_answers_as_before(sracl, recorded_home, recorded, number) -> None:
    words, before = recorded("answers.json")[number]
    assert tuple(words) == COMMANDS[number], "record.py is to be run with the code that made the home"
    now = answer_of(COMMANDS[number], json.loads(sracl(recorded_home, *words, "--json")))
    assert difference(now, stable(before)) is None


def test_what_people_wrote_is_there(sracl, recorded_home) -> None:
    plain, full = (json.loads(sracl(recorded_home, "show", run, "--json")) for run in ("plain", "full"))
    assert (plain["tags"], plain["note"], plain["group_name"]) == (["baseline"], "held against the first one", "pair")
    assert (full["name"], full["tags"], full["note"]) == ("the whole method", ["paper"], "the first one")


def test_every_run_is_of_the_local_executor(recorded_home) -> None:
    with open_store(Home(recorded_home)) as store:
        assert store.rows("SELECT DISTINCT executor, handle FROM runs") == [{"executor": "local", "handle": None}]


def test_the_config_hash_of_every_run_is_that_of_its_config(recorded_home) -> None:
    with open_store(Home(recorded_home)) as store:
        rows = store.rows("SELECT run_id, config, config_hash FROM runs")
    assert len(rows) == 4
    for row in rows:
        config = json.loads(row["config"]) if isinstance(row["config"], str) else row["config"]
        assert Config.model_validate(config).config_hash() == row["config_hash"], row["run_id"]


def test_a_home_without_databases_comes_back_from_its_journals(old_home, recorded_home) -> None:
    for path in old_home.glob("*.duckdb"):
        path.unlink()
    told = repair_home(Home(old_home)).missing
    assert told
    assert all(text.startswith("dataset ") for text in told), "these stand in no journal"
    assert check_home(Home(old_home)).problems == told
    for name in ("sracl.duckdb", "vectors.duckdb"):
        _same_rows(old_home / name, recorded_home / name)


def _same_rows(ours: Path, theirs: Path) -> None:
    """Every table that journals fill has the same rows in two files."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{ours}' AS ours (READ_ONLY); ATTACH '{theirs}' AS theirs (READ_ONLY)")
        query = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'theirs'"
        names = {row[0] for row in connection.execute(query).fetchall()} - {*UNTOLD}
        assert names
        for name in sorted(names):
            for one, other in (("ours", "theirs"), ("theirs", "ours")):
                rows = connection.execute(f"FROM {one}.{name} EXCEPT ALL FROM {other}.{name}").fetchall()
                assert not rows, f"{name}: only {one} has {rows[:3]}"


def test_a_stopped_run_goes_on_to_what_it_would_have_been(sracl, old_home, recorded, monkeypatch) -> None:
    started = next(line.fields for _, line in read_events(old_home / "runs" / "stopped") if line.event == "run_started")
    then = {name: started[name] for name in ("code_version", "git_sha", "git_patch")}
    now = environment.describe()
    monkeypatch.setattr(environment, "describe", lambda: now | then)  # other code is refused, and rightly
    before = json.loads(sracl(old_home, "show", "stopped", "--json"))
    assert before["state"] == "stopped"
    whole = recorded("uninterrupted.json")
    assert 0 < before["epoch"] < whole["epochs"]
    assert _format(old_home / "runs" / "stopped" / LAST) == "sracl-checkpoint-1"
    done = json.loads(sracl(old_home, "run", "--resume", "stopped", "--headless", "--json"))
    assert done["state"] == "finished"
    assert _format(old_home / "runs" / "stopped" / LAST) == FORMAT
    curves = "SELECT epoch, split, name, value FROM metrics WHERE run_id = 'stopped' AND subgroup = 'all' AND name <> 'seconds' ORDER BY ALL"
    ranks = "SELECT split, user_id, rank FROM user_ranks WHERE run_id = 'stopped' ORDER BY ALL"
    found = {
        name: json.loads(sracl(old_home, "sql", query, "--json"))
        for name, query in (("curves", curves), ("ranks", ranks))
    }
    assert done["epochs"] == whole["epochs"]
    losses, measured = (
        [[row for row in answer["curves"] if (row["split"] == "train") is train] for answer in (found, whole)]
        for train in (True, False)
    )
    names = {row["name"] for row in measured[1]}  # what is recommended was not measured then
    assert {row["name"] for row in measured[0]} - names == {
        f"{name}@{k}" for name in ("coverage", "gini", "popularity") for k in (5, 10, 20)
    }
    measured = ([row for row in measured[0] if row["name"] in names], measured[1])
    assert difference(*losses) is None
    assert difference(*measured, absolute=3 / USERS) is None
    pairs = zip(found["ranks"], whole["ranks"], strict=True)
    assert sum(abs(ours["rank"] - theirs["rank"]) for ours, theirs in pairs) / len(whole["ranks"]) < NEAR_RANKS
    resumed = [line.fields for _, line in read_events(old_home / "runs" / "stopped") if line.event == "run_resumed"]
    assert [fields.keys() for fields in resumed] == [{"epoch", "step", "best_epoch"}]


def _format(path: Path) -> str:
    with safe_open(path, framework="pt") as file:
        return file.metadata()["format"]


def test_a_bundle_opens_in_an_empty_home(sracl, recorded_home, tmp_path) -> None:
    sracl(tmp_path / "empty", "import-bundle", RECORDED / "full.sracl.zip")
    for name in ("metrics", "user_ranks", "weights", "neighbors"):
        rows = [json.loads(sracl(home, "sql", TABLES[name], "--json")) for home in (tmp_path / "empty", recorded_home)]
        ours, theirs = (sorted((r for r in found if r.get("run_id", "full") == "full"), key=repr) for found in rows)
        assert ours
        assert ours == theirs, name
    shown = [json.loads(sracl(home, "show", "full", "--json")) for home in (tmp_path / "empty", recorded_home)]
    assert shown[0]["config_hash"] == shown[1]["config_hash"]


def test_a_model_of_a_checkpoint_recommends_as_before(sracl, old_home, recorded, tmp_path) -> None:
    with tarfile.open(RECORDED / "model.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python 3.11.2
        archive.extractall(tmp_path)
    sracl(old_home, "export", "full", "--what", "model", "--out", tmp_path / "now")
    query = "SELECT user_id, list(i.raw_id ORDER BY position) AS items FROM interactions JOIN items i USING (dataset_id, item_id) GROUP BY ALL ORDER BY ALL"
    histories = [row["items"] for row in json.loads(sracl(old_home, "sql", query, "--json"))]
    assert len(histories) >= 40
    lists = [load_model(tmp_path / name).recommend(histories, k=10) for name in ("model", "now")]
    assert [[item for item, _ in top] for top in lists[0]] == [[item for item, _ in top] for top in lists[1]]
    assert difference(*([[float(score) for _, score in top] for top in found] for found in lists)) is None
