"""Two machines with one home, and a machine without /proc."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.home import Home
from store.journal import processes
from store.journal.journal import lock_held, lock_process, read_events
from store.publishing import liveness
from store.queue import Queue
from tests.support.commands import ROOT, command, environment, sracl_inside, until
from tests.support.namespaces import SECOND, second_machine, without_proc

LONG = (
    "run", "--headless", "--run-id", "far", "--preset", "backbone",
    *(word for setting in ("max_users=40", "threads=1", "epochs=9000", "patience=9000") for word in ("--set", setting)),
)  # fmt: skip
Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts a command on the home; it is killed when the test is over."""
    started: list[subprocess.Popen[str]] = []

    def start(words: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            words, env=environment(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, cwd=ROOT,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def trains(folder: Path) -> bool:
    return lock_held(folder) and any(line.event == "epoch_finished" for _, line in read_events(folder))


def epochs(folder: Path) -> int:
    return sum(line.event == "epoch_finished" for _, line in read_events(folder))


def test_a_run_of_another_machine_is_shown_and_left_to_it(tmp_path, begin: Begin, monkeypatch) -> None:
    far = begin(second_machine(*command(*LONG)))
    folder = tmp_path / "runs" / "far"
    until(lambda: trains(folder))
    (row,) = json.loads(sracl_inside(tmp_path, "runs", "--json").stdout)
    assert (row["state"], row["host"]) == ("running", SECOND)
    shown = json.loads(sracl_inside(tmp_path, "show", "far", "--json").stdout)
    pid, _, machine = lock_process(folder)
    assert (shown["executor"], shown["handle"], machine) == ("local", f"{pid}@{SECOND}", SECOND)

    refused = sracl_inside(tmp_path, "stop", "far", "--kill", code=2).stderr
    assert f"running on machine {SECOND}: stop it there" in refused
    assert f"on machine {SECOND} is already" in sracl_inside(tmp_path, "run", "--resume", "far", code=4).stderr
    before = epochs(folder)
    until(lambda: epochs(folder) > before)
    assert far.poll() is None, "no process of this machine that has its PID was asked in its place, and it goes on"

    far.kill()
    until(lambda: not lock_held(folder))
    assert json.loads(sracl_inside(tmp_path, "show", "far", "--json").stdout)["state"] == "running", (
        "its lock may be unseen"
    )
    assert f"running on machine {SECOND}" in sracl_inside(tmp_path, "stop", "far", code=2).stderr
    assert f"machine {SECOND} is already" in sracl_inside(tmp_path, "run", "--resume", "far", code=4).stderr
    monkeypatch.setattr(liveness, "SILENT_SECONDS", -1.0)
    lost = json.loads(sracl_inside(tmp_path, "show", "far", "--json").stdout)
    assert (lost["state"], lost["reason"].partition(" since")[0]) == ("lost", f"it ran on {SECOND} and has been silent")


WORKER = """
import sys
from pathlib import Path
from store.home import Home
from store.queue import Queue
queue = Queue(Home(Path(sys.argv[1])))
with queue.slot("cpu-0"):
    print(queue.claim("cpu-0").run_id, flush=True)
    input()
"""


def test_workers_of_two_machines_have_slots_of_their_own(tmp_path, begin: Begin, monkeypatch) -> None:
    queue = Queue(Home(tmp_path))
    queue.add(["a", "b"])
    far = begin(second_machine(sys.executable, "-c", WORKER, str(tmp_path)))
    assert far.stdout is not None
    assert far.stdout.readline().strip() == "a"
    assert list(queue.slots()) == [f"cpu-0@{SECOND}"]
    assert queue.works_elsewhere()
    with queue.slot("cpu-0"):
        assert set(queue.slots()) == {"cpu-0", f"cpu-0@{SECOND}"}
        assert not queue.works_elsewhere()
        ours = queue.claim("cpu-0")
        assert ours is not None
        assert (ours.run_id, ours.slot) == ("b", "cpu-0")
        queue.end(ours)
        far.kill()
        until(lambda: f"cpu-0@{SECOND}" not in queue.slots())
        assert queue.claim("cpu-0") is None, "its lock may be unseen, and it has claimed its entry just now"
        (entry,) = [entry for entry in queue.entries() if entry.state == "working"]
        os.utime(entry.path, (0, time.time() - 3600))
        assert queue.claim("cpu-0", lives=lambda run_id: run_id == "a") is None, "its run gives signs of life"
        again = queue.claim("cpu-0", lives=lambda run_id: False)
        assert again is not None
        assert again.run_id == "a"


INSIDE = """
import json, os, sys
from pathlib import Path
from sracl_tui.runs.execution import launch, queue
from sracl_tui.runs.execution.stop import stop_run
from sracl_tui.runs.request import RunRequest
from engine.config_files import load_config
from store.home import Home
from store.opening import open_store
from store.queries.runs import find_run
from tests.reliability.test_machines import trains
from tests.support.commands import until
assert not Path("/proc/self").exists()
home = Home(Path(sys.argv[1]))
config, preset = load_config(preset="backbone", assignments=("max_users=40", "threads=1", "epochs=9000", "patience=9000"))
launch.launch(home, RunRequest(run_id="near", config=config, preset=preset))
until(lambda: trains(home.run_folder("near")))
def state():
    with open_store(home) as store:
        row = find_run(store, "near")
    return row["state"], row["reason"]
found = [state()]
done = stop_run(home, "near", wait=60.0)
found += [(done.how, done.ended), state()]
print(json.dumps(found))
"""


def test_runs_start_stop_and_are_listed_where_there_is_no_proc(tmp_path, begin: Begin) -> None:
    process = begin(without_proc(sys.executable, "-c", INSIDE, str(tmp_path)))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert json.loads(said) == [["running", None], ["asked", True], ["stopped", "asked to stop (SIGTERM)"]]


def test_facts_of_a_process_come_from_ps_where_there_is_no_proc(tmp_path, monkeypatch) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setattr(processes, "PROC", tmp_path)
    began = processes.start_of(other.pid)
    assert began is not None
    assert abs(began - time.time()) < 60
    assert processes.start_of(other.pid) == began
    assert processes.is_running(other.pid)
    assert processes.boot_id() is None
    owned = processes.owned_name("run").rpartition(".")[0] + f".{other.pid}"
    assert not processes.is_abandoned(owned)
    other.kill()
    other.wait()
    assert processes.start_of(other.pid) is None
    assert processes.is_abandoned(owned)
    assert processes.is_abandoned(f"run.{other.pid}"), "as an earlier version named it"
    assert not processes.is_abandoned(f"run@{SECOND}.{other.pid}"), "another machine's"
