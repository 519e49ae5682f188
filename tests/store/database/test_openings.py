"""Files of databases are opened in one module, and those of others there by one function, which reaches nothing else."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.database import connection as module
from store.database.connection import FOREIGN, open_empty, open_for_writing, open_foreign, open_published
from tests.support.commands import ROOT

OPENS = {
    "connect",
    "sql",
    "query",
    "execute",
    "from_query",
    "read_csv",
    "read_json",
    "read_parquet",
    "from_parquet",
    "from_csv_auto",
}
ALLOWED = ROOT / "store" / "database" / "connection.py"


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for package in ("engine", "store", "sracl_tui"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text("utf-8"))


def openings(tree: ast.Module) -> Iterator[str]:
    """Whatever in a module opens a file with DuckDB: calls of the module itself, its names imported singly, and ATTACH."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "duckdb":
            if node.attr in OPENS:
                yield f"duckdb.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("duckdb", "_duckdb"):
            yield f"from {node.module} import"
        elif isinstance(node, ast.Import) and any(a.name.split(".")[0] == "duckdb" and a.asname for a in node.names):
            yield "import duckdb as"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\bATTACH\s+'", node.value):
            yield "ATTACH"


def test_one_module_opens_databases() -> None:
    found = {str(path.relative_to(ROOT)): set(openings(tree)) for path, tree in modules() if path != ALLOWED}
    assert not {path: what for path, what in found.items() if what}
    assert set(openings(ast.parse(ALLOWED.read_text("utf-8")))) == {"duckdb.connect", "ATTACH"}


def test_files_of_others_are_opened_by_one_function() -> None:
    """`maintenance` looks at files that may be anybody's: there the other ways are for new files, copies and nothing else."""
    ways = {
        name for name in vars(module) if name.startswith("open_") and vars(module)[name].__module__ == module.__name__
    }
    assert ways == {"open_empty", "open_foreign", "open_for_writing", "open_published"}
    users: dict[str, set[str]] = {way: set() for way in ways}
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ways:
                users[node.func.id].add(path.relative_to(ROOT).as_posix())
    assert users["open_published"] == {"store/database/database.py"}
    maintained = {path for path in users["open_for_writing"] if "/maintenance/" in path}
    assert {path.rpartition("/")[2] for path in maintained} == {
        "backups.py",
        "compacting.py",
        "repair.py",
        "schema_check.py",
        "sources.py",
    }
    assert all("/maintenance/" in path for path in users["open_foreign"])


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A database whose name and content are made to be run, read or taken for others."""
    path = tmp_path / 'it\'s "odd"; --.duckdb'
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE runs (run_id VARCHAR); INSERT INTO runs VALUES ('one')")
        connection.execute("CREATE MACRO count(x) AS 42; CREATE MACRO hash(x) AS 7")
        connection.execute("CREATE VIEW peek AS FROM read_text('/etc/hostname')")
    return path


def ways(odd: Path) -> dict[str, Callable[[], Any]]:
    return {
        "foreign": lambda: open_foreign(odd),
        "writing": lambda: open_for_writing(odd),
        "published": lambda: open_published(odd),
        "empty": open_empty,
    }


REACHING = (
    "FROM read_text('/etc/hostname')", "FROM '/etc/passwd'", "COPY (SELECT 1) TO '{out}'", "ATTACH '{out}' AS x",
    "INSTALL httpfs", "LOAD httpfs", "EXPORT DATABASE '{out}'", "SET enable_external_access = true",
    "FROM glob('/etc/*')", "CREATE TEMP TABLE t AS FROM read_csv('/etc/passwd')", "FROM read_blob('{here}')",
)  # fmt: skip


@pytest.mark.parametrize("way", ["foreign", "writing", "published", "empty"])
def test_no_way_reaches_another_file(odd: Path, tmp_path: Path, way: str) -> None:
    out = tmp_path / "out"
    with ways(odd)[way]() as connection:
        for statement in REACHING:
            with pytest.raises(duckdb.Error):
                connection.execute(statement.format(out=out, here=__file__)).fetchall()
        if way != "empty":
            with pytest.raises(duckdb.Error, match="disabled"):
                connection.execute(f"FROM {f'{FOREIGN}.main.peek' if way == 'foreign' else 'peek'}").fetchall()
    assert not out.exists()


def test_names_in_a_foreign_file_hide_nothing(odd: Path) -> None:
    with open_foreign(odd) as connection:
        query = f"SELECT count(run_id), hash(1) = 7 FROM {FOREIGN}.main.runs"
        assert connection.execute(query).fetchall() == [(1, False)]
        with pytest.raises(duckdb.Error, match=r"read-only|read only"):
            connection.execute(f"DELETE FROM {FOREIGN}.main.runs")
        with pytest.raises(duckdb.Error, match="locked"):
            connection.execute("SET threads = 1")


@pytest.mark.parametrize("head", [b"SQLite format 3\0" + bytes(4080), b"PAR1" + bytes(4092), b"x" * 4096])
def test_files_of_other_programs_load_nothing(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "other.duckdb"
    path.write_bytes(head)
    for opens in (open_foreign, open_for_writing, open_published):
        with pytest.raises(duckdb.Error, match="not a valid DuckDB database file"):
            opens(path)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.duckdb")
    with pytest.raises(duckdb.Error):
        open_foreign(tmp_path / "pipe.duckdb")
