"""Full disks, closed folders, damaged and newer files: an error that helps, and nothing is changed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.errors import StoreError
from store.home import Home
from store.journal.journal import Journal
from store.maintenance.repair import repair_home
from store.opening import open_store
from store.publishing.publish import publish

NewRun = Callable[..., Journal]
Rows = Callable[..., list[tuple[Any, ...]]]
Digest = Callable[[Path], str]

RUN = """
lock = RunLock(home.runs / "one")
lock.acquire()
journal = Journal(home.runs / "one")
journal.append("run_created", {**CREATED, "run_id": "one"})
journal.append("run_started", PROCESS)
metrics = [{"split": "train", "subgroup": "all", "name": f"m{n}", "value": n} for n in range(5)]
journal.append("measured", {"epoch": 1, "step": 1, "metrics": metrics})
publish(home)
"""
FULL_DISK = """
limit = home.database.stat().st_size + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
def fill(connection):
    connection.execute("CREATE TABLE filling AS SELECT hash(i)::VARCHAR AS text FROM range(100) t(i)")
try:
    publish(home, apply=fill)
except StoreError as error:
    say(json.dumps([type(error).__name__, str(error)]))
else:
    say(json.dumps(["published", ""]))
"""


@pytest.mark.parametrize("room", [-4096, 0], ids=["while it is copied", "at the checkpoint"])
def test_a_full_disk_changes_nothing(
    home: Home, spawn: Callable[..., Any], new_run: NewRun, rows: Rows, digest: Digest, room: int
) -> None:
    new_run("one")
    before = digest(home.database)
    kind, text = json.loads(spawn(FULL_DISK, room).done())
    assert kind == "StoreError", text
    assert "disk space" in text
    assert digest(home.database) == before
    assert not list(home.path.glob("*.new-*"))
    publish(home)
    assert rows("SELECT run_id FROM runs") == [("one",)]


def test_readers_can_open_a_home_on_a_full_disk(home: Home, spawn: Callable[..., Any], new_run: NewRun) -> None:
    new_run("dead")
    said = spawn("""
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
with open_store(home) as store:
    say(json.dumps([str(store.behind), store.rows("SELECT count(*) AS n FROM runs")]))
""").done()
    reason, counted = json.loads(said)
    assert "disk space" in reason
    assert counted == [{"n": 0}]


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="--home"):
        open_store(Home(tmp_path / "file" / "home"))


def test_a_home_that_cannot_be_written_can_be_read(home: Home, spawn: Callable[..., Any], new_run: NewRun) -> None:
    new_run("dead")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        place = shutil.copytree(home.path, Path(folder) / "home")
        paths = [Path(folder), place, *place.rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        said = spawn(
            """
open_store(home).close()  # all that it imports, as another user may not read it
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
home = Home(Path(sys.argv[2]))
try:
    publish(home)
except StoreError as error:
    say(json.dumps(str(error)))
with open_store(home) as store:
    say(json.dumps([str(store.behind), store.rows("SELECT count(*) AS n FROM runs")]))
""",
            place,
        ).done()
        for path in paths:
            path.chmod(0o755)
    refused, (behind, counted) = map(json.loads, said.splitlines())
    assert "cannot be written: Permission denied" in refused
    assert behind == refused
    assert counted == [{"n": 0}]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_a_database_that_was_cut_is_explained_and_can_be_made_anew(
    home: Home, spawn: Callable[..., Any], rows: Rows, share: float
) -> None:
    spawn(RUN).done()
    write = duckdb.connect(str(home.database))
    write.execute("CREATE TABLE filling AS SELECT hash(i)::VARCHAR AS text FROM range(100000) t(i)")
    write.close()
    os.truncate(home.database, int(home.database.stat().st_size * share))
    journal = {path: path.read_bytes() for path in (home.runs / "one").glob("events-*")}
    with pytest.raises(StoreError) as caught, open_store(home) as store:
        store.table("FROM filling")
    assert str(home.database) in str(caught.value)
    assert "sracl db repair" in str(caught.value)
    with pytest.raises(StoreError):
        publish(home, apply=lambda connection: connection.execute("CREATE TABLE other AS FROM filling"))
    home.database.rename(home.path / "damaged")
    with pytest.raises(StoreError, match="missing, though this home has 1 journals of runs"):
        open_store(home)
    repair_home(home)
    with open_store(home) as store:
        assert len(store.rows("FROM metrics")) == 5
    assert rows("SELECT state FROM runs") == [("killed",)]
    assert {path: path.read_bytes() for path in journal} == journal


def test_a_file_that_is_no_database_is_explained(home: Home) -> None:
    home.vectors.write_text("a text" * 1000)
    with pytest.raises(StoreError, match=r"vectors\.duckdb: .*not a valid DuckDB"):
        open_store(home)


def test_lost_vectors_come_back_from_the_journals(home: Home, new_run: NewRun, rows: Rows) -> None:
    columns = {"sha256": ["s"], "vector": [[1.0]]}
    new_run("one").append("vectors_made", {"encoder": "e", "dimension": 1}, columns=columns)
    publish(home)
    home.vectors.unlink()
    assert rows("SELECT sha256, vector FROM vectors.vectors") == [("s", [1.0])]


@pytest.mark.parametrize("name", ["sracl.duckdb", "vectors.duckdb"])
def test_a_newer_schema_is_left_alone(home: Home, digest: Digest, name: str) -> None:
    path = home.path / name
    connection = duckdb.connect(str(path))
    connection.execute("INSERT INTO schema_version VALUES (99, 'of the future', now()::TIMESTAMP)")
    connection.close()
    before = digest(path)
    with pytest.raises(StoreError, match=rf"{name}: this file has schema version 99; this program knows \d"):
        open_store(home)
    with pytest.raises(StoreError, match="99"):
        publish(home, both=True)
    assert digest(path) == before
