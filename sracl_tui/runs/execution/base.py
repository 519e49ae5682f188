"""What an executor is: it executes runs somewhere - here, on a cluster - and is the only one that knows how they fare.

An executor of your own is a subclass in one file: see docs/extending.md. It is named in `SRACL_EXECUTOR`.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from typing import ClassVar

from engine.errors import EngineError
from sracl_tui.runs.request import RunRequest
from store.home import VARIABLE, Home
from store.journal.submission import SUBMITTED
from store.process_state import Alive, Exited, Handle, ProcessState, Unknown

__all__ = ["LOG", "Alive", "Executor", "Exited", "Handle", "ProcessState", "Unknown"]

LOG = "launch.log"
"""The file in a run's folder to which its process's output is appended: the reason where it ended before its journal began."""


class Executor(ABC):
    """Executes runs. One object serves a home in a process, maybe from several threads."""

    name: str = ""
    """Under which it was chosen, and which column `runs.executor` keeps; set when it is looked up."""
    poll_seconds: ClassVar[float] = 0.2
    """Between two questions about a run, by a worker of the queue or a screen: more where asking is slow or costly."""
    waits_only: ClassVar[bool] = False
    """Whether a worker of the queue has nothing to do but wait, as other machines execute the runs and do not publish: one process then
    serves all slots, and takes their journals in."""

    def __init__(self, home: Home) -> None:
        self.home = home

    @abstractmethod
    def submit(self, run_id: str, request: RunRequest, *, slot: str | None = None) -> Handle:
        """Have `command(run_id)` executed with `variables(run_id)` in its environment, once; return without waiting for it.

        The run's folder exists, with the request in it. A run that was begun continues from its checkpoint.

        Args:
            slot: one of `slots()`, where the queue starts the run.

        Raises:
            EngineError: it was not accepted.
            OSError: the process cannot be started.
        """

    @abstractmethod
    def state(self, handle: Handle) -> ProcessState:
        """Whether a run lives, from any process of any machine that has the home.

        `Alive` also for one that waits for its turn, `Unknown` where it cannot be found out now. An exception counts as `Unknown`.
        """

    @abstractmethod
    def cancel(self, handle: Handle, *, force: bool = False) -> None:
        """Ask a run to stop, and return at once: SIGTERM, after which it saves; a second one ends it sooner.

        Args:
            force: end it without asking: SIGKILL.

        Raises:
            LookupFailed: it cannot be reached from here; the message says where it runs.
        """

    def slots(self) -> list[str]:
        """Names of the places that execute a run at a time, `KIND-NUMBER`; the queue has a worker for each."""
        return [f"{self.name}-0"]

    def run_elsewhere(self, words: list[str]) -> str:
        """Run `sracl` with these words where runs are executed, and return what it prints: `sracl doctor` asks so.

        Raises:
            EngineError: that is not possible, or it failed.
        """
        raise EngineError(f"{self.name} runs no commands for this machine")

    def wait(self, handle: Handle) -> Exited | Unknown:
        """Block until a run does not live any more."""
        while isinstance(state := self.state(handle), Alive):
            time.sleep(self.poll_seconds)
        return state

    def pid(self, handle: Handle) -> int | None:
        """PID of the run's process on its machine, where the executor knows it."""
        return None

    def describe(self, handle: Handle) -> str:
        """Who executes the run, for people: `PID 7`, `slurm 4711`."""
        return f"{handle.executor} {handle.id}" if handle.id else handle.executor

    def command(self, run_id: str) -> list[str]:
        """The command that executes a run whose folder has its request, from its last checkpoint where there is one."""
        return [sys.executable, "-P", "-m", "sracl_tui.cli", *resume_words(run_id)]

    def variables(self, run_id: str) -> dict[str, str]:
        """Environment variables that the command needs beside those of this process."""
        return {VARIABLE: str(self.home.path), SUBMITTED: run_id}


def resume_words(run_id: str) -> list[str]:
    """The words after `sracl` of the command that executes a run."""
    return ["run", "--resume", run_id, "--headless"]
