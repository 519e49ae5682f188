"""Several jobs search one list in blocks: the list is that of a single process, and a job that was killed costs its last block alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.config import RetrievalConfig
from engine.data.dataset import TRAIN, Dataset, Items
from engine.errors import Interrupted
from engine.events import Warned, ignore
from engine.retrieval import neighbors
from engine.retrieval.neighbors import Search, user_search
from sracl_tui.runs.stages import neighbor_blocks
from sracl_tui.runs.stages.neighbor_blocks import Blocks
from store.home import Home
from store.locks import FileLock
from store.opening import open_store
from tests.support.commands import environment, sracl_inside, until

FEW = ("--set", "vector=item-mean", "--set", "encoder=tfidf", "--set", "provider=titles", "--set", "max_users=60")
SLOW = """
import time
from engine.retrieval.neighbors import Search
run = Search.run
Search.run = lambda *words, **more: (time.sleep(0.25), run(*words, **more))[1]
from sracl_tui.cli.main import main
main()
"""


def slowly(home: Path, run_id: str) -> subprocess.Popen[bytes]:
    """Start a job whose blocks take a quarter of a second."""
    words = [sys.executable, "-P", "-c", SLOW, "run", "--resume", run_id, "--headless"]
    return subprocess.Popen(words, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def lists(home: Path) -> dict[str, Any]:
    """Every stored list by its id."""
    with open_store(Home(home)) as store:
        rows = store.table("SELECT * FROM neighbors ORDER BY list_id, anchor_id, rank")
        kinds = store.rows("SELECT list_id, kind FROM neighbor_lists ORDER BY kind")
    assert [row["kind"] for row in kinds] == ["item", "user"]
    return {"ids": kinds, "rows": rows}


def blocks_of(home: Path) -> dict[Path, int]:
    """When each finished block was written."""
    return {path: path.stat().st_mtime_ns for path in home.glob("cache/neighbors-*/*.npz")}


def test_three_processes_of_which_one_is_killed(tmp_path: Path) -> None:
    home, other = tmp_path / "shared", tmp_path / "alone"
    added = json.loads(sracl_inside(home, "neighbors", *FEW, "--shards", "3", "--json").stdout)["added"]
    processes = [slowly(home, run_id) for run_id in added]
    kept = until(lambda: len(found := blocks_of(home)) >= 3 and found)
    os.kill(processes[0].pid, signal.SIGKILL)
    assert [process.wait(240) for process in processes] == [-signal.SIGKILL, 0, 0]
    assert kept.items() <= blocks_of(home).items(), "a finished block was searched again"
    assert len(blocks_of(home)) > 24
    ours = lists(home)
    assert slowly(home, added[0]).wait(240) == 0
    assert not blocks_of(home), "blocks of a stored list stay"
    sracl_inside(other, "neighbors", *FEW, "--headless")
    alone = lists(other)
    assert ours["ids"] == alone["ids"]
    assert ours["rows"].equals(alone["rows"])
    assert "0 blocks searched" in (home / "runs" / added[0] / "run.log").read_text()
    assert lists(home)["rows"].equals(ours["rows"])


def test_what_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    words = ("neighbors", "--shards", "2", "--set")
    assert "its search is one job" in sracl_inside(tmp_path, *words, "backend=annoy", code=2).stderr
    assert "retrieve no neighbors" in sracl_inside(tmp_path, *words[:3], "--preset", "backbone", code=2).stderr
    assert not list((tmp_path / "runs").glob("*"))


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Search:
    monkeypatch.setattr(neighbors, "BLOCK_QUERIES", 5)
    items = Items(raw_ids=["i"] * 9, titles=["t"] * 9, attributes=[{}] * 9)
    dataset = Dataset(
        "toy", [f"u{n}" for n in range(6)], items, np.arange(48, dtype=np.int32) % 9 + 1, np.arange(0, 49, 8), None
    )
    ids = dataset.anchors.ids(TRAIN)
    vectors = np.random.default_rng(1).normal(size=(len(ids), 4)).astype(np.float32)
    vectors[3] = 0
    return user_search(vectors, ids, dataset, RetrievalConfig(k=3), queries=ids)


def test_blocks_are_searched_once_and_joined(tmp_path: Path, search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    home.create()
    monkeypatch.setattr(neighbor_blocks, "POLL_SECONDS", 0.01)
    first = Blocks(home, "l", search)
    assert len(first.ranges) > 2
    steps = iter([False] * 3 + [True] * 100)
    with pytest.raises(Interrupted):
        first.find(first=1, report=ignore, stop=lambda: next(steps), wait=False)
    assert 0 < first.searched < len(first.ranges)
    assert first.whole() is None
    second = Blocks(home, "l", search, jobs=1000)
    assert second.ranges == first.ranges, "the first process has divided the list"
    claimed = FileLock(
        min(
            path
            for path in (tmp_path / "cache" / "neighbors-l").glob("*.lock")
            if path.stem[0].isdigit() and not path.with_suffix(".npz").exists()
        )
    )
    assert claimed.acquire()
    assert not second.find(first=0, report=ignore, stop=lambda: False, wait=False)
    said: list[Any] = []

    def stop() -> Iterator[bool]:
        yield False
        claimed.release()  # as if its process had died
        while True:
            yield False

    answers = stop()
    third = Blocks(home, "l", search)
    assert third.find(first=0, report=said.append, stop=lambda: next(answers), wait=True)
    assert third.searched == 1
    assert first.searched + second.searched + third.searched == len(first.ranges)
    assert any(isinstance(event, Warned) and "waiting for them" in event.message for event in said)
    table, whole = third.whole(), search.whole(report=ignore)
    assert table is not None
    for name in ("query_ids", "ids", "similarity"):
        np.testing.assert_array_equal(getattr(table, name), getattr(whole, name))


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-30], lambda data: data[:200] + b"xxxx" + data[204:], lambda data: b""]
)
def test_a_damaged_block_is_searched_again(tmp_path: Path, search: Search, damage: Callable[[bytes], bytes]) -> None:
    home = Home(tmp_path)
    home.create()
    blocks = Blocks(home, "l", search)
    assert blocks.find(first=0, report=ignore, stop=lambda: False, wait=False)
    path = next(iter(blocks_of(tmp_path)))
    path.write_bytes(damage(path.read_bytes()))
    assert blocks.whole() is None
    assert not path.exists()
    assert blocks.find(first=0, report=ignore, stop=lambda: False, wait=False)
    assert blocks.whole() is not None
    with blocks.end() as mine:
        assert mine
        with Blocks(home, "l", search).end() as also:
            assert not also
        blocks.mark_reported()
    with blocks.end() as mine:
        assert not mine
