"""Losses as functions of scores and hidden states. Legend: B rows, D width, V items, K sampled negatives."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.kernels import Kernels, first_derivative_alone, kernels_for
from engine.models.paired_loss import paired_cross_entropy


def recommendation_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """L_rec: mean cross-entropy of scores (B, V) over items 1..V against target item ids (B,)."""
    kernels = kernels_for(scores)
    if kernels is None or len(scores) == 0:
        return F.cross_entropy(scores, targets - 1)
    return _OnCPU.apply(scores, targets - 1, kernels)  # pyright: ignore[reportReturnType]


class _OnCPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, index: Tensor, kernels: Kernels) -> Tensor:
        scores = scores.contiguous()
        losses, slopes = scores.new_empty(len(scores)), torch.empty_like(scores)
        if int(index.min()) < 0 or int(index.max()) >= scores.shape[1]:
            raise IndexError("a target is no item")
        kernels.cross_entropy(scores, index.contiguous(), losses, slopes, *scores.shape)
        ctx.save_for_backward(slopes.div_(len(scores)))
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        first_derivative_alone()
        (slopes,) = ctx.saved_tensors
        return slopes if float(grads[0]) == 1 else slopes * grads[0], None, None


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


def draw_popular(targets: Tensor, count: int, *, sums: Tensor) -> tuple[Tensor, Tensor]:
    """(B, K) item ids, each with a probability in proportion to its weight and never the row's target (B,), and their log-probabilities.

    One uniform number a draw, from torch's global generator.

    Args:
        sums: (V + 1,) int64 running sums of the weights of items 0..V, of which that of item 0 is 0 and all others positive.
    """
    before, after = sums[targets - 1], sums[targets]
    others = (sums[-1] - (after - before))[:, None]  # (B, 1) the weight of all other items
    drawn = (torch.rand((len(targets), count), dtype=torch.float64, device=targets.device) * others).long()
    drawn += (drawn >= before[:, None]) * (after - before)[:, None]
    items = torch.searchsorted(sums, drawn, right=True)
    return items, ((sums[items] - sums[items - 1]).double() / others).log()


def corrected_softmax(positive: Tensor, negatives: Tensor, log_q: Tensor) -> Tensor:
    """Mean cross-entropy of the target (B,) among itself and K negatives (B, K), each less log(K q) for its log-probability log q (B, K).

    exp(s+) + sum_j exp(s-_j) / (K q_j) has the sum over all items as its mean (importance sampling: Bengio and Senecal, IEEE TNN 2008).
    The target is not drawn, so its score stays as it is (Khrylchenko et al., RecSys 2025).
    """
    return sampled_softmax(positive, negatives - (log_q + math.log(negatives.shape[1])).to(negatives))


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
    if symmetric:
        return paired_loss(anchors, positives, temperature=temperature, group_ids=group_ids)[0]
    barred = None if group_ids is None else _same_group(group_ids).fill_diagonal_(False)
    partner = torch.arange(count, device=anchors.device)
    return paired_cross_entropy(anchors, positives, partner, temperature=temperature, barred=barred)[0].mean()


def paired_loss(
    anchors: Tensor, positives: Tensor, *, temperature: float, group_ids: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Symmetric InfoNCE of at least two paired rows (B, D), what it compares, and the number of each row's partner (2B,).

    Log-shares (2B, 2B) of the rows, anchors first, without gradient: -inf where two are no negatives of each other, the row itself among these.
    """
    rows = torch.cat([anchors, positives])  # (2B, D)
    partner = torch.arange(len(rows), device=rows.device).roll(len(anchors))
    barred = None
    if group_ids is not None:
        barred = _same_group(torch.cat([group_ids, group_ids])).scatter_(1, partner[:, None], False)
    losses, log_shares = paired_cross_entropy(rows, None, partner, temperature=temperature, barred=barred)
    return losses.mean(), log_shares, partner


def _same_group(group_ids: Tensor) -> Tensor:
    """(B, B) whether two rows are of one group, by one number (B,) or any of several (B, G)."""
    same = group_ids[:, None] == group_ids[None]
    return same if group_ids.ndim == 1 else same.any(-1)
