"""`sracl run` with several processes: started by it or by torchrun, and what becomes of the others when one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config_files import build_config
from engine.errors import ConfigError
from engine.training import checkpoint, workers
from engine.training.checkpoint_files import LAST
from store.home import Home
from store.journal.journal import end_of, read_events
from tests.support.commands import ROOT, environment, until

SMALL = ("--headless", *(
    word for setting in ("method=plain", "max_users=30", "width=8", "inner=8", "batch=64", "threads=1", "processes=2")
    for word in ("--set", setting)
))  # fmt: skip


def others(pid: int) -> list[int]:
    """The processes that process 0 has started to train with it."""
    words = ["pgrep", "-P", str(pid), "-f", "engine.training.workers"]
    return [int(line) for line in subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]


def epochs(folder: Path) -> int:
    return max((line.fields["epoch"] for _, line in read_events(folder) if line.event == "epoch_finished"), default=0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_killed_process_ends_the_run_and_leaves_no_other(tmp_path: Path) -> None:
    folder, scratch = Home(tmp_path).run_folder("killed"), tmp_path / "tmp"
    scratch.mkdir()
    settings = (*SMALL, "--set", "epochs=100000", "--set", "patience=100000", "--run-id", "killed")
    given = {"env": environment(tmp_path) | {"TMPDIR": str(scratch)}}
    words = [sys.executable, "-P", "-m", "sracl_tui.cli", "run"]
    process = subprocess.Popen([*words, *settings], stderr=subprocess.PIPE, text=True, **given)
    until(lambda: epochs(folder) >= 3)
    (other,) = others(process.pid)
    os.kill(other, signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    reason = f"process 1 of 2 (PID {other}) was killed by signal 9 (SIGKILL)"
    assert reason in said
    ended = end_of(folder)
    assert ended is not None
    assert (ended["state"], reason in ended["reason"]) == ("failed", True)
    assert not list(scratch.glob("sracl-processes-*"))

    before = epochs(folder)
    process = subprocess.Popen([*words, "--resume", "killed", "--headless"], **given)
    until(lambda: epochs(folder) > before)
    (other,) = others(process.pid)
    process.kill()
    process.wait()
    until(lambda: not alive(other), 30.0)
    assert not list(scratch.glob("sracl-processes-*"))


def test_torchrun_starts_the_processes_of_several_runs(tmp_path: Path) -> None:
    settings = (*SMALL, "--set", "epochs=2")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "sracl_tui.cli"]
    done = subprocess.run(
        [*torchrun, "run", *settings, "--seeds", "2", "--group", "torchrun"],
        env=environment(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folders = list(Home(tmp_path).runs.iterdir())
    assert len(folders) == 2
    for folder in folders:
        ended = end_of(folder)
        assert ended is not None
        assert ended["state"] == "finished"
        assert checkpoint.processes_of(checkpoint.own_states(folder / LAST)) == 2


def test_torchrun_and_the_setting_name_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="torchrun has started 3 processes, and the setting is 2") as caught:
        workers.check(build_config({"processes": 2}))
    assert caught.value.hint == "Add --set processes=3."
    workers.check(build_config({"processes": 3}))


@pytest.mark.parametrize(
    ("device", "gpus", "means"), [("auto", 1, 1), ("cuda", 1, 1), ("cuda:1", 4, 1), ("cuda", 0, 0)]
)
def test_fewer_gpus_than_processes(device: str, gpus: int, means: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    with pytest.raises(ConfigError, match=f"2 processes want a GPU each, and train.device = {device} means {means}"):
        workers.check(build_config({"processes": 2, "device": device}))
    workers.check(build_config({"processes": 2, "device": "cpu"}))
