"""The executors by name. An executor is imported when it is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from engine.registry import Registry
from sracl_tui.runs import own_code
from store.home import Home
from store.journal.submission import read_handle
from store.process_state import LOCAL, Handle
from store.queue import Queue

if TYPE_CHECKING:
    from sracl_tui.runs.execution.base import Executor

VARIABLE = "SRACL_EXECUTOR"
"""Names the executor of runs that are launched, resumed or started by the queue from now on."""
EXECUTORS = Registry(
    kind="executor",
    where=VARIABLE,
    group="sracl.executors",
    base="sracl_tui.runs.execution.base:Executor",
    ours={
        LOCAL: "sracl_tui.runs.execution.local:LocalExecutor",
        "ray": "sracl_tui.runs.execution.ray:RayExecutor",
        "slurm": "sracl_tui.runs.execution.slurm:SlurmExecutor",
    },
    example="docs/extending.md has one that works.",
)
_executors: dict[tuple[str, Home], Executor] = {}


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
    return named(home, os.environ.get(VARIABLE) or LOCAL, by=VARIABLE)


def named(home: Home, name: str, *, by: str) -> Executor:
    """The executor that a person named, which allows its code, if that is their own.

    Args:
        by: the option or variable with the name.

    Raises:
        ConfigError: there is none of this name.
    """
    name = EXECUTORS.absolute(name)
    own_code.allow_named(home, [name], by=by)
    return find(home, name)


def of_queue(home: Home) -> Executor:
    """The executor that the queue was started on, else the default one.

    Raises:
        ConfigError: there is none of this name any more.
    """
    name = Queue(home).executor
    return find(home, name) if name else default(home)


def of_run(home: Home, run_id: str) -> tuple[Executor, Handle]:
    """The executor that a run was given to last, and its handle.

    Raises:
        ConfigError: that executor is not installed here.
    """
    handle = read_handle(home.run_folder(run_id))
    return find(home, handle.executor), handle
