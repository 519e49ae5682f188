"""The job of each kind of run. A job's module, and with it torch, is imported when a run of its kind begins."""

from __future__ import annotations

from importlib import import_module

from engine.errors import ConfigError
from sracl_tui.runs.jobs.base import Job

JOBS = {
    "train": "sracl_tui.runs.jobs.train:train",
    "summarize": "sracl_tui.runs.jobs.summarize:summarize",
    "neighbors": "sracl_tui.runs.jobs.neighbors:find_neighbors",
    "leaks": "sracl_tui.runs.jobs.leaks:measure_leaks",
    "search": "sracl_tui.runs.jobs.encode:encode_set",
    "collect": "sracl_tui.runs.jobs.collect:collect",
    "ranks": "sracl_tui.runs.jobs.imported_ranks:import_ranks",
}
"""Module and function by `RunRequest.kind`."""


def find_job(kind: str) -> Job:
    """The job of a kind of run.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in JOBS:
        raise ConfigError(f"there is no kind of run {kind!r}", where="kind", hint=f"Kinds: {', '.join(JOBS)}.")
    module, _, function = JOBS[kind].partition(":")
    return getattr(import_module(module), function)
