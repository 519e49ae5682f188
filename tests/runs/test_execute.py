"""Every preset and every setting of the offline stages, through the real pipeline on a small part of the demo set."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config_files import load_config, preset_names
from engine.events import StageFinished
from sracl_tui.runs.execute import execute
from sracl_tui.runs.request import RunRequest, new_run_id
from sracl_tui.services.run_plan import plan
from store.home import Home
from store.journal.journal import read_events
from store.opening import open_store
from store.queries.runs import find_run

SMALL = ("max_users=40", "encoder=tfidf", "epochs=1", "threads=1", "k=4", "item_k=4")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


SLOW = ("encoder=minilm",)
"""Encoded by a language model, so on fewer users."""


def run(home: Home, *assignments: str, preset: str = "default"):
    config, name = load_config(preset=preset, assignments=(*SMALL, *assignments), settings={"dataset": "demo"})
    events = []
    result = execute(home, RunRequest(run_id=new_run_id(), config=config, preset=name), listener=events.append)
    assert result.error is None, result.error
    with open_store(home) as store:
        row = find_run(store, result.request.run_id)
    cached = {event.stage: event.cached for event in events if isinstance(event, StageFinished)}
    return result, row, cached


@pytest.fixture(scope="module")
def base(home: Home) -> dict:
    """The row of a run with the settings that the others change."""
    return run(home)[1]


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_trains_and_is_recorded(preset, home):
    result, row, _ = run(home, preset=preset)
    assert result.state == row["state"] == "finished"
    assert row["preset"] == preset
    assert result.test


def test_the_backbone_has_no_semantic_stage(home):
    _, row, cached = run(home, preset="backbone")
    assert set(cached) == {"import"}
    assert (row["user_list_id"], row["item_list_id"], row["user_set_id"]) == (None, None, None)


def test_a_contrast_that_is_off_needs_no_list(home):
    assert run(home, preset="wo-inter")[1]["user_list_id"] is None
    assert run(home, preset="wo-intra")[1]["item_list_id"] is None


@pytest.mark.parametrize(
    ("assignment", "changed"),
    [
        ("provider=titles", {"user_set_id", "item_set_id", "user_list_id", "item_list_id"}),
        ("max_length=5", {"user_set_id", "item_set_id", "user_list_id", "item_list_id"}),
        ("drop_titles=0.5", {"user_set_id", "item_set_id", "user_list_id", "item_list_id"}),
        ("swap_titles=true", {"user_set_id", "item_set_id", "user_list_id", "item_list_id"}),
        ("encoder=minilm", {"user_list_id", "item_list_id"}),
        ("vector=item-mean", {"user_set_id", "user_list_id"}),
        ("unit=user", {"user_set_id", "user_list_id"}),
        ("pool=train", {"user_list_id"}),
        ("pool=reference", {"user_set_id", "user_list_id"}),
        ("similarity=dot", {"user_list_id", "item_list_id"}),
        ("backend=annoy", {"user_list_id", "item_list_id"}),
        ("k=3", {"user_list_id"}),
        ("item_k=3", {"item_list_id"}),
        ("alpha=0.2", set()),
        ("kind=uniform", set()),
    ],
)
def test_a_setting_changes_the_stages_that_depend_on_it_and_no_other(assignment, changed, home, base):
    few = ("max_users=8",) if assignment in SLOW else ()
    base = run(home, *few)[1] if few else base
    _, row, cached = run(home, assignment, *few)
    names = ("user_set_id", "item_set_id", "user_list_id", "item_list_id")
    differ = {name for name in names if row[name] != base[name]}
    encoder_sees_users = {"user_list_id", "item_list_id"}  # tf-idf counts the users' words too
    assert differ in (changed, changed | encoder_sees_users)
    assert row["dataset_id"] == base["dataset_id"]
    if not changed:
        assert cached == {"import": False, "summaries": True, "vectors": True, "neighbors": True}


def test_annoy_trees_and_search_k_make_another_list(home):
    first = run(home, "backend=annoy")[1]["user_list_id"]
    assert run(home, "backend=annoy", "trees=3")[1]["user_list_id"] != first
    assert run(home, "backend=annoy", "search_k=5")[1]["user_list_id"] != first


def test_a_low_recall_is_told_and_stored_with_every_run_that_uses_the_list(home):
    for reused in (False, True):
        result, row, cached = run(home, "backend=annoy", "trees=1", "search_k=1")
        with open_store(home) as store:
            (recall,) = store.rows("SELECT recall FROM neighbor_lists WHERE list_id = ?", [row["user_list_id"]])
            warnings = [
                each["message"]
                for each in store.rows("SELECT message FROM run_warnings WHERE run_id = ?", [result.request.run_id])
            ]
        assert cached["neighbors"] is reused
        assert recall["recall"] < 0.99
        lines = [
            event.fields["detail"]
            for _, event in read_events(home.run_folder(result.request.run_id))
            if event.event == "stage_finished" and event.fields["stage"] == "neighbors"
        ]
        assert f"recall {recall['recall']:.3f} (users)" in lines[0]
        told = [text for text in warnings if "of the true neighbors of users" in text]
        assert len(told) == 1
        assert f"annoy finds {100 * recall['recall']:.1f} %" in told[0]
        assert "search_k" in told[0]
    exact, _, _ = run(home)
    with open_store(home) as store:
        assert store.rows("FROM run_warnings WHERE run_id = ?", [exact.request.run_id]) == []


def test_a_summary_per_user_serves_all_prefixes_of_the_user(home):
    _, row, _ = run(home, "unit=user")
    with open_store(home) as store:
        lists = store.rows(
            "SELECT count(DISTINCT anchor_id) AS n FROM neighbors WHERE list_id = ?", [row["user_list_id"]]
        )
        assert lists[0]["n"] == 40


def test_the_plan_of_a_finished_config_rests_on_that_run(home):
    run(home, "alpha=0.3")
    config, _ = load_config(assignments=(*SMALL, "alpha=0.3"), settings={"dataset": "demo"})
    document = plan(home, config)
    assert "finished runs" in document["basis"]
    assert [stage["cached"] for stage in document["stages"]][:2] == [True, True]


def test_a_failure_is_recorded_with_its_reason(home):
    config, name = load_config(assignments=(*SMALL, "lr=1e30", "epochs=3"), settings={"dataset": "demo"})
    result = execute(home, RunRequest(run_id=new_run_id(), config=config, preset=name))
    assert (result.state, result.exit_code) == ("failed", 1)
    with open_store(home) as store:
        row = find_run(store, result.request.run_id)
    assert row["state"] == "failed"
    assert "no longer a number" in row["reason"] or "not a number" in row["reason"]


def test_a_request_reads_back_as_it_was_written(tmp_path: Path):
    config, _ = load_config(assignments=SMALL)
    request = RunRequest(run_id="a", config=config, group="g", tags=("x",), note="n")
    request.write(tmp_path)
    assert RunRequest.read(tmp_path) == request
