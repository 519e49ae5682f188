"""The three parts of the training loss (paper sections 3.2 to 3.5). Legend: B rows, D width, V items."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def recommendation_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """L_rec: mean cross-entropy of scores (B, V) over items 1..V against target item ids (B,)."""
    return F.cross_entropy(scores, targets - 1)


def info_nce(
    anchors: Tensor, positives: Tensor, *, temperature: float, symmetric: bool, group_ids: Tensor | None = None
) -> Tensor:
    """Mean InfoNCE of paired rows (B, D) under the dot product; 0 for fewer than two pairs.

    Symmetric (released code): every one of the 2B rows is an anchor, its partner the positive, the other 2B - 2
    rows the negatives. One-way (paper): anchors against positives alone, with B - 1 negatives.

    Args:
        group_ids: (B,) pairs of one group are no negatives of each other (false negatives); none: all are.
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
        barred = _same_group(group_ids.repeat(2))
        barred[torch.arange(2 * count, device=partner.device), partner] = False
    logits = logits.masked_fill(barred, -math.inf)
    return F.cross_entropy(logits, partner)


def _same_group(group_ids: Tensor) -> Tensor:
    """(B, B) whether two rows are of one group."""
    return group_ids[:, None] == group_ids[None]
