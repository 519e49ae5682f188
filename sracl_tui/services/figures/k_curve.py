"""A metric over the number of neighbors k, with its interval over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import ConfigError
from engine.metric_registry import ordered, title
from sracl_tui.services.comparison import compare_runs
from sracl_tui.services.figures.options import SPLITS, FigureOptions, chosen_metric, seeds_text
from sracl_tui.services.paired_tests import SeedSet

if TYPE_CHECKING:
    from store.database.database import Store

PATH = "retrieval.k"


@dataclass(frozen=True)
class SeedMean:
    """Mean of a metric over seeds, with the t interval of it at 95 %; no interval for one seed."""

    mean: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class KLine:
    """Configurations that differ in k alone."""

    label: str
    ks: list[int]
    """Ascending."""
    points: list[SeedMean]


@dataclass(frozen=True)
class KCurve:
    """The whole figure."""

    title: str
    axis: str
    lines: list[KLine]
    references: dict[str, SeedMean]
    """Configurations with one k, such as a backbone that has no neighbors: level lines."""
    note: str


def seed_mean(values: Sequence[float]) -> SeedMean:
    """Mean and 95 % t interval of one value per seed."""
    from scipy import stats

    mean = float(np.mean(values))
    if len(values) < 2:
        return SeedMean(mean, None, None, len(values))
    reach = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return SeedMean(mean, mean - reach, mean + reach, len(values))


def collect(store: Store, names: Sequence[str], options: FigureOptions) -> KCurve:
    """Seed sets by k; what differs otherwise becomes another line.

    Raises:
        ConfigError: the runs cannot be compared, or have one k, or do not have the metric.
        LookupFailed: a name is neither a run nor a group.
    """
    found = compare_runs(store, names, split=options.split or "valid", baseline=options.baseline)
    metric = chosen_metric(options.metric, ordered(name for one in found.sets for name in one.metrics))
    ks = found.settings.get(PATH, [])
    others = {path: values for path, values in found.settings.items() if path != PATH}
    lines: dict[tuple[str, ...], dict[int, SeedSet]] = {}
    for place, one in enumerate(found.sets):
        if ks and metric in one.metrics:
            key = tuple(str(values[place]) for values in others.values())
            lines.setdefault(key, {})[int(ks[place])] = one
    curves = {key: by_k for key, by_k in lines.items() if len(by_k) > 1}
    if not curves:
        raise ConfigError(
            "these runs have one k: there is no curve over the number of neighbors",
            where="--figure k-curve",
            hint="Make some: sracl run --vary k=1,5,10,20 --seeds 3 --group k-curve",
        )
    made = [_line(_label(key, list(others), list(curves)), by_k, metric) for key, by_k in curves.items()]
    level = {
        one.label: seed_mean(one.metrics[metric])
        for key, by_k in lines.items()
        if key not in curves
        for one in by_k.values()
    }
    references = {_with_seeds(label, [mean]): mean for label, mean in level.items()}
    counts = {point.seeds for line in made for point in line.points} | {one.seeds for one in references.values()}
    return KCurve(
        title=f"{title(metric)} by number of neighbors: {found.dataset}, {SPLITS[found.split]} ranks of {found.users:,} users",
        axis=title(metric),
        lines=made,
        references=references,
        note=_note(counts),
    )


def _line(label: str, by_k: dict[int, SeedSet], metric: str) -> KLine:
    ks = sorted(by_k)
    points = [seed_mean(by_k[k].metrics[metric]) for k in ks]
    return KLine(_with_seeds(label, points), ks, points)


def _with_seeds(label: str, points: Sequence[SeedMean]) -> str:
    counts = sorted({point.seeds for point in points})
    seeds = seeds_text(counts[-1])
    return f"{label}, {seeds if len(counts) == 1 else f'{counts[0]} to {seeds}'}"


def _label(key: tuple[str, ...], paths: list[str], keys: list[tuple[str, ...]]) -> str:
    """What tells a line from the other lines; settings that only level lines differ in are left out."""
    differing = [place for place in range(len(paths)) if len({one[place] for one in keys}) > 1]
    return ", ".join(f"{paths[place].rpartition('.')[2]} = {key[place]}" for place in differing) or "k neighbors"


def _note(counts: set[int]) -> str:
    if counts == {1}:
        return "One seed each: no interval."
    gap = "; one seed has none" if 1 in counts else ""
    return f"Means with 95 % t intervals over seeds{gap}."
