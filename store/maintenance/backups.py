"""Copies of both databases, and the way back to them."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import duckdb

from store.database.connection import FOREIGN, explain, open_for_writing, open_foreign
from store.database.migrate import DatabaseName, migrate, migrations, version_of
from store.errors import StoreError
from store.home import Home
from store.maintenance.placing import logs_of, put_in_place, state_of
from store.maintenance.schema_check import file_problems
from store.maintenance.tables import Table, read_file
from store.publishing.publish import publish
from store.publishing.replacement import copy_file, copy_of, discard, path_of, side_lock

_NEEDED: dict[DatabaseName, set[Table]] = {
    "main": {Table("main", "runs"), Table("main", "journal_offsets")},
    "vectors": {Table("main", "vectors")},
}
"""Tables by which a file is known as one of ours."""


def backup(home: Home, folder: Path | None = None) -> Path:
    """Publish, copy both files into a new folder, `backups/TIME` by default, and read every row of the copies.

    The folder appears when it is complete, so no part of a backup is ever taken for one.

    Returns:
        The folder.

    Raises:
        StoreError: the folder exists already or cannot be written, or a copy cannot be read.
    """
    target = folder or home.path / "backups" / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    publish(home)
    making = target.with_name(f".{target.name}.making")
    try:
        if target.exists():
            raise FileExistsError(17, "File exists")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        for path in (home.database, home.vectors):
            _copy(home, path, making / path.name)
        making.rename(target)
    except OSError as error:
        raise StoreError(f"cannot be made: {error.strerror}", where=str(target)) from None
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return target


def _copy(home: Home, path: Path, to: Path) -> None:
    copy_of(home, path, to)
    try:
        open_for_writing(to).close()  # merges the write-ahead log
        broken = read_file(to)[1]
    except duckdb.Error as error:
        raise explain(error, path) from None
    for table, why in broken.items():
        raise StoreError(f"table {table} cannot be read: {why}", where=str(path), hint="No backup was made.")


def restore(home: Home, source: Path, *, wait: float = 30.0) -> list[str]:
    """Put a backup in the place of the databases, then take in what the journals have beyond it.

    Every row of the backup is read first, in a private copy; the present files stay beside it.

    Args:
        source: the folder of a backup, or one `.duckdb` file of ours, which replaces the main database alone.

    Returns:
        What was done, in sentences.

    Raises:
        StoreError: it is no backup, is damaged, or a newer version wrote it; nothing was changed.
        StoreBusy: another process publishes, or has a file open for writing.
    """
    names: dict[DatabaseName, Path] = (
        {"main": source}
        if source.is_file()
        else {which: source / path_of(home, which).name for which in ("vectors", "main")}
    )
    home.create()
    fresh = {which: path_of(home, which).with_name(f"{path_of(home, which).name}.new-{os.getpid()}") for which in names}
    done: list[str] = []
    with side_lock(home, time.monotonic() + wait):
        try:
            for which, path in names.items():
                _check_copy(which, path, fresh[which])
            for which, path in names.items():
                target = path_of(home, which)
                before = state_of(target) if target.is_file() else logs_of(target)
                kept = put_in_place(target, fresh[which], before, "before-restore")
                done.append(
                    f"{target.name} is that of {path}" + (f"; the one before is kept as {kept}" if kept else "")
                )
        except OSError as error:
            raise StoreError(f"cannot be restored: {error.strerror}", where=str(source)) from None
        finally:
            for path in fresh.values():
                discard(path)
    events = publish(home, wait=wait, thorough=True).events
    return [*done, f"{events:,} events of the journals were taken in"]


def _check_copy(which: DatabaseName, path: Path, copied: Path) -> None:
    """Copy a file of a backup with its logs, read all of the copy, and bring it to the newest schema.

    A log, which a session leaves that was killed, holds rows that are not in the file yet: they are taken in.

    Raises:
        StoreError: it is no whole database of ours, its log does not fit it, it has a newer schema, or tables and views of ours
            that are not as we make them.
        StoreBusy: a session has it open for writing.
    """
    hint = "Nothing was changed. `sracl db backup` makes backups under backups/ in the home."
    if not path.is_file():
        raise StoreError("there is no such file", where=str(path), hint=hint)
    logs = sorted(set(copy_file(path, copied)) - {""})
    copied.chmod(0o600)
    try:
        whole, broken = read_file(copied)
        with open_foreign(copied) as connection:
            version = version_of(connection, FOREIGN)
    except duckdb.Error as error:
        if logs:
            names = ", ".join(f"{path.name}{suffix}" for suffix in logs)
            hint = f"The backup cannot be read together with {names} beside it: to do without what only that holds, move it away. {hint}"
        raise StoreError(str(error).strip().splitlines()[0], where=str(path), hint=hint) from None
    for table, why in broken.items():
        raise StoreError(f"table {table} cannot be read: {why}", where=str(path), hint=hint)
    if not _NEEDED[which] <= whole.keys():
        raise StoreError("it is no database of this program", where=str(path), hint=hint)
    newest = migrations(which)[-1].version
    if version > newest:
        raise StoreError(f"it has schema version {version}; this program knows {newest}", where=str(path), hint=hint)
    try:
        with open_for_writing(copied) as connection:
            migrate(connection, which)
        problems = file_problems(copied, which)
    except (duckdb.Error, StoreError) as error:
        problems = [str(error).splitlines()[0]]
    if problems:
        raise StoreError(f"it is not as this program makes it: {'; '.join(problems[:3])}", where=str(path), hint=hint)
