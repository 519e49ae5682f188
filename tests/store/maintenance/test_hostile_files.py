"""Attempts on a home by a database, a backup or a journal that somebody gave: refused, or harmless."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.database.database import signature
from store.errors import QueryFailed, StoreError
from store.home import Home
from store.maintenance.backups import backup, restore
from store.maintenance.check import check_home
from store.opening import open_store
from store.publishing.publish import publish
from tests.store.maintenance.conftest import write_run

STATEMENTS: dict[str, str] = {
    "table of runs that is a view": "DROP VIEW run_results; DROP VIEW run_costs; DROP VIEW run_metrics; DROP VIEW neighbor_weights; DROP VIEW user_view; "
    "ALTER TABLE runs RENAME TO walks; CREATE VIEW runs AS FROM walks",
    "offsets that are a view": "ALTER TABLE journal_offsets RENAME TO x; CREATE VIEW journal_offsets AS FROM x",
    "migrations that are a view": "ALTER TABLE schema_version RENAME TO x; CREATE VIEW schema_version AS FROM x",
    "view that reads a file": "CREATE OR REPLACE VIEW run_results AS FROM read_text('/etc/hostname')",
    "view that says other numbers": "CREATE OR REPLACE VIEW run_costs AS SELECT run_id, 0.0 AS usd FROM runs",
    "view that is missing": "DROP VIEW user_view",
    "macro for count": "CREATE MACRO count(x) AS 42",
    "macro for hash": "CREATE MACRO hash(x) AS 7",
    "macro for a table function": "CREATE MACRO read_csv(x) AS TABLE SELECT 1 AS a",
    "macro for the list of tables": "CREATE MACRO duckdb_tables() AS TABLE SELECT 1 AS a",
    "column that is computed": "ALTER TABLE run_warnings DROP COLUMN message; "
    "CREATE TABLE y (run_id VARCHAR, warned_at TIMESTAMP, message VARCHAR GENERATED ALWAYS AS (run_id)); DROP TABLE run_warnings; ALTER TABLE y RENAME TO run_warnings",
    "default of a sequence": "CREATE SEQUENCE s; ALTER TABLE metrics ALTER COLUMN value SET DEFAULT nextval('s')",
    "column of another type": "ALTER TABLE metrics ALTER COLUMN value TYPE VARCHAR",
    "column that is missing": "ALTER TABLE metrics DROP COLUMN wall_time",
    "table that is missing": "DROP TABLE synthesizer_weights",
    "state of its own type": "CREATE TYPE mood AS ENUM ('x', 'first'); ALTER TABLE prompts ALTER COLUMN template TYPE mood USING 'x'",
    "newer schema": "INSERT INTO schema_version VALUES (99, 'of the future', now()::TIMESTAMP)",
    "schema beyond all": "INSERT INTO schema_version VALUES (2147483647, 'x', now()::TIMESTAMP)",
    "schema of no version": "DELETE FROM schema_version",
    "schema of an older version": "DELETE FROM schema_version WHERE version > 2",
    "no table of ours": "DROP SCHEMA IF EXISTS x; DROP TABLE runs CASCADE; DROP TABLE journal_offsets",
}  # fmt: skip
"""What was done to a database of ours before somebody gave it."""
NAMES = (
    "x\"; COPY (SELECT 1) TO '{out}'; --", "x'; DROP TABLE runs; --", "my notes", "selectélect", "SELECT", "main.runs", '"', "'", ";", "\u202egpj", "a" * 300,
    "x\ny", "\x1b[31m", "../../x", "%s{{}}$1?", "schema", "foreign_file",
)  # fmt: skip
"""Of tables, views and schemas of a person."""


def files(home: Home, folder: Path) -> dict[str, Path]:
    """Files that are no database."""
    made = {name: folder / f"{name}.duckdb" for name in ("sqlite", "parquet", "text", "empty", "cut", "zeros")}
    made["sqlite"].write_bytes(b"SQLite format 3\0" + bytes(8176))
    made["parquet"].write_bytes(b"PAR1" + bytes(4092))
    made["text"].write_text("no database" * 1000)
    made["empty"].touch()
    made["cut"].write_bytes(home.database.read_bytes()[:9000])
    made["zeros"].write_bytes(bytes(20_000))
    made["folder"], made["pipe"], made["dead link"] = (folder / f"{name}.duckdb" for name in ("folder", "pipe", "link"))
    made["folder"].mkdir()
    os.mkfifo(made["pipe"])
    made["dead link"].symlink_to(folder / "nowhere")
    made |= {
        "device": Path("/dev/zero"),
        "missing": folder / "none.duckdb",
        "of vectors": home.vectors,
        "passwords": Path("/etc/passwd"),
    }
    return made


@pytest.fixture(scope="module")
def victim(
    fresh_home: Callable[[Path], Home], begin_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Home:
    home = fresh_home(tmp_path_factory.mktemp("victim") / "home")
    write_run(begin_run(home, "mine"), "mine", "data")
    publish(home)
    return home


def refuses(home: Home, path: Path, attempt: str) -> None:
    """`restore` says why in a sentence, and everything stays as it was."""
    before, names = signature(home), sorted(path.name for path in home.path.iterdir())
    with pytest.raises(StoreError) as caught:
        restore(home, path)
    assert caught.value.message, attempt
    assert signature(home) == before, attempt
    assert sorted(path.name for path in home.path.iterdir() if path.name != "publish.lock") == [
        n for n in names if n != "publish.lock"
    ], attempt


@pytest.mark.parametrize("attempt", STATEMENTS)
def test_databases_that_are_not_as_we_make_them(victim: Home, tmp_path: Path, attempt: str) -> None:
    path = Path(shutil.copy(victim.database, tmp_path / "given.duckdb"))
    with duckdb.connect(str(path)) as connection:
        connection.execute(STATEMENTS[attempt])
    refuses(victim, path, attempt)


def test_files_that_are_no_databases(victim: Home, tmp_path: Path) -> None:
    for name, path in files(victim, tmp_path).items():
        refuses(victim, path, name)


def test_names_do_nothing(victim: Home, tmp_path: Path) -> None:
    """A backup with odd names of tables, views, columns and of itself is restored, checked, backed up again, and runs nothing."""
    home = Home(Path(shutil.copytree(victim.path, tmp_path / "home")))
    out, path = tmp_path / "out", Path(shutil.copy(victim.database, tmp_path / 'it\'s "x"; --.duckdb'))
    with duckdb.connect(str(path)) as connection:
        for number, template in enumerate(NAMES):
            name = '"' + template.format(out=out).replace('"', '""') + '"'
            connection.execute(
                f"CREATE TABLE {name} ({name} VARCHAR DEFAULT ('x'), CHECK (length({name}) < 99)); INSERT INTO {name} VALUES ('kept')"
            )
            connection.execute(
                f"CREATE VIEW v{number} AS SELECT *, (SELECT content FROM read_text('/etc/hostname')) AS c FROM {name}"
            )
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS s{number}; CREATE TABLE s{number}.{name} (a INTEGER)")
    assert restore(home, path)
    assert check_home(home).problems == check_home(victim).problems
    backup(home, tmp_path / "again")
    with open_store(home) as store:
        for number, template in enumerate(NAMES):
            name = '"' + template.format(out=out).replace('"', '""') + '"'
            assert store.tuples(f"FROM main.{name}") == [("kept",)]
            with pytest.raises(QueryFailed, match="disabled"):
                store.user_sql(f"FROM v{number}")
        assert store.tuples("SELECT run_id FROM main.runs") == [("mine",)]
    assert not out.exists()


LINES: dict[str, str] = {
    "table of another folder": '{"event": "evaluated", "at": 1, "split": "test", "epoch": 1, "step": 1, "metrics": [], "table": "../mine/events-0001-000003.parquet"}',
    "table that is a path": '{"event": "vectors_made", "at": 1, "encoder": "e", "dimension": 4, "table": "/etc/passwd"}',
    "table that is hidden": '{"event": "vectors_made", "at": 1, "encoder": "e", "dimension": 4, "table": ".secret"}',
    "table that is a number": '{"event": "vectors_made", "at": 1, "encoder": "e", "dimension": 4, "table": 7}',
    "table that is a pipe": '{"event": "vectors_made", "at": 1, "encoder": "e", "dimension": 4, "table": "pipe"}',
    "bundle of another folder": '{"event": "bundle_imported", "at": 1, "file": "../../bundle.zip"}',
    "bundle that is not there": '{"event": "bundle_imported", "at": 1, "file": "bundle.zip"}',
    "tag of another run": '{"event": "run_tagged", "at": 1, "run_id": "mine", "add": [3], "remove": [null]}',
    "run of another id": '{"event": "run_created", "at": 1, "run_id": "mine", "name": "stolen"}',
    "nested for ever": '{"event": "evaluated", "at": 1, "metrics": ' + "[" * 100_000,
    "numbers without end": '{"event": "epoch_finished", "at": 1e999, "epoch": ' + "9" * 400 + ', "step": NaN, "metrics": []}',
    "time that is a word": '{"event": "run_started", "at": "now"}',
    "event that is a list": '{"event": ["run_ended"], "at": 1}',
    "event of nobody": '{"event": "__init__", "at": 1}',
    "event that is a method": '{"event": "flush", "at": 1, "source": 1}',
    "no object": "[1, 2]",
    "names with SQL": '{"event": "dataset_used", "at": 1, "dataset_id": "\'; DROP TABLE runs; --", "dataset_sha256": "x", "dataset_name": "\\u0000"}',
    "metrics that are words": '{"event": "evaluated", "at": 1, "split": "test", "epoch": "x", "step": 1, "metrics": [{"name": 1, "value": "y"}]}',
    "data set of a list": '{"event": "dataset_used", "at": 1, "dataset_id": [1], "dataset_sha256": {}, "dataset_name": 7}',
    "end in no state": '{"event": "run_ended", "at": 1, "state": "pwned", "reason": ["x"], "timings": [3]}',
    "calls of columns that differ": '{"event": "api_called", "at": 1, "columns": {"key": ["a"], "attempt": [1, 2]}}',
}  # fmt: skip


def of_run(home: Home, run_id: str) -> list[Any]:
    """All that is stored of a run, as hashes."""
    with open_store(home, ingest=False) as store:
        tables = ("runs", "metrics", "user_ranks", "synthesizer_weights", "api_calls")
        return [
            store.tuples(f"SELECT count(*), bit_xor(hash(t)) FROM {table} t WHERE run_id = ?", [run_id])
            for table in tables
        ]


def test_lines_of_journals(victim: Home, begin_run: Callable[..., Any], tmp_path: Path) -> None:
    """Each in a run of its own; one publish takes in what it can, and every other run is as it was."""
    home = Home(Path(shutil.copytree(victim.path, tmp_path / "home")))
    (tmp_path / "bundle.zip").write_bytes(b"PK")
    before = of_run(home, "mine")
    for number, line in enumerate(LINES.values()):
        begin_run(home, f"run-{number:02d}").close()
        folder = home.run_folder(f"run-{number:02d}")
        os.mkfifo(folder / "pipe")
        (folder / ".secret").write_text("x")
        with (folder / "events-0002.jsonl").open("wb") as file:
            file.write(
                line.encode()
                + b"\n\xff\xfe\x00\n"
                + json.dumps({"event": "run_noted", "at": 2, "run_id": folder.name}).encode()
                + b"\n"
            )
    publish(home, thorough=True)
    with open_store(home) as store:
        assert len(store.tuples("FROM runs")) == len(LINES) + 1
        assert store.tuples("SELECT count(*) FROM vectors.vectors WHERE encoder = 'e'") == [(3,)]
    assert of_run(home, "mine") == before
    check_home(home)
