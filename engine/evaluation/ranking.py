"""Full ranking over all items, in chunks. Legend: B users, V items, D width, K items of a list."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.config import EvaluateConfig
from engine.data.batching.windows import Windows
from engine.data.dataset import Dataset
from engine.errors import TrainingError
from engine.models.backbone import Backbone, weight_of
from engine.models.cpu import gathered

SCORES_AT_ONCE = 16_000_000
"""Scores held at once (64 MB): the full matrix of users x items is never built."""


@torch.no_grad()
def encode(backbone: Backbone, windows: Windows, anchor_ids: NDArray[np.int64], *, batch: int = 2048) -> Tensor:
    """h (B, D) of anchors, without dropout, on the backbone's device."""
    training = backbone.training
    backbone.eval()
    device = weight_of(backbone).device
    ids = torch.from_numpy(anchor_ids)
    hidden = gathered((backbone(windows.pack(part, device)) for part in ids.split(batch)), len(ids))
    backbone.train(training)
    return hidden


@torch.no_grad()
def rank_targets(
    backbone: Backbone, windows: Windows, dataset: Dataset, anchor_ids: NDArray[np.int64], config: EvaluateConfig
) -> NDArray[np.int32]:
    """Rank (B,) of each anchor's target among all V items.

    `ties = worst` counts the items that score at least as high, the target included (method of the paper's code);
    `best` counts those that score higher, plus one. With `mask_seen` the prefix's items are left out, the target never.

    Raises:
        TrainingError: a score is not a number.
    """
    return rank_and_list(backbone, windows, dataset, anchor_ids, config, k=0)[0]


@torch.no_grad()
def rank_and_list(
    backbone: Backbone,
    windows: Windows,
    dataset: Dataset,
    anchor_ids: NDArray[np.int64],
    config: EvaluateConfig,
    *,
    k: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """`rank_targets`, and the best items (B, min(k, V)) by the same scores, in the same pass.

    Of equal scores the lower id comes first, except for which of them are still among the k. Masked items are left out, with
    0 in their place at the end.
    """
    hidden = encode(backbone, windows, anchor_ids)
    k = min(k, len(dataset.items))
    chunk = max(1, SCORES_AT_ONCE // len(dataset.items))
    ranks = np.zeros(len(anchor_ids), np.int32)
    lists = np.zeros((len(anchor_ids), k), np.int32)
    for start in range(0, len(anchor_ids), chunk):
        ids = anchor_ids[start : start + chunk]
        scores = backbone.scores(hidden[start : start + chunk])  # (B, V)
        target = windows.targets[torch.from_numpy(ids)].to(scores.device)[:, None] - 1
        own = scores.gather(1, target)  # (B, 1)
        if not torch.isfinite(scores).all():
            raise TrainingError("a score is not a number", hint="The training has diverged: lower train.lr.")
        if config.mask_seen:
            rows, items = _seen(dataset, ids)
            scores[rows.to(scores.device), items.to(scores.device)] = -math.inf
            scores.scatter_(1, target, own)
        above = scores >= own if config.ties == "worst" else scores > own
        ranks[start : start + chunk] = (above.sum(1) + (config.ties == "best")).cpu().numpy()
        if k:
            lists[start : start + chunk] = _best(scores, k)
        del scores, above  # else they stay while the next ones are made
    return ranks, lists


def _best(scores: Tensor, k: int) -> NDArray[np.int32]:
    """Ids of the k items (B, K) with the highest of the scores (B, V); 0 where the score is minus infinity."""
    values, places = (found.cpu().numpy() for found in scores.topk(k))
    order = np.lexsort((places, -values))
    ids = np.where(values > -math.inf, places + 1, 0)
    return np.take_along_axis(ids, order, axis=1).astype(np.int32)


def _seen(dataset: Dataset, anchor_ids: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Row and item index (from 0) of every item in the whole prefixes, beyond the window too."""
    lengths = dataset.anchors.positions[anchor_ids - 1].astype(np.int64)
    starts = dataset.anchors.ends[anchor_ids - 1] - lengths
    rows = np.repeat(np.arange(len(anchor_ids)), lengths)
    offsets = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    items = dataset.sequence[np.repeat(starts, lengths) + offsets].astype(np.int64) - 1
    return torch.from_numpy(rows), torch.from_numpy(items)
