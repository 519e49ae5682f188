"""The analysis metrics of real runs, against what the database and the run's folder hold."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from engine.config_files import load_config
from engine.errors import TrainingError
from engine.evaluation import geometry
from engine.events import EpochFinished
from sracl_tui.runs import execute as run_execution
from sracl_tui.runs.execute import execute
from sracl_tui.runs.request import RunRequest, new_run_id
from store.home import Home
from store.opening import open_store
from store.queries.runs import analysis_metrics

SMALL = ("max_users=40", "encoder=tfidf", "epochs=2", "threads=1", "k=4", "item_k=4")
VECTORS = {"uniformity", "effective_rank", "mean_cosine"}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


def request(preset: str = "default") -> RunRequest:
    config, name = load_config(preset=preset, assignments=SMALL, settings={"dataset": "demo"})
    return RunRequest(run_id=new_run_id(), config=config, preset=name)


def found(home: Home, run_id: str) -> dict[str, dict[str, float]]:
    with open_store(home) as store:
        return analysis_metrics(store, run_id)


@pytest.fixture(scope="module")
def whole(home: Home) -> str:
    result = execute(home, request())
    assert result.error is None
    return result.request.run_id


def test_vectors_are_measured_with_and_without_the_synthesizer(home, whole):
    table = pq.read_table(home.run_folder(whole) / "user_vectors.parquet")
    measured = found(home, whole)
    assert set(measured) == {"h", "h_plus", "weights"}
    for name in ("h", "h_plus"):
        vectors = np.stack(table[name].to_numpy())
        assert measured[name] == pytest.approx(geometry.vector_metrics(vectors), rel=1e-5)


def test_weights_are_measured_from_what_is_stored(home, whole):
    measured = found(home, whole)["weights"]
    with open_store(home) as store:
        rows = store.rows(
            "SELECT anchor_id, list(similarity) AS similarity, list(b.weight) AS best, list(i.weight) AS initial "
            "FROM neighbor_weights b JOIN synthesizer_weights i USING (run_id, anchor_id, neighbor_id) "
            "WHERE run_id = ? AND b.phase = 'best' AND i.phase = 'initial' GROUP BY anchor_id",
            [whole],
        )
    orders = [spearmanr(row["similarity"], row["best"])[0] for row in rows]
    entropies = [-sum(p * math.log(p) for p in row["best"]) / math.log(4) for row in rows]
    moved = [np.abs(np.subtract(row["best"], row["initial"])).sum() / 2 for row in rows]
    assert len(rows) == 40
    assert measured["spearman"] == pytest.approx(np.mean(orders), rel=1e-9)
    assert measured["entropy"] == pytest.approx(np.mean(entropies), rel=1e-6)
    assert measured["movement"] == pytest.approx(np.mean(moved), rel=1e-6)
    untrained = [spearmanr(row["similarity"], row["initial"])[0] for row in rows]
    assert measured["spearman_untrained"] == pytest.approx(np.mean(untrained), rel=1e-6)
    for name, phase in (("reordered", "best"), ("reordered_untrained", "initial")):
        changed = [
            any(s < t and w > v for s, w in zip(row["similarity"], row[phase], strict=True) for t, v in zip(row["similarity"], row[phase], strict=True))
            for row in rows
        ]  # fmt: skip
        assert measured[name] == pytest.approx(np.mean(changed))
    orders = [[same for same in permutations(row["similarity"]) if list(same) == sorted(same)] for row in rows]
    assert measured["reordered_by_chance"] == pytest.approx(1 - np.mean([len(same) / 24 for same in orders]))


def test_a_resumed_run_is_measured_as_a_whole_one(home, whole):
    asked = request()

    def cut(event) -> None:
        if isinstance(event, EpochFinished):
            raise KeyboardInterrupt

    assert execute(home, asked, listener=cut).state == "stopped"
    assert found(home, asked.run_id) == {}
    assert execute(home, asked, resume=True).state == "finished"
    measured, expected = found(home, asked.run_id), found(home, whole)
    for subgroup, values in expected.items():
        assert measured[subgroup] == pytest.approx(values, rel=1e-9), subgroup


def test_a_run_that_was_cut_off_after_it_was_measured_has_each_number_once(home, monkeypatch):
    asked = request()
    write = run_execution.Recorder.write

    def fail(self, event, /, **fields):
        write(self, event, **fields)
        if event == "measured":
            raise TrainingError("cut off here")

    monkeypatch.setattr(run_execution.Recorder, "write", fail)
    assert execute(home, asked).state == "failed"
    monkeypatch.undo()
    assert execute(home, asked, resume=True).state == "finished"
    with open_store(home) as store:
        rows = store.rows(
            "SELECT count(*) AS n, count(DISTINCT (subgroup, name)) AS names FROM metrics WHERE run_id = ? AND "
            "split = 'analysis'",
            [asked.run_id],
        )
    assert rows == [{"n": 13, "names": 13}]


@pytest.mark.parametrize("preset", ["backbone", "wo-inter"])
def test_a_run_without_neighbors_has_only_vectors(preset, home):
    result = execute(home, request(preset))
    measured = found(home, result.request.run_id)
    assert set(measured) == {"h"}
    assert set(measured["h"]) == VECTORS
    assert all(map(math.isfinite, measured["h"].values()))
