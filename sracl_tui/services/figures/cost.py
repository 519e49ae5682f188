"""What a gain costs: seconds, memory or dollars of each configuration against its difference from the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import ConfigError
from engine.metric_registry import title
from sracl_tui.services.figures.forest import tested_runs
from sracl_tui.services.figures.options import SPLITS, Cost, FigureOptions, chosen_metric
from sracl_tui.services.paired_tests import SeedSet, TestResult

if TYPE_CHECKING:
    from store.database.database import Store

AXES: dict[Cost, tuple[str, str]] = {
    "seconds": ("seconds_to_best", "training to the best epoch, seconds"),
    "step": ("seconds_per_step", "seconds per training step"),
    "memory": ("peak_memory", "peak memory, MiB"),
    "usd": ("usd_texts", "summaries, US dollars"),
}
"""Name in `comparison.RESOURCES`, and the axis, of each cost."""


@dataclass(frozen=True)
class CostPoint:
    """One configuration."""

    label: str
    cost: float
    """Mean over its seeds."""
    cost_sd: float | None
    """Sample standard deviation over the seeds; None for one seed."""
    gain: float
    """Difference from the baseline; 0 for the baseline itself."""
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class CostGain:
    """The whole figure."""

    title: str
    x_axis: str
    y_axis: str
    baseline: CostPoint
    points: list[CostPoint]
    note: str


def collect(store: Store, names: Sequence[str], options: FigureOptions) -> CostGain:
    """Costs of the runs, and the tests of `compare_runs` against the baseline.

    Raises:
        ConfigError: the runs cannot be compared, are of one configuration, or have no such cost.
        LookupFailed: a name is neither a run nor a group.
    """
    found = tested_runs(store, names, options, "cost")
    metric = chosen_metric(options.metric, list(dict.fromkeys(test.metric for test in found.tests)))
    tests = {test.b: test for test in found.tests if test.metric == metric}
    field, axis = AXES[options.cost or "seconds"]
    base = next(iter(tests.values())).a
    points = {
        one.label: _point(one, one.resources[field], tests.get(one.label))
        for one in found.sets
        if (one.label in tests or one.label == base) and field in one.resources
    }
    missing = [label for label in [base, *tests] if label not in points]
    if base not in points or len(points) < 2:
        raise ConfigError(
            f"{', '.join(missing)}: what it took is not known ({axis})",
            where="--figure cost",
            hint="--cost seconds, step, memory or usd; of imported ranks none is known.",
        )
    notes = ["Bars: 95 % interval of the gain, paired by user; ± standard deviation of the cost over seeds."]
    notes += [f"{one.text}." for one in found.equal]
    if missing:
        notes.append(f"Not known, so left out: {', '.join(missing)}.")
    return CostGain(
        title=f"Gain and cost against {base}: {found.dataset}, {SPLITS[found.split]} ranks of {found.users:,} users",
        x_axis=axis,
        y_axis=f"gain in {title(metric)}",
        baseline=points.pop(base),
        points=list(points.values()),
        note=" ".join(notes),
    )


def _point(one: SeedSet, costs: Sequence[float], test: TestResult | None) -> CostPoint:
    spread = float(np.std(costs, ddof=1)) if len(costs) > 1 else None
    if test is None:
        return CostPoint(one.label, float(np.mean(costs)), spread, 0.0, None, None, one.size)
    return CostPoint(one.label, float(np.mean(costs)), spread, test.difference, test.ci_low, test.ci_high, one.size)
