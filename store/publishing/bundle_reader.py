"""Reads a bundle, which a stranger may have written, checks all of it, and inserts its rows into the database."""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.database.connection import fetch_few, lock_down, open_empty
from store.database.migrate import migrate
from store.errors import StoreError
from store.home import Home
from store.regular_file import open_regular

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "sracl-bundle-1"
FILE = "bundle.zip"
"""Name of a bundle in the folder of the run that was imported from it."""
MANIFEST, REQUEST = "manifest.json", "request.json"
MOST_BYTES, MOST_ROWS, MOST_RATIO = 4 * 2**30, 200_000_000, 1000
"""Bounds on what a bundle may unpack to, against archives that are made to fill the disk or the memory."""
_SETS = "set_id IN (SELECT unnest([user_set_id, item_set_id]) FROM runs WHERE run_id = $1)"
_LISTS = "list_id IN (SELECT unnest([user_list_id, item_list_id]) FROM runs WHERE run_id = $1)"
_KEYS = f"key IN (SELECT key FROM summary_links WHERE {_SETS})"
TABLES = {
    "runs": "run_id = $1",
    "metrics": "run_id = $1",
    "user_ranks": "run_id = $1",
    "synthesizer_weights": "run_id = $1",
    "run_warnings": "run_id = $1",
    "machine_samples": "run_id = $1",
    "user_epochs": "run_id = $1",
    "prompts": f"version IN (SELECT prompt_version FROM summary_sets WHERE {_SETS})",
    "summary_sets": _SETS,
    "summary_links": _SETS,
    "summaries": _KEYS,
    "neighbor_lists": _LISTS,
    "neighbors": _LISTS,
}
"""Tables of a bundle, and the condition of the rows that belong to run $1."""
_KEY = {"summary_links": "set_id", "neighbors": "list_id"}
"""Tables without a key of their own: their rows are inserted where the home has none of the same set or list."""
_MEMBER = re.compile(rf"{MANIFEST}|{REQUEST}|tables/({'|'.join(TABLES)})\.parquet")
_KEPT = re.compile(r"events-\d{4,}-\d{6,}\.zip")
"""Names of bundles that the journal of edits keeps."""
OF_RUN = ("runs", "metrics", "user_ranks", "synthesizer_weights", "run_warnings", "machine_samples", "user_epochs")
OPTIONAL = frozenset({"run_warnings", "machine_samples", "user_epochs"})
"""Tables that are in a bundle only where they have rows: bundles of earlier versions have none."""


def read_bundle(path: Path) -> tuple[dict[str, Any], dict[str, pa.Table], bytes]:
    """Manifest, tables by name, and request of a bundle, all checked.

    Raises:
        StoreError: as for `import_bundle`.
    """
    import pyarrow as pa

    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_members(path, members)
            data = {member.filename: archive.read(member) for member in members}
        manifest = json.loads(data.pop(MANIFEST))
        if manifest["format"] != FORMAT:
            raise refused(path, f"its format is {manifest['format']!r}; this program knows {FORMAT}")
        if {name: hashlib.sha256(content).hexdigest() for name, content in data.items()} != manifest["sha256"]:
            raise refused(path, "its content is not what its manifest says: it is damaged or was changed")
        Home(Path("/")).run_folder(manifest["run_id"])
        there = [name for name in TABLES if name not in OPTIONAL or f"tables/{name}.parquet" in data]
        tables = {name: _table(path, name, data[f"tables/{name}.parquet"]) for name in there}
        return manifest, tables, data[REQUEST]
    except FileNotFoundError:
        raise StoreError("there is no such file", where=str(path)) from None
    except OSError as error:  # who takes it in asks whether that may pass
        raise refused(path, f"it cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, pa.ArrowException, EOFError, NotImplementedError,
            KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:  # fmt: skip
        raise refused(path, f"it is no bundle of ours, or damaged: {error}") from None


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise refused(path, "a member is in it twice")
    for member in members:
        if not _MEMBER.fullmatch(member.filename):
            raise refused(path, f"it holds {member.filename!r}, which no bundle does")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise refused(path, f"{member.filename} is not a plain file")
        if member.file_size > MOST_RATIO * max(member.compress_size, 1):
            raise refused(path, f"{member.filename} would grow more than {MOST_RATIO}-fold")
    if sum(member.file_size for member in members) > MOST_BYTES:
        raise refused(path, f"it would unpack to more than {MOST_BYTES / 2**30:.0f} GiB")


def _table(path: Path, name: str, data: bytes) -> pa.Table:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(io.BytesIO(data))
    groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
    if file.metadata.num_rows > MOST_ROWS or sum(group.total_byte_size for group in groups) > MOST_BYTES:
        raise refused(path, f"table {name} would unpack to more than {MOST_BYTES / 2**30:.0f} GiB")
    return file.read()


def refused(path: Path, why: str) -> StoreError:
    """The error to raise for a bundle that is not imported."""
    return StoreError(f"this bundle is refused: {why}", where=str(path), hint="Nothing was changed.")


def insert_bundle(connection: Any, folder: Path, file: str, *, kept: bool = False) -> None:
    """Insert the rows of a bundle that the database does not have; called while the journal that names it is ingested.

    Args:
        folder: the folder of the journal.
        file: the name that the journal gives; only `FILE` and names of kept bundles are accepted.
        kept: of a run that was deleted: without the rows of the run itself.
    """
    if not (_KEPT.fullmatch(file) if kept else file == FILE):
        raise ValueError(f"no bundle is called {file!r}")
    manifest, tables, _ = read_bundle(folder / file)
    _insert(connection, manifest["run_id"], {name: t for name, t in tables.items() if not (kept and name in OF_RUN)})


def try_bundle(path: Path, run_id: str, tables: dict[str, pa.Table]) -> dict[str, Any]:
    """Insert a bundle's rows into an empty database in memory, which reaches no file, and count what came in.

    Returns:
        The run's row, its JSON columns as text.

    Raises:
        StoreError: a table lacks a column, has values of another type, or rows of another run.
    """
    import duckdb

    with open_empty() as connection:
        migrate(connection, "main", comments=False)
        lock_down(connection)
        try:
            _insert(connection, run_id, tables)
            for name in OF_RUN[1:]:
                count = connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0]
                if name in tables and count != tables[name].num_rows:
                    raise refused(path, f"table {name} has rows of another run")
            return fetch_few(connection, "FROM runs")[0]
        except duckdb.Error as error:
            raise refused(path, f"its tables do not fit: {str(error).splitlines()[0]}") from None


def _insert(connection: Any, run_id: str, tables: dict[str, pa.Table]) -> None:
    for name, table in tables.items():
        known = {row[0] for row in connection.execute(f"DESCRIBE {name}").fetchall()}
        connection.register("bundled", table.select([column for column in table.column_names if column in known]))
        if name in OF_RUN[1:]:
            connection.execute(f"DELETE FROM {name} WHERE run_id = ?", [run_id])
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM bundled WHERE run_id = ?", [run_id])
        elif key := _KEY.get(name):
            new = f"NOT EXISTS (SELECT 1 FROM {name} t WHERE t.{key} = b.{key})"
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM bundled b WHERE {new}")
        else:
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM bundled ON CONFLICT DO NOTHING")
        connection.unregister("bundled")
