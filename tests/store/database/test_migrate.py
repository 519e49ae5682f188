"""Schemas move forward only, a step at a time, and keep what was there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.database.connection import open_for_writing
from store.database.migrate import DatabaseName, Migration, migrate, migrations, version_of
from store.errors import StoreError
from store.home import Home
from store.opening import open_store
from store.publishing.publish import publish

WHICH: tuple[DatabaseName, DatabaseName] = ("main", "vectors")


@pytest.mark.parametrize("which", WHICH)
def test_a_new_file_reaches_the_newest_version(which: DatabaseName) -> None:
    connection = duckdb.connect()
    assert version_of(connection) == 0
    applied = migrate(connection, which)
    newest = migrations(which)[-1].version
    assert [step.version for step in applied] == list(range(1, newest + 1))
    assert version_of(connection) == newest
    names = connection.execute("SELECT version, name FROM schema_version ORDER BY version").fetchall()
    assert names == [(step.version, step.name) for step in applied]
    assert migrate(connection, which) == []


@pytest.mark.parametrize("which", WHICH)
def test_versions_are_numbered_without_gaps(which: DatabaseName) -> None:
    assert [step.version for step in migrations(which)] == list(range(1, len(migrations(which)) + 1))
    assert all(step.name and step.sql.strip() for step in migrations(which))


@pytest.mark.parametrize("which", WHICH)
def test_everything_has_a_comment(which: DatabaseName) -> None:
    connection = duckdb.connect()
    migrate(connection, which)
    bare = connection.execute("""
        SELECT table_name FROM duckdb_tables() WHERE comment IS NULL
        UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal AND comment IS NULL
        UNION ALL SELECT table_name || '.' || column_name FROM duckdb_columns()
        WHERE comment IS NULL AND table_name IN (SELECT table_name FROM duckdb_tables())
    """).fetchall()
    assert bare == []


@pytest.mark.parametrize("which", WHICH)
def test_without_comments_all_else_is_the_same(which: DatabaseName) -> None:
    schemas = (
        "SELECT table_name, sql FROM duckdb_tables()",
        "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal",
        "SELECT index_name, sql FROM duckdb_indexes()",
        "SELECT version, name FROM schema_version",
        "SELECT table_name, column_name, data_type, column_default, is_nullable FROM duckdb_columns() WHERE NOT internal",
    )
    found = []
    for comments in (True, False):
        with duckdb.connect() as connection:
            migrate(connection, which, comments=comments)
            found.append([connection.execute(f"{schema} ORDER BY ALL").fetchall() for schema in schemas])
            commented = connection.execute("SELECT count(comment) FROM duckdb_columns() WHERE NOT internal").fetchall()
            assert (commented[0][0] > 3) == comments, "the record of the migrations has three"
    assert found[0] == found[1]


def test_views_name_no_column_that_is_not_there(home: Home) -> None:
    with open_store(home) as store:
        views = store.rows("SELECT view_name FROM duckdb_views() WHERE NOT internal")
        assert len(views) >= 5
        for view in views:
            assert store.rows(f"FROM {view['view_name']}") == []


def test_older_clients_can_read_the_files(home: Home) -> None:
    publish(home, both=True)
    for path in (home.database, home.vectors):
        connection = duckdb.connect(str(path), read_only=True)
        tags = connection.execute("SELECT tags FROM duckdb_databases() WHERE path = ?", [str(path)]).fetchall()
        connection.close()
        assert tags[0][0]["storage_version"].startswith("v1.2.0"), path.name


def _at_version_1(home: Home) -> None:
    """Put a database of schema version 1 in the place of a home's."""
    home.database.unlink()
    connection = open_for_writing(home.database)
    migrate(connection, "main", migrations("main")[:1])
    connection.execute("INSERT INTO prompts VALUES ('old', 'text')")
    connection.close()


def test_an_older_file_is_brought_forward_with_its_rows_and_a_backup(home: Home) -> None:
    _at_version_1(home)
    with open_store(home) as store:
        assert store.rows("FROM prompts") == [{"version": "old", "template": "text"}]
        newest = store.rows("SELECT max(version) AS n FROM schema_version")[0]["n"]
    assert newest == migrations("main")[-1].version > 1
    backup = home.path / "sracl.before-v2.duckdb"
    old = duckdb.connect(str(backup), read_only=True)
    assert version_of(old) == 1
    assert old.execute("FROM prompts").fetchall() == [("old", "text")]
    old.close()
    inode = home.database.stat().st_ino
    open_store(home).close()
    assert home.database.stat().st_ino == inode, "once is enough"


