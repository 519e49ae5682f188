"""Jobs that have summaries written and do nothing else."""

from __future__ import annotations

from typing import Any

KINDS = ("user", "item")


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
