"""Losses as functions of scores and hidden states. Legend: B rows, D width, V items, K sampled negatives."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def recommendation_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """L_rec: mean cross-entropy of scores (B, V) over items 1..V against target item ids (B,)."""
    return F.cross_entropy(scores, targets - 1)


def draw_negatives(targets: Tensor, count: int, *, items: int) -> Tensor:
    """(B, K) item ids, each uniform over 1..`items` without the row's target (B,), from torch's global generator."""
    drawn = torch.randint(1, items, (len(targets), count), device=targets.device)
    return drawn + (drawn >= targets[:, None])


def binary_cross_entropy(positive: Tensor, negatives: Tensor) -> Tensor:
    """Mean of -log sigma(s+) - mean_j log(1 - sigma(s-_j)) for scores of targets (B,) and of their negatives (B, K)."""
    return (F.softplus(-positive) + F.softplus(negatives).mean(1)).mean()


def sampled_softmax(positive: Tensor, negatives: Tensor) -> Tensor:
    """Mean cross-entropy of the target (B,) among itself and its K negatives (B, K).

    Without correction for the sampling: of uniform draws it is the same for all items.
    """
    scores = torch.cat([positive[:, None], negatives], 1)  # (B, 1 + K)
    return F.cross_entropy(scores, scores.new_zeros(len(scores), dtype=torch.long))


def generalized_bce(positive: Tensor, negatives: Tensor, *, items: int, t: float) -> Tensor:
    """gBCE of scores of targets (B,) and negatives (B, K): sigma(s+)^beta in place of sigma(s+) (gSASRec, RecSys 2023).

    beta = 1 - t (1 - r) with the share r = K / (V - 1), at most 1, of the other items that is sampled. t = 0 is the binary
    cross-entropy; t = 1 makes up for all the overconfidence that sampling gives.
    """
    count = negatives.shape[1]
    beta = 1 - t * (1 - min(1.0, count / (items - 1)))
    return (beta * F.softplus(-positive) + F.softplus(negatives).sum(1)).mean() / (count + 1)


def info_nce(
    anchors: Tensor, positives: Tensor, *, temperature: float, symmetric: bool, group_ids: Tensor | None = None
) -> Tensor:
    """Mean InfoNCE of paired rows (B, D) under the dot product; 0 for fewer than two pairs.

    Symmetric (released code): every one of the 2B rows is an anchor, its partner the positive, the other 2B - 2
    rows the negatives. One-way (paper): anchors against positives alone, with B - 1 negatives.

    Args:
        group_ids: (B,) pairs of one group are no negatives of each other (false negatives); (B, G) those that share
            any of their G groups; none: all are.
    """
    count = len(anchors)
    if count < 2:
        return (anchors.sum() + positives.sum()) * 0.0
    if not symmetric:
        logits = anchors @ positives.T / temperature  # (B, B)
        if group_ids is not None:
            logits = logits.masked_fill(_same_group(group_ids).fill_diagonal_(False), -math.inf)
        return F.cross_entropy(logits, torch.arange(count, device=logits.device))
    rows = torch.cat([anchors, positives])  # (2B, D)
    logits = rows @ rows.T / temperature
    partner = torch.arange(2 * count, device=logits.device).roll(count)
    if group_ids is None:
        barred = torch.eye(2 * count, dtype=torch.bool, device=logits.device)
    else:
        barred = _same_group(torch.cat([group_ids, group_ids]))
        barred[torch.arange(2 * count, device=partner.device), partner] = False
    logits = logits.masked_fill(barred, -math.inf)
    return F.cross_entropy(logits, partner)


def _same_group(group_ids: Tensor) -> Tensor:
    """(B, B) whether two rows are of one group, by one number (B,) or any of several (B, G)."""
    same = group_ids[:, None] == group_ids[None]
    return same if group_ids.ndim == 1 else same.any(-1)
