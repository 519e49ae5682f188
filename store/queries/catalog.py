"""Tables and views of the databases, with columns, types and what the migrations' comments say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.queries.sql_words import sql_words

if TYPE_CHECKING:
    from store.database.database import Store


@dataclass(frozen=True)
class CatalogColumn:
    """A column; `sql` is its name as a query writes it, in quotation marks where it needs them."""

    name: str
    sql: str
    kind: str
    comment: str = ""


@dataclass(frozen=True)
class CatalogTable:
    """A table or view; its name has the database before it, or the schema, where it is not the first one."""

    name: str
    sql: str
    is_view: bool
    comment: str = ""
    columns: tuple[CatalogColumn, ...] = ()


_COLUMNS = """
SELECT database_name <> current_database() AS elsewhere, database_name, schema_name, table_name, column_name, data_type, comment
FROM duckdb_columns() WHERE NOT internal
ORDER BY elsewhere, database_name, schema_name <> 'main', schema_name, table_name, column_index"""
_RELATIONS = """
SELECT database_name, schema_name, table_name AS name, comment, false AS is_view FROM duckdb_tables() WHERE NOT internal
UNION ALL SELECT database_name, schema_name, view_name, comment, true FROM duckdb_views() WHERE NOT internal"""


def catalog(store: Store) -> tuple[CatalogTable, ...]:
    """Tables and views by name: those of the main database, then those of others.

    Raises:
        StoreError: the database cannot be read.
    """
    quoted = sql_words(store).quoted
    columns: dict[tuple[str, ...], list[CatalogColumn]] = {}
    names: dict[tuple[str, ...], tuple[str, ...]] = {}
    for elsewhere, database, schema, table, column, kind, comment in store.tuples(_COLUMNS):
        key = (database, schema, table)
        names[key] = (*([database] if elsewhere else []), *([schema] if schema != "main" else []), table)
        columns.setdefault(key, []).append(CatalogColumn(column, quoted(column), kind, comment or ""))
    about = {tuple(row[:3]): row[3:] for row in store.tuples(_RELATIONS)}
    found = []
    for key, name in names.items():
        comment, is_view = about.get(key, (None, False))
        sql = ".".join(map(quoted, name))
        found.append(CatalogTable(".".join(name), sql, is_view, comment or "", tuple(columns[key])))
    return tuple(found)
