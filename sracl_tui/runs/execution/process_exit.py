"""The end of a run that could not write it itself: why, in a sentence, and the last lines of its log."""

from __future__ import annotations

import signal
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from sracl_tui.runs.run_state import RunState
from store.home import Home
from store.journal.journal import Journal, RunLock, read_events

LOG_LINES = 50


def write_end(home: Home, run_id: str, *, state: str, reason: str, **fields: Any) -> None:
    """Append the end to the journal of a run that nobody is at work on.

    Raises:
        StoreBusy: somebody is.
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


def bury(home: Home, run_id: str, code: int | None, *, out_of_memory: bool = False) -> None:
    """Write down how a process ended that left no word.

    Args:
        code: as `subprocess` tells it: negative for a signal; none where nobody waited for it.
        out_of_memory: the system has killed a process for want of memory meanwhile.
    """
    state, reason, name = "killed", "its process ended without a word", None
    if code is not None and code < 0:
        name = signal_name(-code)
        reason = f"killed by signal {-code} ({name})"
        if out_of_memory and -code == signal.SIGKILL:
            reason = "out of memory: the system killed its process (signal 9)"
    elif code is not None:
        last = [line for line in log_tail(home.run_folder(run_id)) if line.strip()]
        state, reason = "failed", f"it ended with exit code {code}: {last[-1].strip() if last else 'it said nothing'}"
    write_end(home, run_id, state=state, reason=reason, exit_code=code, signal=name)
    _tell(home, run_id, state, reason)


def _tell(home: Home, run_id: str, state: str, reason: str) -> None:
    """Send the alert that the run could not send."""
    from sracl_tui.runs.alerts import alerts
    from sracl_tui.runs.request import RunRequest

    with suppress(EngineError, OSError):
        request = RunRequest.read(home.run_folder(run_id))
        alert = alerts.ending(run_id, request.name or run_id, state, reason, dataset=request.config.data.dataset)
        if alert is not None:
            alerts.tell_of_death(home, alert, alerts.read(home))


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; the number where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def memory_kills() -> int:
    """How many processes the system has killed for want of memory, as far as it tells."""
    for path, word in (("/sys/fs/cgroup/memory.events", "oom_kill"), ("/proc/vmstat", "oom_kill")):
        try:
            for line in Path(path).read_text().splitlines():
                if line.split()[0] == word:
                    return int(line.split()[1])
        except (OSError, ValueError, IndexError):
            continue
    return 0


def log_tail(folder: Path, lines: int = LOG_LINES) -> list[str]:
    """The last lines that a run's process said, where it ran in the background."""
    try:
        with (folder / "launch.log").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 400 * lines))
            return file.read().decode("utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def log_lines(folder: Path, lines: int = LOG_LINES) -> list[str]:
    """The last lines of a run's log: what its journal tells, and after an end without a word what its process said."""
    live = RunState()
    live.take(line for _, line in read_events(folder))
    told = [f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} {text}" for at, text in live.log]
    if live.state in ("failed", "killed", "running", "stopping"):
        said = log_tail(folder, lines)
        told += [f"process: {line}" for line in said[-(lines // 2) :] if line.strip()]
    return told[-lines:]
