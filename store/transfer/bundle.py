"""Bundles: one run as one file, with its settings, the hash of its data, summaries, neighbor lists, metrics and ranks.

A bundle is a zip of Parquet tables with a manifest of their hashes. One from elsewhere is checked before any of it is
used: names, kinds, sizes and hashes of all members, then the schema of every table.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from store.atomic_write import atomic_write
from store.database.database import Store
from store.errors import LookupFailed, StoreError
from store.home import Home
from store.journal.journal import Journal
from store.publishing.bundle_reader import (
    FILE,
    FORMAT,
    MANIFEST,
    OPTIONAL,
    REQUEST,
    TABLES,
    read_bundle,
    refused,
    try_bundle,
)
from store.publishing.publish import create, publish
from store.regular_file import read_regular
from store.run_row import decode_json
from store.run_states import OPEN

PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "patch": (("git_patch",), ()),
    "texts": (("user_set_id", "item_set_id"), ("prompts", "summary_sets", "summary_links", "summaries")),
    "neighbors": (
        ("user_list_id", "item_list_id"),
        ("neighbor_lists", "neighbors", "synthesizer_weights", "user_epochs"),
    ),
    "machine": (("host", "boot_id", "pid", "process_started", "handle", "machine"), ("machine_samples",)),
}
"""What a bundle can do without: columns of its run that become NULL, and tables that have no row."""


def export_bundle(store: Store, run_id: str, path: Path, *, without: Collection[str] = ()) -> dict[str, int]:
    """Write the bundle of a run, which appears when it is complete; returns its number of rows by table.

    Args:
        without: parts of `PARTS` that are left out; a warning of the run in the bundle says so.

    Raises:
        StoreError: it cannot be written.
    """
    import pyarrow.parquet as pq

    without = dict.fromkeys(without)  # a part may be named twice
    rows: dict[str, int] = {}
    hashes: dict[str, str] = {}
    try:
        with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name in TABLES:
                table = store.table(*_chosen(name, run_id, without))
                if name in OPTIONAL and not table.num_rows:
                    continue
                sink = io.BytesIO()
                pq.write_table(table, sink, compression="zstd")
                rows[name] = table.num_rows
                _add(archive, f"tables/{name}.parquet", sink.getvalue(), hashes)
            _add(archive, REQUEST, _request(store.home.run_folder(run_id) / REQUEST), hashes)
            row = store.rows("SELECT dataset_name, dataset_sha256 FROM runs WHERE run_id = ?", [run_id])[0]
            manifest = {"format": FORMAT, "run_id": run_id, **row, "rows": rows, "sha256": hashes}
            archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
    except OSError as error:
        raise StoreError(f"the bundle cannot be written: {error.strerror}", where=str(path)) from None
    return rows


def _chosen(name: str, run_id: str, without: Collection[str]) -> tuple[str, list[str]]:
    """The query of a table's rows, and its values."""
    columns, empty = "*", any(name in PARTS[part][1] for part in without)
    if name == "runs" and (dropped := [column for part in without for column in PARTS[part][0]]):
        columns = f"* REPLACE ({', '.join(f'if(false, {column}, NULL) AS {column}' for column in dropped)})"
    query = f"SELECT {columns} FROM {name} WHERE {TABLES[name]}{' AND false' if empty else ''}"
    if name != "run_warnings" or not (told := [part for part in without if part != "patch"]):
        return query, [run_id]
    words = f"its bundle was made without {' and '.join(told)}"
    return f"{query} UNION ALL BY NAME SELECT $1 AS run_id, now() AT TIME ZONE 'UTC' AS warned_at, $2 AS message", [
        run_id,
        words,
    ]


def _request(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise StoreError(f"the request of the run cannot be read: {error.strerror}", where=str(path)) from None


def _add(archive: zipfile.ZipFile, name: str, data: bytes, hashes: dict[str, str]) -> None:
    archive.writestr(name, data)
    hashes[name] = hashlib.sha256(data).hexdigest()


def import_bundle(
    home: Home, path: Path, *, check: Callable[[dict[str, Any], bytes], None] | None = None
) -> dict[str, Any]:
    """Import a bundle into a home and return its manifest. A run that the home has already is never changed.

    All of it is tried before the home is touched.

    Args:
        check: called with the run's row, its JSON columns decoded, and the bytes of its request; it raises where the settings
            are none, which the store cannot tell.

    Raises:
        StoreError: the file is no bundle, is damaged, or has members that no bundle has; nothing was changed.
        LookupFailed: the home has the run already.
    """
    manifest, tables, request = read_bundle(path)
    run_id = manifest["run_id"]
    folder = home.run_folder(run_id)
    home.create()
    create(home)
    if folder.exists():
        raise LookupFailed(f"run {run_id} is in this home already", where=str(path))
    if (home.trash / run_id).exists():
        hint = f"`sracl restore {run_id}` brings it back; `sracl remove --empty {run_id}` deletes it for good."
        raise LookupFailed(f"run {run_id} is in the trash of this home", where=str(path), hint=hint)
    if tables["runs"].column("run_id").to_pylist() != [run_id]:
        raise refused(path, "its run is not the one that its manifest names")
    row = try_bundle(path, run_id, tables)
    if damaged := decode_json(row):
        raise refused(path, f"column {damaged[0]} of its run is not what this program writes")
    if row["state"] in OPEN:
        raise refused(path, f"its run is {row['state']!r}, and no run that has ended")
    if check is not None:
        check(row, request)
    making = home.runs / f".{run_id}.new"  # no run id begins with a dot
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    try:
        shutil.copyfile(path, making / FILE)
        if read_bundle(making / FILE)[0] != manifest:
            raise refused(path, "it was changed while it was read")
        (making / REQUEST).write_bytes(request)
        journal = Journal(making)
        journal.append("bundle_imported", {"file": FILE})
        journal.close()
        making.rename(folder)
    except OSError as error:
        raise StoreError(f"cannot be written: {error.strerror}", where=str(folder)) from None
    finally:
        shutil.rmtree(making, ignore_errors=True)
    _take_in(home, run_id, path, aside=making)
    return manifest


def _take_in(home: Home, run_id: str, path: Path, *, aside: Path) -> None:
    """Publish an imported run; one that cannot be taken in leaves nothing behind, or it would block the right file.

    Raises:
        StoreError: its rows were not taken in.
    """
    there = False

    def look(connection: Any) -> None:
        nonlocal there
        there = bool(connection.execute("SELECT count(*) FROM runs WHERE run_id = ?", [run_id]).fetchall()[0][0])
        if not there:  # no other process takes it in meanwhile: it would have to publish
            connection.execute("DELETE FROM journal_offsets WHERE source = ?", [run_id])
            if home.run_folder(run_id).exists():  # a publish may start over
                home.run_folder(run_id).rename(aside)

    try:
        report = publish(home, apply=look)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if not there:
        why = "; ".join(warning for warning in report.warnings if run_id in warning)
        raise refused(path, f"its rows cannot be taken in{f': {why}' if why else ''}")
