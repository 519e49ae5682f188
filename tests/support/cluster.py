"""An executor that tests play: its runs are jobs of a machine that nobody here can see, so without a lock or a PID."""

from __future__ import annotations

from typing import Any, ClassVar

from engine.errors import EngineError
from sracl_tui.runs import environment
from sracl_tui.runs.execution.base import Alive, Executor, Handle, ProcessState
from sracl_tui.runs.request import RunRequest
from store.errors import LookupFailed
from store.journal.journal import Journal, segments

NODE: dict[str, Any] = {"pid": 1, "host": "node7", "boot_id": "of node7", "process_started": 3.5}
"""Facts of `run_started` as the other machine gives them; PID 1 lives on every machine."""


class Cluster(Executor):
    """Jobs are numbers; a test says how they fare."""

    poll_seconds = 0.01
    jobs: ClassVar[dict[str, ProcessState]] = {}
    cancelled: ClassVar[list[tuple[str, bool]]] = []
    asked: ClassVar[int] = 0
    journals: ClassVar[dict[str, Journal]] = {}
    plan: ClassVar[list[Any]] = []
    """What becomes of the jobs to come: a function of cluster and run, a message with which one is refused, or a state."""

    @classmethod
    def reset(cls) -> None:
        """Forget what earlier tests did."""
        for kept in (cls.jobs, cls.cancelled, cls.journals, cls.plan):
            kept.clear()

    def submit(self, run_id: str, request: RunRequest, *, slot: str | None = None) -> Handle:
        """Give the job the next number and what `plan` has for it."""
        plan = self.plan.pop(0) if self.plan else Alive()
        if isinstance(plan, str):
            raise EngineError(plan)
        number = str(len(self.jobs) + 1)
        self.jobs[number] = Alive() if callable(plan) else plan
        if callable(plan):
            plan(self, run_id, number)
        return Handle(run_id=run_id, id=number)

    def state(self, handle: Handle) -> ProcessState:
        """As the test says."""
        type(self).asked += 1
        return self.jobs[str(handle.id)]

    def cancel(self, handle: Handle, *, force: bool = False) -> None:
        """Note it; the test plays what follows."""
        if str(handle.id) not in self.jobs:
            raise LookupFailed(f"there is no job {handle.id}")
        self.cancelled.append((str(handle.id), force))

    def begin(self, run_id: str, number: str | None) -> Journal:
        """What the process of a job writes when it begins, on its machine."""
        folder = self.home.run_folder(run_id)
        created = bool(segments(folder))
        self.journals[run_id] = journal = Journal(folder)
        if not created:
            journal.append("run_created", RunRequest.read(folder).created())
        journal.append("run_started", {"executor": self.name, "handle": number, **NODE, **environment.describe()})
        return journal

    def end(self, run_id: str, number: str, after: ProcessState, **fields: Any) -> None:
        """What it writes when it ends, and the state of its job from then on."""
        self.journals[run_id].append("run_ended", {"reason": None, **fields})
        self.journals[run_id].close()
        self.jobs[number] = after
