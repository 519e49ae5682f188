"""Writes docs/schema.md from the comments of the migrations: `python -m store.database.schema docs/schema.md`."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from store.database.connection import open_empty
from store.database.migrate import DatabaseName, migrate

_HEAD = """# The database

Everything that sracl knows is in two DuckDB files in its home (`sracl doctor` says where): `sracl.duckdb` and, for vectors,
`vectors.duckdb`. Open them with `sracl sql`, `duckdb -readonly`, or any client (1.2 or newer). Tables hold raw truth,
views are for reading. All times are UTC. In `sracl sql` the second file is attached: its table is `vectors.vectors`.
Queries to start from: [examples/queries.sql](../examples/queries.sql).

This page is made from the migrations' comments by `make docs`.
"""


def schema_page() -> str:
    """The page as Markdown: every table and view of both databases with its columns, types and comments."""
    parts = [_HEAD]
    databases: tuple[DatabaseName, ...] = ("main", "vectors")
    for which in databases:
        connection = open_empty()
        migrate(connection, which)
        parts.append(f"## {'sracl.duckdb' if which == 'main' else 'vectors.duckdb'}\n")
        for name, comment, kind in _relations(connection):
            parts.append(f"### {name}{' (view)' if kind == 'view' else ''}\n\n{comment}\n")
            parts.append(_columns(connection, name))
        connection.close()
    return "\n".join(parts)


def _relations(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    return connection.execute("""
        SELECT table_name, comment, 'table' FROM duckdb_tables()
        UNION ALL SELECT view_name, comment, 'view' FROM duckdb_views() WHERE NOT internal
        ORDER BY 3, 1
    """).fetchall()


def _columns(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    rows = connection.execute(
        "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index",
        [name],
    ).fetchall()
    if all(comment is None for _, _, comment in rows):
        lines = ["| column | type |", "|---|---|", *(f"| `{column}` | {kind} |" for column, kind, _ in rows)]
    else:
        lines = ["| column | type | what it is |", "|---|---|---|"]
        lines += (f"| `{column}` | {kind} | {comment or ''} |" for column, kind, comment in rows)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(schema_page(), "utf-8")
