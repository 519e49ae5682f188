"""The settings of what a run measures, and of what it records over its epochs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from engine.metric_registry import DEFAULT as RANK_METRICS
from engine.metric_registry import LISTED as LIST_METRICS
from engine.part_settings import words_of
from engine.sections import Hash, Section


class EvaluateConfig(Section):
    """Full ranking over all items, of one held-out target per user."""

    ks: tuple[int, ...] = Field(default=(5, 10, 20), min_length=1)
    """Cutoffs of the metrics."""
    metrics: Annotated[tuple[str, ...], Hash(never=True)] = Field(default=(*RANK_METRICS, *LIST_METRICS), min_length=1)
    """Metrics that are measured (docs/metrics.md), such as map, coverage, gini, popularity; the last three on test alone."""
    mask_seen: bool = False
    """Whether items of the user's own history are excluded from the ranking."""
    ties: Literal["worst", "best"] = "worst"
    """Rank of a target with tied scores: after the others (as in the paper) or before them."""

    @field_validator("metrics", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return words_of(value)


class RecordConfig(Section):
    """Some users over the epochs, for the Inspector: ranks of their validation targets, weights of their neighbors."""

    snapshots: Annotated[int, Hash(never=True)] = Field(default=10, ge=0, le=1000)
    """Recorded epochs beside the best and the last: before training, then at growing distances; 0 records nothing."""
    users: Annotated[int, Hash(never=True)] = Field(default=1000, ge=1)
    """Users at most, evenly among all; fewer where their recordings would take more than 20 MB."""
