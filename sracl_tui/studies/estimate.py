"""What the missing runs of a study take: hours by measured speed, and dollars. Shared stages are counted once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.config import Config, content_hash
from sracl_tui.runs.dataset_access import preview_dataset
from sracl_tui.runs.execution.queue import default_workers
from sracl_tui.runs.stages.needs import Needs
from sracl_tui.services.run_plan import semantic_stages, training_estimate
from sracl_tui.studies.planning import Plan
from store.database.database import Store
from store.queue import Queue


@dataclass(frozen=True)
class VariantEstimate:
    """Training of one run of a variant."""

    variant: str
    dataset: str
    runs: int
    """Runs that are to be trained or continued."""
    seconds: float
    """Of one of them."""
    basis: str


@dataclass(frozen=True)
class Estimate:
    """Of all runs that are not finished."""

    variants: list[VariantEstimate]
    stage_seconds: float
    """Summaries, vectors and neighbors."""
    prompts: int
    usd_low: float | None
    usd_high: float | None
    """None where a price is unknown."""
    workers: int

    @property
    def hours(self) -> float:
        """On one worker."""
        return (sum(each.runs * each.seconds for each in self.variants) + self.stage_seconds) / 3600

    @property
    def wall_hours(self) -> float:
        """On all workers of the queue, which share the runs."""
        return self.hours / max(1, self.workers)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "hours": round(self.hours, 3),
            "wall_hours": round(self.wall_hours, 3),
            "workers": self.workers,
            "prompts": self.prompts,
            "usd": {"low": self.usd_low, "high": self.usd_high},
            "variants": [
                {
                    "variant": each.variant, "dataset": each.dataset, "runs": each.runs,
                    "minutes": round(each.seconds / 60, 2), "basis": each.basis,
                }
                for each in self.variants
            ],
        }  # fmt: skip


def estimate(plan: Plan, store: Store) -> Estimate:
    """Estimate the runs of a plan that are not finished, without asking any endpoint.

    Raises:
        LookupFailed: a data set is gone.
        ConfigError: a setting does not fit the provider.
    """
    counts: dict[tuple[str, str], list[Config]] = {}
    for run in plan.to_do():
        counts.setdefault((run.variant, run.dataset), []).append(run.config)
    loaded: dict[tuple[str, int | None], Any] = {}
    found: list[VariantEstimate] = []
    stages: set[str] = set()
    stage_seconds, prompts, low, high = 0.0, 0, 0.0, 0.0
    priced = True
    for (variant, name), configs in counts.items():
        config = configs[0]
        key = (name, config.data.max_users)
        if key not in loaded:
            loaded[key] = preview_dataset(store, name, max_users=key[1])
        needs = Needs.of(config, loaded[key])
        seconds, basis = training_estimate(needs, store)
        found.append(VariantEstimate(variant, name, len(configs), seconds, basis))
        semantic = content_hash(
            [config.data.model_dump(), config.semantics.model_dump(), config.retrieval.model_dump()]
        )
        if needs.textual and semantic not in stages:
            stages.add(semantic)
            quote: dict[str, Any] = {}
            stage_seconds += sum(stage["seconds"] for stage in semantic_stages(needs, store, quote))
            prompts += quote["prompts"] - quote["cached"] - quote["identical"]
            priced = priced and quote["usd"]["high"] is not None
            low += quote["usd"]["low"] or 0.0
            high += quote["usd"]["high"] or 0.0
    workers = Queue(store.home).wanted or default_workers(store.home)
    return Estimate(found, stage_seconds, prompts, low if priced else None, high if priced else None, workers)
