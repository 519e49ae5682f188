"""A queue of many short runs whose runs and workers are killed at random: each run ends exactly once."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from typing import Any

import pytest

from store.home import Home
from store.journal.journal import lock_held, lock_pid, read_events
from store.queue import Queue

SHORT = (
    "--dataset",
    "demo",
    "--preset",
    "backbone",
    "--set",
    "max_users=60",
    "--set",
    "threads=1",
    "--set",
    "epochs=2",
)


def storm(machine: Any, *, count: int, seed: int, seconds: float, pause: tuple[float, float]) -> dict[str, Any]:
    """Run so many, killing now a run and now a worker with a random pause before each kill; how each ended."""
    by, home = random.Random(seed), Home(machine.home)
    queue, seen = Queue(home), {"run kills": 0, "worker kills": 0}
    ids = machine.json("queue", "add", *SHORT, "--seeds", str(count), "--force")["added"]
    assert len(ids) == count
    machine.json("queue", "start")
    deadline = time.monotonic() + seconds
    while queue.active():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(by.uniform(*pause))
        live = [lock_pid(home.runs / run_id) for run_id in ids if lock_held(home.runs / run_id)]
        if live and by.random() < 0.5:
            with suppress(ProcessLookupError):
                os.kill(live[0] or 0, signal.SIGKILL)
                seen["run kills"] += 1
        elif by.random() < 0.5:
            for pid in queue.slots().values():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    seen["worker kills"] += 1
        if not queue.slots():
            machine.json("queue", "start")
    rows = {row["run_id"]: row for row in machine.json("runs")}
    for run_id in ids:
        ends = [line.fields for _, line in read_events(home.runs / run_id) if line.event == "run_ended"]
        assert len(ends) == 1, f"{run_id} ended {len(ends)} times"
        row = rows[run_id]
        assert row["state"] == ends[0]["state"]
        assert row["state"] == "finished" or row["reason"]
        seen[row["state"]] = seen.get(row["state"], 0) + 1
    return seen


def test_a_small_storm(machine):
    seen = storm(machine, count=2, seed=3, seconds=200, pause=(0.5, 3.0))
    assert sum(seen.get(state, 0) for state in ("finished", "killed", "failed")) == 2


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_storm_over_thirty_runs(machine, capsys):
    seen = storm(machine, count=30, seed=5, seconds=7000, pause=(1.0, 8.0))
    with capsys.disabled():
        print(f"\n30 runs, each ended once: {seen}")
