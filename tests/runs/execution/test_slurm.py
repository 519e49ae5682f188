"""Runs as jobs of a real Slurm with two nodes: executed, listed, stopped, asked to make room, and taken up again."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigError, EngineError
from sracl_tui.runs.execution import cluster_file, registry, slurm
from sracl_tui.runs.execution.base import Alive, Exited, Handle
from store.home import Home
from store.journal.journal import read_events
from store.opening import open_store
from store.queue import Queue
from tests.runs.jobs.test_neighbor_shards import FEW, lists
from tests.support.commands import ROOT, sracl_process, until
from tests.support.slurm_cluster import SlurmCluster, missing
from tests.test_tutorials import CLUSTER, commands_of, left_out, small, write_files

SMALL = ("--preset", "backbone", "--set", "max_users=40", "--set", "threads=1")
Rows = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    if why := missing():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # a short path: munge's socket is there
    found = SlurmCluster(folder)
    yield found
    found.close()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def home(cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose queue is on Slurm, with the demo set."""
    path = tmp_path_factory.mktemp("slurm") / "home"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment().items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", str(ROOT))
        sracl_process_in(path, "run", *SMALL, "--set", "epochs=1", "--name", "first", "--headless")
        (path / "cluster.toml").write_text('[slurm]\njobs = 3\noptions = ["--cpus-per-task=1", "--time=30"]\n')
        sracl_process_in(path, "queue", "start", "--on", "slurm")
        yield Home(path)
        sracl_process_in(path, "queue", "pause")


def sracl_process_in(path: Path, *words: str, code: int = 0) -> str:
    path.mkdir(exist_ok=True)
    return sracl_process(path, *words, code=code).stdout


@pytest.fixture
def rows(home: Home) -> Rows:
    def ask(query: str) -> list[dict[str, Any]]:
        with open_store(home) as store:
            return store.rows(query)

    return ask


def enqueue(home: Home, *words: str) -> list[str]:
    return json.loads(sracl_process_in(home.path, "queue", "add", *SMALL, *words, "--json"))["added"]


def test_four_runs_are_executed_by_two_nodes(home: Home, rows: Rows) -> None:
    added = enqueue(home, "--set", "epochs=2", "--seeds", "4", "--group", "four")
    said = json.loads(sracl_process_in(home.path, "queue", "start", "--json"))
    assert (set(said["workers"]), len(set(said["workers"].values()))) == ({"slurm-0", "slurm-1", "slurm-2"}, 1)
    until(lambda: all(row["state"] == "finished" for row in rows("FROM runs WHERE group_name = 'four'")))
    found = rows("SELECT executor, handle, host FROM runs WHERE group_name = 'four'")
    assert ({row["executor"] for row in found}, len({row["handle"] for row in found})) == ({"slurm"}, 4)
    for run_id in added:
        told = (home.run_folder(run_id) / "run.log").read_text()
        assert '"published"' not in told, "a node has written the database"
    until(lambda: not Queue(home).slots())
    listed = json.loads(sracl_process_in(home.path, "queue", "list", "--json"))
    assert [entry["entry"] for entry in listed["entries"]] == ["done"] * 4


def test_neighbors_are_searched_in_parts_by_two_nodes(home: Home, rows: Rows, tmp_path: Path) -> None:
    said = json.loads(sracl_process_in(home.path, "neighbors", *FEW, "--shards", "3", "--json"))
    jobs = f"FROM runs WHERE run_id IN {tuple(said['added'])!r}"
    until(lambda: [row["state"] for row in rows(jobs)] == ["finished"] * 3)
    assert {row["executor"] for row in rows(jobs)} == {"slurm"}
    ours = lists(home.path)
    sracl_process_in(tmp_path, "neighbors", *FEW, "--headless")
    alone = lists(tmp_path)
    assert ours["ids"] == alone["ids"]
    assert ours["rows"].equals(alone["rows"])
    until(lambda: not Queue(home).active())


def training(home: Home, run_id: str, least: int = 1) -> Callable[[], bool]:
    folder = home.run_folder(run_id)
    return lambda: sum(line.event == "epoch_finished" for _, line in read_events(folder)) >= least


