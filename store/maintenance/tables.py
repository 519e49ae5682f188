"""The tables of a database file that may be damaged: which there are, and how many rows of each can be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from store.database.connection import FOREIGN, open_foreign, quoted

OWNERS = {
    # table: columns of which the first that it has says whose a row is
    "run_id": (
        "runs",
        "metrics",
        "user_ranks",
        "synthesizer_weights",
        "api_calls",
        "run_warnings",
        "machine_samples",
        "user_epochs",
        "removed_rows",
    ),
    "list_id": ("neighbor_lists", "neighbors"),
    "set_id": ("summary_sets", "summary_links"),
    "dataset_id": ("datasets", "users", "items", "interactions", "anchors"),
}
"""Columns by which rows are counted, and the tables that have them."""
_OWNER = {table: column for column, tables in OWNERS.items() for table in tables}


@dataclass(frozen=True, order=True)
class Table:
    """A base table by schema and name."""

    schema: str
    name: str

    def __str__(self) -> str:
        return self.name if self.schema == "main" else f"{self.schema}.{self.name}"

    def sql(self, database: str) -> str:
        """Its name in SQL in an attached database."""
        return ".".join(map(quoted, (database, self.schema, self.name)))


def tables_of(connection: duckdb.DuckDBPyConnection, database: str) -> list[Table]:
    """The base tables of an attached database, in order of their names."""
    rows = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? AND NOT internal AND NOT temporary",
        [database],
    ).fetchall()
    return sorted(Table(*row) for row in rows)


def read_all(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """Read every value of a table, given as SQL, and return its number of rows.

    Raises:
        duckdb.Error: some of it cannot be read.
    """
    return connection.execute(f"SELECT count(*), bit_xor(hash(t)) FROM {table} t").fetchall()[0][0]


def read_file(path: Path) -> tuple[dict[Table, int], dict[Table, str]]:
    """Rows of each table of a file that can be read in whole, and what is wrong with each other one.

    Raises:
        duckdb.Error: the file cannot be opened.
    """
    whole: dict[Table, int] = {}
    broken: dict[Table, str] = {}
    connection = open_foreign(path)
    try:
        for table in tables_of(connection, FOREIGN):
            try:
                whole[table] = read_all(connection, table.sql(FOREIGN))
            except duckdb.Error as error:
                broken[table] = str(error).splitlines()[0]
                connection.close()  # some errors end an instance
                connection = open_foreign(path)
    finally:
        connection.close()
    return whole, broken


def owner_of(table: Table) -> str | None:
    """The column that says to which run, list, set or data set a row of a table belongs; None for other tables."""
    return _OWNER.get(table.name) if table.schema == "main" else None


def rows_by_owner(connection: duckdb.DuckDBPyConnection, source: str, table: Table) -> dict[str | None, int]:
    """Number of rows of `source`, which is SQL, by run, list, set or data set, where the table is of such; else under None."""
    column = owner_of(table)
    if column is None:
        return {None: connection.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0]}
    return dict(connection.execute(f"SELECT {column}, count(*) FROM {source} GROUP BY ALL").fetchall())
