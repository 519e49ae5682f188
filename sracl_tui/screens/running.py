"""Stopping a run from any screen."""

from __future__ import annotations

from sracl_tui.runner.stopping import stop_run
from store.home import Home

STOP_DETAIL = "Its last whole epoch is kept, and u (Resume) goes on from there."


def stop(home: Home, run_id: str) -> str:
    """Ask the run's process to stop; what to tell. Blocks up to two seconds: call it in a worker.

    Raises:
        LookupFailed: nobody is at work on it.
    """
    pid, ended = stop_run(home, run_id, wait=2.0)
    return f"{run_id} has stopped" if ended else f"{run_id} was asked to stop (process {pid}): it saves its epoch first"
