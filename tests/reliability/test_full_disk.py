"""A disk that fills up while a run journals, saves, and publishes: a clear state, nothing damaged, and on with it when there is room.

The long form has a disk of its own (a small tmpfs, which only root may mount); the short forms are in
`tests/cli/test_resume.py` and `tests/store/test_failures.py`.
"""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.journal.journal import lock_held, read_events
from tests.support.commands import until

TINY = ("--dataset", "demo", "--preset", "backbone", "--set", "max_users=60", "--set", "threads=1", "--headless")
EPOCHS = ("--set", "epochs=60", "--set", "patience=60")
MEGABYTES = 64


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path, *, leave: int) -> Path:
    """A file that takes the room but for so many bytes."""
    ballast = place / "ballast"
    with ballast.open("wb") as file:
        while True:
            free = os.statvfs(place)
            try:
                os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - leave, 1))
                break
            except OSError as error:  # the run has written meanwhile
                if error.errno != errno.ENOSPC:
                    raise
    return ballast


@pytest.mark.soak
@pytest.mark.parametrize("leave", [0, 300_000, 5_000_000], ids=["journaling", "checkpointing", "publishing"])
def test_a_disk_that_fills_up_under_a_run(machine, disk: Path, leave: int) -> None:
    machine.home = disk / "home"
    machine.home.mkdir()
    whole = machine.json("run", *TINY, *EPOCHS, "--run-id", "whole")
    running = machine.begin("run", *TINY, *EPOCHS, "--run-id", "narrow")
    folder = machine.home / "runs" / "narrow"
    until(lambda: lock_held(folder) and any(line.event == "epoch_finished" for _, line in read_events(folder)))
    ballast = fill(disk, leave=leave)
    code = running.wait(120)
    (row,) = [row for row in machine.json("runs") if row["run_id"] == "narrow"]
    print(f"\nleft {leave:,} bytes: exit code {code}, {row['state']}, {row['reason']}")
    if leave < 1_000_000:
        assert (code, row["state"]) == (1, "failed")
        assert row["reason"].startswith("disk full: ")
    for words in (("run", *TINY, "--run-id", "other"), ("tag", "whole", "x"), ("queue", "add", "--preset", "backbone")):
        told = machine.sracl(*words)
        assert "Traceback" not in told.stderr
        assert told.returncode == 0 or "pace" in told.stderr or "disk full" in told.stderr, (words, told.stderr)
    assert machine.sracl("sql", "SELECT count(*) FROM metrics").returncode == 0, "readers read on"
    ballast.unlink()

    resumed: Any = machine.json("run", "--resume", "narrow", "--headless")
    assert (resumed["state"], resumed["test"], resumed["valid"]) == ("finished", whole["test"], whole["valid"])
    time.sleep(0.1)
    checked = machine.sracl("db", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (counted,) = machine.json("sql", "SELECT count(*) AS n, count(DISTINCT epoch) AS e FROM metrics WHERE run_id = 'narrow' "
                              "AND split = 'train' AND name = 'loss'")  # fmt: skip
    assert counted == {"n": 60, "e": 60}, "no journaled row is lost, none doubled"
