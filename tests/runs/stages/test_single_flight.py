"""A process that does not publish waits for the one that does before it pays for anything."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import StopRequested
from engine.events import ignore
from sracl_tui.runs.stages import single_flight
from store.errors import StoreError
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.publishing.publish import Publisher, publish, wait_until_taken_in


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    open_store(home).close()
    journal = Journal(home.edits)
    journal.append("run_noted", {"run_id": "x", "note": "of another machine"})
    journal.close()
    return home


def test_answers_of_others_are_known_before_any_is_paid_for(home: Home) -> None:
    node = replace(home, publishes=False)
    timer = threading.Timer(0.5, publish, [home])
    timer.start()
    with single_flight.single_flight(node, "key", "summaries", report=ignore, stop=lambda: False):
        assert wait_until_taken_in(node, stop=lambda: False, seconds=0.0), "it did not wait"
    timer.join()


def test_where_nobody_publishes_nothing_is_paid_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    node = replace(home, publishes=False)
    monkeypatch.setitem(wait_until_taken_in.__kwdefaults__, "seconds", 0.1)
    before = home.database.stat()
    with (
        pytest.raises(StoreError, match=r"nobody takes in[\s\S]*db follow"),
        single_flight.single_flight(node, "key", "summaries", report=ignore, stop=lambda: False),
    ):
        pytest.fail("it went on")
    with (
        pytest.raises(StopRequested),
        single_flight.single_flight(node, "k", "vectors", report=ignore, stop=lambda: True),
    ):
        pytest.fail("it went on")
    after = home.database.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_process_that_does_not_publish_changes_no_database(home: Home, tmp_path: Path) -> None:
    node = replace(home, publishes=False)
    before = home.database.stat().st_ino
    assert publish(node).events == 0
    with open_store(node) as store:
        assert store.behind is None
    publisher = Publisher(node)
    publisher.start()
    publisher.request()
    publisher.close()
    assert home.database.stat().st_ino == before
    with pytest.raises(StoreError, match="does not write the database"):
        publish(node, apply=lambda connection: None)
    with pytest.raises(StoreError, match="has no database yet"):
        open_store(Home(tmp_path / "new", publishes=False))
    assert publish(home).events == 1


def test_a_follower_takes_in_what_others_write_and_rests_where_nothing_is_new(home: Home) -> None:
    taken: list[int] = []
    publisher = Publisher(home, done=lambda report: taken.append(report.events), every=0.05)
    publisher.start()
    assert wait_until_taken_in(home, stop=lambda: False, seconds=20.0)
    for _ in range(100):
        if taken:
            break
        threading.Event().wait(0.05)
    first = home.database.stat().st_mtime_ns
    threading.Event().wait(0.5)
    assert home.database.stat().st_mtime_ns == first, "it writes though nothing is new"
    publisher.close()
    assert sum(taken) == 1
