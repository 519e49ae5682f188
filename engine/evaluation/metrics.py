"""The metrics of engine/metric_registry.py, from the ranks of the targets (one target per user) and from recommended lists.

Legend: U users, B anchors, V items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset
from engine.events import Metric
from engine.metric_registry import DEFAULT, RecommendedLists, find, full_names, split_name

HEAD_SHARE = 0.2
"""Head items: the most popular fifth of the items with training interactions."""
SHORT, LONG = 5, 10
"""Histories up to SHORT items are short, those over LONG items long."""


def gains(
    ranks: NDArray[np.integer], ks: Sequence[int], names: Sequence[str] = DEFAULT
) -> dict[str, NDArray[np.float64]]:
    """Contributions (U,) of each user to the metrics that have one, by full name; a metric is the mean of its row.

    Raises:
        ConfigError: an installed metric cannot be imported.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for full in full_names(names, ks):
        name, k = split_name(full)
        metric = find(name)
        if metric is not None and metric.of_ranks is not None:
            found[full] = np.asarray(metric.of_ranks(ranks, k), np.float64)
    return found


def ranking_metrics(
    ranks: NDArray[np.integer], ks: tuple[int, ...], names: Sequence[str] = DEFAULT
) -> dict[str, float]:
    """Every metric that is computed from ranks (U,), at every cutoff; nothing for no ranks.

    Raises:
        ValueError: a rank is below 1.
    """
    if len(ranks) == 0:
        return {}
    if ranks.min() < 1:
        raise ValueError(f"ranks count from 1, not {ranks.min()}")
    return {name: float(values.mean()) for name, values in gains(ranks, ks, names).items()}


def list_metrics(lists: RecommendedLists, ks: Sequence[int], names: Sequence[str] = DEFAULT) -> dict[str, float]:
    """Every metric that is computed from recommended lists, at every cutoff; an undefined value is left out."""
    found: dict[str, float] = {}
    for full in full_names(names, ks):
        name, k = split_name(full)
        metric = find(name)
        if metric is not None and metric.of_lists is not None:
            found[full] = float(metric.of_lists(lists, k))
    return {full: value for full, value in found.items() if math.isfinite(value)}


def needs_lists(names: Sequence[str]) -> bool:
    """Whether any of the metrics is computed from recommended lists."""
    return any(metric.of_lists is not None for name in names if (metric := find(name)) is not None)


def subgroups(dataset: Dataset, anchor_ids: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Masks (B,) of the anchors' users by name: `all`; tied or untied users; history length; target popularity."""
    anchors, row = dataset.anchors, anchor_ids - 1
    lengths, targets = anchors.positions[row], anchors.targets[row]
    tied = dataset.tied[anchors.user_ids[row] - 1]
    head = head_items(dataset)[targets]
    return {
        "all": np.ones(len(row), bool),
        "tied": tied,
        "untied": ~tied,
        "short": lengths <= SHORT,
        "medium": (lengths > SHORT) & (lengths <= LONG),
        "long": lengths > LONG,
        "head": head,
        "tail": ~head,
    }


def head_items(dataset: Dataset) -> NDArray[np.bool_]:
    """(V + 1,) the fifth of the items that are most popular in training; equal counts: the lower id first."""
    return most_popular(dataset.train_counts, HEAD_SHARE)


def most_popular(counts: NDArray[np.integer], share: float) -> NDArray[np.bool_]:
    """(V + 1,) the most popular items, a share of those with interactions in training (V + 1,); equal counts: the lower id first."""
    order = np.argsort(-counts, kind="stable")
    chosen = np.zeros(len(counts), bool)
    chosen[order[: int(np.ceil(share * np.count_nonzero(counts)))]] = True
    chosen[counts == 0] = False
    return chosen


def grouped_metrics(
    ranks: NDArray[np.integer],
    masks: dict[str, NDArray[np.bool_]],
    *,
    split: str,
    ks: tuple[int, ...],
    names: Sequence[str] = DEFAULT,
    lists: RecommendedLists | None = None,
) -> tuple[Metric, ...]:
    """Metrics of each subgroup that has users, with its number of users as `n`; those of `lists` have all users alone."""
    measured: list[Metric] = []
    for subgroup, mask in masks.items():
        if mask.any():
            values = ranking_metrics(ranks[mask], ks, names) | {"n": float(mask.sum())}
            measured += [
                Metric(split=split, subgroup=subgroup, name=name, value=value) for name, value in values.items()
            ]
    if lists is not None:
        measured += [
            Metric(split=split, name=name, value=value) for name, value in list_metrics(lists, ks, names).items()
        ]
    return tuple(measured)