def test_a_job_is_listed_stopped_and_resumed(home: Home, rows: Rows) -> None:
    (run_id,) = enqueue(home, "--set", "epochs=9000", "--set", "patience=9000", "--name", "long")
    until(training(home, run_id))
    (entry,) = [
        one
        for one in json.loads(sracl_process_in(home.path, "queue", "list", "--json"))["entries"]
        if one["entry"] == "working"
    ]
    assert (entry["run_id"], entry["process"].rpartition(" ")[0]) == (
        run_id,
        f"Slurm job {rows_of(rows, run_id)['handle']} on",
    )
    assert "Slurm job" in sracl_process_in(home.path, "queue", "list")
    assert "stopped" in sracl_process(home.path, "stop", run_id).stderr
    row = rows_of(rows, run_id)
    assert (row["state"], row["reason"]) == ("stopped", "asked to stop (SIGTERM)")
    until(lambda: not Queue(home).active())
    reached = row["epoch"]
    again = sracl_process(home.path, "run", "--resume", run_id, "--set", "epochs=1", code=2)
    assert "with its own settings" in again.stderr
    from sracl_tui.runs.execution.queue import enqueue_again

    enqueue_again(home, [run_id])
    until(training(home, run_id, reached + 1))
    assert not isinstance(registry.of_run(home, run_id)[0].state(registry.of_run(home, run_id)[1]), Exited)
    sracl_process_in(home.path, "stop", run_id)
    until(lambda: not Queue(home).active())


def rows_of(rows: Rows, run_id: str) -> dict[str, Any]:
    (row,) = rows(f"FROM runs WHERE run_id = '{run_id}'")
    return row


def test_a_job_that_has_to_make_room_saves_and_goes_on_later(home: Home, rows: Rows, cluster: SlurmCluster) -> None:
    (run_id,) = enqueue(home, "--set", "epochs=9000", "--set", "patience=9000", "--name", "preempted")
    until(training(home, run_id))
    executor, handle = registry.of_run(home, run_id)
    assert handle.id is not None
    subprocess.run(["scancel", "--signal=TERM", "--batch", handle.id], check=True)
    until(lambda: slurm._field(str(handle.id), "JobState") == "PENDING")
    assert (executor.state(handle), rows_of(rows, run_id)["state"]) == (Alive(), "stopped")
    reached = rows_of(rows, run_id)["epoch"]

    def goes_on() -> bool:
        if (
            slurm._field(str(handle.id), "JobState") == "PENDING"
        ):  # Slurm would wait two minutes, from when it has cleaned up
            subprocess.run(["scontrol", "update", f"jobid={handle.id}", "starttime=now"], check=False)
        return training(home, run_id, reached + 2)()

    until(goes_on)
    assert registry.of_run(home, run_id)[1] == handle
    epochs = [
        line.fields["epoch"] for _, line in read_events(home.run_folder(run_id)) if line.event == "epoch_finished"
    ]
    assert epochs == sorted(set(epochs)), "an epoch was trained twice"
    sracl_process_in(home.path, "stop", run_id)
    assert rows_of(rows, run_id)["state"] == "stopped"
    until(lambda: not Queue(home).active())


def test_the_doctor_tries_the_locks_from_a_node(home: Home) -> None:
    said = json.loads(sracl_process_in(home.path, "doctor", "--on", "slurm", "--json"))
    (check,) = [one for one in said["checks"] if one["name"] == "shared locks"]
    assert check["ok"]
    assert "a lock held here is seen on" in check["detail"]
    assert not [path.name for path in home.cache.iterdir() if path.name.startswith("lock-probe")]


def test_the_file_of_the_cluster_says_how_many_jobs(home: Home) -> None:
    kept = (home.path / "cluster.toml").read_text()
    (home.path / "cluster.toml").write_text(kept.replace("jobs = 3", "jobs = 5"))
    sracl_process_in(home.path, "queue", "start")
    assert (Queue(home).wanted, Queue(home).executor) == (5, "slurm")
    (home.path / "cluster.toml").write_text(kept)
    sracl_process_in(home.path, "queue", "start", "--workers", "2")
    assert Queue(home).wanted == 2
    sracl_process_in(home.path, "queue", "start")
    assert Queue(home).wanted == 3


