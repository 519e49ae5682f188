"""A training run that is killed at random moments and resumed ends as one that was left alone, bit by bit."""

from __future__ import annotations

import hashlib
import random
import time
from pathlib import Path
from typing import Any

import pytest

from store.home import Home
from store.journal.journal import read_events
from store.opening import open_store

SMALL = ("--dataset", "demo", "--set", "max_users=60", "--set", "encoder=tfidf", "--set", "threads=1", "--headless")
CONSISTENT = """
SELECT
    (SELECT count(*) FROM metrics) - (SELECT count(*) FROM (SELECT DISTINCT run_id, epoch, step, split, subgroup, name FROM metrics)) AS doubles,
    (SELECT count(*) FROM metrics m ANTI JOIN runs r USING (run_id)) AS orphans,
    (SELECT count(*) FROM (SELECT run_id, max(epoch) AS m, count(DISTINCT epoch) AS n FROM metrics WHERE split = 'train' GROUP BY ALL) WHERE m <> n) AS holes
"""


def weights(folder: Path) -> dict[str, str]:
    """Hash of each tensor of both checkpoints."""
    from safetensors.numpy import load_file

    return {
        f"{name}/{key}": hashlib.sha256(value.tobytes()).hexdigest()
        for name in ("best", "last")
        for key, value in load_file(folder / f"{name}.safetensors").items()
    }


def outcome(home: Path, run_id: str) -> dict[str, Any]:
    """Metrics of every epoch and of the end, ranks and weights of a run."""
    with open_store(Home(home)) as store:
        metrics = (
            "SELECT * EXCLUDE (run_id, wall_time) FROM metrics WHERE run_id = ? AND name <> 'seconds' ORDER BY ALL"
        )
        ranks = "SELECT * EXCLUDE (run_id) FROM user_ranks WHERE run_id = ? ORDER BY ALL"
        sampled = "SELECT * EXCLUDE (run_id) FROM synthesizer_weights WHERE run_id = ? ORDER BY ALL"
        found = {
            query: [tuple(row.values()) for row in store.rows(query, [run_id])] for query in (metrics, ranks, sampled)
        }
    assert all(found.values())
    return {**found, "weights": weights(home / "runs" / run_id)}


def proof(machine: Any, *, kills: int, epochs: int, seed: int, longest: float) -> dict[str, Any]:
    """Kill so many times; figures of what was seen."""
    by = random.Random(seed)
    settings = (*SMALL, "--set", f"epochs={epochs}", "--set", f"patience={epochs}")
    assert machine.json("run", *settings, "--run-id", "whole")["state"] == "finished"
    whole = outcome(machine.home, "whole")
    seen: dict[str, Any] = {"kills": 0, "runs": 0, "silence": [], "resumed": 0}
    while seen["kills"] < kills:
        seen["runs"] += 1
        run_id = f"cut-{seen['runs']}"
        folder = machine.home / "runs" / run_id
        while True:
            begun = (folder / "events-0001.jsonl").exists()
            process = machine.begin("run", *(("--resume", run_id) if begun else (*settings, "--run-id", run_id)))
            deadline = time.monotonic() + (by.uniform(0, longest) if seen["kills"] < kills else 600)
            if seen["kills"] < kills and by.random() < 0.6:  # else most would die before they train
                _await_training(folder, process, process.pid)
                deadline = time.monotonic() + by.uniform(0, 3)
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            if process.poll() is not None:
                assert process.returncode == 0
                break
            process.kill()
            at = time.time()
            process.wait()
            seen["kills"] += 1
            _look(machine, folder, at, seen)
        assert outcome(machine.home, run_id) == whole, f"{run_id} differs"
        seen["resumed"] += sum(
            line.event == "run_resumed" and line.fields["epoch"] > 0 for _, line in read_events(folder)
        )
        assert not [path.name for path in folder.iterdir() if path.name.startswith(".") or path.suffix == ".tmp"]
    return seen


def _await_training(folder: Path, process: Any, pid: int) -> None:
    """Wait until this very process reports steps or epochs, or has ended."""
    while process.poll() is None:
        events = [line for _, line in read_events(folder)] if folder.exists() else []
        starts = [place for place, line in enumerate(events) if line.fields.get("pid") == pid]
        if starts and any(line.event in ("step_finished", "epoch_finished") for line in events[starts[-1] :]):
            return
        time.sleep(0.05)


def _look(machine: Any, folder: Path, at: float, seen: dict[str, Any]) -> None:
    """After a kill: the database opens and is consistent, the run is known to be dead, the journal is as old as it may be."""
    with open_store(Home(machine.home)) as store:
        assert store.rows(CONSISTENT) == [{"doubles": 0, "orphans": 0, "holes": 0}]
        states = {row["run_id"]: row["state"] for row in store.rows("SELECT run_id, state FROM runs")}
    lines = [line for _, line in read_events(folder)] if folder.exists() else []
    whole = bool(lines) and lines[-1].event == "run_ended"  # killed when all was done but the leaving
    assert states.get(folder.name, "killed") == ("finished" if whole else "killed")
    if lines and lines[-1].event in ("step_finished", "epoch_finished"):
        seen["silence"].append(at - lines[-1].at)


def test_a_few_kills_change_nothing(machine):
    seen = proof(machine, kills=4, epochs=12, seed=1, longest=5.0)
    assert seen["kills"] >= 4


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_hundred_kills_change_nothing(machine, capsys):
    began = time.monotonic()
    seen = proof(machine, kills=100, epochs=150, seed=7, longest=12.0)
    silence = sorted(seen["silence"])
    with capsys.disabled():
        print(
            f"\n{seen['kills']} kills, {seen['runs']} runs, {seen['resumed']} resumptions from a checkpoint, "
            f"{time.monotonic() - began:.0f} s; between the journal's last line and a kill in training: "
            f"median {silence[len(silence) // 2]:.2f} s, most {silence[-1]:.2f} s ({len(silence)} kills)"
        )
    assert silence[-1] <= 1.0, "more than a second of the training was not told"
