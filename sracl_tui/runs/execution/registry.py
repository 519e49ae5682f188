"""The executors by name, and what each says about its runs. An executor is imported when it is asked for."""

from __future__ import annotations

import logging
import math
import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from engine.registry import Registry
from sracl_tui.logs import log
from store.home import Home
from store.journal.submission import read_handle
from store.process_state import LOCAL, Alive, Handle, ProcessState, Unknown

if TYPE_CHECKING:
    from sracl_tui.runs.execution.base import Executor

VARIABLE = "SRACL_EXECUTOR"
"""Names the executor of runs that are launched, resumed or started by the queue from now on."""
EXECUTORS = Registry(
    kind="executor",
    where=VARIABLE,
    group="sracl.executors",
    base="sracl_tui.runs.execution.base:Executor",
    ours={LOCAL: "sracl_tui.runs.execution.local:LocalExecutor"},
    example="docs/extending.md has one that works.",
)
_executors: dict[tuple[str, Home], Executor] = {}
_answers: dict[tuple[Home, Handle], tuple[float, ProcessState]] = {}
"""The last answer about a run, and when it was given."""
_silent: set[str] = set()
"""Executors whose first failure to answer is in the log."""


def find(home: Home, name: str) -> Executor:
    """The executor of a name: one object for each home.

    Raises:
        ConfigError: there is none of this name, or it cannot be imported or built.
    """
    if (name, home) not in _executors:
        executor = EXECUTORS.build(name, home)
        executor.name = name
        _executors[name, home] = executor
    return _executors[name, home]


def default(home: Home) -> Executor:
    """The executor that `SRACL_EXECUTOR` names, else the local one.

    Raises:
        ConfigError: there is none of this name.
    """
    return find(home, EXECUTORS.absolute(os.environ.get(VARIABLE) or LOCAL))


def of_run(home: Home, run_id: str) -> tuple[Executor, Handle]:
    """The executor that a run was given to last, and its handle.

    Raises:
        ConfigError: that executor is not installed here.
    """
    handle = read_handle(home.run_folder(run_id))
    return find(home, handle.executor), handle


def with_executors(home: Home) -> Home:
    """The same home, which knows whom to ask about a run of any executor."""
    return replace(home, ask_executor=partial(_ask, home))


def _ask(home: Home, handle: Handle) -> ProcessState:
    """The executor's answer, or its last one where that is young; one that is missing or broken must not break a list."""
    try:
        executor = find(home, handle.executor)
        at, known = _answers.get((home, handle), (-math.inf, None))
        if isinstance(known, Alive) and time.monotonic() - at < executor.poll_seconds:
            return known
        answer = time.monotonic(), executor.state(handle)
    except Exception as error:
        if handle.executor not in _silent:
            _silent.add(handle.executor)
            log(home, "an executor does not answer", level=logging.WARNING, executor=handle.executor, error=repr(error))
        return Unknown()
    _answers[home, handle] = answer
    return answer[1]
