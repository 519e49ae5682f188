"""HR, NDCG and MRR at cutoffs, from the ranks of the targets: one target per user.

A rank counts from 1. HR@K = share of ranks up to K; NDCG@K = mean of 1 / log2(rank + 1) over them (else 0; the ideal
is 1); MRR@K = mean of 1 / rank over them (else 0).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset
from engine.events import Metric

HEAD_SHARE = 0.2
"""Head items: the most popular fifth of the items with training interactions."""
SHORT, LONG = 5, 10
"""Histories up to SHORT items are short, those over LONG items long."""


def gains(ranks: NDArray[np.integer], k: int) -> dict[str, NDArray[np.float64]]:
    """Per-user contributions (U,) to `hr@k`, `ndcg@k` and `mrr@k`; a metric is the mean of its row."""
    hit = ranks <= k
    return {
        f"hr@{k}": hit.astype(np.float64),
        f"ndcg@{k}": np.where(hit, 1.0 / np.log2(ranks + 1.0), 0.0),
        f"mrr@{k}": np.where(hit, 1.0 / ranks, 0.0),
    }


def ranking_metrics(ranks: NDArray[np.integer], ks: tuple[int, ...]) -> dict[str, float]:
    """Every metric at every cutoff for ranks (U,); nothing for no ranks.

    Raises:
        ValueError: a rank is below 1.
    """
    if len(ranks) == 0:
        return {}
    if ranks.min() < 1:
        raise ValueError(f"ranks count from 1, not {ranks.min()}")
    return {name: float(values.mean()) for k in ks for name, values in gains(ranks, k).items()}


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
    counts = dataset.train_counts
    order = np.argsort(-counts, kind="stable")
    head = np.zeros(len(counts), bool)
    head[order[: int(np.ceil(HEAD_SHARE * np.count_nonzero(counts)))]] = True
    head[counts == 0] = False
    return head


def grouped_metrics(
    ranks: NDArray[np.integer], masks: dict[str, NDArray[np.bool_]], *, split: str, ks: tuple[int, ...]
) -> tuple[Metric, ...]:
    """Metrics of each subgroup that has users, with its number of users as `n`."""
    measured: list[Metric] = []
    for subgroup, mask in masks.items():
        if mask.any():
            values = ranking_metrics(ranks[mask], ks) | {"n": float(mask.sum())}
            measured += [
                Metric(split=split, subgroup=subgroup, name=name, value=value) for name, value in values.items()
            ]
    return tuple(measured)
