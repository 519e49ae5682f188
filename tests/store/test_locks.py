"""Locks exclude other objects and other processes, say who holds them, and end with their process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store.locks import FileLock, held, holder_name, holder_pid, holder_words

HOLDER = """
import sys
from pathlib import Path
from store.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
lock.acquire()
lock.write_holder()
print("held", flush=True)
sys.stdin.read()
"""


def test_two_objects_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")
    assert first.acquire()
    assert held(first.path)
    assert not second.acquire()
    first.release()
    first.release()
    assert not held(first.path)
    with second:
        assert held(first.path)
    assert not held(first.path)


def test_acquire_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    with FileLock(tmp_path / "a.lock") as lock:
        began = time.monotonic()
        assert not FileLock(lock.path).acquire(wait=0.1, poll=0.01)
        assert time.monotonic() - began >= 0.1


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert held(path)
    assert not FileLock(path).acquire()
    assert holder_pid(path) == holder.pid
    holder.kill()
    holder.communicate()
    lock = FileLock(path)
    assert lock.acquire()
    lock.write_holder("7 12.5")
    assert holder_pid(path) == 7
    assert holder_words(path) == ["7", "12.5"]
    assert holder_name(path) == "process 7", "as an earlier version wrote it, without the machine"
    lock.write_holder("7 12.5 elsewhere")
    assert holder_name(path) == "process 7 on machine elsewhere"
    lock.write_holder()
    assert holder_name(path) == f"process {os.getpid()}"
    lock.release()


def test_a_missing_file_is_made_only_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert not held(path)
    assert holder_pid(path) is None
    with pytest.raises(FileNotFoundError):
        FileLock(path, create=False).acquire()
    with FileLock(path, mode=0o600):
        assert path.stat().st_mode & 0o777 == 0o600
