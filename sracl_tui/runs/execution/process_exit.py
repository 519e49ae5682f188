"""How a run's process exited, where it could not record that itself; and the last lines of its log."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from sracl_tui.runs.execution.base import LOG
from sracl_tui.runs.run_state import RunState
from store.home import Home
from store.journal.journal import Journal, RunLock, read_events
from store.process_state import Exited, Unknown
from store.publishing.liveness import outcome
from store.regular_file import open_regular

LOG_LINES = 50


def write_end(home: Home, run_id: str, *, state: str, reason: str, **fields: Any) -> None:
    """Append `run_ended` to the journal of a run that no process executes.

    Raises:
        StoreBusy: a process executes it.
        OSError: it cannot be written.
    """
    folder = home.run_folder(run_id)
    lock = RunLock(folder)
    lock.acquire()
    try:
        journal = Journal(folder)
        journal.append("run_ended", {"state": state, "reason": reason, **fields})
        journal.close()
    finally:
        lock.release()


def mark_dead(home: Home, run_id: str, ended: Exited | Unknown) -> None:
    """Record the end of a run whose process exited without recording it, and send its alert.

    Args:
        ended: what its executor says about the end.
    """
    if isinstance(ended, Unknown):
        ended = Exited()
    if ended.code is not None and ended.reason is None:
        last = [line for line in log_tail(home.run_folder(run_id)) if line.strip()]
        said = last[-1].strip() if last else "no output"
        ended = replace(ended, reason=f"it ended with exit code {ended.code}: {said}")
        state, reason = "failed", str(ended.reason)
    else:
        state, reason = outcome(ended, "its process ended without recording why")
    code = -_number(ended.signal) if ended.signal else ended.code
    write_end(home, run_id, state=state, reason=reason, exit_code=code, signal=ended.signal)
    _notify(home, run_id, state, reason)


def _number(name: str) -> int:
    return next((known.value for known in signal.Signals if known.name == name), 0)


def _notify(home: Home, run_id: str, state: str, reason: str) -> None:
    """Send the alert that the run could not send."""
    from sracl_tui.runs.alerts import alerts
    from sracl_tui.runs.request import RunRequest

    with suppress(EngineError, OSError):
        request = RunRequest.read(home.run_folder(run_id))
        alert = alerts.ending(run_id, request.name or run_id, state, reason, dataset=request.config.data.dataset)
        if alert is not None:
            alerts.notify_death(home, alert, alerts.read(home))


def log_tail(folder: Path, lines: int = LOG_LINES) -> list[str]:
    """The last lines of a background run's `launch.log`."""
    try:
        with open_regular(folder / LOG) as file:
            file.seek(max(0, file.seek(0, 2) - 400 * lines))
            return file.read().decode("utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def log_lines(folder: Path, lines: int = LOG_LINES) -> list[str]:
    """The last lines of a run's log: its journal as text, and the output of a process that did not record its end."""
    live = RunState()
    live.take(line for _, line in read_events(folder))
    entries = [f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} {text}" for at, text in live.log]
    if live.state in ("failed", "killed", "running", "stopping"):
        output = log_tail(folder, lines)
        entries += [f"process: {line}" for line in output[-(lines // 2) :] if line.strip()]
    return entries[-lines:]
