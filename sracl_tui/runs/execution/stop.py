"""Stops a run: has its executor ask it, ask again, then kill it; a waiting run is removed from the queue."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

from sracl_tui.runs.execution import process_exit, queue, registry
from store.errors import LookupFailed, StoreBusy
from store.home import Home
from store.journal.journal import end_of
from store.process_state import Alive, Unknown
from store.publishing.liveness import lives, process_state
from store.queue import Queue

FORCE_SECONDS = 10.0
"""Between the second request, which does not wait for a checkpoint, and the kill."""
KILL_SECONDS = 5.0
"""Until the system has ended a killed process."""


@dataclass(frozen=True)
class Stop:
    """How a run was stopped."""

    pid: int | None
    """None for a run that waited in the queue, or whose executor does not know it."""
    ended: bool
    """False: it is still saving."""
    how: str
    """asked, asked firmly, killed, or removed from the queue."""
    process: str = ""
    """Who executes the run, in words: `PID 7`."""


def stop_run(home: Home, run_id: str, *, wait: float, force: bool = False, escalate: bool = True) -> Stop:
    """Have a run's executor ask it to stop, and wait; then, with `escalate`, force it, and kill it.

    A process that is asked finishes its step and saves. The second request ends it at once; what it saved before is kept.

    Args:
        wait: seconds between the first and the second request; 0 asks and does not wait.
        force: begin with the second request.

    Raises:
        LookupFailed: it does not run, runs where it cannot be reached (the message says where), or belongs to another user.
        ConfigError: its executor is not installed here.
    """
    folder = home.run_folder(run_id)
    waits = not isinstance(process_state(home, run_id), Alive) and run_id in Queue(home).waits()
    if waits or not lives(home, run_id):
        if run_id in Queue(home).active():
            queue.remove(home, run_id)
            return Stop(None, True, "removed from the queue")
        raise LookupFailed(f"run {run_id} is not running here", hint="`sracl runs` shows the state of each run.")
    executor, handle = registry.of_run(home, run_id)
    pid, process = executor.pid(handle), executor.describe(handle)
    steps = [] if force else [("asked", False, wait)]
    if force or (escalate and wait > 0):
        steps += [("asked firmly", False, FORCE_SECONDS), ("killed", True, KILL_SECONDS)]
    how = "asked"
    for step, kill, seconds in steps:
        how = step
        executor.cancel(handle, force=kill)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and _runs(home, run_id):
            time.sleep(executor.poll_seconds)
        if not _runs(home, run_id):
            break
    ended = not _runs(home, run_id)
    if ended and how == "killed" and end_of(folder) is None:
        with suppress(StoreBusy, OSError):  # a worker of the queue writes it too
            process_exit.write_end(
                home, run_id, state="killed", reason="killed by signal 9 (SIGKILL): it did not stop when asked", signal="SIGKILL"
            )  # fmt: skip
    return Stop(pid, ended, how, process)


def _runs(home: Home, run_id: str) -> bool:
    """Where the executor cannot tell, only the end in the journal counts."""
    state = process_state(home, run_id)
    return isinstance(state, Alive) or (isinstance(state, Unknown) and end_of(home.run_folder(run_id)) is None)
