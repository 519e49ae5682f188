"""States of runs, and what people change about them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from store.home import Home
from store.journal.journal import Journal, RunLock
from store.journal.processes import boot_id
from store.opening import open_store
from store.publishing import ingest
from store.publishing.publish import publish
from store.queries import runs

NewRun = Callable[..., Journal]
Rows = Callable[..., list[tuple[Any, ...]]]
Spawn = Callable[..., Any]


def test_people_s_edits(home: Home, new_run: NewRun, rows: Rows) -> None:
    new_run("20260101-one", tags=["old"])
    new_run("20260102-two")
    with open_store(home) as store:
        assert runs.tag(store, "20260101", add=("paper", "a"), remove=("old",)) == ["a", "paper"]
        runs.note(store, "20260101-one", "it’s «good»")
        runs.rename(store, "20260101-one", "baseline")
        found = runs.find_run(store, "baseline")
    assert (found["run_id"], found["tags"], found["note"]) == ("20260101-one", ["a", "paper"], "it’s «good»")
    assert rows("SELECT tags, note, name FROM runs WHERE run_id = '20260102-two'") == [([], "", "first")]
    assert len(list(home.edits.glob("events-*.jsonl"))) == 3


def test_two_who_tag_at_once_lose_nothing(home: Home, new_run: NewRun, spawn: Spawn, rows: Rows) -> None:
    new_run("one")
    publish(home)
    code = """
from store.publishing import ingest; from store.queries import runs
with open_store(home) as store:
    say("ready"); input()
    for number in range(3):
        runs.tag(store, "one", add=(sys.argv[2] + str(number),))
"""
    people = [spawn(code, word) for word in ("a", "b")]
    for person in people:
        person.hears("ready")
    for person in people:
        person.tell()
    for person in people:
        person.done()
    assert rows("SELECT tags FROM runs") == [(["a0", "a1", "a2", "b0", "b1", "b2"],)]


RUN = """
lock = RunLock(home.runs / "one")
lock.acquire()
journal = Journal(home.runs / "one")
journal.append("run_created", {**CREATED, "run_id": "one"})
journal.append("run_started", PROCESS)
say("runs"); input()
journal.append("run_ended", {"state": "finished", "reason": None})
journal.close()
lock.release()
say("over"); input()
"""


def test_a_live_run_is_running_and_one_that_was_killed_says_so(home: Home, spawn: Spawn) -> None:
    run = spawn(RUN)
    run.hears("runs")
    publish(home)
    with open_store(home) as store:
        assert runs.find_run(store, "one")["state"] == "running"
        run.kill()
        now = runs.find_run(store, "one")
        assert (now["state"], now["reason"]) == ("killed", f"its process (PID {run.pid}) ended without a word")
        assert runs.list_runs(store)[0]["state"] == "killed"
        assert store.rows("SELECT state FROM runs") == [{"state": "running"}]
    with open_store(home) as store:
        found = store.rows("SELECT state, reason, ended_at = heartbeat_at AS dated FROM runs")
    assert found == [{"state": "killed", "reason": f"its process (PID {run.pid}) ended without a word", "dated": True}]


def test_a_run_that_was_killed_before_any_publish(home: Home, spawn: Spawn) -> None:
    run = spawn(RUN)
    run.hears("runs")
    run.kill()
    with open_store(home) as store:
        assert store.rows("SELECT state FROM runs") == [{"state": "killed"}]


def test_a_live_run_s_journal_is_left_to_it(home: Home, spawn: Spawn) -> None:
    run = spawn(RUN)
    run.hears("runs")
    with open_store(home) as store:
        assert store.rows("FROM runs") == []


def test_a_run_that_ends_while_its_journal_is_read_was_not_killed(
    home: Home, spawn: Spawn, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = spawn(RUN)
    run.hears("runs")
    publish(home)
    mark = ingest.mark_dead

    def late(*arguments: Any) -> None:
        """Comes after the journals are read, and before the locks are asked."""
        run.tell()
        run.hears("over")
        mark(*arguments)

    monkeypatch.setattr(ingest, "mark_dead", late)
    publish(home)
    monkeypatch.undo()
    assert rows("SELECT state FROM runs") == [("running",)]
    publish(home)
    assert rows("SELECT state FROM runs") == [("finished",)]


def test_an_end_that_nobody_could_publish_is_known_all_the_same(home: Home, new_run: NewRun) -> None:
    lock = RunLock(home.runs / "one")
    lock.acquire()
    journal = new_run("one")
    publish(home)
    journal.append("run_ended", {"state": "failed", "reason": "disk full: no space"})
    lock.release()
    with open_store(home, ingest=False) as store:  # as where a publish fails
        found = runs.find_run(store, "one")
        (listed,) = runs.list_runs(store)
    assert (found["state"], found["reason"]) == ("failed", "disk full: no space") == (listed["state"], listed["reason"])


def test_a_run_of_before_the_restart_is_lost(home: Home, new_run: NewRun, rows: Rows) -> None:
    new_run("one", started={"boot_id": "another start"})
    open_store(home).close()
    assert rows("SELECT state, reason FROM runs") == [("lost", "the machine was restarted")]


@pytest.mark.parametrize(("ago", "state"), [(3600.0, "lost"), (1.0, "running")])
def test_a_silent_run_of_another_machine_is_lost(
    home: Home, rows: Rows, new_run: NewRun, ago: float, state: str
) -> None:
    new_run("one", started={"host": "elsewhere", "boot_id": "other"})
    path = home.runs / "one" / "events-0001.jsonl"
    lines = [json.loads(line) | {"at": time.time() - ago} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    open_store(home).close()
    found = rows("SELECT state, reason FROM runs")
    assert found[0][0] == state
    with open_store(home) as store:
        assert [json.loads(text)["state"] for text in runs.list_runs_json(store)] == [state]
    assert state == "running" or "elsewhere" in found[0][1]


def test_the_boot_id_is_known_here() -> None:
    assert boot_id() is None or len(boot_id() or "") == 36
