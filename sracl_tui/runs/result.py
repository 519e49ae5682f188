"""The result of a run: filled while it is executed, or read back from the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sracl_tui.runs.request import RunRequest

if TYPE_CHECKING:
    from store.database.database import Store
    from store.home import Home

STAGES = ("import", "summaries", "vectors", "neighbors", "train", "evaluate")


@dataclass
class RunResult:
    """State, metrics, costs and seconds of a run; metrics stay empty where the run ended before its test."""

    request: RunRequest
    state: str = "running"
    reason: str | None = None
    best_epoch: int | None = None
    epochs: int = 0
    valid: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    leaks: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of a run of kind `leaks`: shares by pool."""
    cost: dict[str, float] = field(default_factory=lambda: {"usd": 0.0, "calls": 0, "cached": 0})
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys([*STAGES, "total"], 0.0))
    error: BaseException | None = None
    warnings: list[str] = field(default_factory=list)
    """Why the journal could not be published; a later command ingests it."""
    exit_code: int = 0

    def document(self) -> dict[str, Any]:
        """The JSON document of `sracl run --json`; seconds by stage."""
        config = self.request.config
        leaks = {"leaks": self.leaks} if self.leaks else {}
        return {
            "run_id": self.request.run_id,
            "state": self.state,
            "reason": self.reason,
            "dataset": config.data.dataset,
            "config_hash": self.request.config_hash,
            "seed": config.train.seed,
            "best_epoch": self.best_epoch,
            "epochs": self.epochs,
            "valid": self.valid,
            "test": self.test,
            **leaks,
            "cost": self.cost,
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }


def read_result(store: Store, run_id: str) -> RunResult:
    """The result of a run that has ended.

    Raises:
        LookupFailed: there is no such run.
        ConfigError: its request cannot be read.
    """
    from store.queries import runs

    row = runs.find_run(store, run_id)
    result = RunResult(RunRequest.read(store.home.run_folder(row["run_id"])), state=row["state"], reason=row["reason"])
    result.best_epoch, result.epochs = row["best_epoch"], row["epoch"]
    result.seconds |= row["timings"] or {}
    for metric in runs.final_metrics(store, row["run_id"]):
        if metric["subgroup"] == "all" and metric["name"] != "n":
            (result.valid if metric["split"] == "valid" else result.test)[metric["name"]] = metric["value"]
    return result


def finished_equal(home: Home, request: RunRequest) -> RunResult | None:
    """The result of a finished run with the same group, settings, seed and data; none where there is none."""
    if request.group is None:
        return None
    from store.opening import open_store
    from store.queries import runs

    config = request.config
    with open_store(home) as store:
        run_id = runs.finished_equal(
            store, config_hash=request.config_hash, seed=config.train.seed, group=request.group
        )
        return None if run_id is None else read_result(store, run_id)
