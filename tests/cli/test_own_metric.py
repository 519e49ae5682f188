"""Metrics that somebody else wrote, as an installed package, and one that a method measures of itself: they are everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.csv
import pytest
from textual.widgets import Input

from engine.events import EpochFinished, Metric
from engine.training import trainer
from sracl_tui.runs.run_state import RunState
from sracl_tui.services.comparison import compare_runs
from sracl_tui.services.comparison_table import metric_rows
from sracl_tui.services.run_follower import RunFollower
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.rendering import run as run_text
from sracl_tui.tui.screens.compare import CompareScreen
from sracl_tui.tui.screens.launch import LaunchScreen
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.widgets.curves import Curves
from sracl_tui.tui.widgets.table import Table, TableData
from store.home import Home
from store.opening import open_store
from tests.support import installed_metrics

CODE = """
from engine.metric_registry import MetricDefinition

NEAR = MetricDefinition(
    name="near", label="Near", definition="Share of targets just above the cutoff's half.", source="here",
    of_ranks=lambda ranks, k: (2 * ranks <= k).astype(float),
)
DISTINCT = MetricDefinition(
    name="distinct", label="Distinct", definition="Different items in all lists.", source="here",
    of_lists=lambda lists, k: float(len(set(lists.items.ravel().tolist()))), cutoff=False, format=".1f",
)
"""
POINTS = {"near": "own_metrics:NEAR", "distinct": "own_metrics:DISTINCT"}
SMALL = (
    *(
        "--preset",
        "backbone",
        "--set",
        "max_users=60",
        "--set",
        "encoder=tfidf",
        "--set",
        "epochs=2",
        "--set",
        "threads=1",
    ),
    *("--set", "metrics=hr,ndcg, mrr,distinct", "--set", "select=near@10", "--headless", "--json"),
)


def _with_share(**fields: Any) -> EpochFinished:
    """What a method reports after an epoch, with a number of its own."""
    share = Metric(split="train", name="unchanged_share", value=0.5 / fields["epoch"])
    event = EpochFinished(**fields)
    return replace(event, metrics=(*event.metrics, share))


@pytest.fixture(scope="module")
def home(sracl: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two runs that select by one of the metrics and measure the other, by a method that measures something of itself."""
    with pytest.MonkeyPatch.context() as patch:
        installed_metrics.install(tmp_path_factory.mktemp("package"), patch, POINTS, own_metrics=CODE)
        patch.setattr(trainer, "EpochFinished", _with_share)
        folder = tmp_path_factory.mktemp("own-metric")
        for number in (1, 2):
            words = ("--name", f"run-{number}", "--set", f"width={8 * number}")
            sracl("run", *SMALL, *words, home=folder)
        yield folder
    installed_metrics.forget(POINTS)


@pytest.fixture
def shown(sracl: Any, home: Path) -> Callable[..., Any]:
    """The JSON document that a command prints."""
    return lambda *words: json.loads(sracl(*words, "--json", home=home).stdout)


def test_it_selects_is_stored_and_can_be_queried(shown):
    stored = shown(
        "sql", "SELECT r.name, m.split, m.name AS metric, m.value FROM run_metrics m JOIN runs r USING (run_id)"
    )
    values = {(row["name"], row["split"], row["metric"]): row["value"] for row in stored}
    for run in ("run-1", "run-2"):
        document = shown("show", run)
        curve = [
            point["value"] for point in document["curves"] if (point["split"], point["name"]) == ("valid", "near@10")
        ]
        assert document["best_epoch"] == 1 + curve.index(max(curve))
        assert values[run, "valid", "near@10"] == max(curve)
        assert 20 <= values[run, "test", "distinct"] <= 500
        assert values[run, "train", "unchanged_share"] == 0.5 / document["best_epoch"]
        names = {m["name"] for m in document["metrics"] if (m["split"], m["subgroup"]) == ("test", "all")}
        assert {"near@5", "near@10", "near@20", "distinct", "hr@20"} < names


def test_runs_are_listed_filtered_and_sorted_by_it(sracl, home, shown):
    rows = shown(
        "runs", "--sort", "near@20", "--filter", "distinct>0 train.unchanged_share>0.2", "--metric", "train.loss_rec"
    )
    assert [row["test_near_20"] for row in rows] == sorted((row["test_near_20"] for row in rows), reverse=True)
    assert {"test_distinct", "train_unchanged_share", "train_loss_rec", "test_hr_20"} < rows[0].keys()
    assert shown("runs", "--filter", "distinct>100000") == []
    text = sracl("runs", "--sort", "near@20", "--metric", "distinct", home=home).stdout
    assert "Near@20" in text
    assert "Distinct" in text
    assert f"{rows[0]['test_distinct']:.1f}" in text


