"""Keeps what a run's journal has that others use, before the run is deleted for good."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from store.atomic_write import atomic_write
from store.errors import StoreError
from store.journal.journal import Journal, Line, read_events
from store.journal.seals import table_facts
from store.publishing.bundle_reader import MANIFEST, OF_RUN, REQUEST, read_bundle
from store.publishing.removals import SHARED


def keep_shared(journal: Journal, edits: Path, folder: Path, run_id: str) -> None:
    """Copy the events of `SHARED` from a run's journal, with their times and tables, so that a rebuilt database has them.

    A table is not copied: its file gets a second name. Copying twice is harmless, as an event is taken in once.

    Args:
        journal: the open segment of the journal of edits, and
        edits: its folder.
        folder: that of the run.

    Raises:
        OSError: the disk is full.
    """
    for _, line in read_events(folder):
        if line.event in SHARED:
            fields = {**line.fields, "kept": True, "run_id": line.fields.get("run_id") or run_id}
            if line.table is not None:
                fields |= _second_name(line, edits / journal.next_file(".parquet"))
            elif line.event == "bundle_imported":
                fields["file"] = journal.next_file(".zip")
                _shared_part(folder / str(line.fields["file"]), edits / fields["file"])
            journal.append(line.event, fields, durable=False, at=line.at)


def _second_name(line: Line, path: Path) -> dict[str, object]:
    """Fields of a line that name its table's file, which is in this folder now; where it is missing, the line says so."""
    assert line.table is not None
    with suppress(FileNotFoundError):
        path.unlink(missing_ok=True)
        try:
            os.link(line.table, path)
        except OSError:  # a file system without hard links
            shutil.copyfile(line.table, path)
    facts = {"table_bytes": line.table_bytes, "table_sha256": line.table_sha256}
    if line.table_sha256 is None and path.exists():  # of a version without checksums
        facts = table_facts(path)
    return {"table": path.name, **facts}


def _shared_part(bundle: Path, to: Path) -> None:
    """Write a bundle without the rows and the request of its run; a damaged one is kept as it is, and so stays known as damaged."""
    import pyarrow.parquet as pq

    try:
        manifest, tables, _ = read_bundle(bundle)
    except StoreError:
        with suppress(FileNotFoundError):
            shutil.copyfile(bundle, to)
        return
    tables = {name: table.slice(0, 0) if name in OF_RUN else table for name, table in tables.items()}
    data = {REQUEST: b"{}"}
    for name, table in tables.items():
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        data[f"tables/{name}.parquet"] = sink.getvalue()
    hashes = {name: sha256(content).hexdigest() for name, content in data.items()}
    rows = {name: table.num_rows for name, table in tables.items()}
    with atomic_write(to, sync=True) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in data.items():
            archive.writestr(name, content)
        archive.writestr(MANIFEST, json.dumps(manifest | {"rows": rows, "sha256": hashes}))
