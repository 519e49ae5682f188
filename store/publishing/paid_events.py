"""Events that record what was paid for: where the database refuses one, what of it fits is kept, and the rest is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb

from store.journal.journal import Line

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = {"api_called": "api_calls", "summaries_made": "summaries"}
"""Events of calls and answers, and the table of each."""
_NAMED = (
    "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database() AND table_name = ?"
)
_NEVER_EMPTY: dict[str, Any] = {"key": "", "attempt": 0, "text": "", "fallback": True}
"""What stands for a value that does not fit in a column that is never empty."""
LATEST = 253_402_300_800.0
"""Unix seconds of the year 10000: a later time is none."""


def fitted(connection: duckdb.DuckDBPyConnection, line: Line, table: pa.Table | None) -> tuple[pa.Table, list[str]]:
    """The columns of a paid event with every value that its table can hold, and a message for each column that lost some.

    Columns of which the table knows nothing are left out.

    Args:
        table: from the file of the event; None if its columns are in the line.

    Raises:
        ValueError: it holds answers without their texts.
    """
    import pyarrow as pa

    types: dict[str, str] = dict(connection.execute(_NAMED, [TABLES[line.event]]).fetchall())
    given: dict[str, list[Any]] = line.fields.get("columns", {}) if table is None else table.to_pydict()
    if line.event == "summaries_made" and not {"key", "text"} <= set(given):
        raise ValueError("there is no text to keep")
    types |= {"sent_at": "DOUBLE"}  # Unix seconds, in the journal
    defaults = _NEVER_EMPTY | {"sent_at": line.at}
    columns: dict[str, list[Any]] = {}
    lost: list[str] = []
    rows = max((len(values) for values in given.values() if isinstance(values, list)), default=0)
    for name, values in given.items():
        if name not in types or not isinstance(values, list):
            continue
        kept = [_cast(connection, value, types[name]) for value in values] + [None] * (rows - len(values))
        if name == "sent_at":
            kept = [value if value is not None and 0 <= value < LATEST else None for value in kept]
        gone = [value for value, own in zip(values, kept, strict=False) if value is not None and own is None]
        if gone:
            lost.append(
                f"{name}: {len(gone)} of {rows} values do not fit and are unknown now, such as {str(gone[0])[:60]}"
            )
        columns[name] = [defaults.get(name) if value is None else value for value in kept]
    for name in set(defaults) & set(types) - set(columns):
        columns[name] = [defaults[name]] * rows
    kinds = {"BIGINT": pa.int64(), "INTEGER": pa.int32(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_()}
    return pa.table({name: pa.array(v, kinds.get(types[name], pa.string())) for name, v in columns.items()}), lost


def _cast(connection: duckdb.DuckDBPyConnection, value: Any, kind: str) -> Any:
    """A value as the database casts it to a column's type; None if it cannot."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = text.encode("utf-8", "replace").decode()
    found = connection.execute(f"SELECT TRY_CAST(? AS {kind})", [text]).fetchone()
    return found[0] if found else None
