"""Connections to DuckDB: opening a file for writing, fetching rows, and turning DuckDB's errors into ours."""

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
"""Files are written so that clients from version 1.2 on can read them."""
_WRITING = {**FORMAT, "python_enable_replacements": False}
"""A name in SQL that a person wrote means a table, never a Python variable of this program."""
_HOLDER = re.compile(r"\(PID (\d+)\)")
_DAMAGE = ("not a valid DuckDB database", "Could not read", "replaying WAL", "orrupt", "hecksum", "eserializ")
"""Parts of DuckDB's messages about a file that is damaged, without capitals that vary."""
_DISK = ("No space left", "Could not write", "File too large", "Could not sync")
"""Parts of DuckDB's messages about a disk that is full or cannot be written."""


def open_for_writing(path: Path) -> duckdb.DuckDBPyConnection:
    """A read-write connection to a private copy that is published later; never open a published file with it."""
    return duckdb.connect(str(path), config=_WRITING)


def open_locked(path: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection to a file that may be damaged or somebody else's; it reaches no other file and no setting.

    Raises:
        duckdb.Error: it is no database, or another process has it open for writing.
    """
    locked: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": False,
        "lock_configuration": True,
        "python_enable_replacements": False,
    }
    return duckdb.connect(str(path), read_only=True, config=locked)


def quoted(name: str) -> str:
    """A name as it stands in SQL, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def fetch(connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
    """The rows of a query as an Arrow table."""
    return connection.sql(query, params=list(parameters)).to_arrow_table()


def fetch_few(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """The rows of a query as dictionaries, without importing pyarrow, which takes longer than reading a few rows."""
    found = connection.execute(query)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def explain(error: duckdb.Error, path: Path) -> StoreError:
    """The error to raise in place of DuckDB's: busy, with the holder's PID, or with a hint about disk or damage."""
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
            "The file is damaged. `sracl db repair` brings back what can be read of it, what the newest backup has, and what "
            "the journals hold, and keeps the damaged file beside the new one."
        )
    return StoreError(text.strip().splitlines()[0], where=str(path), hint=hint)
