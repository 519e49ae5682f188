"""Stopping a run, and going on with it, from any screen."""

from __future__ import annotations

import time

from engine.errors import EngineError
from sracl_tui.runs.execution import launch, registry
from sracl_tui.runs.execution.base import Exited
from sracl_tui.runs.execution.stop import stop_run
from store.home import Home
from store.journal.journal import read_lines, segments

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
    return f"{run_id} was asked to stop ({done.process}): it saves first; x again asks firmly"


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
    folder = home.run_folder(run_id)
    before, begun = len(launch.launch_log(home, run_id)), len(segments(folder))
    handle = launch.resume(home, run_id)
    executor = registry.find(home, handle.executor)
    deadline = time.monotonic() + BEGIN_SECONDS
    while len(segments(folder)) == begun and time.monotonic() < deadline:
        time.sleep(0.05)
        text = launch.launch_log(home, run_id)[before:].strip()
        if text and isinstance(executor.state(handle), Exited) and len(segments(folder)) == begun:
            raise EngineError(text.splitlines()[-1])
    return f"{run_id} resumed ({executor.describe(handle)})"


def launch_demo(home: Home) -> str:
    """Start the default run on the demo data in a process of its own; its id.

    Raises:
        StoreError: the home cannot be written.
        OSError: the process cannot be started.
    """
    from engine.config import Config
    from sracl_tui.runs.request import RunRequest, new_run_id

    return launch.launch(home, RunRequest(run_id=new_run_id(), config=Config(), name="demo")).run_id
