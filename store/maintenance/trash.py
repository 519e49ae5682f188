"""Removes runs into the trash of the home, brings them back, and empties the trash.

Each is one line in the journal of edits, which is the moment at which it happens, for all its runs together; then a
publish moves rows and folders (see `store.publishing.removals`). What dies in between is continued by the next command.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from store.database.database import Store
from store.errors import RunsOpen, StoreBusy
from store.home import Home
from store.journal.journal import Journal
from store.maintenance.keeping import keep_shared
from store.publishing.publish import publish
from store.publishing.removals import EMPTIED, FACTS, REMOVED, RESTORED
from store.publishing.replacement import sync_folder
from store.queries.removed import RemovedRun, RunUses, in_trash, uses_of
from store.queries.runs import find_run
from store.queue import Queue
from store.run_row import StoredRun
from store.run_states import OPEN

WAIT_SECONDS = 10.0
"""How long to wait for another publisher; what then is not done yet, the next command does."""


@dataclass(frozen=True)
class RemovalPlan:
    """What a removal takes away, and what has to do with it and stays."""

    runs: list[StoredRun]
    bytes: dict[str, int]
    """Bytes on the disk by run id."""
    uses: RunUses


@dataclass(frozen=True)
class Emptied:
    """Result of `empty`."""

    runs: list[str]
    bytes: int
    """Freed on the disk; summaries, vectors and neighbor lists stay."""
    published: bool
    """False where another process publishes: the next command deletes the files."""


def plan_removal(store: Store, rows: Sequence[StoredRun]) -> RemovalPlan:
    """What the removal of runs takes away; nothing is changed.

    Raises:
        RunsOpen: one of them runs, or waits in the queue.
    """
    _check_ended(store, rows)
    ids = [row["run_id"] for row in rows]
    sizes = {run_id: folder_bytes(store.home.present_folder(run_id)) for run_id in ids}
    return RemovalPlan(list(rows), sizes, uses_of(store, ids))


def remove(store: Store, rows: Sequence[StoredRun]) -> bool:
    """Move runs into the trash, all or none; False where another process publishes, and the lists show them until it ends.

    Raises:
        RunsOpen: one of them runs, or waits in the queue; nothing was changed.
        StoreError: the home cannot be written.
    """
    fresh = [find_run(store, row["run_id"]) for row in rows]  # one may have been resumed meanwhile
    _check_ended(store, fresh)
    return not fresh or _edit(store.home, REMOVED, {"runs": [_facts(row) for row in fresh]})


def restore(store: Store, rows: Sequence[RemovedRun]) -> bool:
    """Bring runs back from the trash, all or none; False as in `remove`.

    Raises:
        StoreError: the home cannot be written.
    """
    return not rows or _edit(store.home, RESTORED, {"run_ids": [row["run_id"] for row in rows]})


def to_empty(store: Store, rows: Sequence[RemovedRun] | None, *, days: float = 0.0) -> list[RemovedRun]:
    """Runs in the trash, or those of `rows`, that were removed at least so many days ago."""
    latest = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
    return [row for row in (in_trash(store) if rows is None else rows) if row["removed_at"] <= latest]


def empty(store: Store, rows: Sequence[RemovedRun]) -> Emptied:
    """Delete runs in the trash for good. What others use of them, and what they have spent, stays.

    Raises:
        StoreError: the home cannot be written.
        OSError: the disk is full; nothing was deleted.
    """
    home, ids = store.home, [row["run_id"] for row in rows]
    if not ids:
        return Emptied([], 0, True)
    journal = Journal(home.edits)
    try:
        for run_id in ids:
            keep_shared(journal, home.edits, home.present_folder(run_id), run_id)
        journal.append(EMPTIED, {"run_ids": ids})
    finally:
        journal.close()
    sync_folder(home.edits)
    sizes = {run_id: folder_bytes(home.present_folder(run_id), alone=True) for run_id in ids}
    published = _publish(home)
    freed = sum(size for run_id, size in sizes.items() if not home.present_folder(run_id).exists())
    return Emptied(ids, freed, published)


def folder_bytes(folder: Path, *, alone: bool = False) -> int:
    """Bytes of the files of a folder and of those below it. Args: alone: without files that have another name elsewhere."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(path, name))
            except OSError:
                continue
            total += found.st_size if not alone or found.st_nlink == 1 else 0
    return total


def _check_ended(store: Store, rows: Sequence[StoredRun]) -> None:
    queued = Queue(store.home).active()
    open_ = [row for row in rows if row["state"] in OPEN or row["run_id"] in queued]
    if open_:
        names = ", ".join(f"{row['run_id']} is {row['state']}" for row in open_[:5])
        more = f", and {len(open_) - 5} more have not ended" if len(open_) > 5 else ""
        raise RunsOpen(f"{names}{more}", hint=f"Stop it first: `sracl stop {open_[0]['run_id']}`. Nothing was removed.")


def _facts(row: StoredRun) -> Mapping[str, Any]:
    budget = row["config"].get("semantics", {}).get("budget")
    known = {**row, "budget": budget if isinstance(budget, int | float) else None}
    return {"run_id": row["run_id"]} | {name: known.get(name) for name in FACTS}


def _edit(home: Home, event: str, fields: Mapping[str, Any]) -> bool:
    journal = Journal(home.edits)
    try:
        journal.append(event, fields)
    finally:
        journal.close()
    sync_folder(home.edits)
    return _publish(home)


def _publish(home: Home) -> bool:
    try:
        publish(home, wait=WAIT_SECONDS)
    except StoreBusy:
        return False
    return True
