"""What executors say about their runs, for whoever opens a home: in a list of runs one that is missing or broken breaks nothing."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from functools import partial

from store.home import Home
from store.process_state import Alive, Handle, ProcessState, Unknown

_answers: dict[tuple[Home, Handle], tuple[float, ProcessState]] = {}
"""The last answer about a run, and when it was given."""
_silent: set[str] = set()
"""Executors whose first failure to answer is in the log."""


def with_executors(home: Home) -> Home:
    """The same home, which knows whom to ask about a run of any executor."""
    return replace(home, ask_executor=partial(_ask, home))


def _ask(home: Home, handle: Handle) -> ProcessState:
    """The executor's answer, or its last one where that is young; one that is missing or broken must not break a list."""
    try:
        from sracl_tui.runs.execution import registry  # here: most runs are local, and a list of them is to be fast

        executor = registry.find(home, handle.executor)
        at, known = _answers.get((home, handle), (-math.inf, None))
        if isinstance(known, Alive) and time.monotonic() - at < executor.poll_seconds:
            return known
        answer = time.monotonic(), executor.state(handle)
    except Exception as error:
        if handle.executor not in _silent:
            from sracl_tui.logs import log

            _silent.add(handle.executor)
            log(home, "an executor does not answer", level=logging.WARNING, executor=handle.executor, error=repr(error))
        return Unknown()
    _answers[home, handle] = answer
    return answer[1]
