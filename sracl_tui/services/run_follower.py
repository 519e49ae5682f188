"""Follows the journals of a few runs for a screen: a worker thread updates the state, the screen reads it under a lock."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sracl_tui.runs.execution.launch import why_not_begun
from sracl_tui.runs.journal_events import SKIPPED_BY_LOG
from sracl_tui.runs.run_state import RunState
from store.home import Home
from store.journal.journal import Tail
from store.process_state import Alive, Exited, ProcessState, Unknown
from store.publishing.liveness import dead_state, process_state
from store.run_states import ACTIVE

LINES_PER_UPDATE = 200
"""Journal lines applied per lock, which limits how long the screen has to wait."""


class RunFollower:
    """State of the run on screen (the first one) and of other runs whose curves are drawn with it."""

    def __init__(self, home: Home, run_ids: Sequence[str]) -> None:
        self.lock = threading.Lock()
        """Hold it while reading `runs`."""
        self.runs = {run_id: RunState() for run_id in run_ids}
        self.process: ProcessState = Exited()
        """What the executor of the first run says."""
        self.verdict: tuple[str, str] | None = None
        """State and reason of the first run if its process died without recording that in the journal."""
        self._home, self._first = home, run_ids[0]
        self._tails = {run_id: Tail(home.run_folder(run_id), skip=SKIPPED_BY_LOG) for run_id in run_ids}

    @property
    def state(self) -> str:
        """Current state of the first run."""
        return self.verdict[0] if self.verdict else self.runs[self._first].state

    @property
    def reason(self) -> str | None:
        """Reason of the state of the first run, if there is one."""
        return self.verdict[1] if self.verdict else self.runs[self._first].reason

    def read(self) -> bool:
        """Apply new journal lines; returns whether anything changed. Call it from one thread at a time.

        Raises:
            OSError: a journal cannot be read.
        """
        before = self.process, self.verdict
        process = process_state(self._home, self._first)  # before reading: a process that has ended wrote its last line
        has_lines = False
        for run_id, tail in self._tails.items():
            lines = tail.read()
            for start in range(0, len(lines), LINES_PER_UPDATE):
                with self.lock:
                    self.runs[run_id].take(lines[start : start + LINES_PER_UPDATE])
            has_lines = has_lines or bool(lines)
        with self.lock:
            self.process, self.verdict = process, None if isinstance(process, Alive) else self._dead_state(process)
        return has_lines or (self.process, self.verdict) != before

    def _dead_state(self, process: Exited | Unknown) -> tuple[str, str] | None:
        """State and reason of the first run, whose process is dead; None if the journal has them or nothing is known."""
        live = self.runs[self._first]
        if not live.lines:
            error = why_not_begun(self._home, self._first, process) if isinstance(process, Exited) else ""
            return ("failed", error) if error else None
        if live.state not in ACTIVE:
            return None
        return dead_state(self._home, live.fold.process(self._first))
