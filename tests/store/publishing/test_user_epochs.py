"""Recorded epochs become rows: each once, without those beyond a checkpoint, and in bundles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.events import EpochRecorded
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.publishing.publish import publish
from store.queries.users import recorded_epochs, recorded_places
from store.transfer.bundle import export_bundle, import_bundle

NewRun = Callable[..., Journal]
Rows = Callable[..., list[tuple[Any, ...]]]


def recorded(journal: Journal, epoch: int, *, step: int, rank: int, weights: Any = None) -> None:
    event = EpochRecorded(
        epoch=epoch,
        step=step,
        columns={
            "user_id": np.array([3, 7], np.int32),
            "rank": np.array([rank, 2 * rank], np.int32),
            "weights": [None, None] if weights is None else np.array(weights, np.float32),
            "x": [float(epoch), None],
            "y": [0.5, None],
        },
    )
    journal.append(event.name, event.payload(), columns=event.columns, durable=event.durable)


@pytest.fixture
def run(home: Home, new_run: NewRun) -> Journal:
    """Epochs 0, 1 and 2, and 2 once more as the best one."""
    journal = new_run("one")
    (home.runs / "one" / "request.json").write_text("{}")
    for epoch in (0, 1, 2):
        recorded(journal, epoch, step=10 * epoch, rank=9 - epoch, weights=[[0.75, 0.25], [epoch / 4, 1 - epoch / 4]])
    publish(home)
    recorded(journal, 2, step=50, rank=7, weights=[[0.75, 0.25], [0.5, 0.5]])
    publish(home)
    return journal


def test_an_epoch_that_is_recorded_twice_has_one_row_of_each_user(run: Journal, home: Home, rows: Rows) -> None:
    assert rows("SELECT run_id, epoch, step, user_id, rank, weights FROM user_epochs ORDER BY epoch, user_id") == [
        ("one", epoch, 10 * epoch, user, rank, weights)
        for epoch in (0, 1, 2)
        for user, rank, weights in (
            (3, 9 - epoch, [0.75, 0.25]),
            (7, 18 - 2 * epoch, [epoch / 4, 1 - epoch / 4]),
        )
    ]
    with open_store(home) as store:
        assert recorded_epochs(store, "one", 7)[1] == {"epoch": 1, "rank": 16, "weights": [0.25, 0.75]}
        assert recorded_epochs(store, "one", 8) == []
        places = recorded_places(store, "one")
        assert {epoch: (users.tolist(), at.tolist()) for epoch, (users, at) in places.items()} == {
            epoch: ([3], [[epoch, 0.5]]) for epoch in (0, 1, 2)
        }
        assert recorded_places(store, "two") == {}


def test_what_lay_beyond_the_checkpoint_is_recorded_anew(run: Journal, home: Home, rows: Rows) -> None:
    second = Journal(home.runs / "one")
    second.append("run_resumed", {"epoch": 1, "step": 10, "best_epoch": 1})
    publish(home)
    assert rows("SELECT DISTINCT epoch FROM user_epochs ORDER BY 1") == [(0,), (1,)]
    recorded(second, 2, step=20, rank=5)
    publish(home)
    assert rows("SELECT rank, weights FROM user_epochs WHERE epoch = 2 ORDER BY user_id") == [(5, None), (10, None)]


def test_recorded_epochs_travel_in_a_bundle(run: Journal, home: Home, tmp_path: Path) -> None:
    run.append("run_ended", {"state": "finished", "reason": None})
    publish(home)
    other = Home(tmp_path / "other")
    with open_store(home) as store:
        assert export_bundle(store, "one", tmp_path / "one.zip")["user_epochs"] == 6
        before = store.rows("FROM user_epochs ORDER BY ALL")
    import_bundle(other, tmp_path / "one.zip")
    with open_store(other) as store:
        assert store.rows("FROM user_epochs ORDER BY ALL") == before
