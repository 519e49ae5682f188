"""Nothing but the local executor knows of locks, PIDs and machines: with another one every part of the program works."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.config_files import load_config
from engine.errors import ConfigError
from sracl_tui.runs.execute import execute
from sracl_tui.runs.execution import answers, launch, queue, registry
from sracl_tui.runs.execution.base import Alive, Exited, Unknown
from sracl_tui.runs.execution.local import LocalExecutor
from sracl_tui.runs.execution.stop import stop_run
from sracl_tui.runs.request import RunRequest
from sracl_tui.services.run_follower import RunFollower
from sracl_tui.services.run_monitor import RunMonitor
from sracl_tui.tui.screens import run_controls
from store.errors import LookupFailed, StoreBusy
from store.home import Home
from store.journal.journal import end_of, lock_held, segments
from store.journal.submission import FILE, SUBMITTED, read_handle
from store.opening import open_store
from store.publishing import liveness
from store.publishing.publish import publish
from store.queries.runs import find_run, list_runs
from store.queue import Queue
from store.run_row import ListedRun
from tests.support.cluster import Cluster
from tests.support.commands import ROOT
from tests.support.installed import install

PRIVATE = re.compile(
    r"lock_held|lock_process|lock_pid|holder_pid|os\.kill|killpg|pidfd|gethostname|platform\.node|os\.uname|\bhost\(\)|start_of"
    r"|boot_id\(|fcntl|f\"/proc"
)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with new databases."""
    path = tmp_path_factory.mktemp("fresh") / "home"
    open_store(Home(path)).close()
    return path


