"""Check, backup, compact."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sracl_tui.runs.dataset_access import to_record
from store.errors import StoreBusy, StoreError
from store.home import Home
from store.journal.journal import Journal
from store.maintenance import compacting
from store.maintenance.backups import backup
from store.maintenance.check import check_home
from store.maintenance.repair import Repaired, repair_home
from store.publishing.publish import publish
from store.queries import datasets

NewRun = Callable[..., Journal]
Rows = Callable[..., list[tuple[Any, ...]]]
SCHEMA = """
SELECT table_name, comment FROM duckdb_tables() UNION ALL SELECT view_name, comment FROM duckdb_views() WHERE NOT internal
UNION ALL SELECT table_name || '.' || column_name || ' ' || data_type || is_nullable, comment FROM duckdb_columns() WHERE NOT internal
UNION ALL SELECT table_name || constraint_text, '' FROM duckdb_constraints() ORDER BY ALL
"""
MEASURED = {"epoch": 1, "step": 1, "metrics": [{"split": "train", "subgroup": "all", "name": "m", "value": 1.0}]}


@pytest.fixture
def filled(home: Home, new_run: NewRun, make_dataset: Callable[..., Any]) -> Home:
    datasets.add(home, to_record(make_dataset()))
    journal = new_run("one")
    journal.append("measured", MEASURED)
    journal.append("run_ended", {"state": "finished", "reason": None})
    publish(home)
    return home


def test_a_sound_home_is_sound(filled: Home) -> None:
    health = check_home(filled)
    assert health.problems == []
    assert health.rows["runs"] == 1
    assert health.rows["vectors.vectors"] == 0
    assert repair_home(filled) == Repaired()


def test_a_check_names_what_does_not_fit(filled: Home) -> None:
    publish(
        filled,
        apply=lambda c: c.execute("INSERT INTO metrics SELECT * FROM metrics; DELETE FROM runs; DELETE FROM datasets"),
    )
    path = filled.runs / "one" / "events-0001.jsonl"
    os.truncate(path, 30)
    told = "\n".join(check_home(filled).problems)
    assert "2 metrics of a run that does not exist" in told
    assert "1 metrics that are stored twice" in told
    assert "interactions of a dataset that does not exist" in told
    assert "shorter than the part of it that was ingested" in told


def test_a_backup_can_be_read_and_does_not_overwrite(filled: Home, tmp_path: Path) -> None:
    target = backup(filled, tmp_path / "copy")
    connection = duckdb.connect(str(target / "sracl.duckdb"), read_only=True)
    assert connection.execute("SELECT run_id FROM runs").fetchall() == [("one",)]
    connection.close()
    with pytest.raises(StoreError, match="File exists"):
        backup(filled, tmp_path / "copy")


def test_compacting_gives_room_back_and_keeps_everything_else(filled: Home, rows: Rows, new_run: NewRun) -> None:
    publish(
        filled, apply=lambda c: c.execute("CREATE TABLE big AS SELECT hash(i)::VARCHAR AS t FROM range(200000) x(i)")
    )
    publish(
        filled, apply=lambda c: c.execute("CREATE TABLE tail AS SELECT hash(i)::VARCHAR AS t FROM range(90000) x(i)")
    )
    publish(filled, apply=lambda c: c.execute("DROP TABLE big"))
    before, results = rows(SCHEMA), rows("FROM run_results")
    was, now = compacting.compact(filled)
    assert now < was * 0.8
    assert rows(SCHEMA) == before
    assert rows("FROM run_results") == results
    new_run("two")
    publish(filled)  # its keys still hold
    assert rows("SELECT run_id FROM runs ORDER BY ALL") == [("one",), ("two",)]
    connection = duckdb.connect(str(filled.database), read_only=True)
    tags = connection.execute("SELECT tags FROM duckdb_databases() WHERE path = ?", [str(filled.database)]).fetchall()
    connection.close()
    assert tags[0][0]["storage_version"].startswith("v1.2.0")
    assert not list(filled.path.glob("*.new-*"))


def test_compacting_waits_for_a_person_who_writes(filled: Home, spawn: Callable[..., Any]) -> None:
    person = spawn('connection = duckdb.connect(str(home.database)); say("open"); input()')
    person.hears("open")
    with pytest.raises(StoreBusy, match=str(person.pid)):
        compacting._compact(filled, "main")
    person.kill()
    compacting._compact(filled, "main")
