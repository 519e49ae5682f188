"""Runs as actors of Ray; with a real one of two nodes as soak."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.errors import ConfigError, EngineError
from sracl_tui.runs.execution import cluster_file, ray, ray_door, registry
from sracl_tui.runs.execution.base import Alive, Exited, Handle
from store.home import Home
from store.journal.journal import read_events
from store.opening import open_store
from store.queue import Queue
from tests.support.commands import ROOT, sracl_process, until
from tests.support.ray_cluster import RayCluster, missing

SMALL = ("--preset", "backbone", "--set", "max_users=40", "--set", "threads=1")
STAND_IN = """
import types
calls = []
def kill(actor, no_restart): calls.append((actor, no_restart))
def get_runtime_context(): return types.SimpleNamespace(current_actor="me")
"""


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What a job tells a Ray that is none to end."""
    (tmp_path / "ray.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "ray", None)  # remembered, so that no stand-in outlives the test
    del sys.modules["ray"]
    import ray as stand_in

    return stand_in.calls


def job(tmp_path: Path, script: str) -> ray_door.Job:
    return ray_door.Job("one", [sys.executable, "-c", script], {"GIVEN": "7"}, str(tmp_path), "launch.log")


def told(tmp_path: Path) -> dict[str, object]:
    return json.loads((tmp_path / ray_door.STATE).read_text())


def test_a_job_writes_where_it_runs_and_how_it_ended(tmp_path: Path, killed: list[object]) -> None:
    job(tmp_path, "import os; print('said', os.environ['GIVEN']); raise SystemExit(3)")
    until(lambda: bool(killed))
    assert killed == [("me", True)]
    assert (told(tmp_path)["name"], told(tmp_path)["code"]) == ("one", 3)
    assert (tmp_path / "launch.log").read_text() == "said 7\n"


@pytest.mark.parametrize(("force", "code"), [(False, -15), (True, -9)])
def test_a_job_is_stopped(tmp_path: Path, killed: list[object], force: bool, code: int) -> None:
    running = job(tmp_path, "import time; time.sleep(60)")
    until(lambda: (tmp_path / ray_door.STATE).exists())
    running.stop(force)
    until(lambda: bool(killed))
    assert told(tmp_path)["code"] == code


def test_a_job_whose_node_died_waits_for_the_lock_of_the_process_that_lives_on(
    tmp_path: Path, killed: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: (tmp_path / "free").touch())
    monkeypatch.setattr(ray_door, "time", waits)
    (tmp_path / ray_door.STATE).write_text('{"name": "one", "node": "n1", "pid": 1}')
    job(tmp_path, "import os; raise SystemExit(0 if os.path.exists('free') else 4)")
    until(lambda: bool(killed))
    assert told(tmp_path)["code"] == 0


def test_an_actor_that_is_made_anew_after_the_end_does_nothing(tmp_path: Path, killed: list[object]) -> None:
    (tmp_path / ray_door.STATE).write_text('{"name": "one", "code": 0}')
    job(tmp_path, "open('begun', 'w')")
    until(lambda: bool(killed))
    assert not (tmp_path / "begun").exists()


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        (0, Exited(code=0)),
        (3, Exited(code=3, reason="its process ended with exit code 3")),
        (-9, Exited(signal="SIGKILL", reason="its process was ended by signal 9")),
    ],
)
def test_how_a_run_ended_needs_no_ray(tmp_path: Path, code: int, ended: Exited) -> None:
    executor, handle = ray.RayExecutor(Home(tmp_path)), Handle(run_id="x", executor="ray", id="one")
    folder = Home(tmp_path).run_folder("x")
    folder.mkdir(parents=True)
    (folder / ray_door.STATE).write_text(json.dumps({"name": "one", "node": "n1", "pid": 7, "code": code}))
    assert executor.state(handle) == ended
    assert executor.describe(handle) == "Ray actor on n1, PID 7"
    assert executor.describe(Handle(run_id="x", executor="ray", id="another")) == "Ray actor, waits for its turn"
    assert isinstance(executor.state(Handle(run_id="x", executor="ray")), Alive)
    assert executor.slots() == ["ray-0", "ray-1", "ray-2", "ray-3"]


