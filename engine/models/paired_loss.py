"""Cross-entropy of each row's partner among all columns, with the gradient in as few products and copies as it needs.

Of a symmetric contrast rows and columns are the same vectors, so the gradients of both sides come out of one product. The scores are barred in
place, and what stays for backward is the logarithm of the shares alone. The same values and gradients as `F.cross_entropy` of the scores, up
to rounding.

Legend: N rows, M columns, D width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def paired_cross_entropy(
    rows: Tensor, columns: Tensor | None, partner: Tensor, *, temperature: float, barred: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """For each row the cross-entropy (N,) of its partner by dot products, and log-shares of all columns (N, M) without gradient.

    Args:
        rows: (N, D)
        columns: (M, D); none: the rows themselves, of which none is a column of its own.
        partner: (N,) the column of each row that is to be found.
        barred: (N, M) columns that a row does not see, its partner never among them; none: it sees all.
    """
    return _Paired.apply(rows, columns, partner, temperature, barred)  # pyright: ignore[reportReturnType]


class _Paired(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, columns: Tensor | None, partner: Tensor, temperature: float, barred: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        scaled = rows if temperature == 1 else rows / temperature
        logits = scaled @ (rows if columns is None else columns).T
        if barred is not None:
            logits.masked_fill_(barred, -math.inf)
        if columns is None:
            logits.fill_diagonal_(-math.inf)
        log_shares = logits.log_softmax(1)
        ctx.save_for_backward(scaled, columns, partner, log_shares)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(log_shares)
        return -log_shares.gather(1, partner[:, None])[:, 0], log_shares

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scaled, columns, partner, log_shares = ctx.saved_tensors
        slopes = log_shares.exp()
        slopes.scatter_add_(1, partner[:, None], slopes.new_full((len(partner), 1), -1.0))
        slopes.mul_(grads[0][:, None])
        if columns is None:
            return (slopes + slopes.T) @ scaled, None, None, None, None
        d_rows = (slopes @ columns).div_(ctx.temperature) if ctx.needs_input_grad[0] else None
        return d_rows, slopes.T @ scaled if ctx.needs_input_grad[1] else None, None, None, None
