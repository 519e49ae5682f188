"""A validation metric or a loss over epochs: every seed, and mean and spread as far as all seeds have trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.metric_registry import by_cutoff, title, training_names
from sracl_tui.services.comparison import group_by_config, labels_of
from sracl_tui.services.figures.options import FigureOptions
from sracl_tui.services.paired_tests import differing_settings
from store.queries import runs

if TYPE_CHECKING:
    from store.database.database import Store
    from store.run_row import StoredRun

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SeedCurve:
    """One run."""

    seed: int
    epochs: Floats
    values: Floats
    best_epoch: int | None


@dataclass(frozen=True)
class EpochSet:
    """Runs of one configuration."""

    label: str
    curves: list[SeedCurve]
    epochs: Floats
    """(E,) epochs that all runs have."""
    mean: Floats
    """(E,) over the runs."""
    sd: Floats | None
    """(E,) sample standard deviation over the runs; None for one seed."""


@dataclass(frozen=True)
class EpochCurves:
    """The whole figure."""

    title: str
    axis: str
    sets: list[EpochSet]
    note: str


def collect(store: Store, names: Sequence[str], options: FigureOptions) -> EpochCurves:
    """Curves of runs, those of equal settings together.

    The metric is `hr@20`, `loss_cs` or, where a name is of both, `valid.NAME` or `train.NAME`; by default what selects the epoch.

    Raises:
        ConfigError: no run has finished an epoch, or they do not have the metric.
        LookupFailed: a name is neither a run nor a group.
    """
    rows = runs.select_runs(store, names)
    curves = {row["run_id"]: runs.curves(store, row["run_id"]) for row in rows}
    rows = [row for row in rows if curves[row["run_id"]]]
    if not rows:
        raise ConfigError("these runs have finished no epoch", where="--figure epochs")
    known = {(point["split"], point["name"]) for row in rows for point in curves[row["run_id"]]}
    split, name = _chosen(options.metric or f"valid.{rows[0]['config']['train']['select']}", known)
    groups = group_by_config(rows)
    labels = labels_of(groups, differing_settings(groups))
    sets = [_set(label, group, curves, split, name) for label, group in zip(labels, groups, strict=True)]
    where = ", ".join(dict.fromkeys(str(row["dataset_name"]) for row in rows))
    return EpochCurves(
        title=f"{'Validation' if split == 'valid' else 'Training'} {title(name)} by epoch: {where}",
        axis=title(name),
        sets=[one for one in sets if one.curves],
        note=_note(sets),
    )


def _chosen(text: str, known: set[tuple[str, str]]) -> tuple[str, str]:
    """Split and name that a text means."""
    split, dot, name = text.partition(".")
    wanted = [(split, name)] if dot else [("valid", text), ("train", text)]
    for one in [*wanted, *((split, name.lower()) for split, name in wanted)]:
        if one in known:
            return one
    valid = by_cutoff(name for split, name in known if split == "valid" and name != "seconds")
    training = training_names(name for split, name in known if split == "train" and name != "seconds")
    raise ConfigError(
        f"these runs have no curve of {title(text)}",
        where="--metric",
        hint=f"Validation: {', '.join(valid)}. Training: {', '.join(training)}.",
    )


def _set(label: str, rows: list[StoredRun], curves: dict[str, list[dict[str, Any]]], split: str, name: str) -> EpochSet:
    made = []
    for row in rows:
        points = [
            (point["epoch"], point["value"])
            for point in curves[row["run_id"]]
            if (point["split"], point["name"]) == (split, name) and point["value"] is not None
        ]
        if points:
            epochs, values = np.array(points, dtype=np.float64).T
            made.append(SeedCurve(row["seed"], epochs, values, row["best_epoch"]))
    shared = made[0].epochs if made else np.zeros(0)
    for curve in made[1:]:
        shared = np.intersect1d(shared, curve.epochs)
    table = np.stack([curve.values[np.isin(curve.epochs, shared)] for curve in made]) if made else np.zeros((1, 0))
    spread = table.std(axis=0, ddof=1) if len(made) > 1 else None
    return EpochSet(label, made, shared, table.mean(axis=0), spread)


def _note(sets: list[EpochSet]) -> str:
    counts = sorted({len(one.curves) for one in sets if one.curves})
    dots = "Dots: the epoch of each run that was kept."
    if counts == [1]:
        return f"One seed each. {dots}"
    return f"Mean ± standard deviation over seeds, as far as all of them have trained; thin: each seed. {dots}"
