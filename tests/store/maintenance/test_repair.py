"""A repair brings back all that can be read anywhere, and loses nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.errors import StoreError
from store.home import Home
from store.journal.journal import Journal
from store.maintenance.check import check_home
from store.maintenance.repair import Repaired, repair_home
from store.maintenance.tables import read_file
from store.opening import open_store
from store.publishing.publish import publish, write_sql
from store.publishing.replacement import drop_standby
from tests.store.maintenance.conftest import counts_of, fewer, write_run
from tests.store.maintenance.damages import without_privileges


def ask(home: Home, query: str) -> list[tuple[Any, ...]]:
    with open_store(home, ingest=False) as store:
        return store.tuples(query)


def flip_table(path: Path, marker: bytes) -> None:
    """Change a byte of a stored value, so that its block cannot be read and the file can be opened."""
    data, at = path.read_bytes(), -1
    while True:
        at = data.index(marker, at + 1)
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with suppress(duckdb.Error):  # it was in the catalog
            if read_file(path)[1]:
                return


def test_a_whole_home_is_left_alone(place: Home) -> None:
    inode = place.database.stat().st_ino
    assert check_home(place).problems == []
    assert repair_home(place) == Repaired()
    assert place.database.stat().st_ino == inode


def test_a_damaged_journal_costs_no_row_and_is_told_each_time(place: Home) -> None:
    """The database is the only one to have these rows."""
    before, inode = counts_of(place), place.database.stat().st_ino
    path = place.runs / "two" / "events-0001.jsonl"
    os.truncate(path, path.stat().st_size // 2)
    for _ in range(2):
        assert any("shorter than the part of it that was ingested" in text for text in check_home(place).problems)
        told = repair_home(place)
        assert told.done == []
        assert any("shorter" in text for text in told.missing)
    assert counts_of(place) == before
    assert place.database.stat().st_ino == inode
    assert ask(place, "SELECT run_id, state FROM runs ORDER BY ALL") == [("one", "finished"), ("two", "finished")]


def test_where_only_the_vectors_are_damaged_only_they_are_made_anew(place: Home) -> None:
    before, inode = counts_of(place), place.database.stat().st_ino
    os.truncate(place.vectors, 5000)
    told = repair_home(place)
    assert told.missing == []
    assert place.database.stat().st_ino == inode
    assert counts_of(place) == before
    assert [path.name for path in place.path.glob("*.damaged-*")] == [
        path.name for path in place.path.glob("vectors.damaged-*")
    ]


@pytest.mark.parametrize("lost", ["cut", "missing", "directory"])
def test_a_lost_database_comes_back_from_the_backup_and_the_journals(place: Home, lost: str) -> None:
    """Run one is in the backup alone, run two in its journal alone."""
    before = counts_of(place)
    shutil.rmtree(place.runs / "one")
    place.database.unlink()
    if lost == "cut":
        place.database.write_bytes(b"DUCK" * 2000)
    elif lost == "directory":
        place.database.mkdir()
    with pytest.raises(StoreError):
        open_store(place)
    assert check_home(place).problems
    told = repair_home(place)
    assert fewer(before, counts_of(place)) == {}
    assert [text for text in told.missing if "the folder of this run is missing" not in text] == []
    assert ask(place, "SELECT run_id, state, tags FROM runs ORDER BY ALL") == [
        ("one", "finished", ["paper"]),
        ("two", "finished", []),
    ]
    assert ask(place, "SELECT value FROM metrics WHERE run_id = 'two' AND name = 'hr@5'") == [(0.104,)]
    assert ask(place, 'FROM "my notes" SELECT text') == [("x",)]
    with pytest.raises(duckdb.ConstraintException), duckdb.connect(str(place.database)) as connection:
        connection.execute("INSERT INTO \"my notes\" VALUES ('2026-01-01', 'again')")


def test_a_table_that_cannot_be_read_is_put_together_and_the_others_stay(place: Home) -> None:
    """The texts of the summaries are unreadable; a deletion in another table stays one."""
    write_sql(place, "DELETE FROM metrics WHERE run_id = 'one' AND epoch = 1")
    shutil.rmtree(place.path / "backups")
    before = counts_of(place)
    flip_table(place.database, b"one-k1")
    assert any("cannot be read" in text for text in check_home(place).problems)
    told = repair_home(place)
    assert told.missing == []
    assert fewer(before, counts_of(place)) == {}
    assert ask(place, "SELECT count(*) FROM metrics WHERE run_id = 'one' AND epoch = 1") == [(0,)]
    assert ask(place, 'FROM "my notes" SELECT text') == [("x",)]


def test_what_a_person_deleted_stays_deleted_and_their_table_stays(place: Home) -> None:
    write_sql(place, "DELETE FROM metrics WHERE run_id = 'two'; UPDATE \"my notes\" SET text = 'y'")
    shutil.rmtree(place.runs / "one")
    repair_home(place)
    assert ask(place, "SELECT count(*) FROM metrics WHERE run_id = 'two'") == [(0,)]
    assert ask(place, 'FROM "my notes" SELECT text') == [("y",)]


def test_without_a_backup_the_data_sets_are_named_that_did_not_come_back(place: Home) -> None:
    shutil.rmtree(place.path / "backups")
    place.database.unlink()
    drop_standby(place.database)
    told = repair_home(place)
    assert any(text.startswith("dataset small (") and "2 runs" in text for text in told.missing)
    assert ask(place, "SELECT run_id FROM runs ORDER BY ALL") == [("one",), ("two",)]


def test_a_new_segment_behind_a_gap_is_taken_in_and_the_gap_told(
    place: Home, begin_run: Callable[..., Journal]
) -> None:
    for _ in range(2):
        journal = Journal(place.runs / "two")
    journal.append("device_used", {"device": "cpu"})
    journal.close()
    (place.runs / "two" / "events-0002.jsonl").unlink()
    publish(place)
    assert ask(place, "SELECT device FROM runs WHERE run_id = 'two'") == [("cpu",)]
    assert any("events-0002.jsonl missing" in text for text in check_home(place).problems)
    place.database.unlink()
    shutil.rmtree(place.path / "backups")
    repair_home(place)
    assert ask(place, "SELECT device FROM runs WHERE run_id = 'two'") == [("cpu",)], "also in a rebuild"


def test_segments_behind_a_gap_are_found_where_the_database_is_newer_than_their_folder(place: Home) -> None:
    for _ in range(2):
        journal = Journal(place.runs / "two")
    journal.append("device_used", {"device": "cpu"})
    journal.close()
    (place.runs / "two" / "events-0002.jsonl").unlink()
    os.utime(place.runs / "two", (1.0, 1.0))
    publish(place)
    assert ask(place, "SELECT device FROM runs WHERE run_id = 'two'") == [(None,)]
    assert check_home(place).waiting == 1
    repair_home(place)
    assert ask(place, "SELECT device FROM runs WHERE run_id = 'two'") == [("cpu",)]


def test_a_newer_schema_is_neither_damage_nor_repaired(place: Home) -> None:
    with duckdb.connect(str(place.database)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 'of the future', now()::TIMESTAMP)")
    data = place.database.read_bytes()
    assert any("schema version 99" in text for text in check_home(place).problems)
    with pytest.raises(StoreError, match="99"):
        repair_home(place)
    assert place.database.read_bytes() == data


def test_a_damaged_backup_is_told_before_it_is_needed(place: Home) -> None:
    (path,) = place.path.glob("backups/*/sracl.duckdb")
    os.truncate(path, 9000)
    assert [text for text in check_home(place).problems if str(path) in text]
    assert [text for text in repair_home(place).missing if str(path) in text]


def test_an_older_file_of_vectors_is_completed(place: Home) -> None:
    before = counts_of(place)
    (old,) = place.path.glob("backups/*/vectors.duckdb")
    shutil.copy(old, place.vectors)
    assert any("3 of 6 vectors of e are missing" in text for text in check_home(place).problems)
    assert repair_home(place).missing == []
    assert counts_of(place) == before


def test_a_journal_that_ends_in_the_middle_of_a_line_is_named_where_nothing_else_has_the_rest(place: Home) -> None:
    path = place.runs / "two" / "events-0001.jsonl"
    os.truncate(path, path.stat().st_size - 5)
    place.database.unlink()
    assert [text for text in repair_home(place).missing if "ends in the middle of a line" in text and str(path) in text]
    assert ask(place, "SELECT count(*) FROM metrics WHERE run_id = 'two' AND name = 'hr@5'") == [(1,)]


DIE = """
from store.maintenance import repair
module, name, when = sys.argv[2].rsplit(".", 2)
target = __import__("importlib").import_module(module)
inner = getattr(target, name)
def dying(*arguments, **options):
    if when == "before": die()
    inner(*arguments, **options)
    die()
setattr(target, name, dying)
repair.repair_home(home)
"""
STEPS = [
    "store.maintenance.repair._take_own_tables.after",
    "store.maintenance.placing._keep.after",
    "store.maintenance.placing.replace_file.after",
    "store.maintenance.repair.publish.before",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_repair_that_is_killed_loses_nothing_and_the_next_one_goes_on(
    place: Home, step: str, spawn: Callable[..., Any], home: Home
) -> None:
    """Main damaged in one table, vectors cut; `home` is what the other process works on."""
    shutil.rmtree(home.path)
    shutil.move(place.path, home.path)
    whole = counts_of(home)
    flip_table(home.database, b"one-k1")
    os.truncate(home.vectors, 5000)
    code, _ = spawn(DIE, step).end()
    assert code == -9
    assert fewer({key: count for key, count in whole.items() if key[0] == "my notes"}, counts_of(home)) == {}
    told = repair_home(home)
    assert told.missing == []
    assert fewer(whole, counts_of(home)) == {}
    assert check_home(home).problems == []
    publish(home)
    assert not list(home.path.glob("*.new-*"))


def test_runs_that_nothing_can_bring_back_are_named(place: Home, begin_run: Callable[..., Journal]) -> None:
    """A run after the backup whose folder and database are gone leaves no trace but the gap that the check tells before."""
    write_run(begin_run(place, "three", name="three"), "three", "d")
    publish(place)
    shutil.rmtree(place.runs / "three")
    assert any("three" in text for text in check_home(place).problems)
    before = counts_of(place)
    assert any("three" in text for text in repair_home(place).missing)
    assert counts_of(place) == before


def test_a_run_may_come_before_the_database_of_a_new_home_but_not_after_it_was_lost(
    tmp_path: Path, begin_run: Callable[..., Journal]
) -> None:
    home = Home(tmp_path / "new")
    home.create()
    begin_run(home, "one").close()
    open_store(home).close()
    assert ask(home, "SELECT run_id FROM runs") == [("one",)]
    for path in (home.vectors, home.database):
        path.unlink()
    for words in (lambda: open_store(home), lambda: publish(home)):
        with pytest.raises(StoreError, match="the database is missing, though this home has 1 journals of runs"):
            words()
    assert not home.database.exists()
    assert any("the file is missing, though" in text for text in check_home(home).problems)
    repair_home(home)
    assert ask(home, "SELECT run_id FROM runs") == [("one",)]


@pytest.mark.parametrize("how", ["fifo", "directory", "loop"])
@pytest.mark.parametrize("name", ["sracl.duckdb.wal", "vectors.duckdb.wal.checkpoint"])
def test_what_stands_in_the_place_of_a_log_stops_nothing(place: Home, name: str, how: str) -> None:
    before, log = counts_of(place), place.path / name
    if how == "fifo":
        os.mkfifo(log)
    elif how == "directory":
        log.mkdir()
    else:
        log.symlink_to(log.name)
    for work in (publish, open_store):
        with suppress(StoreError):
            work(place)
    assert any(name in text for text in check_home(place).problems)
    assert repair_home(place).missing == []
    assert check_home(place).problems == []
    publish(place, both=True)
    assert counts_of(place) == before


@pytest.mark.parametrize("path", ["sracl.duckdb", "vectors.duckdb"])
def test_a_pipe_in_the_place_of_a_database_stops_nothing(place: Home, path: str) -> None:
    before = counts_of(place)
    (place.path / path).unlink()
    os.mkfifo(place.path / path)
    for work in (open_store, lambda home: publish(home, both=True)):
        with pytest.raises(StoreError, match=r"(plain|regular) file"):
            work(place)
    assert any("plain file" in text for text in check_home(place).problems)
    assert repair_home(place).missing == []
    assert counts_of(place) == before


@pytest.mark.parametrize("which", ["database", "vectors"])
def test_a_database_that_this_user_may_not_read_is_not_called_damaged(place: Home, which: str) -> None:
    path = getattr(place, which)
    before = counts_of(place)
    path.chmod(0)
    with without_privileges():
        for ask_for in (repair_home, lambda home: publish(home, both=True), lambda home: open_store(home).close()):
            with pytest.raises(StoreError, match="may not read the file") as caught:
                ask_for(place)
            assert caught.value.where == str(path)
            assert "chmod u+rw" in str(caught.value)
            assert "damaged. `sracl" not in str(caught.value)
        assert [str(path) in problem for problem in check_home(place).problems] == [True]
    path.chmod(0o600)
    assert check_home(place).problems == []
    assert counts_of(place) == before
