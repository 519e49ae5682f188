"""What a run says of itself in the end: the document behind `sracl run --json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sracl_tui.runs.request import RunRequest

STAGES = ("import", "summaries", "vectors", "neighbors", "train", "evaluate")


@dataclass
class RunResult:
    """Filled as the run goes on; metrics stay empty for a run that did not get there."""

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
    """What kept the journal from being published; it is taken in later."""
    exit_code: int = 0

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        config = self.request.config
        leaks = {"leaks": self.leaks} if self.leaks else {}
        return {
            "run_id": self.request.run_id,
            "state": self.state,
            "reason": self.reason,
            "dataset": config.data.dataset,
            "config_hash": config.config_hash(),
            "seed": config.train.seed,
            "best_epoch": self.best_epoch,
            "epochs": self.epochs,
            "valid": self.valid,
            "test": self.test,
            **leaks,
            "cost": self.cost,
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }
