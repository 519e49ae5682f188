"""Asks a run's process to stop, and waits until it has."""

from __future__ import annotations

import os
import signal
import time

from store.errors import LookupFailed
from store.home import Home
from store.journal import lock_held, lock_pid


def stop_run(place: Home, run_id: str, *, wait: float) -> tuple[int, bool]:
    """Send SIGTERM to the process that holds a run's lock; its PID, and whether it ended within `wait` seconds.

    Raises:
        LookupFailed: no process of this machine is at work on it.
    """
    folder = place.run_folder(run_id)
    pid = lock_pid(folder) if lock_held(folder) else None
    if pid is None:
        raise LookupFailed(f"run {run_id} is not running here", hint="`sracl runs` shows the state of each run.")
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return pid, True
    except PermissionError:
        raise LookupFailed(f"process {pid} of run {run_id} belongs to another user") from None
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        if not lock_held(folder):
            return pid, True
        time.sleep(0.1)
    return pid, not lock_held(folder)
