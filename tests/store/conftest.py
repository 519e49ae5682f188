"""Homes, journals and other processes to test the store with."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data.dataset import Dataset, Items
from engine.events import Event, Tabular
from store.home import Home
from store.journal.journal import Journal
from store.journal.processes import boot_id
from store.opening import open_store
from tests.support.commands import ROOT

CREATED: dict[str, Any] = {
    "kind": "train",
    "name": "first",
    "preset": "default",
    "group_name": None,
    "config": {"loss": {"alpha": 0.1, "beta": 0.1}, "retrieval": {"k": 10, "pool": "others"}},
    "config_hash": "abc",
    "seed": 1,
    "tags": [],
    "note": "",
}
PRELUDE = f"""
import json, os, platform, resource, signal, sys, time
from pathlib import Path
import duckdb
from store.database.database import Store
from store.opening import open_store
from store.errors import StoreBusy, StoreError
from store.home import Home
from store.journal.processes import boot_id
from store.journal.journal import Journal, RunLock
from store.publishing.publish import publish
CREATED = json.loads({json.dumps(CREATED)!r})
home = Home(Path(sys.argv[1]))
PROCESS = dict(pid=os.getpid(), host=platform.node(), boot_id=boot_id())
def say(word): print(word, flush=True)
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
"""
"""What the code of every other process begins with."""


class Process:
    """Another Python process at work on a home, which talks in lines."""

    def __init__(self, code: str, home: Home, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + code, str(home.path), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.pid = self._process.pid

    def hears(self, word: str) -> None:
        """Wait until it has said a word."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == word

    def tell(self) -> None:
        """Let it go on from its `input()`."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def end(self) -> tuple[int, str]:
        """Its exit code and the rest of what it said."""
        said, _ = self._process.communicate(timeout=120)
        return self._process.returncode, said

    def done(self) -> str:
        """What it said; it must have ended well."""
        code, said = self.end()
        assert code == 0, said
        return said


Spawn = Callable[..., Process]


@pytest.fixture(scope="session")
def fresh_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Home]:
    """Puts a home with two new databases, which are made once, at a path."""
    template = tmp_path_factory.mktemp("template") / "home"
    open_store(Home(template)).close()
    return lambda path: Home(shutil.copytree(template, path, dirs_exist_ok=True))


@pytest.fixture
def home(fresh_home: Callable[[Path], Home], tmp_path: Path) -> Home:
    """A home with two new databases."""
    return fresh_home(tmp_path / "home")


@pytest.fixture
def spawn(home: Home) -> Iterator[Spawn]:
    """Starts another process on the home: code, then its arguments from `sys.argv[2]` on."""
    started: list[Process] = []

    def start(code: str, *arguments: object) -> Process:
        started.append(Process(code, home, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="session")
def begin_run() -> Callable[..., Journal]:
    """Opens a run's journal and writes its beginning: `begin_run(home, run_id, started={...}, **created)`."""

    def begin(home: Home, run_id: str, *, started: dict[str, Any] | None = None, **created: Any) -> Journal:
        journal = Journal(home.runs / run_id)
        journal.append("run_created", {**CREATED, "run_id": run_id, **created})
        process = {"pid": os.getpid(), "host": platform.node(), "boot_id": boot_id(), "code_version": "1"}
        journal.append("run_started", process | (started or {}))
        return journal

    return begin


@pytest.fixture
def new_run(home: Home, begin_run: Callable[..., Journal]) -> Callable[..., Journal]:
    """`begin_run` in the test's own home."""
    return partial(begin_run, home)


@pytest.fixture
def tell() -> Callable[[Journal, Event], None]:
    """Writes an event of the engine, as a run does."""

    def write(journal: Journal, event: Event) -> None:
        columns = event.columns if isinstance(event, Tabular) else None
        journal.append(event.name, event.payload(), columns=columns, durable=event.durable)

    return write


@pytest.fixture
def rows(home: Home) -> Callable[..., list[tuple[Any, ...]]]:
    """Rows of a query on what is published, as tuples; nothing is taken in first."""

    def ask(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with open_store(home, ingest=False) as store:
            return [tuple(row.values()) for row in store.rows(query, parameters)]

    return ask


@pytest.fixture
def digest() -> Callable[[Path], str]:
    """Hash of a file; no database of this process may be open."""
    return lambda path: hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """A random dataset: `make_dataset(users=..., items=..., length=..., seed=..., name=...)`."""

    def make(
        *, users: int = 6, items: int = 8, length: int = 5, seed: int = 0, name: str = "small", times: bool = True
    ) -> Dataset:
        draw = np.random.default_rng(seed)
        lengths = draw.integers(max(length - 2, 1), length + 3, users)
        count = int(lengths.sum())
        return Dataset(
            name=name,
            user_raw_ids=[f"u{number}" for number in range(users)],
            items=Items(
                raw_ids=[f"i{number}" for number in range(items)],
                titles=[f"Title {number} of {seed} – «naïve»" for number in range(items)],
                attributes=[{"brand": [f"b{number}"], "category": ["x", "y"]} for number in range(items)],
            ),
            sequence=draw.integers(1, items + 1, count).astype(np.int32),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            timestamps=1_600_000_000 + np.arange(count, dtype=np.int64) * 86_400 if times else None,
            options={"format": "table", "k_core": 0},
        )

    return make
