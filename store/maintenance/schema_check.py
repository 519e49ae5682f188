"""Whether a database file has the tables and views of this program as this program makes them, and nothing that hides them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import duckdb

from store.database.connection import FOREIGN, open_for_writing, open_foreign
from store.database.migrate import DatabaseName, migrate, migrations, version_of

_RELATIONS = (
    "SELECT table_name, 'table' AS kind, NULL AS sql FROM system.main.duckdb_tables() "
    "WHERE database_name = $1 AND schema_name = 'main' UNION ALL "
    "SELECT view_name, 'view', sql FROM system.main.duckdb_views() "
    "WHERE database_name = $1 AND schema_name = 'main' AND NOT internal"
)
_COLUMNS = (
    "SELECT table_name, column_name, data_type, column_default FROM system.main.duckdb_columns() "
    "WHERE database_name = $1 AND schema_name = 'main' AND NOT internal"
)
_HIDING = (
    "SELECT function_name FROM system.main.duckdb_functions() GROUP BY ALL "
    "HAVING bool_or(internal) AND bool_or(database_name = $1 AND NOT internal) ORDER BY ALL"
)
"""One look at the list, which takes longer than all the rest."""


Relations = dict[str, tuple[str, str | None]]
"""Kind and, of a view, SQL of tables and views by name."""
Columns = dict[tuple[str, str], tuple[str, str | None]]
"""Type and default of columns by table and name."""


@cache
def _ours(which: DatabaseName) -> tuple[Relations, Columns]:
    """As the migrations make them, and as they are read from a file: views are written otherwise than they were made."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.duckdb"
        with open_for_writing(path) as connection:
            migrate(connection, which, comments=False)
        with open_foreign(path) as connection:
            return _read(connection, FOREIGN)


def _read(connection: duckdb.DuckDBPyConnection, database: str) -> tuple[Relations, Columns]:
    relations = {name: (kind, sql) for name, kind, sql in connection.execute(_RELATIONS, [database]).fetchall()}
    columns = connection.execute(_COLUMNS, [database]).fetchall()
    return relations, {(table, name): (kind, default) for table, name, kind, default in columns}


def schema_problems(connection: duckdb.DuckDBPyConnection, database: str, which: DatabaseName) -> list[str]:
    """What is wrong with the schema of an attached database of the newest version; of an older one only what hides functions.

    Raises:
        duckdb.Error: the file cannot be read.
    """
    hiding = connection.execute(_HIDING, [database]).fetchall()
    problems = [f"its macro {name} hides a function of that name" for (name,) in hiding]
    if version_of(connection, database) != migrations(which)[-1].version:
        return problems
    ours, our_columns = _ours(which)
    relations, columns = _read(connection, database)
    for name, (kind, sql) in ours.items():
        found, found_sql = relations.get(name, (None, None))
        if found is None:
            problems.append(f"{kind} {name} is missing")
        elif found != kind:
            problems.append(f"{name} is a {found}, and has to be a {kind}")
        elif found_sql != sql:
            problems.append(f"view {name} is not the one that this program makes")
    for (table, name), fits in our_columns.items():
        column = columns.get((table, name))
        if relations.get(table, ("", None))[0] == ours[table][0] == "table" and column != fits:
            what = "is missing" if column is None else f"has {_told(column)}, not {_told(fits)}"
            problems.append(f"column {table}.{name} {what}")
    return problems


def file_problems(path: Path, which: DatabaseName) -> list[str]:
    """The `schema_problems` of a file.

    Raises:
        duckdb.Error: the file cannot be read.
    """
    with open_foreign(path) as connection:
        return schema_problems(connection, FOREIGN, which)


def _told(column: tuple[str, str | None]) -> str:
    return f"type {column[0]}" + ("" if column[1] is None else f" and default {column[1]}")