def test_without_ray_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    with pytest.raises(EngineError, match="Ray is not installed here"):
        registry.find(Home(tmp_path), "ray").state(Handle(run_id="x", executor="ray", id="7"))


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_without_a_cluster_a_sentence_says_so(tmp_path: Path) -> None:
    (tmp_path / "cluster.toml").write_text('[ray]\naddress = "127.0.0.1:1"\n')
    with pytest.raises(EngineError, match=r"no cluster of Ray at 127\.0\.0\.1:1"):
        ray.RayExecutor(Home(tmp_path)).state(Handle(run_id="x", executor="ray", id="7"))


@pytest.mark.parametrize("text", ["[ray]\njobs = 0\n", "[ray]\ngpus = -1\n", '[ray]\nresources = "A100"\n'])
def test_a_cluster_file_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"ray\."):
        cluster_file.read(Home(tmp_path))


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    if why := missing():
        pytest.skip(why)
    found = RayCluster()
    yield found
    found.close()


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_runs_on_two_nodes_of_ray(cluster: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executed, listed, stopped, resumed, probed for locks, and ended once after their node died."""
    home = Home(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    sracl_process(tmp_path, "run", *SMALL, "--set", "epochs=1", "--name", "first", "--headless")
    (tmp_path / "cluster.toml").write_text(f'[ray]\naddress = "{cluster.address}"\njobs = 3\n')
    sracl_process(tmp_path, "queue", "start", "--on", "ray")

    def rows(query: str) -> list[dict[str, object]]:
        with open_store(home) as store:
            return store.rows(query)

    def add(*words: str) -> list[str]:
        return json.loads(sracl_process(tmp_path, "queue", "add", *SMALL, *words, "--json").stdout)["added"]

    def reached(run_id: str, epoch: int) -> bool:
        return sum(line.event == "epoch_finished" for _, line in read_events(home.run_folder(run_id))) >= epoch

    add("--set", "epochs=2", "--seeds", "4", "--group", "four")
    until(lambda: all(row["state"] == "finished" for row in rows("FROM runs WHERE group_name = 'four'")), seconds=300)
    assert {row["executor"] for row in rows("FROM runs WHERE group_name = 'four'")} == {"ray"}
    until(lambda: not Queue(home).active())

    (long,) = add("--set", "epochs=9000", "--set", "patience=9000", "--name", "long")
    until(lambda: reached(long, 1), seconds=120)
    assert "Ray actor on" in sracl_process(tmp_path, "queue", "list").stdout
    sracl_process(tmp_path, "stop", long)
    assert [row["state"] for row in rows("FROM runs WHERE name = 'long'")] == ["stopped"]
    until(lambda: not Queue(home).active(), seconds=120)

    said = json.loads(sracl_process(tmp_path, "doctor", "--on", "ray", "--json").stdout)
    assert [one["ok"] for one in said["checks"] if one["name"] == "shared locks"] == [True]

    (dies,) = add("--set", "epochs=150", "--set", "patience=150", "--name", "node-dies")
    until(lambda: reached(dies, 5), seconds=120)
    handle = registry.of_run(home, dies)[1]
    assert handle.id is not None
    cluster.kill_node(node_of(cluster.address, handle.id))
    until(lambda: rows("FROM runs WHERE name = 'node-dies'")[0]["state"] == "finished", seconds=600)
    events = [line for _, line in read_events(home.run_folder(dies))]
    assert [line.fields["state"] for line in events if line.event == "run_ended"] == ["finished"]
    (resumed,) = [line.fields["epoch"] for line in events if line.event == "run_resumed"]
    assert resumed > 0
    sracl_process(tmp_path, "queue", "pause")


def node_of(address: str, actor: str) -> str:
    """Where Ray executes an actor."""
    script = (
        "import ray, sys; from ray._private.state import actors\n"
        "ray.init(address=sys.argv[1], namespace='sracl', log_to_driver=False, logging_level='ERROR')\n"
        "id = ray.get_actor(sys.argv[2])._actor_id.hex()\n"
        "print('NODE', actors(id)['Address']['NodeID'])"
    )
    printed = subprocess.run([sys.executable, "-c", script, address, actor], capture_output=True, text=True, check=True)
    return printed.stdout.split("NODE ")[1].split()[0]
