"""Runs are found by what people type, and show what they measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from store.database.database import Store
from store.errors import LookupFailed
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.publishing.publish import publish, write_sql
from store.queries import runs


def _epoch(number: int, *, improved: bool, score: float) -> dict[str, Any]:
    metrics = [
        {"split": "train", "name": "loss", "value": 1.0 / number, "subgroup": "all"},
        {"split": "valid", "name": "ndcg@20", "value": score, "subgroup": "all"},
    ]
    return {
        "epoch": number, "step": 10 * number, "seconds": 2.0 * number, "evaluate_seconds": 1.0, "improved": improved,
        "metrics": metrics,
    }  # fmt: skip


@pytest.fixture(scope="module")
def store(
    fresh_home: Callable[[Path], Home], begin_run: Callable[..., Journal], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """Four runs that have ended; the first has epochs and a test."""
    home = fresh_home(tmp_path_factory.mktemp("runs") / "home")
    for number, (run_id, more) in enumerate(
        {
            "20260101-aaaa": {"name": "baseline", "group_name": "g", "tags": ["paper"]},
            "20260102-bbbb": {"name": "twin", "group_name": "g", "seed": 2},
            "20260102-cccc": {"name": "twin", "tags": ["paper", "office"]},
            "20260103-dddd": {"name": "last one", "config_hash": "xyz"},
        }.items()
    ):
        journal = begin_run(home, run_id, **more)
        journal.append("dataset_used", {"dataset_id": "d", "dataset_name": "demo", "dataset_sha256": "f"})
        if number == 0:
            for epoch, (improved, score) in enumerate([(True, 0.25), (True, 0.5), (False, 0.375)], start=1):
                journal.append("epoch_finished", _epoch(epoch, improved=improved, score=score))
            metrics = [
                {"split": "test", "name": "ndcg@20", "value": 0.125, "subgroup": "all"},
                {"split": "test", "name": "ndcg@20", "value": 0.0625, "subgroup": "tied"},
            ]
            fields = {"split": "test", "epoch": 2, "step": 20, "metrics": metrics}
            journal.append("evaluated", fields, columns={"user_id": [1], "rank": [9]})
        journal.append(
            "run_ended", {"state": "failed" if number == 3 else "finished", "reason": None, "timings": {"total": 9.0}}
        )
    publish(home)
    write_sql(  # all were made within milliseconds
        home, "UPDATE runs SET created_at = strptime(run_id[:8], '%Y%m%d') + to_seconds(ascii(run_id[-1]))"
    )
    with open_store(home) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("20260101-aaaa", "20260101-aaaa"),
        ("20260101", "20260101-aaaa"),
        ("20260102-b", "20260102-bbbb"),
        ("baseline", "20260101-aaaa"),
        ("last one", "20260103-dddd"),
        ("last", "20260103-dddd"),
    ],
)
def test_a_run_is_found(store: Store, text: str, found: str) -> None:
    run = runs.find_run(store, text)
    assert run["run_id"] == found
    assert run["config"]["loss"]["alpha"] == 0.1
    assert run["timings"] == {"total": 9.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("20260102", "2 runs fit '20260102': 20260102-bbbb, 20260102-cccc"),
        ("twin", "2 runs fit 'twin'"),
        ("2026", "4 runs fit"),
        ("", "4 runs fit"),
        ("basel", "no run 'basel'"),
        ("' OR 1=1 --", "no run"),
        ("%", "no run"),
    ],
)
def test_a_run_that_is_not_found_or_not_one(store: Store, text: str, message: str) -> None:
    with pytest.raises(LookupFailed, match=message) as caught:
        runs.find_run(store, text)
    assert "sracl runs" in str(caught.value)


def test_there_is_no_last_run_in_a_new_home(home: Home) -> None:
    with open_store(home) as store:
        with pytest.raises(LookupFailed, match="no run 'last'"):
            runs.find_run(store, "last")
        assert runs.list_runs(store) == []
        assert runs.finished_equal(store, config_hash="x", seed=1, group="g") is None
        assert runs.epoch_seconds(store, dataset_name="demo") is None


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "dcba"),
        ({"group": "g"}, "ba"),
        ({"tag": "paper"}, "ca"),
        ({"tag": "office"}, "c"),
        ({"group": "g", "tag": "paper"}, "a"),
        ({"group": "none"}, ""),
        ({"tag": "pap"}, ""),
        ({"limit": 2}, "dc"),
        ({"limit": 1, "tag": "paper"}, "c"),
        ({"limit": 0}, ""),
    ],
)
def test_lists(store: Store, filters: dict[str, Any], found: str) -> None:
    assert [row["run_id"][-1] for row in runs.list_runs(store, **filters)] == list(found)


def test_a_listed_run_has_its_numbers(store: Store) -> None:
    row = runs.list_runs(store, tag="paper")[1]
    assert (row["state"], row["epoch"], row["best_epoch"], row["dataset_name"]) == ("finished", 3, 2, "demo")
    assert (row.get("test_ndcg_20"), row.get("valid_ndcg_20"), row.get("test_hr_20"), row["usd"]) == (
        0.125,
        0.5,
        None,
        0.0,
    )
    assert row["config"]["retrieval"]["pool"] == "others"


def test_any_metric_of_the_best_epoch_is_a_column_of_those_who_ask(store: Store) -> None:
    asked = [("train", "loss"), ("test", "ndcg@20"), ("valid", "none@3"), ("test", "it's \"}{0}"), ("train", "seconds")]
    rows = runs.list_runs(store, tag="paper", metrics=asked)
    columns = set(rows[1]) - set(runs.list_runs(store, limit=1)[0])
    assert columns == {"train_loss", "valid_none_3", "test_it's \"}{0}", "train_seconds"}
    assert [rows[1].get(name) for name in ("train_loss", "test_ndcg_20", "valid_none_3", "train_seconds")] == [
        0.5,
        0.125,
        None,
        None,
    ]
    assert rows[0].get("train_loss") is None
    prints, known = runs.list_changed(store, {}, {})
    wider, read = runs.list_changed(store, prints, known, metrics=asked)
    assert {run_id: row.get("train_loss") for run_id, row in read.items()}["20260101-aaaa"] == 0.5
    assert prints.keys() == wider.keys()
    assert runs.best_epoch_metrics(store, ["20260101-aaaa", "20260102-bbbb"], "valid") == {
        "20260101-aaaa": {"ndcg@20": 0.5},
        "20260102-bbbb": {},
    }
    query = "SELECT split, name, value FROM run_metrics ORDER BY ALL"
    assert store.tuples(query) == [("test", "ndcg@20", 0.125), ("train", "loss", 0.5), ("valid", "ndcg@20", 0.5)]


def test_final_metrics_are_the_ones_of_the_best_epoch(store: Store) -> None:
    found = [tuple(row.values()) for row in runs.final_metrics(store, "20260101-aaaa")]
    assert found == [
        ("test", "all", "ndcg@20", 0.125),
        ("test", "tied", "ndcg@20", 0.0625),
        ("valid", "all", "ndcg@20", 0.5),
    ]


def test_curves(store: Store) -> None:
    rows = runs.curves(store, "20260101-aaaa")
    assert [row["value"] for row in rows if row["name"] == "ndcg@20"] == [0.25, 0.5, 0.375]
    assert [row["value"] for row in rows if row["name"] == "seconds" and row["split"] == "train"] == [2.0, 4.0, 6.0]
    assert runs.curves(store, "20260102-bbbb") == []


def test_an_equal_run_of_a_group(store: Store) -> None:
    equal = {"config_hash": "abc", "group": "g"}
    assert runs.finished_equal(store, seed=1, **equal) == "20260101-aaaa"
    assert runs.finished_equal(store, seed=2, **equal) == "20260102-bbbb"
    assert runs.finished_equal(store, seed=3, **equal) is None
    assert runs.finished_equal(store, seed=1, config_hash="xyz", group="g") is None


def test_seconds_of_an_epoch(store: Store) -> None:
    assert runs.epoch_seconds(store, dataset_name="demo") == {"seconds": 4.0, "epochs": 3.0, "runs": 1}
    assert runs.epoch_seconds(store, dataset_name="demo", config_hash="abc") is not None
    assert runs.epoch_seconds(store, dataset_name="demo", config_hash="xyz") is None
    assert runs.epoch_seconds(store, dataset_name="other") is None


def test_seconds_of_some_epochs_alone(store: Store) -> None:
    assert runs.epoch_seconds(store, dataset_name="demo", until=1) == {"seconds": 2.0, "epochs": 1.0, "runs": 1}
    assert runs.epoch_seconds(store, dataset_name="demo", after=1) == {"seconds": 5.0, "epochs": 2.0, "runs": 1}
    assert runs.epoch_seconds(store, dataset_name="demo", after=1, until=2) == {
        "seconds": 4.0,
        "epochs": 1.0,
        "runs": 1,
    }
    assert runs.epoch_seconds(store, dataset_name="demo", after=3) is None


@pytest.mark.parametrize("edit", [runs.tag, runs.note, runs.rename])
def test_an_edit_of_no_run_is_not_written_down(store: Store, edit: Callable[..., Any]) -> None:
    with pytest.raises(LookupFailed):
        edit(
            store, "none", **({"add": ("x",)} if edit is runs.tag else {"name" if edit is runs.rename else "note": "x"})
        )
    assert not list(store.home.edits.iterdir())
