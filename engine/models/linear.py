"""x W^T + b. Legend: T rows, K inputs, N outputs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.kernels import Kernels, first_derivative_alone, kernels_for


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(T, N) for x (T, K), weight (N, K) and bias (N,)."""
    kernels = kernels_for(x, products=tuple(weight.shape))
    if kernels is None:
        return F.linear(x, weight, bias)
    return _OnCPU.apply(x, weight, bias, kernels)  # pyright: ignore[reportReturnType]


class _OnCPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, kernels: Kernels) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        out = x.new_empty(len(x), len(weight))
        kernels.linear(x, weight, bias, out, len(x), x.shape[1], len(weight))
        ctx.save_for_backward(x, weight)
        ctx.kernels, ctx.biased = kernels, bias is not None
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        first_derivative_alone()
        x, weight = ctx.saved_tensors
        d_x, d_weight = torch.empty_like(x), torch.empty_like(weight)
        d_bias = weight.new_empty(len(weight)) if ctx.biased else None
        d_out = grads[0].contiguous()
        ctx.kernels.linear_backward(x, weight, d_out, d_x, d_weight, d_bias, len(x), x.shape[1], len(weight))
        return d_x, d_weight, d_bias, None
