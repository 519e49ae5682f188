"""Every system call of a command fails once, fails always, or is the last one: nothing is lost, and the next command goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest

from engine.config import Config
from sracl_tui.runs.request import RunRequest
from store.home import Home
from store.journal.journal import Journal
from store.maintenance.check import check_home
from store.maintenance.placing import state_of
from store.opening import open_store
from store.publishing.publish import publish
from store.transfer.bundle import export_bundle
from tests.store.maintenance.conftest import Counts, copy_turning, counts_of, dataset_of, fewer, write_run
from tests.support.commands import ROOT
from tests.support.fault_server import CREATES, missing

COMMANDS = {
    "publish": ["tag", "one", "extra"],
    "repair": ["db", "repair"],
    "backup": ["db", "backup"],
    "import-bundle": ["import-bundle", "{home}/../bundle.zip"],
}
CODES = {0, 2, 4}
"""Exit codes that a command may have where the system fails: done, bad input, the store cannot be used."""
FAILING = ("openat", "write", "pwrite64", "fsync", "rename", "link", "unlink", "ftruncate", "mkdir", "flock")
SECONDS = 60.0


class Server:
    """Runs commands whose system calls may fail (see `tests.support.fault_server`)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        words = [sys.executable, "-m", "tests.support.fault_server", str(folder)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, stderr=subprocess.DEVNULL
        )

    def run(self, home: Home, words: list[str], inject: str = "") -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        filled = [word.format(home=home.path) for word in words]
        self._process.stdin.write(json.dumps([str(home.path), inject, filled, SECONDS]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@dataclass
class Scene:
    """A home before a command, and what it has to have afterwards."""

    home: Path
    before: Counts
    """Rows that can be read."""
    whole: Counts
    """Rows when the command has succeeded."""
    calls: dict[str, list[int]]
    """Numbers of the calls by name that reach a file of the home, as each process counts them."""
    passed: set[tuple[Any, ...]] = field(default_factory=set)
    """Contents of homes after a fault, with how the command ended, that were seen to be well and to go on."""


def _bundle(rich: Path, to: Path, begin_run: Callable[..., Journal]) -> None:
    other = Home(shutil.copytree(rich, to.with_name("other")))
    request = RunRequest(run_id="four", config=Config())
    created = {name: value for name, value in request.created().items() if name != "run_id"}
    write_run(begin_run(other, "four", **created), "four", dataset_of(other))
    request.write(other.runs / "four")
    with open_store(other) as store:
        export_bundle(store, "four", to)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if reason := missing():
        pytest.skip(reason)
    with closing(Server(tmp_path_factory.mktemp("server") / "x")) as found:
        yield found


@pytest.fixture(scope="module")
def make_scene(
    rich: Path, turning: Path, server: Server, begin_run: Callable[..., Journal],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Scene]:  # fmt: skip
    """Makes, once for each command, a home in which it has something to do."""
    top = tmp_path_factory.mktemp("scenes")
    _bundle(rich, top / "bundle.zip", begin_run)
    known: dict[str, Scene] = {}

    def make(command: str) -> Scene:
        if command not in known:
            home = copy_turning(turning, top / command)
            if command == "publish":
                write_run(begin_run(home, "three", name="three"), "three", dataset_of(home))
            elif command == "repair":
                os.truncate(home.database, 60_000)
                os.truncate(home.vectors, 5_000)
            before = counts_of(home)
            _tried(server, home, command)  # the first one imports
            trial, calls = _tried(server, home, command)
            known[command] = Scene(home.path, before, counts_of(trial), calls)
        return known[command]

    return make


def _tried(server: Server, home: Home, command: str) -> tuple[Home, dict[str, list[int]]]:
    """A copy of a home in which a command has succeeded, and its calls."""
    shutil.rmtree(home.path.with_name("trial"), ignore_errors=True)
    trial = copy_turning(home.path, home.path.with_name("trial"))
    done = server.run(trial, COMMANDS[command], "all")
    assert done["code"] == 0, done
    return trial, done["calls"]


def _survives(server: Server, scene: Scene, command: str, inject: str, home: Home) -> str:
    """Run a command with a fault; afterwards nothing is lost, and the same command does what it had to. Returns how it ended."""
    done = server.run(home, COMMANDS[command], inject)
    code, said = done["code"], f"{command} {inject}: {done}"
    silent = code == 99 and inject.startswith("write:") and inject.endswith("+")  # nobody could be told
    aborted = silent or (code == -6 and any(not path.startswith(str(home.path)) for path in done["places"]))
    assert code in CODES or (code == -9 and "KILL" in inject) or aborted, said
    assert "Traceback" not in done["err"] + done["out"], said
    key = (code == 0, *_content(home))
    if key not in scene.passed:
        _goes_on(server, scene, command, home, said, ended_well=code == 0)
        scene.passed.add(key)
    return "killed" if code in (-9, -6) else f"exit {code}" if done["places"] else "not reached"


def _content(home: Home) -> list[tuple[str, str]]:
    """Names of all files without times and numbers of processes, with their rows where they are whole databases, else hashes.

    The names of standbys hold inodes, of which only counts whether they are the right ones.
    """
    found: list[tuple[str, str]] = []
    for path in sorted(path for path in home.path.rglob("*") if path.is_file()):
        name = re.sub(r"-\d{8}-\d{6}|(?<=\.new-)\d+", "-N", str(path.relative_to(home.path)))
        base, _, marks = path.name.partition(".standby-")
        if marks:
            states = [state_of(file).get("", []) for file in (path.with_name(base), path)]
            fits = marks == "-".join(f"{n:x}" for state in states for n in state)
            name = f"{base}.standby, {'right' if fits else 'wrong'}"
        whole = path.suffix == ".duckdb" or marks
        found.append((name, (_rows(path) if whole else "") or sha256(path.read_bytes()).hexdigest()))
    return found


def _rows(path: Path) -> str:
    """The rows of a database, but for when its schema was made; empty where one cannot be read, or is in a log."""
    if path.with_name(f"{path.name}.wal").exists():
        return ""
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            names = connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE NOT internal ORDER BY ALL"
            ).fetchall()
            counts = [
                connection.execute(f'SELECT $1, count(*), bit_xor(hash(t)) FROM "{name}" t', [name]).fetchall()
                for (name,) in names
                if name != "schema_version"
            ]
        return str(counts)
    except duckdb.Error:
        return ""


def _goes_on(server: Server, scene: Scene, command: str, home: Home, said: str, *, ended_well: bool) -> None:
    """Nothing is lost after a fault, and the same command does what it had to."""
    now = counts_of(home)
    assert fewer(scene.before, now) == {}, said
    problems = check_home(home).problems
    if command == "repair":
        assert problems or now == scene.whole, f"a false all-clear: {said}"
    else:
        assert problems == [], said
    if ended_well:
        publish(home)
        assert fewer(scene.whole, counts_of(home)) == {}, f"it did not do what it says: {said}"
    there = command == "import-bundle" and (home.runs / "four").exists()
    again = server.run(home, COMMANDS[command])
    assert again["code"] == (2 if there else 0), (said, again)
    publish(home)
    assert fewer(scene.whole, counts_of(home)) == {}, said
    assert check_home(home).problems == [], said
    left = [path.name for path in home.path.iterdir() if ".new-" in path.name or ".taken-" in path.name]
    assert left == [], said


def _faults(calls: dict[str, list[int]]) -> list[str]:
    """Every call that reaches a file of the home: fails once, fails always from there on, is the last one."""
    found: list[str] = []
    for call, numbers in calls.items():
        if call not in FAILING:
            continue
        for number in numbers:
            writes = call in ("write", "pwrite64", "fsync", "mkdir") or number in calls.get(CREATES, ())
            errors = ["EIO", "ENOSPC"] if writes else ["EIO"]
            found += [f"{call}:error={error}:when={number}{more}" for error in errors for more in ("", "+")]
            found.append(f"{call}:signal=KILL:when={number}")
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_some_calls_fail(command: str, server: Server, make_scene: Callable[[str], Scene], tmp_path: Path) -> None:
    """A few of those of the long form."""
    scene = make_scene(command)
    faults = _faults(scene.calls)
    shutil.copyfile(scene.home.parent / "bundle.zip", tmp_path / "bundle.zip")
    kinds = (
        "pwrite64:error=ENOSPC:",
        "rename:signal=KILL:",
        "fsync:error=EIO:",
        "openat:error=EIO:",
        "flock:error=EIO:",
    )
    for kind in kinds[: None if command == "publish" else 2]:
        of_kind = [fault for fault in faults if fault.startswith(kind) and not fault.endswith("+")]
        if of_kind:
            home = copy_turning(scene.home, tmp_path / "home")
            assert _survives(server, scene, command, of_kind[len(of_kind) // 2], home)
            shutil.rmtree(home.path)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_call_may_fail(command: str, server: Server, make_scene: Callable[[str], Scene], tmp_path: Path) -> None:
    """All of them take hours: SRACL_FIRST and SRACL_CASES say which of each command, in an order by SRACL_SEED."""
    scene = make_scene(command)
    faults = _faults(scene.calls)
    seed = os.environ.get("SRACL_SEED", "1")
    faults.sort(key=lambda fault: sha256(f"{seed} {fault}".encode()).digest())  # the same where a few are missing
    first = int(os.environ.get("SRACL_FIRST", "0"))
    ends: Counter[str] = Counter()
    print(command, scene.calls, len(faults), flush=True)
    failed = 0
    for fault in faults[first : first + int(os.environ.get("SRACL_CASES", len(faults)))]:
        home = copy_turning(scene.home, tmp_path / "home")
        shutil.copyfile(scene.home.parent / "bundle.zip", tmp_path / "bundle.zip")
        try:
            ends[_survives(server, scene, command, fault, home)] += 1
        except AssertionError as error:
            failed += 1
            print("FAILED", str(error)[:1500], flush=True)
        shutil.rmtree(home.path)
    print(command, dict(ends), failed, f"{len(scene.passed)} different homes", flush=True)
    assert not failed
