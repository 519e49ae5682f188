"""The list of runs and the live view say of a run what the database says once its journal is published."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sracl_tui.runs.run_state import RunState
from sracl_tui.services.run_monitor import OVERLAID, RunMonitor
from store.home import Home
from store.journal.journal import Journal, RunLock, read_events
from store.opening import open_store
from store.publishing.publish import publish
from store.queries import runs
from store.run_row import HEADLINE_METRICS, ListedRun
from tests.support.run_histories import CREATED, STARTED, Segment, append_all, run_histories

COUNTER = itertools.count()
COMPARED = OVERLAID - {column for column, (split, _) in HEADLINE_METRICS.items() if split == "valid"}
"""Columns that follow the journal; metrics on validation come with the next publish."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that all examples share; each of them is a run of its own."""
    home = Home(tmp_path_factory.mktemp("monitored") / "home")
    open_store(home).close()
    return home


def listed(home: Home) -> list[ListedRun]:
    with open_store(home, ingest=False) as store:
        return runs.list_runs(store)


def seen(rows: list[ListedRun], run_id: str) -> dict[str, Any]:
    return next({name: row.get(name) for name in COMPARED} for row in rows if row["run_id"] == run_id)


@settings(max_examples=20, deadline=None, database=None)
@given(history=run_histories(), published=st.integers(0, 2))
def test_list_live_view_and_database_agree(place: Home, history: list[Segment], published: int) -> None:
    """Args: published: segments that are published before the list is read."""
    run_id = f"run-{next(COUNTER)}"
    folder = place.run_folder(run_id)
    lock = RunLock(folder)
    lock.acquire()
    monitor = RunMonitor(place)
    monitor.overlay([])
    for number, segment in enumerate(history, start=1):
        if number > 1:
            monitor.expect(run_id)  # as the app does for a run that it resumes: its row may say that it has ended
        journal = Journal(folder)
        append_all(journal, run_id, segment)
        journal.close()
        if number == published:
            publish(place)
            monitor.overlay(listed(place))
    overlaid = seen(monitor.overlay(listed(place)), run_id)
    publish(place)
    rows = listed(place)
    assert overlaid == seen(rows, run_id)
    assert seen(monitor.overlay(rows), run_id) == seen(rows, run_id), "nothing to add to what is published"
    state = RunState()
    state.take(line for _, line in read_events(folder))
    row = seen(rows, run_id)
    assert (state.state, state.reason, state.epoch, state.best_epoch, state.dataset or None) == (
        *(row["state"], row["reason"], row["epoch"], row["best_epoch"]),
        row["dataset_name"],
    )
    lock.release()


def test_an_event_with_other_fields_is_skipped_by_the_live_view_too(place: Home) -> None:
    run_id = "strange"
    lock = RunLock(place.run_folder(run_id))
    lock.acquire()
    journal = Journal(place.run_folder(run_id))
    append_all(journal, run_id, [("run_created", CREATED, None), ("run_started", STARTED, None)])
    journal.append("epoch_finished", {"epoch": 7})
    journal.append("evaluated", {"split": "test", "metrics": 3})
    journal.append("stopping", {"reason": "SIGINT"})
    journal.close()
    overlaid = seen(RunMonitor(place).overlay(listed(place)), run_id)
    assert len(publish(place).warnings) == 2
    assert overlaid == seen(listed(place), run_id)
    assert (overlaid["state"], overlaid["epoch"]) == ("stopping", 0)
    state = RunState()
    state.take(line for _, line in read_events(place.run_folder(run_id)))
    assert [text for _, text in state.log][-3:] == ["epoch finished", "evaluated", "asked to stop (SIGINT)"]
    lock.release()


def test_test_metrics_beyond_the_checkpoint_go_from_the_list_though_they_were_published(place: Home) -> None:
    run_id = "beyond"
    folder = place.run_folder(run_id)
    lock = RunLock(folder)
    lock.acquire()
    monitor = RunMonitor(place)
    monitor.overlay([])
    metrics = [{"split": "test", "subgroup": "all", "name": "hr@20", "value": 0.5}]
    journal = Journal(folder)
    append_all(journal, run_id, [("run_created", CREATED, None), ("run_started", STARTED, None)])
    journal.append("measured", {"epoch": 2, "step": 20, "metrics": []})
    journal.append("evaluated", {"split": "test", "epoch": 2, "step": 20, "metrics": metrics})
    publish(place)
    assert seen(monitor.overlay(listed(place)), run_id)["test_hr_20"] == 0.5
    journal.append("run_resumed", {"epoch": 1, "step": 10, "best_epoch": 1})
    journal.close()
    assert seen(monitor.overlay(listed(place)), run_id)["test_hr_20"] is None
    publish(place)
    assert seen(listed(place), run_id)["test_hr_20"] is None
    lock.release()


def test_test_metrics_that_a_later_evaluation_lacks_go_from_the_list_though_they_were_published(place: Home) -> None:
    run_id = "fewer"
    lock = RunLock(place.run_folder(run_id))
    lock.acquire()
    monitor = RunMonitor(place)
    journal = Journal(place.run_folder(run_id))
    append_all(journal, run_id, [("run_created", CREATED, None), ("run_started", STARTED, None)])
    metrics = [{"split": "test", "subgroup": "all", "name": "hr@20", "value": 0.5}]
    journal.append("evaluated", {"split": "test", "epoch": 2, "step": 20, "metrics": metrics})
    publish(place)
    assert seen(monitor.overlay(listed(place)), run_id)["test_hr_20"] == 0.5
    metrics = [{"split": "test", "subgroup": "all", "name": "ndcg@20", "value": 0.25}]
    journal.append("evaluated", {"split": "test", "epoch": 2, "step": 20, "metrics": metrics})
    journal.close()
    for _ in ("before it is published", "after"):
        row = seen(monitor.overlay(listed(place)), run_id)
        assert (row["test_hr_20"], row["test_ndcg_20"]) == (None, 0.25)
        publish(place)
    lock.release()


def test_a_run_whose_folder_goes_before_it_was_published_leaves_the_list(place: Home) -> None:
    """As when the database loses it and its folder moves to the trash between two polls."""
    folder = place.run_folder("gone")
    journal = Journal(folder)
    journal.append("run_created", {**CREATED, "run_id": "gone"})
    journal.append("run_started", STARTED)
    journal.append("run_ended", {"state": "failed", "reason": "x", "timings": {}})
    journal.close()
    monitor = RunMonitor(place)
    assert "gone" in [row["run_id"] for row in monitor.overlay([])]
    place.trash.mkdir(exist_ok=True)
    folder.rename(place.trash / "gone")
    assert "gone" not in [row["run_id"] for row in monitor.overlay([])]