def test_the_backup_has_what_a_killed_session_left(home: Home, spawn: Callable[..., Any]) -> None:
    _at_version_1(home)
    code, _ = spawn("""
duckdb.connect(str(home.database)).execute("INSERT INTO prompts VALUES ('mine', 'text')")
die()
""").end()
    assert code == -9
    with open_store(home) as store:
        assert len(store.rows("FROM prompts")) == 2
    old = duckdb.connect(str(home.path / "sracl.before-v2.duckdb"), read_only=True)
    assert len(old.execute("FROM prompts").fetchall()) == 2
    old.close()


def test_a_backup_is_never_written_over(home: Home) -> None:
    backup = home.path / "sracl.before-v2.duckdb"
    backup.write_text("an earlier one")
    _at_version_1(home)
    open_store(home).close()
    assert backup.read_text() == "an earlier one"


def test_a_backup_without_hard_links_is_a_copy(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    _at_version_1(home)
    monkeypatch.setattr("store.publishing.turns.os.link", refuse)
    open_store(home).close()
    old = duckdb.connect(str(home.path / "sracl.before-v2.duckdb"), read_only=True)
    assert version_of(old) == 1
    old.close()


def test_an_older_file_of_vectors_is_brought_forward_too(home: Home) -> None:
    home.vectors.unlink()
    open_for_writing(home.vectors).close()  # a file without any table is of version 0
    with open_store(home) as store:
        assert store.rows("FROM vectors.vectors") == []


def test_a_failing_step_leaves_the_version_before_it(tmp_path: Path) -> None:
    steps = [
        Migration(1, "one", "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1)"),
        Migration(2, "two", "CREATE TABLE b (x INTEGER); INSERT INTO a VALUES (2); SELECT * FROM nowhere"),
        Migration(3, "three", "CREATE TABLE c (x INTEGER)"),
    ]
    connection = duckdb.connect(str(tmp_path / "x.duckdb"))
    with pytest.raises(StoreError, match=r"migration 2 \(two\) failed: .*nowhere"):
        migrate(connection, "main", steps)
    assert version_of(connection) == 1
    assert connection.execute("FROM a").fetchall() == [(1,)]
    tables = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
    assert tables == [("a",), ("schema_version",)]
    steps[1] = Migration(2, "two", "CREATE TABLE b (x INTEGER)")
    assert [step.version for step in migrate(connection, "main", steps)] == [2, 3]


def test_a_failing_step_changes_nothing_that_is_published(
    home: Home, monkeypatch: pytest.MonkeyPatch, digest: Callable[[Path], str]
) -> None:
    steps = [*migrations("main"), Migration(migrations("main")[-1].version + 1, "broken", "SELECT * FROM nowhere")]
    before = digest(home.database)
    monkeypatch.setattr(
        "store.database.migrate.migrations", lambda which: steps if which == "main" else migrations(which)
    )
    monkeypatch.setattr(
        "store.publishing.publish.migrations", lambda which: steps if which == "main" else migrations(which)
    )
    with pytest.raises(StoreError, match="broken"):
        open_store(home)
    monkeypatch.undo()
    assert digest(home.database) == before
    assert sorted(path.name for path in home.path.glob("*duckdb*")) == ["sracl.duckdb", "vectors.duckdb"]


def test_a_newer_file_is_refused() -> None:
    connection = duckdb.connect()
    migrate(connection, "vectors")
    with pytest.raises(StoreError, match="schema version 1; this program knows 0"):
        migrate(connection, "vectors", [Migration(0, "old", "")])


def test_another_s_table_of_versions_does_not_count(tmp_path: Path) -> None:
    """An attached database has a table of the same name."""
    connection = duckdb.connect(str(tmp_path / "a.duckdb"))
    migrate(connection, "main")
    connection.execute(f"ATTACH '{tmp_path / 'b.duckdb'}' AS b")
    connection.execute("USE b")
    assert version_of(connection) == 0
