"""Removed runs: their rows leave the tables and wait in `removed_rows`, their folders wait in the trash of the home.

The journal of edits says which runs are removed, restored or deleted for good; `removed_runs` is what it says. A publish
moves rows and folders to where they belong by that table, so it does not matter at which step an earlier one died. What a
run brought that others use, and what it paid for, stays in its own tables (see `SHARED`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb

from store.database.connection import fetch
from store.home import Home
from store.journal.journal import Line, lock_held
from store.publishing.replacement import sync_folder
from store.queue import Queue

if TYPE_CHECKING:
    import pyarrow as pa

REMOVED, RESTORED, EMPTIED = "runs_removed", "runs_restored", "trash_emptied"
"""Events in the journal of edits."""
FACTS = ("kind", "name", "state", "group_name", "dataset_id", "dataset_name", "config_hash", "seed", "budget")
"""What stays known of a removed run: columns of `removed_runs`, and fields of the event."""
OWN = {
    "runs": ("run_id",),
    "metrics": ("run_id", "epoch", "step", "split", "subgroup", "name"),
    "user_ranks": ("run_id", "split", "user_id"),
    "synthesizer_weights": ("run_id", "phase", "anchor_id", "neighbor_id"),
    "run_warnings": ("run_id", "warned_at", "message"),
    "machine_samples": ("run_id", "segment", "seconds"),
    "user_epochs": ("run_id", "epoch", "user_id"),
}
"""Tables whose rows are a run's own and leave with it, and the columns that tell its rows apart."""
SHARED = frozenset(
    {
        "summary_set_made", "summaries_made", "summaries_linked", "neighbors_found", "vectors_made", "api_called",
        "bundle_imported",
    }
)  # fmt: skip
"""Events of a run's journal that bring rows which other runs use, or dollars: they are kept when it is deleted for good."""
_OF_IDS = "run_id IN (SELECT unnest($1::VARCHAR[]))"
_BEGINS = ("run_created", "bundle_imported")
_EDITS_OF_ONE = ("run_tagged", "run_noted", "run_renamed")
_DELETING = ".deleting"


def touched(lines: Iterable[tuple[str, Line]], edits: str) -> set[str]:
    """Ids of the runs that events concern.

    Args:
        lines: each with its source, a run's id or `edits`.
    """
    found: set[str] = set()
    for source, line in lines:
        found.add(source)
        if source != edits:
            continue
        with suppress(KeyError, TypeError):  # not as this program writes it: whoever projects it says so
            if line.event in _EDITS_OF_ONE:
                found.add(line.fields["run_id"])
            elif line.event == REMOVED:
                found.update(run["run_id"] for run in line.fields["runs"])
            elif line.event in (RESTORED, EMPTIED):
                found.update(line.fields["run_ids"])
    return found


def beginnings(lines: Iterable[tuple[str, Line]]) -> dict[str, float]:
    """When runs began, Unix seconds by id, of those whose first events are among the lines."""
    return {source: line.at for source, line in lines if line.event in _BEGINS}


def take_event(connection: duckdb.DuckDBPyConnection, line: Line, at: datetime) -> None:
    """Change `removed_runs` by one of the three events; rows move with `settle`.

    Raises:
        KeyError: a field is missing.
    """
    if line.event == REMOVED:
        for run in line.fields["runs"]:
            connection.execute("DELETE FROM removed_runs WHERE run_id = ?", [run["run_id"]])
            columns = {"run_id": run["run_id"], "removed_at": at} | {name: run.get(name) for name in FACTS}
            places = ", ".join("?" * len(columns))
            connection.execute(
                f"INSERT INTO removed_runs ({', '.join(columns)}) VALUES ({places})", list(columns.values())
            )
    elif line.event == RESTORED:
        connection.execute(
            f"DELETE FROM removed_runs WHERE {_OF_IDS} AND emptied_at IS NULL",
            [line.fields["run_ids"]],
        )
    else:
        connection.execute(
            f"UPDATE removed_runs SET emptied_at = $2 WHERE {_OF_IDS} AND emptied_at IS NULL",
            [line.fields["run_ids"], at],
        )


def marks(connection: duckdb.DuckDBPyConnection) -> dict[str, bool]:
    """Removed runs by id, and whether they were deleted for good."""
    rows = connection.execute("SELECT run_id, emptied_at IS NOT NULL FROM removed_runs").fetchall()
    return dict(rows)


def bring_back(connection: duckdb.DuckDBPyConnection, ids: Collection[str]) -> None:
    """Move the rows of runs from `removed_rows` to their tables; a row that is there already stays as it is.

    What cannot be read stays in `removed_rows`, where a check finds it.
    """
    import pyarrow as pa

    query = f"SELECT run_id, table_name, content FROM removed_rows WHERE {_OF_IDS}"
    read: dict[str, list[tuple[str, pa.Table]]] = {}
    for run_id, table, content in connection.execute(query, [list(ids)]).fetchall():
        with suppress(pa.ArrowException, OSError):
            read.setdefault(table, []).append((run_id, pa.ipc.open_stream(content).read_all()))
    for table in OWN.keys() & read.keys():
        rows = pa.concat_tables([part for _, part in read[table]], promote_options="permissive")
        known = {row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall()}
        connection.register("incoming", rows.select([name for name in rows.column_names if name in known]))
        same = " AND ".join(f"t.{name} IS NOT DISTINCT FROM i.{name}" for name in OWN[table])
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT * FROM incoming i WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE {same})"
        )
        connection.unregister("incoming")
        back = [run_id for run_id, _ in read[table]]
        connection.execute(f"DELETE FROM removed_rows WHERE {_OF_IDS} AND table_name = $2", [back, table])


