"""What a job is given: the request, the journal, the result to fill, and the ways to stop and to run another request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from engine.errors import StopRequested
from sracl_tui.runs import resume_check
from sracl_tui.runs.stages.clock import Clock

if TYPE_CHECKING:
    from engine.data.dataset import Dataset
    from sracl_tui.runs.recorder import Recorder
    from sracl_tui.runs.request import RunRequest
    from sracl_tui.runs.result import RunResult
    from store.database.database import Store
    from store.home import Home


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """A run while it is executed."""

    home: Home
    request: RunRequest
    recorder: Recorder
    result: RunResult
    """Metrics, costs and seconds; the job fills it in."""
    stop: Callable[[], bool]
    """True once the run has been asked to stop."""
    resume: bool
    """Whether the run continues in its own folder, from its last checkpoint."""
    run_nested: Callable[[RunRequest], RunResult]
    """Executes another request to its end inside this run, without alerts."""

    @cached_property
    def clock(self) -> Clock:
        """Times the stages; their seconds and costs are those of the result."""
        return Clock(self.recorder.report, self.result.seconds, self.result.cost, self.request.run_id)

    def check_stop(self) -> None:
        """Give a stop request its chance between two stages.

        Raises:
            StopRequested: the run has been asked to stop.
        """
        if self.stop():
            raise StopRequested

    def open_dataset(self, store: Store) -> Dataset:
        """Stage `import`: the dataset of the settings, recorded as `dataset_used`.

        Raises:
            LookupFailed: there is no such dataset.
            ConfigError: a resumed run began with other data.
        """
        from sracl_tui.runs.dataset_access import open_dataset

        data = self.request.config.data
        with self.clock.stage("import") as outcome:
            dataset = open_dataset(store, data.dataset, max_users=data.max_users)
            outcome["detail"] = f"{dataset.name}: {dataset.users:,} users, {len(dataset.items):,} items"
        used: dict[str, Any] = {
            "dataset_id": dataset.dataset_id,
            "dataset_sha256": dataset.sha256,
            "dataset_name": dataset.name,
        }
        if self.resume:
            resume_check.check_data(self.recorder.folder, used, self.request.run_id)
        self.recorder.write("dataset_used", **used)
        return dataset


class Job(Protocol):
    """The work of one kind of run. An error that it raises becomes the run's state and reason."""

    def __call__(self, context: JobContext) -> None:
        """Do the work."""
        ...
