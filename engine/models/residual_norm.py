"""LayerNorm of a sum, with dropout of one summand or of the result. Legend: T tokens, K inputs, D width."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from engine.models.dropout import KEEP_ALL, Drawn, draw, dropout
from engine.models.kernels import Kernels, first_derivative_alone, kernels_for
from engine.models.linear import linear


def projected_norm(x: Tensor, layer: nn.Linear, residual: Tensor, norm: nn.LayerNorm, rate: float) -> Tensor:
    """(T, D) LayerNorm(dropout(layer(x)) + residual) for x (T, K) and residual (T, D)."""
    kernels = kernels_for(x, rows=(len(layer.weight),))
    if kernels is None:
        return norm(dropout(layer(x), rate, True) + residual)
    keep = draw(residual.numel(), rate)
    return _apply(linear(x, layer.weight), layer.bias, residual, norm, keep, KEEP_ALL, kernels)


def normed_sum(x: Tensor, other: Tensor, norm: nn.LayerNorm, rate: float) -> Tensor:
    """(T, D) dropout(LayerNorm(x + other))."""
    kernels = kernels_for(x, rows=(x.shape[1],))
    if kernels is None:
        return dropout(norm(x + other), rate, True)
    return _apply(x, None, other, norm, KEEP_ALL, draw(x.numel(), rate), kernels)


def _apply(
    x: Tensor, bias: Tensor | None, residual: Tensor, norm: nn.LayerNorm, before: Drawn, behind: Drawn, kernels: Kernels
) -> Tensor:
    weights = (norm.weight, norm.bias, norm.eps)
    return _OnCPU.apply(x, bias, residual, *weights, (before, behind), kernels)  # pyright: ignore[reportReturnType]


class _OnCPU(torch.autograd.Function):
    """LayerNorm(keep_before (x + bias) + residual) keep_behind, in one pass forward and one backward."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        bias: Tensor | None,
        residual: Tensor,
        gain: Tensor,
        shift: Tensor,
        eps: float,
        drawn: tuple[Drawn, Drawn],
        kernels: Kernels,
    ) -> Tensor:
        x, residual = x.contiguous(), residual.contiguous()
        out, normal, inverse = torch.empty_like(x), torch.empty_like(x), x.new_empty(len(x))
        kernels.norm(x, bias, drawn[0], residual, gain, shift, eps, drawn[1], out, normal, inverse, *x.shape)
        ctx.save_for_backward(normal, inverse, gain)
        ctx.drawn, ctx.kernels, ctx.biased = drawn, kernels, bias is not None
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        first_derivative_alone()
        normal, inverse, gain = ctx.saved_tensors
        before, behind = ctx.drawn
        d_residual, (d_gain, d_shift, d_bias) = torch.empty_like(normal), gain.new_empty(3, len(gain))
        d_x = d_residual if before is KEEP_ALL else torch.empty_like(normal)
        sums = (d_gain, d_shift, d_bias)
        d_out = grads[0].contiguous()
        ctx.kernels.norm_backward(d_out, normal, inverse, gain, before, behind, d_x, d_residual, *sums, *normal.shape)
        return d_x, d_bias if ctx.biased else None, d_residual, d_gain, d_shift, None, None, None
