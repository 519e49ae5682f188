"""Copies of both databases."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import duckdb

from store.database.connection import explain, open_for_writing
from store.errors import StoreError
from store.home import Home
from store.maintenance.tables import read_file
from store.publishing.publish import publish
from store.publishing.replacement import copy_of


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
