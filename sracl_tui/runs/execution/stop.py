"""Stops a run: asks its process, asks again, then kills it; a waiting run is removed from the queue."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from sracl_tui.runs.execution import process_exit, queue
from store.errors import LookupFailed, StoreBusy
from store.home import Home
from store.journal.journal import end_of, lock_held, lock_process
from store.journal.processes import start_of
from store.queue import Queue

FORCE_SECONDS = 10.0
"""Between the second request, which does not wait for a checkpoint, and the kill."""
KILL_SECONDS = 5.0
"""Until the system has ended a killed process."""


@dataclass(frozen=True)
class Stop:
    """How a run was stopped."""

    pid: int | None
    """None for a run that waited in the queue."""
    ended: bool
    """False: it is still saving."""
    how: str
    """asked, asked firmly, killed, or removed from the queue."""


def stop_run(home: Home, run_id: str, *, wait: float, force: bool = False, escalate: bool = True) -> Stop:
    """Ask the process that holds a run's lock to stop, and wait; then, with `escalate`, force it, and kill it.

    A process that is asked finishes its step and saves. The second request ends it at once; what it saved before is kept.

    Args:
        wait: seconds between the first and the second request; 0 asks and does not wait.
        force: begin with the second request.

    Raises:
        LookupFailed: no process of this machine runs it, or it belongs to another user.
    """
    folder = home.run_folder(run_id)
    if not lock_held(folder):
        if run_id in Queue(home).active():
            queue.remove(home, run_id)
            return Stop(None, True, "removed from the queue")
        raise LookupFailed(f"run {run_id} is not running here", hint="`sracl runs` shows the state of each run.")
    pid, began = lock_process(folder)
    if pid is None:
        raise LookupFailed(f"run {run_id} is running on another machine: stop it there")
    steps = [] if force else [("asked", signal.SIGTERM, wait)]
    if force or (escalate and wait > 0):
        steps += [("asked firmly", signal.SIGTERM, FORCE_SECONDS), ("killed", signal.SIGKILL, KILL_SECONDS)]
    how = "asked"
    for step, number, seconds in steps:
        how = step
        _signal(run_id, pid, began, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and lock_held(folder):
            time.sleep(0.05)
        if not lock_held(folder):
            break
    ended = not lock_held(folder)
    if ended and how == "killed" and end_of(folder) is None:
        with suppress(StoreBusy, OSError):  # a worker of the queue writes it too
            process_exit.write_end(
                home, run_id, state="killed", reason="killed by signal 9 (SIGKILL): it did not stop when asked", signal="SIGKILL"
            )  # fmt: skip
    return Stop(pid, ended, how)


def _signal(run_id: str, pid: int, began: float | None, number: signal.Signals) -> None:
    """Send a signal to the process that began then, not to a later one with the same PID."""
    try:
        handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        try:
            if began is not None and start_of(pid) not in (began, None):
                return  # it has ended; the PID is another process's now
            if handle is None:
                os.kill(pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
        finally:
            if handle is not None:
                os.close(handle)
    except ProcessLookupError:
        return
    except PermissionError:
        raise LookupFailed(f"process {pid} of run {run_id} belongs to another user") from None
