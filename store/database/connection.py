"""Connections to DuckDB, which no other module opens: of our own files and of somebody else's; rows, and errors as ours."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from store.errors import StoreBusy, StoreError
from store.regular_file import open_regular

if TYPE_CHECKING:
    import pyarrow as pa

Options = dict[str, str | bool | int | float | list[str]]
FORMAT: Options = {"storage_compatibility_version": "v1.2.0"}
"""Files are written so that clients from version 1.2 on can read them."""
MEMORY, TEMPORARY = "50%", "16GB"
"""Most that a query may take of the machine's memory, and of the disk for what does not fit into it."""
FOREIGN = "foreign_file"
"""Name of the database that `open_foreign` attaches."""
_BASE: Options = {"python_enable_replacements": False}
"""A name in SQL that a person wrote means a table, never a Python variable of this program."""
_CLOSED: Options = {**_BASE, "enable_external_access": False}
"""The connection reaches no file but its own: no query, view, default or macro that is stored in it does."""
_NO_TEXT = re.compile("[\ud800-\udfff]")
_MAGIC, _MAGIC_AT = b"DUCK", 8
INGEST_MEMORY = "256MB"
"""What DuckDB keeps in memory while journals are taken in. It would else keep all that it has read and written."""
LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")
"""Suffixes of the logs that a killed session leaves beside its file, as in `store.publishing._file_swap`, which imports nothing."""
_HOLDER = re.compile(r"\(PID (\d+)\)")
_DAMAGE = ("not a valid DuckDB database", "Could not read", "replaying WAL", "orrupt", "hecksum", "eserializ")
"""Parts of DuckDB's messages about a file that is damaged, without capitals that vary."""
_DISK = ("No space left", "Could not write", "File too large", "Could not sync")
"""Parts of DuckDB's messages about a disk that is full or cannot be written."""


def open_for_writing(path: Path, *, files: bool = False) -> duckdb.DuckDBPyConnection:
    """A read-write connection to a private copy that is published later; never open a published file with it.

    Args:
        files: it may reach other files until `lock_down` or `attach` closes it.
    """
    _check_kind(path)
    return duckdb.connect(str(path), config={**FORMAT, **(_BASE if files else _CLOSED)})


def spare_memory(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep no more than INGEST_MEMORY in memory, until `take_memory`."""
    connection.execute(f"SET memory_limit = '{INGEST_MEMORY}'")


def take_memory(connection: duckdb.DuckDBPyConnection) -> None:
    """Let the database have as much memory as it has by default, where the little did not do: the keys of large tables have to fit."""
    connection.execute("RESET memory_limit")


def open_published(path: Path, **attached: Path) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the published file of a home, with others by name, within limits; it reaches no other file.

    Raises:
        duckdb.Error: one is no database, or another process has it open for writing.
    """
    _check_kind(path)
    connection = duckdb.connect(str(path), read_only=True, config=_BASE)
    try:
        attach(connection, attached)
    except BaseException:
        connection.close()
        raise
    return connection


def open_foreign(path: Path) -> duckdb.DuckDBPyConnection:
    """The one way to open a file that may be damaged or somebody else's: read-only, as `FOREIGN` beside an empty database.

    No other file and no setting can be reached. Its own macros and views hide nothing: names in SQL mean those of an empty
    database, so its tables have to be named with `FOREIGN`.

    Raises:
        duckdb.Error: it is no database, or another process has it open for writing.
    """
    connection = duckdb.connect(config=_BASE)
    try:
        attach(connection, {FOREIGN: path})
    except BaseException:
        connection.close()
        raise
    return connection


def open_empty() -> duckdb.DuckDBPyConnection:
    """A new database in memory, which reaches no file."""
    return duckdb.connect(config=_CLOSED)


def attach(connection: duckdb.DuckDBPyConnection, files: Mapping[str, Path]) -> None:
    """Attach files read-only by their names, then lock the connection down.

    Raises:
        duckdb.Error: one is no database.
    """
    for name, path in files.items():
        _check_kind(path)
        text = str(path).replace("'", "''")
        connection.execute(f"ATTACH '{text}' AS {quoted(name)} (READ_ONLY, TYPE duckdb)")
    lock_down(connection)


def lock_down(connection: duckdb.DuckDBPyConnection, *, files: bool = False) -> None:
    """Limit memory and disk, and let nothing of that be changed.

    Args:
        files: statements may read and write files of the machine.
    """
    connection.execute(f"SET memory_limit = '{MEMORY}'")
    connection.execute(f"SET max_temp_directory_size = '{TEMPORARY}'")
    if not files:
        connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _check_kind(path: Path) -> None:
    """Refuse what DuckDB would wait for, or fetch an extension for: pipes, folders, devices, files of other programs.

    Raises:
        duckdb.IOException: it is such, or its log is; a file that is missing or short is left to DuckDB.
    """
    try:
        for suffix in LOGS:
            with suppress(FileNotFoundError):
                open_regular(path.with_name(f"{path.name}{suffix}")).close()
        with open_regular(path) as file:
            head = file.read(_MAGIC_AT + len(_MAGIC))
    except FileNotFoundError:
        return
    except OSError as error:
        raise duckdb.IOException(f'Could not read file "{error.filename}": {error.strerror}') from None
    if len(head) == _MAGIC_AT + len(_MAGIC) and head[_MAGIC_AT:] != _MAGIC:
        raise duckdb.IOException(f'The file "{path}" exists, but it is not a valid DuckDB database file!')


def quoted(name: str) -> str:
    """A name as it stands in SQL, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def fetch(connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
    """The rows of a query as an Arrow table."""
    return connection.sql(query, params=bindable(parameters)).to_arrow_table()


def bindable(parameters: Sequence[Any]) -> list[Any]:
    """Parameters of a query; a text that is no UTF-8, as a shell may pass it, becomes one that no row holds."""
    return [_bindable(one) for one in parameters]


def _bindable(value: Any) -> Any:
    if isinstance(value, str):
        return _NO_TEXT.sub("\0", value)
    return bindable(value) if isinstance(value, list) else value


def fetch_few(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """The rows of a query as dictionaries, without importing pyarrow, which takes longer than reading a few rows."""
    found = connection.execute(query)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def forbidden(path: Path) -> StoreError | None:
    """The error to raise where a file is there and this user may not read it, which is no damage; else None."""
    try:
        path.stat()
        what, place = "file", path
    except PermissionError:
        what, place = "folder", path.parent
    except OSError:
        return None
    if what == "file" and os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        return None
    return StoreError(
        f"this user may not read the {what}",
        where=str(place),
        hint=f"It need not be damaged, and nothing was changed. `ls -ld` shows whose it is: its owner gives the right back "
        f"with `chmod {'u+rw' if what == 'file' else 'u+rwx'}`.",
    )


def explain(error: duckdb.Error, path: Path) -> StoreError:
    """The error to raise in place of DuckDB's: busy, with the holder's PID, or with a hint about rights, disk or damage."""
    if (denied := forbidden(path)) is not None:
        return denied
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
