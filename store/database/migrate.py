"""Brings a database file to the newest schema: numbered SQL files, each applied in a transaction with its record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import duckdb

from store.database.connection import quoted
from store.errors import StoreError

DatabaseName = Literal["main", "vectors"]
"""`sracl.duckdb` or `vectors.duckdb`; each has its own migrations."""

_RECORD = """
CREATE TABLE IF NOT EXISTS schema_version (
    version INTEGER PRIMARY KEY,
    name VARCHAR NOT NULL,
    applied_at TIMESTAMP NOT NULL
);
COMMENT ON TABLE schema_version IS 'Migrations that were applied; the highest is the version of this file.';
COMMENT ON COLUMN schema_version.version IS 'Number of the migration.';
COMMENT ON COLUMN schema_version.name IS 'Its name.';
COMMENT ON COLUMN schema_version.applied_at IS 'When, UTC.';
"""


_MADE = re.compile(r"^CREATE (?:OR REPLACE )?(?:TABLE|VIEW) (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Migration:
    """One step of a schema's history; it never changes once it is released."""

    version: int
    name: str
    sql: str


def migrations(which: DatabaseName) -> list[Migration]:
    """All migrations of a database, oldest first."""
    steps: list[Migration] = []
    for file in (resources.files("store.database.migrations") / which).iterdir():
        if file.name.endswith(".sql"):
            number, name = file.name.removesuffix(".sql").split("_", 1)
            steps.append(Migration(int(number), name, file.read_text("utf-8")))
    return sorted(steps, key=lambda step: step.version)


@cache
def own_names(which: DatabaseName) -> frozenset[str]:
    """Tables and views that the migrations make, and the record of the migrations."""
    return frozenset({"schema_version"}.union(*(_MADE.findall(step.sql) for step in migrations(which))))


def version_of(connection: duckdb.DuckDBPyConnection, database: str = "") -> int:
    """Schema version of the open file, or of an attached database: the number of its last migration, 0 for a new file."""
    table = f"{quoted(database)}.main.schema_version" if database else "schema_version"
    try:
        rows = connection.execute(f"SELECT coalesce(max(version), 0) FROM {table}").fetchall()
    except duckdb.CatalogException:  # no such table; to ask for it first would take 10 ms at every start
        return 0
    return int(rows[0][0])


@cache
def _uncommented(sql: str) -> str:
    """The same statements without comments on tables and columns, which take most of the time of a new database."""
    statements = (statement.query for statement in duckdb.extract_statements(sql))
    return ";\n".join(query for query in statements if not query.lstrip().startswith("COMMENT ON "))


def migrate(
    connection: duckdb.DuckDBPyConnection,
    which: DatabaseName,
    steps: list[Migration] | None = None,
    *,
    comments: bool = True,
) -> list[Migration]:
    """Apply the migrations that are missing and return them; one that fails leaves the file at the version before it.

    Args:
        comments: with what tables and columns are, which nobody reads in a database that is thrown away.

    Raises:
        StoreError: the file has a newer version than this program knows, or a migration failed.
    """
    steps = migrations(which) if steps is None else steps
    before, newest = version_of(connection), max(step.version for step in steps)
    if before > newest:
        raise StoreError(
            f"the {which} database has schema version {before}; this program knows {newest}",
            hint="A newer sracl wrote it: upgrade, or use another --home. Nothing was changed.",
        )
    applied = [step for step in steps if step.version > before]
    if applied:
        connection.execute(_RECORD)
    for step in applied:
        connection.begin()
        try:
            connection.execute(step.sql if comments else _uncommented(step.sql))
            connection.execute(
                "INSERT INTO schema_version VALUES (?, ?, now() AT TIME ZONE 'UTC')",
                [step.version, step.name],
            )
            connection.commit()
        except duckdb.Error as error:
            connection.rollback()
            raise StoreError(
                f"migration {step.version} ({step.name}) failed: {error}", hint="Nothing was changed."
            ) from None
    return applied
