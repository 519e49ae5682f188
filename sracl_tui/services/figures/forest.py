"""Forest plot: differences with their intervals, a row each, beside the margin within which they do not matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import ConfigError
from engine.metric_registry import title
from sracl_tui.services.comparison import Comparison, compare_runs
from sracl_tui.services.figures.options import SPLITS, FigureOptions, also_tested, chosen_metric

if TYPE_CHECKING:
    from store.database.database import Store

VERDICTS = {"better": "better", "worse": "worse", "not shown": "no difference shown"}


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One difference with its interval."""

    label: str
    n: str = ""
    """Of how many seeds it is, such as `n = 3`."""
    estimate: float
    low: float | None
    """None where the interval is not known, or has no lower end."""
    high: float | None
    margin: float | None = None
    """Differences up to this, in either direction, do not matter; drawn as a band."""
    verdict: str = ""
    """`better`, `supported`, `worse`, `contradicted`, `equivalent` and `undecided` have a color each; other words are gray."""


@dataclass(frozen=True, kw_only=True)
class ForestPanel:
    """Rows in one unit, on one axis."""

    axis: str
    rows: Sequence[ForestRow]
    format: str = ".4f"
    """How a value is written."""


@dataclass(frozen=True, kw_only=True)
class Forest:
    """The whole figure."""

    title: str
    note: str
    panels: Sequence[ForestPanel]


def tested_runs(store: Store, names: Sequence[str], options: FigureOptions, figure: str) -> Comparison:
    """The runs as `compare_runs` tests them.

    Raises:
        ConfigError: they cannot be compared, do not have the metric, or there is nothing to test.
        LookupFailed: a name is neither a run nor a group.
    """
    split, also = options.split or "valid", also_tested(options.metric)
    found = compare_runs(store, names, split=split, baseline=options.baseline, also=also)
    if not found.tests:
        why = "; ".join(one.text for one in found.equal) or "these runs have no two configurations with the same users"
        raise ConfigError(
            f"there is no difference to show: {why}",
            where=f"--figure {figure}",
            hint="Name a group with a backbone, or two runs of the same data.",
        )
    return found


def collect(store: Store, names: Sequence[str], options: FigureOptions) -> Forest:
    """The tests of `compare_runs` in one metric: every configuration against the baseline.

    Raises:
        ConfigError: the runs cannot be compared, are of one configuration, or do not have the metric.
        LookupFailed: a name is neither a run nor a group.
    """
    found = tested_runs(store, names, options, "forest")
    metric = chosen_metric(options.metric, list(dict.fromkeys(test.metric for test in found.tests)))
    tests = [test for test in found.tests if test.metric == metric]
    sizes = {one.label: one.size for one in found.sets}
    base = tests[0].a
    rows = [
        ForestRow(
            label=test.b,
            n=f"n = {sizes[test.b]}",
            estimate=test.difference,
            low=test.ci_low,
            high=test.ci_high,
            verdict=VERDICTS[test.verdict],
        )
        for test in tests
    ]
    split = SPLITS[found.split]
    notes = [f"n: seeds; {base} has {sizes[base]}. 95 % intervals, paired by user; conclusions at .05 after Holm."]
    notes += [f"{one.text}." for one in found.equal]
    if 1 in sizes.values():
        notes.append("A configuration with one seed stands for its trained model.")
    return Forest(
        title=f"{title(metric)} against {base}: {found.dataset}, {split} ranks of {found.users:,} users",
        note=" ".join(notes),
        panels=[ForestPanel(axis=f"difference in {title(metric)}", rows=rows)],
    )
