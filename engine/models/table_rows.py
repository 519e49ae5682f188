"""Rows of a table by number, whose gradient all cores sum. Legend: T rows read, V rows, D width."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.kernels import Kernels, first_derivative_alone, kernels_for


def table_rows(table: nn.Embedding, index: Tensor) -> Tensor:
    """(T, D) rows of a table (V, D) with numbers `index` (T,)."""
    kernels = None if table.sparse else kernels_for(table.weight)
    if kernels is None:
        return table(index)
    without = -1 if table.padding_idx is None else table.padding_idx
    return _OnCPU.apply(table.weight, index, without, kernels)  # pyright: ignore[reportReturnType]


class _OnCPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, without: int, kernels: Kernels) -> Tensor:
        ctx.save_for_backward(index)
        ctx.shape, ctx.without, ctx.kernels = table.shape, without, kernels
        return F.embedding(index, table)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        first_derivative_alone()
        (index,), rows = ctx.saved_tensors, grads[0].contiguous()
        d_table = rows.new_zeros(ctx.shape)
        ctx.kernels.add_rows(rows, index.contiguous(), d_table, len(rows), *ctx.shape, ctx.without)
        return d_table, None, None, None
