"""Who executes a run, and what that executor says about it: values that store and executors share."""

from __future__ import annotations

from dataclasses import dataclass

LOCAL = "local"
"""The executor that starts runs as processes of this machine."""


@dataclass(frozen=True, kw_only=True)
class Handle:
    """A run as its executor knows it."""

    run_id: str
    executor: str = LOCAL
    id: str | None = None
    """What the executor calls it: `PID@HOST` of a process, the number of a job. None while it is being submitted."""


@dataclass(frozen=True)
class Alive:
    """It runs, or waits at its executor for its turn."""


@dataclass(frozen=True)
class Exited:
    """It does not run any more; fields that the executor does not know are None."""

    code: int | None = None
    """Exit code, where no signal ended it."""
    signal: str | None = None
    """Name of the signal that ended it, such as `SIGKILL`."""
    reason: str | None = None
    """A sentence for people, such as `out of memory`."""


@dataclass(frozen=True)
class Unknown:
    """The executor cannot tell, as for a process of a machine that is out of reach: the run's heartbeat decides."""


ProcessState = Alive | Exited | Unknown
