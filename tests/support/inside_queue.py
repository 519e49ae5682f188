"""The queue with its files, order and claims, but with runs in this process: they save the imports of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from sracl_tui.runs.execute import execute
from sracl_tui.runs.execution import queue, registry
from sracl_tui.runs.execution.base import Executor, Exited, Handle, ProcessState
from sracl_tui.runs.request import RunRequest
from store.home import Home


class Inside(Executor):
    """Executes a run while it is submitted."""

    submitted: ClassVar[list[str]] = []
    """Ids of runs, in the order in which they were executed."""
    before: ClassVar[Callable[[RunRequest], None] | None] = None
    """Called before each run, to stop what a test wants stopped."""
    listener: ClassVar[Callable[[object], None] | None] = None
    """Given the events of each run."""

    def submit(self, run_id: str, request: RunRequest, *, slot: str | None = None) -> Handle:
        """Execute it from its last checkpoint."""
        if Inside.before is not None:
            Inside.before(request)
        Inside.submitted.append(run_id)
        execute(self.home, request, quiet=True, resume=True, listener=Inside.listener or (lambda event: None))
        return Handle(run_id=run_id, id=run_id)

    def state(self, handle: Handle) -> ProcessState:
        """It has ended."""
        return Exited()

    def cancel(self, handle: Handle, *, force: bool = False) -> None:
        """It has ended."""


@contextmanager
def inside_queue() -> Iterator[type[Inside]]:
    """In this process, execute what the queue is given as soon as its workers are started."""
    Inside.submitted.clear()
    Inside.before = Inside.listener = None

    homes: set[Path] = set()

    def work(home: Home) -> dict[str, int]:
        homes.add(home.path)
        queue.work(home, "inside-0")
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(registry.VARIABLE, f"{Path(__file__)}:Inside")
        patch.setattr(registry, "find", lambda home, name: _named(home, name))
        patch.setattr(queue, "start_workers", work)
        yield Inside
    for home in homes:  # the next one to start a queue there finds no executor of this process
        (home / "queue" / "executor").unlink(missing_ok=True)


def _named(home: Home, name: str) -> Inside:
    executor = Inside(home)
    executor.name = "inside"
    return executor
