"""Dot products of hidden states with chosen rows of a table. Legend: B hidden states, C rows chosen for each, V rows, D width.

On the CPU it goes through them in pieces whose rows fit a core's cache, and keeps none of them for the gradients. Measured with B = 256, C = 257, D = 64, V = 2,420,
values and gradients, on one thread of a busy machine: 12.9 ms instead of 17.7 ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.cpu import by_hand

PIECE = 4096
"""Rows of the table at once."""


def chosen_scores(hidden: Tensor, table: Tensor, index: Tensor) -> Tensor:
    """(B, C) hidden (B, D) . table (V, D) at the rows `index` (B, C); nothing of size B x V is made."""
    if by_hand(hidden):
        return _OnCPU.apply(hidden, table, index)  # pyright: ignore[reportReturnType]
    return (F.embedding(index, table) @ hidden[:, :, None]).squeeze(2)


class _OnCPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, index: Tensor) -> Tensor:
        out = hidden.new_empty(index.shape)
        for h, chosen, scores in _pieces(hidden, index, out):
            torch.bmm(F.embedding(chosen, table), h[:, :, None], out=scores[:, :, None])
        ctx.save_for_backward(hidden, table, index)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, table, index = ctx.saved_tensors
        d_hidden, d_table = torch.empty_like(hidden), torch.zeros_like(table)
        for h, chosen, d_scores, d_h in _pieces(hidden, index, grads[0], d_hidden):
            torch.bmm(d_scores[:, None], F.embedding(chosen, table), out=d_h[:, None])
            d_table.index_add_(0, chosen.flatten(), (d_scores[:, :, None] * h[:, None]).flatten(0, 1))
        return d_hidden, d_table, None


def _pieces(hidden: Tensor, index: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Hidden states, indices and others (B, ...) with so many rows of the table at once that they stay in a core's cache."""
    size = max(1, PIECE // max(1, index.shape[1]))
    return zip(*(tensor.split(size) for tensor in (hidden, index, *others)), strict=True)
