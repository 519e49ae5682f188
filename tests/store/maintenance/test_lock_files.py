"""Something else in the place of a lock file: no command waits for it, the check names it, and a repair sets it aside."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sracl_tui.logs import SharedFileHandler
from store.errors import StoreError
from store.home import Home
from store.journal.journal import RunLock
from store.locks import FileLock
from store.maintenance.check import check_home
from store.maintenance.repair import repair_home
from store.publishing.publish import publish
from store.queue import Queue
from tests.store.maintenance.conftest import counts_of
from tests.support.commands import sracl_inside

LOCKS = (
    "publish.lock", "queue/order.lock", "queue/working/0@here.lock", "cache/vectors-abc.lock", "logs/.sracl.log.lock",
    "runs/one/lock", "trash/three/lock",
)  # fmt: skip


def folder(path: Path) -> None:
    path.mkdir()
    (path / "kept").touch()


def a_socket(path: Path) -> None:
    where = os.getcwd()
    os.chdir(path.parent)  # its path may be too long for a socket
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(path.name)
    os.chdir(where)


KINDS: dict[str, Callable[[Path], None]] = {
    "folder": folder,
    "pipe": os.mkfifo,
    "dead link": lambda path: path.symlink_to("nowhere/at/all"),
    "endless link": lambda path: path.symlink_to(path.name),
    "link to a folder": lambda path: path.symlink_to("."),
    "device": lambda path: path.symlink_to("/dev/null"),
    "socket": a_socket,
}
OFTEN = ("folder", "pipe", "dead link")
"""Kinds that are tested each time."""


def put(home: Home, name: str, kind: str) -> Path:
    path = home.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    KINDS[kind](path)
    return path


@pytest.mark.parametrize(
    "kind", [kind if kind in OFTEN else pytest.param(kind, marks=pytest.mark.soak) for kind in KINDS]
)
def test_check_names_all_and_repair_sets_all_aside(place: Home, kind: str) -> None:
    before = counts_of(place)
    paths = [put(place, name, kind) for name in LOCKS]
    with pytest.raises(StoreError, match=r"publish\.lock: it is no lock file\n`sracl db repair` sets it aside"):
        publish(place)
    with pytest.raises(StoreError, match="no lock file"):
        Queue(place).add(["one"])
    with pytest.raises(StoreError, match="no lock file"):
        RunLock(place.runs / "one").acquire()
    told = check_home(place).locks
    assert [text.split(": it is no lock file")[0] for text in told] == [str(path) for path in paths]
    found = repair_home(place)
    assert len(found.done) == len(LOCKS)
    assert all("stands aside as" in text for text in found.done)
    assert found.missing == check_home(place).problems == []
    assert len([*place.path.glob("*.damaged-*/kept")]) == len(LOCKS) * (kind == "folder")
    publish(place)
    Queue(place).add(["one"])
    assert counts_of(place) == before


def test_the_commands_say_what_to_do(place: Home) -> None:
    put(place, "publish.lock", "folder")
    assert "publish.lock" in sracl_inside(place.path, "db", "check", code=4).stderr
    assert "sracl db repair" in sracl_inside(place.path, "tag", "one", "seen", code=4).stderr
    assert "stands aside" in sracl_inside(place.path, "db", "repair").stderr
    sracl_inside(place.path, "tag", "one", "seen")
    assert "all is well" in sracl_inside(place.path, "db", "check").stderr


def test_a_pipe_that_a_process_of_an_earlier_version_locks_stays(place: Home) -> None:
    path = put(place, "publish.lock", "pipe")
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="no lock file"):
            repair_home(place)
        assert path.is_fifo()
    finally:
        os.close(file)
    assert repair_home(place).missing == []


def test_a_link_to_a_lock_file_is_one(place: Home, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    path = place.path / "publish.lock"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert check_home(place).problems == []
    with FileLock(path):
        assert not FileLock(tmp_path / "elsewhere").acquire()


@pytest.mark.parametrize("name", ["sracl.log", ".sracl.log.lock"])
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_logging_never_waits_nor_fails(tmp_path: Path, name: str, kind: str) -> None:
    put(Home(tmp_path), name, kind)
    handler = SharedFileHandler(tmp_path / "sracl.log", tmp_path)
    handler.emit(logging.LogRecord("a", logging.INFO, "b", 1, "text", None, None))
    handler.close()
