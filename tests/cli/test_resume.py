"""Runs that end early, by real processes: why, and how they go on."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.journal.journal import lock_held, lock_pid, read_events
from tests.support.commands import start, until

TINY = ("--dataset", "demo", "--preset", "backbone", "--set", "max_users=60", "--set", "threads=1", "--headless")
LONG = (*TINY, "--set", "epochs=3000", "--set", "patience=3000")


@pytest.fixture
def place(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home, tmp_path / "home"))


def trains(folder: Path) -> bool:
    return lock_held(folder) and any(line.event == "epoch_finished" for _, line in read_events(folder))


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_a_changed_run_is_refused_with_the_difference_and_force_begins_it_anew(sracl, place):
    running = start(place, "run", *LONG, "--run-id", "cut")
    folder = place / "runs" / "cut"
    until(lambda: trains(folder))
    sracl("stop", "cut", home=place)
    assert running.wait(30) == 130

    def faster(values):
        values["config"]["train"] |= {"lr": 0.5, "epochs": 1}

    whole = (folder / "request.json").read_text()
    rewrite(folder / "request.json", faster)
    refused = sracl("run", "--resume", "cut", home=place, code=2).stderr
    assert "train.lr: 0.001 then, 0.5 now" in refused
    assert "train.epochs: 3000 then, 1 now" in refused
    anew = json.loads(sracl("run", "--resume", "cut", "--force", "--json", home=place).stdout)
    assert anew["run_id"] != "cut"
    assert (anew["state"], anew["epochs"]) == ("finished", 1)
    (folder / "request.json").write_text(whole)

    journal = folder / "events-0001.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        if line["event"] == "run_started":
            line |= {"git_sha": "f" * 40, "code_version": "0.0.1"}
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused = sracl("run", "--resume", "cut", home=place, code=2).stderr
    assert "commit: ffffffffffff then" in refused
    assert "version of sracl: 0.0.1 then" in refused
    (row,) = [row for row in json.loads(sracl("runs", "--json", home=place).stdout) if row["run_id"] == "cut"]
    assert row["state"] == "stopped", "a refusal changes nothing"


def test_other_data_are_refused(sracl, place):
    running = start(place, "run", *LONG, "--run-id", "cut")
    folder = place / "runs" / "cut"
    until(lambda: trains(folder))
    running.kill()
    running.wait()
    text = re.sub(r',"crc":"\w{8}"}$', "}", (folder / "events-0001.jsonl").read_text(), flags=re.MULTILINE)
    sha = next(line.fields["dataset_sha256"] for _, line in read_events(folder) if line.event == "dataset_used")
    (folder / "events-0001.jsonl").write_text(text.replace(sha, "e" * 64))
    assert "demo[:60] was eeeeeeee" in sracl("run", "--resume", "cut", home=place, code=2).stderr


def test_resuming_a_finished_run_prints_its_result(sracl, place):
    first = json.loads(sracl("run", *TINY, "--set", "epochs=1", "--json", home=place).stdout)
    again = sracl("run", "--resume", first["run_id"], "--json", home=place)
    assert "is finished" in again.stderr
    assert json.loads(again.stdout)["test"] == first["test"]
    rows = [row for row in json.loads(sracl("runs", "--json", home=place).stdout) if row["run_id"] == first["run_id"]]
    assert [row["exit_code"] for row in rows] == [0]


def test_a_run_whose_checkpoints_are_gone_starts_over_and_tells_each_epoch_once(sracl, place):
    words = (*TINY, "--set", "epochs=40", "--set", "patience=40")
    whole = json.loads(sracl("run", *words, "--json", home=place).stdout)
    running = start(place, "run", *words, "--run-id", "cut")
    folder = place / "runs" / "cut"
    until(lambda: trains(folder))
    running.kill()
    running.wait()
    for path in folder.glob("*.safetensors"):
        path.unlink()
    (folder / ".last.safetensors.1").write_bytes(b"half a checkpoint")
    resumed = json.loads(sracl("run", "--resume", "cut", "--headless", "--json", home=place).stdout)
    assert resumed["test"] == whole["test"]
    query = "SELECT epoch, count(*) AS n FROM metrics WHERE run_id = '{}' AND split = 'train' GROUP BY ALL ORDER BY ALL"
    counts = [sracl("sql", query.format(run), "--json", home=place).stdout for run in ("cut", whole["run_id"])]
    assert counts[0] == counts[1] != "[]"
    assert not list(folder.glob(".*"))


def test_a_deaf_run_is_asked_firmly_and_then_killed(sracl, place, monkeypatch):
    monkeypatch.setattr("sracl_tui.runs.execution.stop.FORCE_SECONDS", 0.5)
    running = start(place, "run", *LONG, "--run-id", "deaf")
    until(lambda: trains(place / "runs" / "deaf"))
    running.send_signal(signal.SIGSTOP)
    document = json.loads(sracl("stop", "deaf", "--wait", "0.5", "--json", home=place).stdout)
    assert document == {"run_id": "deaf", "pid": running.pid, "ended": True, "how": "killed"}
    assert running.wait(10) == -signal.SIGKILL
    shown = json.loads(sracl("show", "deaf", "--json", home=place).stdout)
    assert (shown["state"], shown["signal"]) == ("killed", "SIGKILL")
    assert "did not stop when asked" in shown["reason"]
    assert 5 < len(shown["log"]) <= 50


def test_a_pid_that_is_another_process_s_now_is_left_alone(place):
    from sracl_tui.runs.execution.local import send_signal

    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    send_signal("run", other.pid, 1.0, signal.SIGKILL)
    time.sleep(0.2)
    assert other.poll() is None
    other.kill()
    other.wait()


@pytest.mark.parametrize("limit", [4_000, 300_000, 4_000_000], ids=["journaling", "checkpointing", "publishing"])
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(sracl, place, limit):
    words = (*TINY, "--set", "epochs=3")
    whole = json.loads(sracl("run", *words, "--json", home=place).stdout)

    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    ended = start(place, "run", *words, "--run-id", "narrow", preexec_fn=little_room)
    published = limit > 1_000_000  # the database is larger; all else has room
    assert ended.wait(120) in ((0,) if published else (1, 4))
    (row,) = [row for row in json.loads(sracl("runs", "--json", home=place).stdout) if row["run_id"] == "narrow"]
    assert row["state"] in (("finished",) if published else ("failed", "killed"))
    if limit > 100_000 and not published:
        assert row["reason"].startswith("disk full: ")
    resumed = json.loads(sracl("run", "--resume", "narrow", "--headless", "--json", home=place).stdout)
    assert (resumed["test"], resumed["valid"]) == (whole["test"], whole["valid"])
    sracl("sql", "SELECT count(*) FROM metrics", home=place)
    assert lock_pid(place / "runs" / "narrow")
