"""Stopping a run, and going on with it, from any screen."""

from __future__ import annotations

import time

from engine.errors import EngineError
from sracl_tui.runs.execution import local
from sracl_tui.runs.execution.stop import stop_run
from store.home import Home
from store.journal.journal import lock_held, read_lines, segments

BEGIN_SECONDS = 15.0
STOP_DETAIL = "Every step that was done is saved, and u (Resume) goes on from there."


def stop(home: Home, run_id: str) -> str:
    """Ask the run's process to stop, more firmly if it was asked before, and return a message.

    Blocks up to two seconds, a second time up to 15: call it in a worker.

    Raises:
        LookupFailed: no process runs it.
    """
    done = stop_run(home, run_id, wait=2.0, force=_asked(home, run_id), escalate=False)
    if done.ended:
        return f"{run_id} was {done.how}" if not done.how.startswith("asked") else f"{run_id} has stopped"
    return f"{run_id} was asked to stop (process {done.pid}): it saves first; x again asks firmly"


def _asked(home: Home, run_id: str) -> bool:
    """Whether the running process has been asked to stop."""
    found = segments(home.run_folder(run_id))
    return bool(found) and any(line.event == "stopping" for line in read_lines(found[-1])[0])


def resume(home: Home, run_id: str) -> str:
    """Resume a run in a process of its own and return a message. Blocks until the run has started: call it in a worker.

    Raises:
        EngineError: it cannot be resumed; the message is the last line that the process printed.
        OSError: the process cannot be started.
    """
    before = len(local.launch_log(home, run_id))
    pid = local.resume(home, run_id)
    deadline = time.monotonic() + BEGIN_SECONDS
    while not lock_held(home.run_folder(run_id)) and time.monotonic() < deadline:
        time.sleep(0.05)
        text = local.launch_log(home, run_id)[before:].strip()
        if text and not local.is_alive(pid) and not lock_held(home.run_folder(run_id)):
            raise EngineError(text.splitlines()[-1])
    return f"{run_id} resumed as process {pid}"