def settle(
    connection: duckdb.DuckDBPyConnection, ids: Collection[str] | None = None, begun: dict[str, float] | None = None
) -> None:
    """Move the rows of runs to where `removed_runs` says that they belong; doing so again changes nothing.

    Args:
        ids: the runs to look at; None for all.
        begun: when runs began, Unix seconds: one that was deleted for good before that is a new run of the same id.
    """
    marked = marks(connection)
    for run_id in marked.keys() & (begun or {}):
        at = datetime.fromtimestamp((begun or {})[run_id], UTC).replace(tzinfo=None)
        connection.execute("DELETE FROM removed_runs WHERE run_id = ? AND emptied_at < ?", [run_id, at])
    if begun:
        marked = marks(connection)
    if ids is None:
        stored = connection.execute("SELECT DISTINCT run_id FROM removed_rows").fetchall()
        ids = marked.keys() | {run_id for (run_id,) in stored}
    back = [run_id for run_id in ids if run_id not in marked]
    away = sorted(run_id for run_id in ids if marked.get(run_id) is False)
    gone = sorted(run_id for run_id in ids if marked.get(run_id))
    if back:
        bring_back(connection, back)
    if away:
        _put_away(connection, away)
    if gone:
        for table in (*OWN, "removed_rows"):
            connection.execute(f"DELETE FROM {table} WHERE {_OF_IDS}", [gone])
        connection.execute("DELETE FROM journal_offsets WHERE source IN (SELECT unnest($1::VARCHAR[]))", [gone])


def _put_away(connection: duckdb.DuckDBPyConnection, ids: list[str]) -> None:
    """Move the rows of removed runs from their tables to `removed_rows`."""
    import pyarrow as pa

    bring_back(connection, ids)  # where both have rows, as after a repair from several files
    kept: dict[str, list[Any]] = {name: [] for name in ("run_id", "table_name", "row_count", "content")}
    for table in OWN:
        query = f"SELECT * FROM {table} WHERE {_OF_IDS} ORDER BY run_id"
        for run_id, rows in _by_run(fetch(connection, query, [ids])):
            for name, value in zip(kept, (run_id, table, rows.num_rows, _stream(rows)), strict=True):
                kept[name].append(value)
        connection.execute(f"DELETE FROM {table} WHERE {_OF_IDS}", [ids])
    if kept["run_id"]:
        connection.register("incoming", pa.table(kept))
        connection.execute("INSERT INTO removed_rows BY NAME SELECT * FROM incoming")
        connection.unregister("incoming")


def _by_run(rows: pa.Table) -> list[tuple[str, pa.Table]]:
    """The parts of a table that is ordered by `run_id`, one for each run."""
    counts = rows.column("run_id").value_counts()
    found: list[tuple[str, pa.Table]] = []
    start = 0
    for run_id, count in sorted((one["values"].as_py(), one["counts"].as_py()) for one in counts):
        found.append((run_id, rows.slice(start, count)))
        start += count
    return found


def _stream(rows: pa.Table) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def put_folders_away(home: Home, marked: dict[str, bool]) -> None:
    """Move the folders of removed runs into the trash, and out of sight there where they are to be deleted.

    A run whose process lives after all keeps its folder until a later publish.
    """
    trashed = _names(home.trash) if marked else set[str]()
    for run_id, emptied in marked.items():
        if emptied and run_id in trashed:
            hide_folder(home, run_id)
        elif not emptied and run_id not in trashed and not lock_held(home.runs / run_id):
            move_to_trash(home, run_id)


def move_to_trash(home: Home, run_id: str) -> None:
    """Move the folder of a run into the trash, or make an empty one there, so that no other run takes its id.

    Where it cannot be moved (another file system) it stays where it is: journals are read in both places.
    """
    with suppress(OSError):
        home.trash.mkdir(mode=0o700, exist_ok=True)
        if (home.runs / run_id).exists():
            os.rename(home.runs / run_id, home.trash / run_id)
        else:
            (home.trash / run_id).mkdir()
        sync_folder(home.trash)
        sync_folder(home.runs)


def hide_folder(home: Home, run_id: str) -> None:
    """Give a folder in the trash the name by which `tidy` deletes it."""
    with suppress(OSError):
        Queue(home).forget(run_id)
        os.rename(home.trash / run_id, home.trash / f".{run_id}{_DELETING}")


def tidy(home: Home, marked: dict[str, bool]) -> None:
    """Bring the folders of restored runs back, and delete what `hide_folder` left."""
    for name in _untidy(home, marked):
        folder = home.trash / name
        if name in marked:  # deleted for good, and not hidden yet
            hide_folder(home, name)
            shutil.rmtree(home.trash / f".{name}{_DELETING}", ignore_errors=True)
        elif name.endswith(_DELETING):
            shutil.rmtree(folder, ignore_errors=True)
        elif not any(folder.iterdir()):  # the run had no folder when it was removed
            folder.rmdir()
        else:
            with suppress(OSError):
                os.rename(folder, home.runs / name)
                sync_folder(home.runs)


def is_untidy(home: Home, connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether a process died before it had moved or deleted a folder in the trash."""
    return bool(_names(home.trash)) and bool(_untidy(home, marks(connection)))


def _untidy(home: Home, marked: dict[str, bool]) -> list[str]:
    found: list[str] = []
    for name in sorted(_names(home.trash)):
        folder = home.trash / name
        if name.startswith(".") and name.endswith(_DELETING):
            found.append(name)
        elif name not in marked and folder.is_dir() and not (home.runs / name).exists():
            inside = os.listdir(folder)
            if not inside or any(one.startswith("events-") for one in inside):  # else it is no run's
                found.append(name)
        elif marked.get(name):
            found.append(name)
    return found


def _names(folder: Any) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()
