"""Whether a run's process lives: the one place that asks a run's executor, or its heartbeat where the executor cannot tell."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any, cast

from store.errors import StoreBusy
from store.home import Home
from store.journal import processes
from store.journal.journal import end_of, lock_held, lock_process, read_lines, segments
from store.journal.submission import FILE, SUBMITTED, read_handle
from store.locks import host as this_host
from store.process_state import LOCAL, Alive, Exited, Handle, ProcessState, Unknown
from store.queue import Queue
from store.run_row import RunProcess
from store.run_states import OPEN

OPEN_RUNS = (
    "SELECT run_id, state, host, boot_id, heartbeat_at, pid, process_started FROM runs "
    f"WHERE state IN {(*sorted(OPEN),)!r}"
)
"""The query for `dead_runs`: runs that have not ended as far as their rows say."""
SILENT_SECONDS = 60.0
"""A run whose executor cannot tell counts as lost when its last event is older than this."""


def process_state(home: Home, run_id: str, *, host: str | None = None) -> ProcessState:
    """What the run's executor says at this moment. It does not read the journal: a run that lives may have written its end.

    Args:
        host: machine of a local process, where its lock is of an earlier version and does not say.
    """
    folder = home.runs / run_id
    handle = read_handle(folder)
    return home.ask_executor(handle) if handle.executor != LOCAL else local_state(home, run_id, host)


def local_state(home: Home, run_id: str, host: str | None = None) -> ProcessState:
    """What the lock of a local run says, which other machines may not see. Args: host: as in `process_state`."""
    folder = home.runs / run_id
    if lock_held(folder):
        return Alive()
    machine = host or lock_process(folder)[2]
    return Exited() if machine in (None, this_host()) else Unknown()


def lives(home: Home, run_id: str) -> bool:
    """Whether a run's process lives, or may live: its executor cannot tell, and it was heard within SILENT_SECONDS.

    A job that was submitted and has not begun may wait for its turn for days.
    """
    state = process_state(home, run_id)
    if not isinstance(state, Unknown):
        return isinstance(state, Alive)
    folder = home.runs / run_id
    submitted = (folder / FILE).stat().st_mtime if (folder / FILE).exists() else 0.0
    found = segments(folder)[-1:]
    if not found or found[0].stat().st_mtime < submitted:
        return submitted > 0.0
    begun = any(line.event == "run_started" for line in read_lines(found[0])[0])  # the queue's own lines are no start
    return begun and end_of(folder) is None and time.time() - found[0].stat().st_mtime < SILENT_SECONDS


def check_free(home: Home, run_id: str) -> None:
    """Refuse to execute a run that another executor, or another machine, executes; the run's lock guards it on this one.

    Raises:
        StoreBusy: it lives, or may live.
    """
    folder = home.runs / run_id
    handle = read_handle(folder)
    if os.environ.get(SUBMITTED) == run_id:
        return  # by this process
    if handle.executor == LOCAL and not isinstance(process_state(home, run_id), Unknown):
        return
    if lives(home, run_id):
        where = (
            f"machine {lock_process(folder)[2]}" if handle.executor == LOCAL else f"{handle.executor} {handle.id or ''}"
        )
        raise StoreBusy(
            f"{where.strip()} is already executing this run",
            pid=None,
            where=str(folder),
            hint="`sracl stop RUN` stops it.",
        )


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
    state = process_state(home, run["run_id"], host=run["host"])
    if isinstance(state, Alive):
        return None
    folder = home.runs / run["run_id"]
    end = end_of(folder)
    if end is not None:  # it ended by its own account, but could not publish that, as on a full disk
        return str(end.get("state")), str(end.get("reason") or "")
    handle = read_handle(folder)
    if isinstance(state, Unknown):
        return _silent(run, handle, run["host"] or lock_process(folder)[2])
    if handle.executor == LOCAL:
        return _ended_here(run)
    return outcome(state, f"{handle.executor} says that it ended, and it did not record why")


def _silent(run: RunProcess, handle: Handle, host: str | None) -> tuple[str, str] | None:
    """A run of which only the heartbeat is known: `lost` after a while, but a job may wait for its turn for days."""
    if run["state"] == "queued" and handle.executor != LOCAL:
        return None
    beat = run["heartbeat_at"]
    if isinstance(beat, str):  # the row came from the database as JSON
        beat = datetime.fromisoformat(beat)
    silent = (datetime.now(UTC).replace(tzinfo=None) - beat).total_seconds() if beat else 0.0
    if beat is None or silent <= SILENT_SECONDS:
        return None
    return "lost", f"it ran on {host or handle.executor} and has been silent since {beat:%Y-%m-%d %H:%M}"


def _ended_here(run: RunProcess) -> tuple[str, str]:
    """A process of this machine that ended without writing its end."""
    if run["state"] == "queued":
        return "killed", "its process ended before it began"
    if run["boot_id"] is not None and processes.boot_id() not in (run["boot_id"], None):
        return "lost", "the machine was restarted"
    return "killed", f"its process (PID {run['pid']}) ended without a word"


def outcome(state: Exited, unknown: str) -> tuple[str, str]:
    """State and reason of a run that ended like this without recording its end.

    Args:
        unknown: the reason where nothing is known of it.
    """
    if state.signal is None and state.code:
        return "failed", state.reason or f"it ended with exit code {state.code}"
    if state.signal is not None:
        return "killed", state.reason or f"killed by {state.signal}"
    return "killed", state.reason or unknown
