"""Finds the runs whose rows say that they run, and whose process is dead."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import Any, cast

from store.home import Home
from store.journal.journal import end_of, lock_held
from store.journal.processes import boot_id
from store.queue import Queue
from store.run_row import RunProcess
from store.run_states import OPEN

OPEN_RUNS = (
    "SELECT run_id, state, host, boot_id, heartbeat_at, pid, process_started FROM runs "
    f"WHERE state IN {(*sorted(OPEN),)!r}"
)
"""The query for `dead_runs`: runs that have not ended as far as their rows say."""
SILENT_SECONDS = 60.0
"""A run of another machine, whose lock cannot be probed, counts as lost when its last event is older than this."""


def dead_runs(home: Home, active: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Run id, state and reason of every run whose process is dead, of the rows that `OPEN_RUNS` selects.

    A run that is queued and waits in the queue has no process yet and is alive.
    """
    dead: list[tuple[str, str, str]] = []
    waiting = Queue(home).active() if any(run["state"] == "queued" for run in active) else set()
    for run in active:
        dead_as = (
            None if run["state"] == "queued" and run["run_id"] in waiting else dead_state(home, cast(RunProcess, run))
        )
        if dead_as is not None:
            dead.append((run["run_id"], *dead_as))
    return dead


def dead_state(home: Home, run: RunProcess) -> tuple[str, str] | None:
    """State and reason that an open run should have because its process is dead; None while it lives or may live.

    Look a queued run up in the queue first: without a process it counts as killed here.

    Args:
        run: a row with the columns of `OPEN_RUNS`.
    """
    if lock_held(home.runs / run["run_id"]):
        return None
    end = end_of(home.runs / run["run_id"])
    if end is not None:  # it ended by its own account, but could not publish that, as on a full disk
        return str(end.get("state")), str(end.get("reason") or "")
    if run["state"] == "queued":
        return "killed", "its process ended before it began"
    if run["host"] != platform.node():
        beat = run["heartbeat_at"]
        if isinstance(beat, str):  # the row came from the database as JSON
            beat = datetime.fromisoformat(beat)
        silent = (datetime.now(UTC).replace(tzinfo=None) - beat).total_seconds() if beat else 0.0
        return (
            ("lost", f"it ran on {run['host']} and has been silent since {beat:%Y-%m-%d %H:%M}")
            if silent > SILENT_SECONDS
            else None
        )
    if run["boot_id"] != boot_id():
        return "lost", "the machine was restarted"
    return "killed", f"its process (PID {run['pid']}) ended without a word"
