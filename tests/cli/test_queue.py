"""`sracl queue` with real workers and real runs; some of both are killed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from store.home import Home
from store.journal.journal import lock_held, lock_pid, read_events
from store.queue import Queue
from tests.support.commands import sracl_process, until

TINY = ("--dataset", "demo", "--preset", "backbone", "--set", "max_users=60", "--set", "threads=1")
SHORT = (*TINY, "--set", "epochs=1")
LONG = (*TINY, "--set", "epochs=2000", "--set", "patience=2000")


@pytest.fixture
def place(tmp_path: Path, home: Path) -> Any:
    """A home with data, whose workers are gone when the test is over."""
    import shutil

    folder = Path(shutil.copytree(home, tmp_path / "home"))
    yield folder
    Queue(Home(folder)).pause()
    for pid in Queue(Home(folder)).slots().values():
        os.kill(pid, signal.SIGKILL)
    for run in (folder / "runs").iterdir():
        if lock_held(run):
            os.kill(lock_pid(run) or 0, signal.SIGKILL)


def idle(folder: Path) -> bool:
    queue = Queue(Home(folder))
    return not queue.active() and not queue.slots()


def states(sracl: Any, folder: Path) -> dict[str, tuple[str, str | None]]:
    rows = json.loads(sracl("runs", "--json", home=folder).stdout)
    return {row["name"]: (row["state"], row["reason"]) for row in rows}


def added(sracl: Any, folder: Path, *words: str) -> list[str]:
    return json.loads(sracl("queue", "add", *words, "--json", home=folder).stdout)["added"]


def ends(folder: Path, run_id: str) -> int:
    return sum(line.event == "run_ended" for _, line in read_events(folder / "runs" / run_id))


def test_the_commands_change_the_order_and_a_failure_does_not_stop_the_rest(sracl, place):
    first, second, third = (
        added(sracl, place, *SHORT, "--name", name, *more)[0]
        for name, more in (("a", ()), ("b", ("--set", "lr=1e30", "--set", "batch=16")), ("c", ()))
    )
    assert sracl("queue", "list", home=place).stderr.startswith("3 queued, 0 running; no workers")
    sracl("queue", "move", "c", "1", home=place)
    sracl("queue", "add", *SHORT, "--name", "d", "--first", home=place)
    sracl("queue", "remove", "a", home=place)
    assert "run a is done" not in sracl("queue", "move", "a", "1", home=place, code=2).stderr
    found = json.loads(sracl("queue", "list", "--json", home=place).stdout)
    assert [entry["name"] for entry in found["entries"] if entry["entry"] == "waiting"] == ["d", "c", "b"]
    sracl("queue", "pause", home=place)
    assert "paused" in sracl("queue", "list", home=place).stderr
    started = json.loads(sracl_process(place, "queue", "start", "--workers", "2", "--json").stdout)
    assert len(started["started"]) == 2
    until(lambda: idle(place))
    now = states(sracl, place)
    assert now["a"] == ("stopped", "removed from the queue before it began")
    assert now["b"][0] == "failed"
    assert "no longer a number" in (now["b"][1] or "")
    assert now["c"][0] == now["d"][0] == "finished"
    assert [ends(place, run_id) for run_id in (first, second, third)] == [1, 1, 1]


def test_a_killed_run_is_named_with_its_signal_and_a_dead_worker_is_replaced(sracl, place):
    (long,) = added(sracl, place, *LONG, "--name", "long")
    (short,) = added(sracl, place, *SHORT, "--name", "short")
    folder = place / "runs" / long
    sracl_process(place, "queue", "start")
    until(lambda: lock_held(folder) and any(line.event == "epoch_finished" for _, line in read_events(folder)))
    (worker,) = Queue(Home(place)).slots().values()
    os.kill(worker, signal.SIGKILL)
    assert lock_held(folder), "a run outlives its worker"
    assert "(gone)" in sracl("queue", "list", home=place).stdout
    sracl_process(place, "queue", "start")
    until(lambda: (Queue(Home(place)).find(long) or 0) and Queue(Home(place)).find(long).attempts == 2)
    os.kill(lock_pid(folder) or 0, signal.SIGKILL)
    until(lambda: idle(place))
    now = states(sracl, place)
    assert now["long"][0] == "killed"
    assert now["short"] == ("finished", None)
    assert (ends(place, long), ends(place, short)) == (1, 1)


def test_a_run_that_died_with_its_worker_goes_on_and_one_that_is_killed_alone_is_told(sracl, place):
    (both,) = added(sracl, place, *LONG, "--name", "both")
    folder = place / "runs" / both
    sracl_process(place, "queue", "start")
    until(lambda: lock_held(folder) and any(line.event == "epoch_finished" for _, line in read_events(folder)))
    (worker,) = Queue(Home(place)).slots().values()
    os.kill(worker, signal.SIGKILL)
    os.kill(lock_pid(folder) or 0, signal.SIGKILL)  # as a restart of the machine does
    sracl_process(place, "queue", "start")
    until(lambda: any(line.event == "run_resumed" for _, line in read_events(folder)))
    os.kill(lock_pid(folder) or 0, signal.SIGKILL)
    until(lambda: idle(place))
    assert states(sracl, place)["both"] == ("killed", "killed by signal 9 (SIGKILL)")
    shown = json.loads(sracl("show", both, "--json", home=place).stdout)
    assert (shown["signal"], shown["exit_code"]) == ("SIGKILL", -9)


def test_files_seeds_and_grids_go_through_it_as_groups(sracl, place, tmp_path):
    (tmp_path / "a.toml").write_text('preset = "backbone"\n[data]\ndataset = "demo"\n')
    (tmp_path / "b.toml").write_text('[data]\ndataset = "demo"\n')
    told = sracl("run", tmp_path / "a.toml", tmp_path / "b.toml", "--queue", "--json", home=place)
    assert len(json.loads(told.stdout)["added"]) == 2
    grid = ("--grid", "alpha=0.05,0.1", "--grid", "k=5,10", "--seeds", "2", "--dataset", "demo")
    assert len(added(sracl, place, *grid)) == 8
    again = json.loads(sracl("queue", "add", *grid, "--json", home=place).stdout)
    assert (len(again["added"]), len(again["known"])) == (0, 8)
    assert len(added(sracl, place, "--grid", "lr=1e-4..1e-2:log", "--trials", "3", "--dataset", "demo")) == 3
    rows = json.loads(
        sracl(
            "sql",
            "SELECT count(DISTINCT group_name) AS n, count(*) AS m FROM runs JOIN queue USING (run_id) WHERE group_name LIKE 'demo-variants%'",
            "--json",
            home=place,
        ).stdout
    )
    assert rows == [{"n": 2, "m": 11}]
    before = len(Queue(Home(place)).entries())
    sracl("queue", "add", "--grid", "k=0,5", "--dataset", "demo", home=place, code=2)
    sracl("queue", "add", "--dataset", "nowhere", home=place, code=2)
    assert len(Queue(Home(place)).entries()) == before, "an error puts nothing in"


def test_stop_takes_a_waiting_run_out(sracl, place):
    (waits,) = added(sracl, place, *SHORT)
    document = json.loads(sracl("stop", waits, "--json", home=place).stdout)
    assert document == {"run_id": waits, "pid": None, "ended": True, "how": "removed from the queue"}
    assert not Queue(Home(place)).active()