def test_comparisons_have_it_and_test_it(sracl, home, shown):
    found = shown("compare", "run-1", "run-2", "--split", "test")
    first, second = found["sets"]
    assert {"near@10", "distinct", "mrr@20"} < first["metrics"].keys()
    assert {"loss", "loss_rec", "unchanged_share"} <= first["training"].keys()
    tests = {test["metric"]: test for test in found["tests"]}
    assert tests["near@10"]["difference"] == pytest.approx(second["mean"]["near@10"] - first["mean"]["near@10"])
    assert not {"distinct", "mrr@10"} & tests.keys()
    text = sracl("compare", "run-1", "run-2", "--split", "test", "--format", "csv", home=home).stdout
    assert text.splitlines()[0].endswith("MRR@20,Near@5,Near@10,Near@20,Distinct")
    text = sracl("compare", "run-1", "run-2", home=home).stdout
    assert "L_rec" in text
    assert "unchanged_share" in text


def test_exports_have_it(sracl, home):
    out = home / "results.csv"
    sracl("export", "run-1", "run-2", "--out", out, home=home)
    table = pyarrow.csv.read_csv(out)
    assert table.column_names[-5:-1] == ["test_distinct", "test_near_10", "test_near_20", "test_near_5"]
    assert min(table["test_distinct"].to_pylist()) >= 20
    sracl("export", "run-1", "--out", home / "results.md", home=home)
    assert "Distinct | Near@10" in (home / "results.md").read_text()


def test_tables_of_a_run_have_it(sracl, home):
    text = sracl("show", "run-1", home=home).stdout
    assert "Near@20" in text
    assert "valid Near@10" in text
    assert "L_rec" in text
    assert "unchanged_share" in text


async def test_the_app_shows_it(home):
    place = Home(home)
    app = SraclApp(place)
    async with app.run_test(size=(200, 50)) as pilot:
        app.query_one(Table).focus()
        app.screen.query_one("#filter", Input).value = "near@20>=0 distinct>0"
        data = TableData()
        for _ in range(400):
            await pilot.pause(0.02)
            data = app.screen.query_one(Table).data
            if len(data.rows) == 2 and "test Distinct" in [column.title for column in data.columns]:
                break
        titles = [column.title for column in data.columns]
        assert titles[3:7] == ["test HR@20", "test NDCG@20", "test Near@20", "test Distinct"]
        assert all(float(row.cells[6]) >= 20 for row in data.rows)
        ids = [str(row.key) for row in data.rows]
    follower = RunFollower(place, (ids[0],))
    follower.read()
    live: RunState = follower.runs[ids[0]]
    assert {"near@5", "near@10", "near@20"} < set(live.validation_names)
    assert live.training_names[:2] == ["loss", "loss_rec"]
    assert live.training_names[-1] == "unchanged_share"
    assert "Distinct " in run_text.progress(live, "finished", None, 0.0).plain
    with open_store(place) as store:
        heads, rows = metric_rows(compare_runs(store, ids, split="test"), signs=True)
    assert heads[-1] == "Distinct"
    assert all(float(row[-1]) >= 20 for row in rows)


async def test_curves_of_a_metric_and_of_whatever_a_method_measures_are_drawn(home):
    place = Home(home)
    with open_store(place) as store:
        ids = [row["run_id"] for row in store.rows("SELECT run_id FROM runs ORDER BY name")]
    app = SraclApp(place)
    app.preferences.metric, app.preferences.loss, app.preferences.compare_metric = (
        "near@20",
        "loss_rec",
        "train.loss_rec",
    )
    async with app.run_test(size=(120, 40)) as pilot:
        app.push_screen(RunScreen(ids[0]))
        await _titled(pilot, "#metrics", "validation Near@20")
        await _titled(pilot, "#losses", "training loss L_rec")
        for _ in range(9):
            if app.preferences.loss != "unchanged_share":
                await pilot.press("l")
        await _titled(pilot, "#losses", "training unchanged_share")
        app.push_screen(CompareScreen(ids))
        await _titled(pilot, "#overlaid", "training L_rec, mean over seeds")
        app.preferences.compare_metric = "train.loss"
        await pilot.press("v")
        await _titled(pilot, "#overlaid", "training L_rec, mean over seeds")
        app.preferences.compare_metric = "train.unchanged_share"
        await pilot.press("v")  # after the last one comes the first
        await _titled(pilot, "#overlaid", "validation HR@20, mean over seeds")


async def _titled(pilot: Any, plot: str, title: str) -> None:
    """Wait until a plot has a title and curves."""
    found = ""
    for _ in range(400):
        await pilot.pause(0.02)
        drawn = [one for one in pilot.app.screen.query(plot) if isinstance(one, Curves)]
        found = drawn[0]._title if drawn else ""
        if found == title and drawn[0]._curves:
            return
    raise AssertionError(f"{plot} shows {found!r}, not {title!r}")


async def test_the_form_shows_and_takes_metrics_as_words(home):
    app = SraclApp(Home(home))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = LaunchScreen(None)
        app.push_screen(screen)
        await pilot.pause()
        screen._set("evaluate.metrics", "hr,ndcg,mrr,coverage,gini,popularity")
        assert screen.changes == {}
        screen._set("evaluate.metrics", "hr, near")
        await pilot.pause()
        assert screen.config is not None
        assert screen.config.evaluate.metrics == ("hr", "near")
