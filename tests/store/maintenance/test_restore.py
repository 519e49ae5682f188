"""The way back to a backup."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from store.errors import StoreError
from store.home import Home
from store.maintenance.backups import backup, restore
from store.maintenance.check import check_home
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


@pytest.mark.parametrize(
    ("spoil", "told"),
    [(cut, ""), (without_vectors, "no such file"), (foreign, "no database of this program"), (newer, "version 99")],
)
def test_what_is_no_whole_backup_changes_nothing(place: Home, spoil: Callable[[Path], None], told: str) -> None:
    (folder,) = place.path.glob("backups/*")
    spoil(folder)
    files = {path: path.read_bytes() for path in (place.database, place.vectors)}
    with pytest.raises(StoreError, match=told) as caught:
        restore(place, folder)
    assert "Nothing was changed" in str(caught.value)
    assert {path: path.read_bytes() for path in files} == files
    assert not [*place.path.glob("*.new-*"), *place.path.glob("*.before-restore-*")]
