"""Cross-entropy over all items without their scores: exact, in chunks of items. Legend: B rows, D width, V items, C items at once.

Forward keeps each row's maximum and its sum of exponentials, which a new maximum rescales; backward computes each chunk's scores again from
the row's log-sum-exp. So memory is B x C beside the gradients, and a chunk that fits a core's cache is also faster than the whole row.
The same values and gradients as `losses.recommendation_loss` up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

LARGE = 100_000
"""Items beyond which scores are computed in chunks unless a chunk is given."""
CHUNK = 8_192
"""Items at once then."""


def items_at_once(given: int, items: int) -> int:
    """C for a setting, of which 0 leaves it to the number of items; 0 for all at once."""
    return given or (CHUNK if items > LARGE else 0)


def chunked_cross_entropy(hidden: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor, *, chunk: int) -> Tensor:
    """Mean cross-entropy of hidden (B, D) . table (V, D) + bias (V,) against item ids 1..V (B,), `chunk` items at once."""
    return _Chunked.apply(hidden, table, bias, targets - 1, chunk)  # pyright: ignore[reportReturnType]


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, bias: Tensor | None, index: Tensor, chunk: int) -> Tensor:
        top = hidden.new_full((len(hidden),), -math.inf)
        total, own = torch.zeros_like(top), torch.zeros_like(top)
        for place, scores in _scores(hidden, table, bias, chunk):
            inside, column = _columns(index, place)
            own = torch.where(inside, scores.gather(1, column)[:, 0], own)
            higher = torch.maximum(top, scores.amax(1))
            total = total * (top - higher).exp() + scores.sub_(higher[:, None]).exp_().sum(1)
            top = higher
        level = top + total.log()  # (B,) log-sum-exp
        ctx.save_for_backward(hidden, table, bias, index, level)
        ctx.chunk = chunk
        return (level - own).mean()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, table, bias, index, level = ctx.saved_tensors
        d_hidden, d_table = torch.zeros_like(hidden), torch.empty_like(table)
        d_bias = None if bias is None else torch.empty_like(bias)
        scale = grads[0] / len(hidden)
        scaled = hidden * scale
        for place, scores in _scores(hidden, table, bias, ctx.chunk):
            inside, column = _columns(index, place)
            shares = scores.sub_(level[:, None]).exp_()
            shares.scatter_add_(1, column, -inside.to(shares.dtype)[:, None])
            d_hidden.addmm_(shares, table[place])
            torch.mm(shares.T, scaled, out=d_table[place])
            if d_bias is not None:
                d_bias[place] = shares.sum(0) * scale
        return d_hidden * scale, d_table, d_bias, None, None


def _scores(hidden: Tensor, table: Tensor, bias: Tensor | None, chunk: int) -> Iterator[tuple[slice, Tensor]]:
    """Places in the table and their scores (B, C), in memory that the next ones overwrite."""
    memory = hidden.new_empty(len(hidden) * min(chunk, len(table)))
    for start in range(0, len(table), chunk):
        place = slice(start, min(start + chunk, len(table)))
        scores = memory[: len(hidden) * (place.stop - start)].view(len(hidden), -1)
        torch.mm(hidden, table[place].T, out=scores)
        yield place, scores if bias is None else scores.add_(bias[place])


def _columns(index: Tensor, place: slice) -> tuple[Tensor, Tensor]:
    """Which targets (B,) stand in a chunk, and their columns (B, 1) there; any column for the others."""
    column = index - place.start
    inside = (column >= 0) & (index < place.stop)
    return inside, column.clamp(0, place.stop - place.start - 1)[:, None]