def test_what_slurm_refuses_is_told_in_its_words(home: Home, rows: Rows) -> None:
    kept = (home.path / "cluster.toml").read_text()
    (home.path / "cluster.toml").write_text('[slurm]\npartition = "nowhere"\n')
    (run_id,) = enqueue(home, "--set", "epochs=1", "--name", "refused")
    until(lambda: rows_of(rows, run_id)["state"] == "failed")
    (home.path / "cluster.toml").write_text(kept)
    assert "Slurm refused the run: " in rows_of(rows, run_id)["reason"]
    assert "Invalid partition name" in rows_of(rows, run_id)["reason"]


def test_the_tutorial_from_top_to_bottom(
    cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (*cluster.environment().items(), ("PYTHONPATH", str(ROOT))):
        monkeypatch.setenv(name, value)
    write_files(CLUSTER, tmp_path)
    commands = [line for line in commands_of(CLUSTER) if not left_out(line)]
    assert len(commands) > 6
    for line in commands:
        words = small(line)
        sracl_process(tmp_path, *(words if words[0] != "summarize" else [*words, "--set", "unit=user"]))
        if words[:2] == ["queue", "start"]:
            until(lambda: not Queue(Home(tmp_path)).active())
    with open_store(Home(tmp_path)) as store:
        assert [row["state"] for row in store.rows("FROM runs WHERE group_name = 'plain'")] == ["finished"] * 4


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_run_whose_node_dies_ends_once(home: Home, rows: Rows, cluster: SlurmCluster) -> None:
    """Slurm waits about two minutes before the job begins again."""
    (run_id,) = enqueue(home, "--set", "epochs=800", "--set", "patience=800", "--name", "node-dies")
    until(training(home, run_id, 5))
    executor, handle = registry.of_run(home, run_id)
    cluster.kill_node(executor.describe(handle).rpartition(" ")[2])
    until(lambda: rows_of(rows, run_id)["state"] == "finished", seconds=600)
    ends = [line for _, line in read_events(home.run_folder(run_id)) if line.event == "run_ended"]
    assert [line.fields["state"] for line in ends] == ["finished"]
    assert rows_of(rows, run_id)["epoch"] == 800
    resumed = [line.fields["epoch"] for _, line in read_events(home.run_folder(run_id)) if line.event == "run_resumed"]
    assert len(resumed) == 1, "the node did not die"
    assert resumed[0] > 0


def test_without_slurm_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    executor = registry.find(Home(tmp_path), "slurm")
    with pytest.raises(EngineError, match="squeue is not installed here"):
        executor.state(Handle(run_id="x", executor="slurm", id="7"))
    assert isinstance(executor.state(Handle(run_id="x", executor="slurm")), Alive)
    assert executor.slots() == ["slurm-0", "slurm-1", "slurm-2", "slurm-3"]


def test_a_job_that_slurm_has_forgotten_is_asked_of_its_accounting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = {"squeue": "exit 0", "sacct": "echo 'FAILED|1:0'; echo 'CANCELLED by 0|0:15'"}
    for name, does in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    executor, handle = slurm.SlurmExecutor(Home(tmp_path)), Handle(run_id="x", executor="slurm", id="7")
    assert executor.state(handle) == Exited(signal="SIGTERM", reason="its job was canceled")
    (tmp_path / "sacct").write_text("#!/bin/sh\nexit 1\n")
    assert executor.state(handle) == Exited(reason="Slurm does not know its job any more")


@pytest.mark.parametrize(
    ("state", "code", "ended"),
    [
        ("COMPLETED", "0:0", Exited(code=0)),
        ("FAILED", "3:0", Exited(code=3, reason="its job ended with exit code 3")),
        ("CANCELLED by 0", "0:15", Exited(signal="SIGTERM", reason="its job was canceled")),
        ("OUT_OF_MEMORY", "0:125", Exited(signal="SIGKILL", reason="out of memory: Slurm ended its job")),
        ("NODE_FAIL", "", Exited(signal="SIGKILL", reason="Slurm: node fail")),
    ],
)
def test_how_a_job_ended(state: str, code: str, ended: Exited) -> None:
    assert slurm._ended(state, code) == ended


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[slurm]\njobs = 0\n", "slurm.jobs"),
        ("[slurm]\nnodes = 2\n", "slurm.nodes"),
        ("[pbs]\n", "pbs"),
        ("[slurm", "TOML"),
        ("[slurm]\noptions = '--x'\n", "slurm.options"),
    ],
)
def test_a_cluster_file_that_is_none_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "cluster.toml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        cluster_file.read(Home(tmp_path))
