"""Jobs that have summaries written and do nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from engine.config import Config
from engine.data.dataset import Dataset
from sracl_tui.runner.stages import Needs

KINDS = ("user", "item")


def needs_of(config: Config, dataset: Dataset, kinds: Sequence[str]) -> Needs:
    """What a config needs, of the given kinds of summaries only, whatever its contrasts."""
    return replace(Needs.of(config, dataset), users="user" in kinds, items="item" in kinds)


def document(result: Any) -> dict[str, Any]:
    """The JSON document behind `sracl summarize --json`."""
    config = result.request.config
    return {
        "run_id": result.request.run_id,
        "state": result.state,
        "reason": result.reason,
        "dataset": config.data.dataset,
        "provider": config.semantics.provider,
        "kinds": result.request.job["kinds"],
        "unit": config.semantics.unit,
        "cost": result.cost,
        "seconds": {stage: round(result.seconds[stage], 3) for stage in ("import", "summaries", "total")},
    }
