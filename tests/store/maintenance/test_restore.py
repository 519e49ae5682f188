"""The way back to a backup."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from store.errors import StoreBusy, StoreError
from store.home import Home
from store.maintenance.backups import backup, restore
from store.maintenance.check import check_home
from store.maintenance.repair import repair_home
from store.publishing.publish import write_sql
from tests.store.maintenance.conftest import counts_of
from tests.support.commands import sracl_inside


def test_a_backup_takes_the_place_of_the_databases_and_the_journals_bring_the_rest(place: Home) -> None:
    before = counts_of(place)
    (folder,) = place.path.glob("backups/*")
    write_sql(place, "DELETE FROM metrics; DELETE FROM runs; UPDATE \"my notes\" SET text = 'spoiled'")
    said = sracl_inside(place.path, "db", "restore", str(folder)).stderr
    assert "events of the journals were taken in" in said
    assert counts_of(place) == before, "run two and the tag are later than the backup"
    assert check_home(place).problems == []
    (kept,) = place.path.glob("sracl.before-restore-*.duckdb")
    with duckdb.connect(str(kept), read_only=True) as connection:
        assert connection.execute('SELECT text FROM "my notes"').fetchall() == [("spoiled",)]
    assert len([*place.path.glob("vectors.before-restore-*.duckdb")]) == 1


def test_a_home_that_has_nothing_left_but_a_backup(place: Home, tmp_path: Path) -> None:
    target = backup(place, tmp_path / "kept")
    before = counts_of(place)
    shutil.rmtree(place.path)
    restore(place, target)
    assert counts_of(place) == before
    assert len(check_home(place).problems) == 3, "the folders of the runs and the edits are told"


def cut(folder: Path) -> None:
    os.truncate(folder / "sracl.duckdb", 9000)


def without_vectors(folder: Path) -> None:
    (folder / "vectors.duckdb").unlink()


def foreign(folder: Path) -> None:
    (folder / "sracl.duckdb").unlink()
    duckdb.connect(str(folder / "sracl.duckdb")).close()


def newer(folder: Path) -> None:
    with duckdb.connect(str(folder / "vectors.duckdb")) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 'of the future', now()::TIMESTAMP)")


def log_of_another_file(folder: Path) -> None:
    log = killed_session(folder / "sracl.duckdb", "CREATE TABLE a (x INTEGER)").read_bytes()
    duckdb.connect(str(folder / "sracl.duckdb")).close()  # takes it in
    (folder / "sracl.duckdb.wal").write_bytes(log)


def changed_log(folder: Path) -> None:
    log = killed_session(folder / "vectors.duckdb", "CREATE TABLE a AS SELECT * FROM range(1000) t(x)")
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)


def log_that_is_a_folder(folder: Path) -> None:
    (folder / "sracl.duckdb.wal").mkdir()


def log_that_is_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "sracl.duckdb.wal")


def killed_session(path: Path, statement: str) -> Path:
    """Write to a database in a process that dies; returns the log that it leaves."""
    code = "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); c.execute(sys.argv[2]); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, str(path), statement]).returncode == -9
    log = path.with_name(f"{path.name}.wal")
    assert log.stat().st_size > 0
    return log


NOTE = "INSERT INTO \"my notes\" VALUES ('2026-01-02', 'in the log alone')"


@pytest.mark.parametrize("alone", [False, True], ids=["folder", "file"])
def test_rows_that_stand_in_the_log_of_a_backup_alone_come_back(place: Home, alone: bool) -> None:
    (folder,) = place.path.glob("backups/*")
    killed_session(folder / "sracl.duckdb", NOTE)
    files = {path: path.read_bytes() for path in folder.iterdir()}
    assert len(files) == 3
    before = counts_of(place)
    restore(place, folder / "sracl.duckdb" if alone else folder)
    assert counts_of(place) == before | {('"my notes"', "all"): 2}
    assert {path: path.read_bytes() for path in folder.iterdir()} == files, "the backup stays as it is"
    assert check_home(place).problems == []
    assert place.database.stat().st_mode & 0o777 == 0o600


def test_a_repair_takes_the_log_of_a_backup_in(place: Home) -> None:
    (folder,) = place.path.glob("backups/*")
    killed_session(folder / "sracl.duckdb", NOTE)
    before = counts_of(place)
    os.truncate(place.database, 9000)
    assert repair_home(place).missing == []
    assert counts_of(place) == before | {('"my notes"', "all"): 2}


@pytest.mark.parametrize("of", ["database", "backup"])
def test_a_repair_names_a_log_that_it_cannot_take_in(place: Home, of: str) -> None:
    (folder,) = place.path.glob("backups/*")
    file = place.database if of == "database" else folder / "sracl.duckdb"
    log = killed_session(file, NOTE)
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    before = counts_of(place) if of == "backup" else None
    log.write_bytes(content)
    if of == "backup":
        os.truncate(place.database, 9000)
    assert check_home(place).problems
    missing = repair_home(place).missing
    assert any(f"the log beside {file} cannot be replayed" in text for text in missing)
    assert before is None or counts_of(place) == before
    assert check_home(place).files == {"main": [], "vectors": []}


def test_a_backup_that_a_session_writes_to_is_not_restored(place: Home) -> None:
    (folder,) = place.path.glob("backups/*")
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder / "sracl.duckdb")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as session:
        assert session.stdout is not None
        session.stdout.readline()
        with pytest.raises(StoreBusy, match=f"process {session.pid} has the file open for writing"):
            restore(place, folder)
        session.communicate(b"\n")
    assert not [*place.path.glob("*.new-*"), *place.path.glob("*.before-restore-*")]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (cut, ""),
        (without_vectors, "no such file"),
        (foreign, "no database of this program"),
        (newer, "version 99"),
        (log_of_another_file, "sracl.duckdb.wal beside it"),
        (changed_log, "vectors.duckdb.wal beside it"),
        (log_that_is_a_folder, "no plain file"),
        (log_that_is_a_pipe, "no plain file"),
    ],
)
def test_what_is_no_whole_backup_changes_nothing(place: Home, spoil: Callable[[Path], None], told: str) -> None:
    (folder,) = place.path.glob("backups/*")
    spoil(folder)
    files = {path: path.read_bytes() for path in (place.database, place.vectors)}
    with pytest.raises(StoreError, match=told) as caught:
        restore(place, folder)
    assert re.search("Nothing was changed|Nothing is lost", str(caught.value))
    assert {path: path.read_bytes() for path in files} == files
    assert not [*place.path.glob("*.new-*"), *place.path.glob("*.before-restore-*")]