@pytest.fixture
def home(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home whose runs go to the cluster."""
    Cluster.reset()
    monkeypatch.setitem(registry.EXECUTORS.ours, "cluster", "tests.support.cluster:Cluster")  # type: ignore[arg-type]
    monkeypatch.setenv(registry.VARIABLE, "cluster")
    home = answers.with_executors(Home(shutil.copytree(fresh, tmp_path / "home")))
    yield home
    registry._executors.clear()
    answers._answers.clear()


def request(run_id: str = "far", **fields: Any) -> RunRequest:
    config, preset = load_config(preset="backbone", assignments=("max_users=40",), settings={"dataset": "demo"})
    return RunRequest(run_id=run_id, config=config, preset=preset, **fields)


def cluster(home: Home) -> Cluster:
    found = registry.find(home, "cluster")
    assert isinstance(found, Cluster)
    return found


def views(home: Home, run_id: str = "far") -> dict[str, tuple[str, str | None]]:
    """State and reason of a run in the list of the command, in that of the app, and on its screen."""
    with open_store(home) as store:
        rows = list_runs(store)
    monitor, follower = RunMonitor(home), RunFollower(home, [run_id])
    monitor.expect(run_id)
    follower.read()
    found = {"app": _of(monitor.overlay(rows), run_id), "screen": (follower.state, follower.reason)}
    return found | ({"command": _of(rows, run_id)} if any(row["run_id"] == run_id for row in rows) else {})


def _of(rows: list[ListedRun], run_id: str) -> tuple[str, str | None]:
    return next((row["state"], row["reason"]) for row in rows if row["run_id"] == run_id)


def test_a_run_of_another_machine_is_listed_followed_stopped_and_resumed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = launch.launch(home, request())
    folder = home.run_folder("far")
    assert (handle.executor, handle.id) == ("cluster", "1")
    assert read_handle(folder) == handle
    assert {state for state, _ in views(home).values()} == {"queued"}
    far = cluster(home)
    journal = far.begin("far", "1")
    publish(home)
    assert views(home) == dict.fromkeys(("app", "screen", "command"), ("running", None))
    assert not lock_held(folder)
    with open_store(home) as store:
        row = find_run(store, "far")
        assert (row["executor"], row["handle"], row["host"]) == ("cluster", "1", "node7")
    with pytest.raises(ConfigError, match="is running"):
        launch.resume(home, "far")
    with pytest.raises(StoreBusy, match="cluster 1 is already executing this run"):
        execute(home, RunRequest.read(folder), resume=True)
    assert len(segments(folder)) == 1, "a refusal writes nothing"

    at_once = partial(stop_run, wait=0.0, escalate=False)
    monkeypatch.setattr(
        run_controls, "stop_run", lambda home, run_id, *, force, **waits: at_once(home, run_id, force=force)
    )
    assert run_controls.stop(home, "far") == "far was asked to stop (cluster 1): it saves first; x again asks firmly"
    assert stop_run(home, "far", wait=0.0, escalate=False).process == "cluster 1"
    assert Cluster.cancelled == [("1", False), ("1", False)]
    journal.append("stopping", {"reason": "SIGTERM"})
    publish(home)  # as the process of a run that lives does itself
    assert {state for state, _ in views(home).values()} == {"stopping"}
    far.end("far", "1", Exited(code=0), state="stopped", reason="asked to stop (SIGTERM)")
    assert views(home) == dict.fromkeys(("app", "screen", "command"), ("stopped", "asked to stop (SIGTERM)"))
    with pytest.raises(LookupFailed, match="not running"):
        stop_run(home, "far", wait=0.0)

    Cluster.plan.append(lambda far, run_id, number: far.begin(run_id, number))
    assert run_controls.resume(home, "far") == "far resumed (cluster 2)"
    publish(home)
    assert {state for state, _ in views(home).values()} == {"running"}


def test_a_job_that_is_killed_is_dead_everywhere_and_its_reason_is_the_executor_s(home: Home) -> None:
    launch.launch(home, request())
    cluster(home).begin("far", "1")
    publish(home)
    Cluster.jobs["1"] = Exited(signal="SIGKILL", reason="node7 lost power")
    assert views(home) == dict.fromkeys(("app", "screen", "command"), ("killed", "node7 lost power"))
    Cluster.jobs["1"] = Exited(code=3)
    launch.launch(home, request("other"))
    cluster(home).begin("other", "2")
    Cluster.jobs["2"] = Exited(code=3)
    assert set(views(home, "other").values()) == {("failed", "it ended with exit code 3")}


def test_a_job_that_never_began_says_why(home: Home) -> None:
    Cluster.plan.append(Exited(reason="the partition is closed"))
    launch.launch(home, request())
    assert set(views(home).values()) == {("failed", "the partition is closed")}


def test_a_job_whose_executor_cannot_tell_lives_by_its_heartbeat(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    launch.launch(home, request())
    assert liveness.lives(home, "far")
    cluster(home).begin("far", "1")
    publish(home)
    for answer in (Unknown(), None):  # None: the executor fails
        Cluster.jobs["1"] = answer  # type: ignore[assignment]
        if answer is None:
            Cluster.jobs.clear()
        assert {state for state, _ in views(home).values()} == {"running"}
        assert liveness.lives(home, "far")
    monkeypatch.setattr(liveness, "SILENT_SECONDS", -1.0)
    state, reason = views(home)["command"]
    assert state == "lost"
    assert reason
    assert reason.startswith("it ran on node7 and has been silent since")
    assert not liveness.lives(home, "far")
    assert "an executor does not answer" in (home.path / "logs" / "sracl.log").read_text()


def test_a_stop_that_is_not_heard_ends_with_force(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from sracl_tui.runs.execution import stop

    launch.launch(home, request())
    cluster(home).begin("far", "1")
    publish(home)
    monkeypatch.setattr(stop, "FORCE_SECONDS", 0.05)
    monkeypatch.setattr(stop, "KILL_SECONDS", 0.05)

    def cancel(self: Cluster, handle: Any, *, force: bool = False) -> None:
        Cluster.cancelled.append((handle.id, force))
        if force:
            Cluster.jobs["1"] = Exited(signal="SIGKILL")

    monkeypatch.setattr(Cluster, "cancel", cancel)
    done = stop_run(home, "far", wait=0.05)
    assert (done.how, done.ended, done.pid) == ("killed", True, None)
    assert Cluster.cancelled == [("1", False), ("1", False), ("1", True)]
    end = end_of(home.run_folder("far"))
    assert end is not None
    assert end["signal"] == "SIGKILL"


def test_the_queue_works_through_another_executor(home: Home) -> None:
    def finish(far: Cluster, run_id: str, number: str) -> None:
        far.begin(run_id, number)
        far.end(run_id, number, Exited(code=0), state="finished")

    def crash(far: Cluster, run_id: str, number: str) -> None:
        far.begin(run_id, number)
        far.jobs[number] = Exited(signal="SIGBUS", reason="bus error on node7")

    names = ["good", "refused", "crashed", "left"]
    added, _ = queue.enqueue(home, [request(name, name=name) for name in names])
    Queue(home).start(1)
    left = cluster(home)
    launch.submit(home, left, request("left"))  # a worker that died had submitted it
    Cluster.plan[:] = [finish, "no such partition", crash]
    left.begin("left", "1")
    states = [Alive()] * 3

    def state(self: Cluster, handle: Any) -> Any:
        if handle.id == "1" and "1" in self.jobs and handle.run_id == "left":
            if states:
                return states.pop()
            if isinstance(self.jobs["1"], Alive):
                self.end("left", "1", Exited(code=0), state="finished")
        return self.jobs[handle.id]

    original, Cluster.state = Cluster.state, state
    try:
        assert queue.work(home, "cluster-0") == 4
    finally:
        Cluster.state = original
    assert queue.slots(home, 2) == ["cluster-0", "cluster-1"]
    with open_store(home) as store:
        rows = {row["name"]: (row["state"], row["reason"]) for row in list_runs(store)}
    assert rows == {
        "good": ("finished", None),
        "refused": ("failed", "no such partition"),
        "crashed": ("killed", "bus error on node7"),
        "left": ("finished", None),
    }
    assert len(Cluster.jobs) == 3, "what an earlier worker had submitted is waited for"
    assert [len(added), Queue(home).active()] == [4, set()]
    assert end_of(home.run_folder("crashed"))["signal"] == "SIGBUS"  # type: ignore[index]


def test_a_run_that_goes_on_here_is_the_local_executor_s_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from store.journal.submission import executing_handle

    launch.launch(home, request())
    folder = home.run_folder("far")
    monkeypatch.setenv(SUBMITTED, "far")
    assert executing_handle(folder, "7@here") == read_handle(folder)
    monkeypatch.delenv(SUBMITTED)
    assert executing_handle(folder, "7@here").id == "7@here"
    assert not (folder / FILE).exists()
    assert read_handle(folder).executor == "local"
    (folder / FILE).write_text('{"executor": ')
    assert read_handle(folder).executor == "local", "a torn file is none"


def test_an_answer_counts_for_as_long_as_the_executor_says(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = launch.launch(home, request())
    monkeypatch.setattr(Cluster, "asked", 0)
    monkeypatch.setattr(Cluster, "poll_seconds", 60.0)
    for _ in range(3):
        assert isinstance(home.ask_executor(handle), Alive)
    assert Cluster.asked == 1
    monkeypatch.setattr(Cluster, "poll_seconds", 0.0)
    Cluster.jobs["1"] = Exited()
    assert home.ask_executor(handle) == Exited()


def test_the_default_is_local_and_an_unknown_one_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.VARIABLE, "")
    assert isinstance(registry.default(home), LocalExecutor)
    monkeypatch.setenv(registry.VARIABLE, "slrm")
    with pytest.raises(ConfigError, match=r"there is no executor 'slrm'; there are local, ray, slurm, cluster"):
        launch.launch(home, request())
    assert not home.run_folder("far").exists()


def test_a_refused_submission_leaves_nothing_behind(home: Home) -> None:
    from engine.errors import EngineError

    Cluster.plan.append("quota exceeded")
    with pytest.raises(EngineError, match="quota exceeded"):
        launch.launch(home, request())
    assert not home.run_folder("far").exists()
    home.run_folder("far").mkdir()
    Cluster.plan.append("quota exceeded")
    with pytest.raises(EngineError, match="quota exceeded"):
        launch.submit(home, cluster(home), request())
    assert read_handle(home.run_folder("far")).executor == "local"


def test_a_job_that_waits_for_days_is_not_dead_while_its_executor_is_out_of_reach(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "SILENT_SECONDS", -1.0)
    queue.enqueue(home, [request()])
    monkeypatch.setattr(Cluster, "wait", _give_up)
    Queue(home).start(1)
    with pytest.raises(SystemExit):
        queue.work(home, "cluster-0")  # a worker that dies once it has submitted the run
    Cluster.jobs["1"] = Unknown()
    assert liveness.lives(home, "far")
    assert views(home)["command"] == ("queued", None)
    stop_run(home, "far", wait=0.0)
    assert Cluster.cancelled == [("1", False)]


def _give_up(self: Cluster, handle: Any) -> Any:
    raise SystemExit


def test_only_the_local_executor_knows_locks_pids_and_machines() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in (ROOT / "sracl_tui").rglob("*.py")
        if not re.fullmatch(r"sracl_tui/runs/execution/(local\w*|lock_probe)\.py", str(path.relative_to(ROOT)))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if PRIVATE.search(line)
    }
    facts = {
        "sracl_tui/runs/alerts/alerts.py": '"host": host()',  # a webhook names its machine
        "sracl_tui/runs/execution/ray_door.py": '"node": socket.gethostname()',  # on a node, for people to read
        "sracl_tui/services/bug_report.py": "for private in (host(), _user()):",  # which is taken out of reports
    }
    told = {line for line in found if any(line.startswith(path) and fact in line for path, fact in facts.items())}
    assert found == told
    assert len(told) == len(facts)


def test_a_machine_that_was_renamed_stops_its_own_runs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from sracl_tui.runs.execution import local
    from store.journal.journal import RunLock

    executor, folder = LocalExecutor(home), home.run_folder("near")
    lock = RunLock(folder)
    lock.acquire()
    signaled: list[int] = []
    monkeypatch.setattr(local, "host", lambda: "renamed")
    monkeypatch.setattr(local, "send_signal", lambda run_id, pid, began, number: signaled.append(pid))
    executor.cancel(read_handle(folder))
    assert signaled == [os.getpid()], "a process of this machine began just then"
    (folder / "lock").write_text(f"{os.getpid()} 0.25 elsewhere")
    with pytest.raises(LookupFailed, match="running on machine elsewhere: stop it there"):
        executor.cancel(read_handle(folder))
    lock.release()
    assert signaled == [os.getpid()]


def test_a_run_that_another_machine_put_into_the_queue_waits_and_does_not_live(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(registry.VARIABLE, "local")
    queue.enqueue(home, [request()])
    (home.run_folder("far") / "lock").write_text("5 1.0 elsewhere")
    assert not liveness.lives(home, "far"), "a worker of this machine begins it at once"
    assert views(home)["command"] == ("queued", None)
    assert stop_run(home, "far", wait=0.0).how == "removed from the queue"
    assert views(home)["command"] == ("stopped", "removed from the queue before it began")


def test_an_installed_package_offers_an_executor(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from tests.support.cluster import Cluster\n\n\nclass Ours(Cluster):\n    pass\n"
    install(tmp_path / "site", monkeypatch, module="our_grid", code=code, points={"sracl.executors:grid": "Ours"})
    monkeypatch.setenv(registry.VARIABLE, "grid")
    assert launch.launch(home, request()).executor == "grid"
    executor, handle = registry.of_run(home, "far")
    assert (type(executor).__name__, executor.describe(handle), executor.slots()) == ("Ours", "grid 1", ["grid-0"])
    assert views(home)["app"] == ("queued", None)
