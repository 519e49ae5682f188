"""Follows the journals of a few runs for a screen: written by a worker, read under a lock."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sracl_tui.runs.execution.local import last_output
from sracl_tui.runs.journal_events import SKIPPED_BY_LOG
from sracl_tui.runs.run_state import RunState
from store.home import Home
from store.journal.journal import Tail, lock_held
from store.publishing.liveness import dead_state
from store.run_states import ACTIVE

TOGETHER = 200
"""Lines that are folded in at once: so short is the time for which the screen may have to wait."""


class RunFollower:
    """The first run, and others whose curves are drawn with it."""

    def __init__(self, home: Home, run_ids: Sequence[str]) -> None:
        self.lock = threading.Lock()
        """To be held while `runs` is read."""
        self.runs = {run_id: RunState() for run_id in run_ids}
        self.held = False
        """Whether the first run's process lives."""
        self.verdict: tuple[str, str] | None = None
        """State and reason of the first run, where its journal does not know that it is dead."""
        self._home, self._first = home, run_ids[0]
        self._tails = {run_id: Tail(home.run_folder(run_id), skip=SKIPPED_BY_LOG) for run_id in run_ids}

    @property
    def state(self) -> str:
        """State of the first run now."""
        return self.verdict[0] if self.verdict else self.runs[self._first].state

    @property
    def reason(self) -> str | None:
        """Why it is in this state, where there is a reason."""
        return self.verdict[1] if self.verdict else self.runs[self._first].reason

    def read(self) -> bool:
        """Take in what is new; whether there was anything. Only one thread at a time may do so.

        Raises:
            OSError: a journal cannot be read.
        """
        before = self.held, self.verdict
        held = lock_held(self._home.run_folder(self._first))  # first: who has let go by then has written his last line
        fresh = False
        for run_id, tail in self._tails.items():
            lines = tail.read()
            for start in range(0, len(lines), TOGETHER):
                with self.lock:
                    self.runs[run_id].take(lines[start : start + TOGETHER])
            fresh = fresh or bool(lines)
        with self.lock:
            self.held, self.verdict = held, None if held else self._judge()
        return fresh or (self.held, self.verdict) != before

    def _judge(self) -> tuple[str, str] | None:
        """What became of a run without a living process."""
        live = self.runs[self._first]
        if not live.lines:
            said = last_output(self._home, self._first)
            return ("failed", said) if said else None
        if live.state not in ACTIVE:
            return None
        return dead_state(self._home, live.fold.process(self._first))
