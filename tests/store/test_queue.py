"""The queue: order, claims by real processes, workers that die, its table."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from store.errors import LookupFailed, StoreBusy
from store.home import Home
from store.journal.journal import Journal, RunLock
from store.opening import open_store
from store.publishing.publish import publish
from store.queries import runs
from store.queue import KEPT, Queue

CLAIM = """
from store.queue import Queue
queue = Queue(home)
with queue.slot(sys.argv[2]):
    say("ready")
    input()
    while entry := queue.claim(sys.argv[2]):
        say(entry.run_id)
        queue.end(entry)
say("over")
"""
HOLD = """
from store.queue import Queue
queue = Queue(home)
with queue.slot(sys.argv[2]):
    say(queue.claim(sys.argv[2]).run_id)
    input()
"""


@pytest.fixture
def queue(home: Home) -> Queue:
    return Queue(home)


def order(queue: Queue) -> list[str]:
    return [entry.run_id for entry in queue.entries() if entry.state == "waiting"]


def test_entries_wait_in_order_and_move(queue: Queue) -> None:
    queue.add(["a", "b"])
    queue.add(["c"])
    queue.add(["d", "e"], first=True)
    assert order(queue) == ["d", "e", "a", "b", "c"]
    assert queue.move("c", 1) == 1
    assert order(queue) == ["c", "d", "e", "a", "b"]
    assert queue.move("d", 99) == 5
    assert order(queue) == ["c", "e", "a", "b", "d"]
    queue.remove("a")
    assert order(queue) == ["c", "e", "b", "d"]
    with pytest.raises(LookupFailed, match="a is done"):
        queue.move("a", 1)
    with pytest.raises(LookupFailed, match="x is not in the queue"):
        queue.remove("x")


def test_an_order_without_room_is_spread_anew(queue: Queue) -> None:
    names = [f"r{number}" for number in range(6)]
    queue.add(names)
    for _ in range(30):  # halves the gap each time
        names.insert(1, names.pop())
        queue.move(names[1], 2)
        assert order(queue) == names
    for _ in range(30):
        names.insert(0, names.pop())
        queue.move(names[0], 1)
        assert order(queue) == names
    queue.add(["x"], first=True)
    assert order(queue) == ["x", *names]


def test_two_processes_never_take_the_same_entry(queue: Queue, spawn: Callable[..., Any]) -> None:
    names = [f"run-{number:03d}" for number in range(120)]
    queue.add(names)
    workers = [spawn(CLAIM, f"cpu-{number}") for number in range(3)]
    for worker in workers:
        worker.hears("ready")
    for worker in workers:
        worker.tell()
    taken = [worker.done().split()[:-1] for worker in workers]
    assert sorted(name for part in taken for name in part) == names
    assert order(queue) == []
    assert {entry.run_id for entry in queue.entries() if entry.state == "done"} == set(names)


def test_the_entry_of_a_dead_worker_goes_to_the_next(queue: Queue, spawn: Callable[..., Any]) -> None:
    queue.add(["a", "b"])
    worker = spawn(HOLD, "cpu-0")
    worker.hears("a")
    assert queue.slots() == {"cpu-0": worker.pid}
    with pytest.raises(StoreBusy, match=f"process {worker.pid} works on slot"), queue.slot("cpu-0"):
        pass
    taken = queue.claim("cpu-1")
    assert taken is not None
    assert taken.run_id == "b"  # `a` is at work
    queue.end(taken)
    assert queue.claim("cpu-1") is None
    worker.kill()
    assert queue.slots() == {}
    again = queue.claim("cpu-1")
    assert again is not None
    assert (again.run_id, again.attempts) == ("a", 2)


def test_a_paused_queue_gives_nothing(queue: Queue) -> None:
    queue.add(["a"])
    queue.pause()
    assert queue.paused
    assert queue.claim("cpu-0") is None
    queue.start(2)
    assert (queue.paused, queue.wanted) == (False, 2)
    assert queue.claim("cpu-0") is not None


def test_a_torn_entry_is_no_lost_entry(queue: Queue) -> None:
    queue.add(["a"])
    queue.entries()[0].path.write_text('{"run_id": "a", "add')
    found = queue.claim("cpu-0")
    assert found is not None
    assert (found.run_id, found.added_at) == ("a", None)


def test_the_list_of_what_ended_stays_short(queue: Queue) -> None:
    queue.add([f"r{number}" for number in range(KEPT + 5)])
    while entry := queue.claim("cpu-0"):
        queue.end(entry)
    assert len(queue.entries()) == KEPT


def test_the_table_is_the_queue_of_the_latest_publish(home: Home, queue: Queue, rows: Callable[..., Any]) -> None:
    queue.add(["a", "b"])
    entry = queue.claim("cuda-0")
    publish(home)
    found = rows("SELECT run_id, state, place, slot, attempts FROM queue ORDER BY place")
    assert found == [("a", "working", 1, "cuda-0", 1), ("b", "waiting", 2, None, 0)]
    assert rows(
        "SELECT count(*) FROM queue WHERE added_at BETWEEN now()::TIMESTAMP - INTERVAL 1 DAY AND now()::TIMESTAMP + INTERVAL 1 DAY"
    ) == [(2,)]
    assert entry is not None
    queue.end(entry)
    publish(home)
    assert rows("SELECT run_id, state FROM queue ORDER BY place") == [("b", "waiting"), ("a", "done")]


def test_a_run_that_died_before_it_began_is_not_queued_for_ever(home: Home, queue: Queue) -> None:
    created = {"kind": "train", "preset": "default", "group_name": None, "config": {}, "config_hash": "0", "seed": 1}
    lock = RunLock(home.runs / "begins")
    lock.acquire()
    queue.add(["waits"])
    for name in ("waits", "died", "begins"):
        journal = Journal(home.runs / name)
        journal.append("run_created", {**created, "name": name, "tags": [], "note": "", "run_id": name})
        journal.close()
    with open_store(home) as store:
        states = {row["run_id"]: (row["state"], row["reason"]) for row in runs.list_runs(store)}
        documents = {row["run_id"]: row["state"] for row in map(json.loads, runs.list_runs_json(store))}
    lock.release()
    assert states == {
        "waits": ("queued", None),
        "died": ("killed", "its process ended before it began"),
        "begins": ("queued", None),
    }
    assert documents == {name: state for name, (state, _) in states.items()}
