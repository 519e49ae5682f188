"""A comparison as rows of text: metrics of each side, paired tests, settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.metric_registry import ordered, title, training_names, value_text

if TYPE_CHECKING:
    from sracl_tui.services.comparison import Comparison
    from sracl_tui.services.paired_tests import SeedSet


RESOURCES = {
    "seconds_per_step": ("seconds per step", ".4f"),
    "seconds_to_best": ("s to the best epoch", ",.1f"),
    "peak_memory": ("peak memory, MiB", ",.0f"),
    "usd_texts": ("texts, $", ",.4f"),
}
"""Title and format of each of `comparison.RESOURCES`."""
RESOURCES_NOTE = (
    "Seconds are of training alone, without validation and the stages before it; memory is of the process. Dollars are what the texts "
    "that a run used have cost, whichever run paid for them. Compare times of one machine only."
)
TEST_HEADS = ("", "metric", "difference:r", "relative:r", "95 % interval:r", "p:r", "p Holm:r", "conclusion")
CONCLUSIONS = {"better": "▲ better", "worse": "▼ worse", "not shown": "= no significant difference"}


def metric_rows(found: Comparison, *, signs: bool) -> tuple[list[str], list[list[str]]]:
    """Titles, and a row per seed set: mean ± standard deviation; `signs` marks what differs from the baseline."""
    names = ordered(name for one in found.sets for name in one.metrics)
    sure = {(test.b, test.metric) for test in found.tests if test.verdict != "not shown"} if signs else set()
    rows = [
        [s.label, str(s.size), *(_measured(s, name) + ("*" if (s.label, name) in sure else "") for name in names)]
        for s in found.sets
    ]
    return ["", "n", *map(title, names)], rows


def training_rows(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Titles, and a row per seed set: what was measured in training at the best epoch, mean ± standard deviation."""
    names = training_names(name for one in found.sets for name in one.training)
    rows = [
        [one.label, str(one.size), *(_spread(name, one.training.get(name)) for name in names)] for one in found.sets
    ]
    return ["", "n", *map(title, names)], rows


def resource_rows(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Titles, and a row per seed set: what its runs took, mean ± standard deviation; imported runs have dashes."""
    names = [name for name in RESOURCES if any(name in one.resources for one in found.sets)]
    rows = [
        [one.label, str(one.size), *(_mean_and_sd(one.resources.get(name), partial(_format, name)) for name in names)]
        for one in found.sets
    ]
    return ["", "n", *(RESOURCES[name][0] for name in names)], rows


def _format(name: str, value: float) -> str:
    return format(value, RESOURCES[name][1])


def _mean_and_sd(values: Sequence[float] | None, text: Callable[[float], str]) -> str:
    if not values:
        return "-"
    mean = text(float(np.mean(values)))
    return mean if len(values) == 1 else f"{mean} ± {text(float(np.std(values, ddof=1)))}"


def _measured(seed_set: SeedSet, metric: str) -> str:
    return _spread(metric, seed_set.metrics.get(metric))


def _spread(name: str, values: Sequence[float] | None) -> str:
    """Mean and, of several values, sample standard deviation; a dash for no values."""
    return _mean_and_sd(values, lambda value: value_text(name, value))


def test_cells(test: Any, found: Comparison) -> tuple[str, ...]:
    """A test as cells: sets, metric, difference, relative, interval, p, p after Holm, verdict.

    A p-value that rests on a borrowed seed variance has a dagger, and what is shown says so, or that it is about two models.
    """
    base = next(s for s in found.sets if s.label == test.a).mean(test.metric)
    return (
        f"{test.b} - {test.a}",
        title(test.metric),
        f"{test.difference:+.4f}",
        f"{100 * test.difference / base:+.1f} %" if base else "-",
        f"{test.ci_low:+.4f} to {test.ci_high:+.4f}",
        p_text(test.p_value) + (" †" if test.scope == "borrowed" else ""),
        p_text(test.p_holm),
        CONCLUSIONS[test.verdict] + (f", {test.scope}" if test.scope and test.verdict != "not shown" else ""),
    )


def p_text(value: float) -> str:
    """A p-value with four decimals."""
    return "<.0001" if value < 0.0001 else f"{value:.4f}"


def setting_text(value: Any) -> str:
    """A setting's value; a dash for none."""
    return "-" if value is None else str(value)
