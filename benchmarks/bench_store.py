"""The store at full size: the start of a command, 10,000 runs, neighbor lists of Beauty in and out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import growth
from benchmarks.many import make_journals, make_runs
from engine.retrieval.neighbors import NeighborTable
from store.database.connection import open_for_writing
from store.database.database import reading
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.publishing.publish import PublishReport, publish
from store.queries.caches import known_neighbors

ANCHORS, K = 131_413, 100
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def many(request: pytest.FixtureRequest) -> Home:
    """10,000 runs, kept between two benchmarks."""
    home = Home(Path(str(request.config.cache.mkdir("sracl"))) / "many")  # pyright: ignore
    if not home.database.exists():
        make_runs(home, 10_000)
    return home


def _command(*words: str, home: Path | None = None) -> bytes:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):  # an installed package lies there compiled
        environment.pop(name, None)
    if home is not None:
        environment["SRACL_HOME"] = str(home)
    done = subprocess.run([sys.executable, "-P", *words], capture_output=True, check=True, cwd=ROOT, env=environment)
    return done.stdout


@pytest.mark.benchmark(group="start of a command")
@pytest.mark.parametrize("what", ["python -c pass", "sracl --version", "sracl runs --json, 10,000 runs"])
def test_start(benchmark, many, what):
    words = {
        "python -c pass": ("-c", "pass"),
        "sracl --version": ("-m", "sracl_tui.cli", "--version"),
        "sracl runs --json, 10,000 runs": ("-m", "sracl_tui.cli", "runs", "--json"),
    }[what]
    said = benchmark.pedantic(_command, words, {"home": many.path}, rounds=5, warmup_rounds=1)
    if "runs" in what:
        assert len(json.loads(said)) == 10_000


@pytest.fixture(scope="module")
def lists() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    ids = random.integers(1, ANCHORS + 1, (ANCHORS, K))
    similarity = random.random((ANCHORS, K), dtype=np.float32)
    return dict(NeighborTable(np.arange(1, ANCHORS + 1), ids, similarity).columns())


def _journal(home: Home, lists: dict[str, np.ndarray]) -> None:
    fields = {"list_id": "bench", "dataset_id": "d", "kind": "user", "parameters": {}, "recall": None}
    journal = Journal(home.run_folder("bench"))
    journal.append("neighbors_found", fields, columns=lists)
    journal.close()


def _written(home: Home, lists: dict[str, np.ndarray]) -> PublishReport:
    """As a run does it: into its journal, and from there into the database."""
    _journal(home, lists)
    return publish(home)


@pytest.mark.benchmark(group="131,413 x 100 neighbors into the store")
@pytest.mark.parametrize("way", ["ours", "ours: the journal of it", "plain: rows by executemany, a thousandth"])
def test_write(benchmark, tmp_path, lists, way):
    home = Home(tmp_path / "home")
    publish(home)
    if way == "ours: the journal of it":
        benchmark.pedantic(_journal, (home, lists), rounds=1)
    elif way == "ours":
        assert benchmark.pedantic(_written, (home, lists), rounds=1).events == 1
    else:
        connection = open_for_writing(tmp_path / "plain.duckdb")
        connection.execute("CREATE TABLE n (a INTEGER, r INTEGER, b INTEGER, s FLOAT)")
        some = [tuple(column[place].item() for column in lists.values()) for place in range(ANCHORS * K // 1000)]
        benchmark.pedantic(connection.executemany, ("INSERT INTO n VALUES (?, ?, ?, ?)", some), rounds=1)
        connection.close()


@pytest.mark.benchmark(group="131,413 x 100 neighbors from the store")
@pytest.mark.parametrize("way", ["ours", "plain: fetchall, a tenth"])
def test_read(benchmark, tmp_path_factory, lists, way, request):
    home = request.config.stash.get(_FILLED, None)
    if home is None:
        home = Home(tmp_path_factory.mktemp("filled"))
        _journal(home, lists)
        publish(home)
        request.config.stash[_FILLED] = home
    with open_store(home) as store:
        if way == "ours":
            found = benchmark.pedantic(known_neighbors, (store, "bench"), rounds=3)
            assert len(found[0]) == ANCHORS * K
        else:
            query = "SELECT anchor_id, rank, neighbor_id, similarity FROM neighbors ORDER BY anchor_id, rank "
            query += f"LIMIT {ANCHORS * K // 10}"
            with reading(home) as cursor:
                rows = benchmark.pedantic(lambda: cursor.execute(query).fetchall(), rounds=1)
            assert len(rows) == ANCHORS * K // 10


@pytest.fixture(scope="session", params=[0.1, 1, 2], ids="{} GB".format)
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home of a size, as an earlier version left it: its next publish copies the file."""
    home = Home(tmp_path_factory.mktemp("large"))
    growth.make_home(home, request.param)
    growth.measured(home, "tag")
    yield home
    shutil.rmtree(home.path)


@pytest.mark.benchmark(group="a publish: what is written, and how long it takes")
@pytest.mark.parametrize("what", growth.EVENTS)
def test_publish(benchmark, large, what):
    """In a process of its own, whose start is no part of `seconds`; the second one follows its like, as in a long run."""
    growth.measured(large, what)
    found = benchmark.pedantic(growth.measured, (large, what), rounds=1)
    benchmark.extra_info.update(found, size=large.database.stat().st_size)
    assert found["megabytes"] <= (50 if what in ("tag", "epoch") else 250)


@pytest.mark.benchmark(group="journals into the store: memory and time")
@pytest.mark.parametrize("megabytes", [50, 200, 1000])
def test_ingest(benchmark, tmp_path, megabytes):
    home = Home(tmp_path)
    growth.make_journals(home, megabytes)
    found = benchmark.pedantic(growth.ingest_peak, (home,), rounds=1)
    benchmark.extra_info.update(found)
    assert found["megabytes"] <= 500


@pytest.mark.benchmark(group="a database made of the journals of many runs")
@pytest.mark.parametrize("runs", [1250, 5000])
def test_rebuild(benchmark, tmp_path, runs):
    home = Home(tmp_path / "home")
    make_journals(home, runs)
    found = benchmark.pedantic(growth.ingest_peak, (home,), rounds=1)
    benchmark.extra_info.update(found)


_FILLED = pytest.StashKey[Home]()
