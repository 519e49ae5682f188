"""Connections to DuckDB: opening for writing, fetching rows, and what an error of DuckDB means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from store.errors import StoreBusy, StoreError

if TYPE_CHECKING:
    import pyarrow as pa


FORMAT: dict[str, str | bool | int | float | list[str]] = {"storage_compatibility_version": "v1.2.0"}
"""Older clients (1.2 and on) can read what we write."""


_WRITING = {**FORMAT, "python_enable_replacements": False}
"""A name in a person's SQL is a table, never a variable of this program."""


_HOLDER = re.compile(r"\(PID (\d+)\)")


def open_for_writing(path: Path) -> duckdb.DuckDBPyConnection:
    """A read-write connection to a file that nobody else knows of: a copy that will be published."""
    return duckdb.connect(str(path), config=_WRITING)


def fetch(connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
    """The rows of a query as an Arrow table."""
    return connection.sql(query, params=list(parameters)).to_arrow_table()


def fetch_few(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """The rows of a query as dictionaries, without the import of pyarrow, which takes longer than a few rows do."""
    found = connection.execute(query)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


_DAMAGE = ("not a valid DuckDB database", "Could not read", "replaying WAL", "orrupt", "hecksum", "eserializ")


_DISK = ("No space left", "Could not write", "File too large", "Could not sync")


def explain(error: duckdb.Error, path: Path) -> StoreError:
    """What a failure of the database means, in words."""
    text = str(error)
    if "Conflicting lock" in text or "Could not set lock" in text:
        found = _HOLDER.search(text)
        pid = int(found.group(1)) if found else None
        return StoreBusy(
            f"process {pid or 'unknown'} has the file open for writing",
            pid=pid,
            where=str(path),
            hint="Close that session, or open it with -readonly; then try again.",
        )
    hint = "`sracl doctor` checks the store. Nothing was changed."
    if any(sign in text for sign in _DISK):
        hint = "Look at disk space and permissions. Nothing was changed, and the journals are kept."
    elif any(sign in text for sign in _DAMAGE):
        hint = (
            "The file is damaged. Move it away, with the .wal beside it if there is one, and run the command again: "
            "runs, summaries, vectors and neighbor lists come back from the journals; import the datasets again."
        )
    return StoreError(text.strip().splitlines()[0], where=str(path), hint=hint)
