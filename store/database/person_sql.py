"""SQL that a person wrote: on a connection that reaches no file, within limits, and with every failure as `QueryFailed`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import duckdb

from store.database.connection import MEMORY, TEMPORARY, lock_down
from store.database.migrate import own_names
from store.errors import QueryFailed, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

    from store.database.result_texts import Form

MOST_ROWS = 1_000_000
"""Rows of a statement that changes something, which are not streamed."""
BATCH_ROWS = 10_000
Cancel = Callable[[], None]
"""Cancels a query; any thread may call it, at any time, also when the query has ended."""

_REFUSED = {
    duckdb.StatementType.TRANSACTION: "a query is one transaction already",
    duckdb.StatementType.DETACH: "other queries of this program need it",
}


def canceler(connection: duckdb.DuckDBPyConnection) -> Cancel:
    """What cancels the query that a connection runs; nothing happens once the connection is closed."""

    def cancel() -> None:
        with suppress(duckdb.Error):
            connection.interrupt()

    return cancel


@contextmanager
def told_as_failed() -> Iterator[None]:
    """Whatever fails in the block fails as `QueryFailed`: not every statement fails by an error of DuckDB's own."""
    try:
        yield
    except StoreError:
        raise
    except duckdb.Error as error:
        raise _query_failed(error) from None
    except Exception as error:
        raise QueryFailed(f"{type(error).__name__}: {error}") from error


def run_sql(
    connection: duckdb.DuckDBPyConnection, query: str, *, limit: int | None = None, form: Form = "values"
) -> pa.Table | None:
    """Run statements that a person wrote; the rows of the last one in a form, or the first `limit` + 1 of them.

    Raises:
        QueryFailed: with the database's own words.
    """
    import pyarrow as pa

    from store.database.result_texts import batches

    found, left = list[pa.RecordBatch](), None if limit is None else limit + 1
    with told_as_failed():
        relation = last_relation(connection, query)
        if relation is None:
            return None
        schema, parts = batches(relation, BATCH_ROWS, form)
        for batch in parts:
            found.append(batch.slice(0, left))
            if left is not None:
                left -= found[-1].num_rows
                if left <= 0:
                    break
        return pa.Table.from_batches(found, schema)


def stream_sql(connection: duckdb.DuckDBPyConnection, query: str, form: Form = "values") -> Iterator[pa.Table]:
    """Run statements that a person wrote; the rows of the last one in tables of some thousands, the first maybe empty."""
    import pyarrow as pa

    from store.database.result_texts import batches

    with told_as_failed():
        relation = last_relation(connection, query)
        if relation is None:
            return
        schema, parts = batches(relation, BATCH_ROWS, form)
        rows, found, first = 0, list[pa.RecordBatch](), True
        for batch in parts:
            found.append(batch)
            rows += batch.num_rows
            if rows >= BATCH_ROWS:
                yield pa.Table.from_batches(found, schema)
                rows, found, first = 0, [], False
        if found or first:
            yield pa.Table.from_batches(found, schema)


def last_relation(connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyRelation | None:
    """Run all statements but the last; return the last one, not yet run, or None where it has no rows."""
    for statement in connection.extract_statements(query):
        if statement.type in _REFUSED:
            raise QueryFailed(f"{statement.query.strip()!r} is not possible here: {_REFUSED[statement.type]}")
    return connection.sql(query)


def change(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    *,
    files: bool,
    started: Callable[[Cancel], None] | None,
    form: Form = "values",
) -> pa.Table | None:
    """Run statements that change rows, within the transaction that is open.

    Args:
        files: statements may read and write files of the machine.

    Raises:
        QueryFailed: with the database's own words; what the program itself needs would be another one: its tables and
            views, and the rows of its own record keeping.
    """
    if started is not None:
        started(canceler(connection))
    before = _needed(connection)
    lock_down(connection, files=files)
    table = run_sql(connection, query, limit=MOST_ROWS, form=form)
    if table is not None and table.num_rows > MOST_ROWS:
        raise QueryFailed(f"the last statement has more than {MOST_ROWS:,} rows", hint="Read them without --write.")
    with told_as_failed():
        changed = before ^ _needed(connection)
    if changed:
        kind, name = min((str(one[0]), str(one[1])) for one in changed)
        raise QueryFailed(
            f"{kind} {name} is what this program itself needs: it cannot be changed, and nothing was",
            hint="Rows of the other tables can be changed, and tables and views of your own be made.",
        )
    return table


def _needed(connection: duckdb.DuckDBPyConnection) -> set[tuple[Any, ...]]:
    """What the program cannot do without: kind, name, and whatever must stay as it is."""
    names = sorted(own_names("main"))
    found = connection.execute(
        "SELECT 'table', table_name, column_name, data_type FROM duckdb_columns() "
        "WHERE NOT internal AND database_name = current_database() AND schema_name = 'main' AND list_contains($1, table_name) "
        "UNION ALL SELECT 'view', view_name, sql, '' FROM duckdb_views() WHERE NOT internal AND database_name = "
        "current_database() AND schema_name = 'main' AND list_contains($1, view_name) "
        "UNION ALL SELECT 'table', table_name, constraint_text, '' FROM duckdb_constraints() WHERE database_name = "
        "current_database() AND schema_name = 'main' AND list_contains($1, table_name)",
        [names],
    ).fetchall()
    for table in ("schema_version", "journal_offsets"):
        found += [("table", table, *row) for row in connection.execute(f"FROM main.{table}").fetchall()]
    return set(found)


def python_values(column: pa.ChunkedArray) -> list[Any]:
    """Values of a column as Python has them; one that Python cannot hold, such as a date in the year -290,000, as a text."""
    try:
        return column.to_pylist()
    except (ArithmeticError, ValueError, NotImplementedError, TypeError):
        return [_python_value(value) for value in column]


def _python_value(value: pa.Scalar[Any]) -> Any:
    try:
        return value.as_py()
    except (ArithmeticError, ValueError, NotImplementedError, TypeError):
        return f"(a value of type {value.type} that cannot be shown)"


def _query_failed(error: duckdb.Error) -> QueryFailed:
    if isinstance(error, duckdb.InterruptException):
        return QueryFailed("the query was canceled")
    hint = "Tables and columns: docs/schema.md, or SHOW TABLES and DESCRIBE name."
    if "read-only" in str(error):
        hint = "Readers cannot write: `sracl sql --write` publishes a change properly."
    elif "file system operations are disabled" in str(error):
        hint = "Queries reach no file: --out saves rows, and `sracl sql --write --allow-files` reads and writes files."
    elif isinstance(error, duckdb.OutOfMemoryException):
        hint = f"A query may take {MEMORY} of the memory and {TEMPORARY} of the disk."
    return QueryFailed(str(error), hint=hint)
