"""The Python door: tables, comparisons and verdicts of a home, equal to what the commands print; and the notebook that uses it."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from sracl_tui import api
from store.errors import LookupFailed, QueryFailed, StoreError
from tests.support.commands import ROOT, sracl_inside
from tests.support.figure_home import KS, SEEDS, USERS, WHOLE, ranks_of, write_figure_home
from tests.support.shared_homes import written_once

NOTEBOOK = ROOT / "examples" / "results.ipynb"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_once(tmp_path_factory, "figures", write_figure_home)


@pytest.fixture
def home(folder: Path):
    with api.open_home(folder) as opened:
        yield opened


def document(folder: Path, *words: str):
    return json.loads(sracl_inside(folder, *words, "--json").stdout)


def test_runs_are_those_of_the_command(folder, home):
    rows = home.runs().to_pylist()
    listed = document(folder, "runs")
    assert [row["run_id"] for row in rows] == [row["run_id"] for row in listed]
    assert {row["run_id"]: row["test_ndcg_20"] for row in rows} == {r["run_id"]: r["test_ndcg_20"] for r in listed}
    assert json.loads(rows[0]["config"]) == home.config(rows[0]["run_id"])
    assert len(home.runs(limit=2)) == 2
    assert home.runs(group="no such group").column_names == home.runs().column_names
    assert len(home.runs(group="no such group")) == 0


def test_ranks_are_those_that_were_stored(home):
    names = [f"k{k}-{seed}" for k in KS for seed in SEEDS]
    table = home.ranks(*names)
    assert len(table) == len(names) * USERS
    for k in KS:
        for seed in SEEDS:
            mine = table.filter(pa.compute.equal(table["run"], f"k{k}-{seed}"))
            assert mine["rank"].to_pylist() == ranks_of(k, seed).tolist()
            assert mine["user_id"].to_pylist() == list(range(1, USERS + 1))
            assert None not in mine["raw_id"].to_pylist()


def test_metrics_have_every_epoch_and_mark_the_best_one(folder, home):
    table = home.metrics(WHOLE, split="valid").to_pylist()
    best = [row["value"] for row in table if row["is_best"] and row["name"] == "ndcg@20"]
    shown = document(folder, "show", WHOLE)
    assert best == [shown["valid_ndcg_20"]] if "valid_ndcg_20" in shown else len(best) == 1
    assert {row["epoch"] for row in table} == set(range(1, 7))
    assert {row["split"] for row in home.metrics(WHOLE).to_pylist()} >= {"train", "valid", "test"}
    assert {row["subgroup"] for row in home.metrics(WHOLE, subgroup=None).to_pylist()} > {"all"}


def test_neighbors_and_weights_are_those_of_inspect(folder, home):
    shown = document(folder, "inspect", WHOLE, "#7")
    table = home.neighbors(WHOLE, 7).to_pylist()
    mine = [row for row in table if row["anchor_id"] == shown["anchor"]["anchor_id"]]
    assert [row["neighbor_anchor_id"] for row in mine] == [row["neighbor_id"] for row in shown["neighbors"]]
    assert [row["weight"] for row in mine] == [row["weight"] for row in shown["neighbors"]]
    assert sum(row["weight"] for row in mine) == pytest.approx(1, abs=1e-5)
    assert home.neighbors(WHOLE, "#7").equals(home.neighbors(WHOLE, 7))
    assert len(home.neighbors(WHOLE)) > len(table)
    assert len(home.neighbors("bare-1")) == 0, "a run without neighbors has none"


def test_summaries_are_those_that_were_trained_on(folder, home):
    shown = document(folder, "inspect", WHOLE, "#7")
    texts = {row["owner_id"]: row["text"] for row in home.summaries(WHOLE).to_pylist()}
    assert texts[shown["anchor"]["anchor_id"]] == shown["summary"]["text"]
    assert len(home.summaries(WHOLE, "item")) > 0


def test_compare_has_the_tests_of_the_command(folder, home):
    names = ["bare-1", "k5-1"]
    found = home.compare(*names, split="test").document()
    assert found["tests"] == document(folder, "compare", *names, "--split", "test")["tests"]
    assert found["tests"]


def test_data_costs_and_queries(home):
    (demo,) = [row for row in home.datasets().to_pylist() if row["users"] == USERS]
    table = home.interactions(demo["name"])
    assert len(table) == demo["interactions"]
    assert set(home.costs()["run_id"].to_pylist()) == set(home.runs()["run_id"].to_pylist())
    assert home.sql("SELECT count(*) AS runs FROM runs").to_pylist() == [{"runs": len(home.runs())}]


def test_verdicts_of_the_runs_that_are_there(home):
    judged = home.judge("quick")
    assert {one.claim.name for one in judged} == {"gain", "placebo", "gone"}
    assert len(home.verdicts("quick")) == 0, "judging records nothing"


def test_nothing_can_be_changed(home):
    with pytest.raises(QueryFailed):
        home.sql("DELETE FROM runs")
    with pytest.raises(QueryFailed):
        home.sql("COPY runs TO '/tmp/never.csv'")


def test_wrong_names_are_told(home, tmp_path):
    for call in (home.ranks, home.metrics, home.neighbors, home.config):
        with pytest.raises(LookupFailed, match="no run 'nothing'"):
            call("nothing")
    with pytest.raises(LookupFailed):
        home.neighbors(WHOLE, "nobody")
    with pytest.raises(LookupFailed, match="no dataset"):
        home.interactions("nothing")
    with pytest.raises(StoreError, match="no home with results"):
        api.open_home(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_notebook_runs_from_top_to_bottom(folder, tmp_path, monkeypatch):
    """Its code cells, in order, in one namespace, as a kernel runs them."""
    monkeypatch.setenv("SRACL_HOME", str(folder))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for number, cell in enumerate(notebook["cells"]):
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}, cell {number}", "exec"), names)
                assert not cell["outputs"], "outputs are not committed"
    assert "runs in" in printed.getvalue()
    assert os.path.getsize(tmp_path / "ranks.svg") > 1000
