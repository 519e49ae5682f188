"""Self-attention over packed blocks: one way for the CPU, one for other devices, with the same values and gradients.

Legend: C sequences of one length L, Q queries of each (L, or the last one), H heads, D width, d = D / H, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.models.dropout import dropout, keep_mask

Blocks = Sequence[tuple[int, int]]
"""(C, L) of each block, in order of the tokens."""


@dataclass(frozen=True)
class How:
    """What attends to what. `last_only`: a sequence has one query, its last token, which sees all of it."""

    blocks: Blocks
    heads: int
    causal: bool
    last_only: bool
    dropout: float
    """Rate for the weights; 0 outside training."""

    def future(self, length: int) -> bool:
        """Whether queries must not see what follows."""
        return self.causal and not self.last_only and length > 1


def attend(query: Tensor, key_value: Tensor, how: How) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of every block and head: (T or B, D) for query (T or B, D), key_value (T, 2D)."""
    if query.device.type == "cpu":
        return _OnCPU.apply(query, key_value, how)  # pyright: ignore[reportReturnType]
    return attend_by_block(query, key_value, how)


def attend_by_block(query: Tensor, key_value: Tensor, how: How) -> Tensor:
    """The same as one product per block: few launches for a GPU, but copies."""
    attended: list[Tensor] = []
    queries = [count * (1 if how.last_only else length) for count, length in how.blocks]
    tokens = [count * length for count, length in how.blocks]
    for (count, length), q, kv in zip(how.blocks, query.split(queries), key_value.split(tokens), strict=True):
        q = q.view(count, -1, how.heads, q.shape[1] // how.heads).transpose(1, 2)  # (C, H, Q, d)
        k, v = kv.view(count, length, 2, how.heads, -1).permute(2, 0, 3, 1, 4)  # (C, H, L, d) each
        scores = q @ k.transpose(2, 3) / math.sqrt(k.shape[-1])  # (C, H, Q, L)
        if how.future(length):
            scores = scores.masked_fill(_future(length, scores.device), -math.inf)
        weights = dropout(scores.softmax(-1), how.dropout, how.dropout > 0)
        attended.append((weights @ v).transpose(1, 2).flatten(2).flatten(0, 1))  # (C * Q, D)
    return torch.cat(attended)


def _future(length: int, device: torch.device | str = "cpu") -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=device).triu_(1)


class _OnCPU(torch.autograd.Function):
    """Head by head on strided views: BLAS reads queries, keys and values where they lie, and gradients go where they belong.

    As one product over (C, H) they would be copied first, one after the other, and their gradients thrice: with 20 lengths in
    a batch that takes as long as the arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key_value: Tensor, how: How) -> Tensor:
        out = torch.empty_like(query)
        kept: list[Tensor] = []
        for length, (q, o), (k, v) in _parts(how, (query, out), key_value):
            weights = _weights(q, k, how, length)
            mask, dropped = None, weights
            if how.dropout:
                count, places, heads, _ = q.shape
                drawn = keep_mask((count, heads, places, length), how.dropout, weights.dtype)
                mask = drawn.transpose(0, 1)  # drawn in the order of the other way
                dropped = weights * mask
            for head in range(how.heads):
                o[:, :, head] = torch.bmm(dropped[head], v[:, :, head])
            kept += [weights, dropped] if mask is None else [weights, dropped, mask]
        if any(ctx.needs_input_grad):
            ctx.how = how
            ctx.save_for_backward(query, key_value, *kept)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        how: How = ctx.how
        query, key_value, *kept = ctx.saved_tensors
        d_query, d_key_value = torch.empty_like(query), torch.empty_like(key_value)
        left = iter(kept)
        blocks = _parts(how, (query, grads[0], d_query), key_value, d_key_value)
        for _, (q, d_o, d_q), (k, v, d_k, d_v) in blocks:
            weights, dropped = next(left), next(left)
            d_weights = torch.empty_like(weights)
            for head in range(how.heads):
                d_v[:, :, head] = torch.bmm(dropped[head].transpose(1, 2), d_o[:, :, head])
                torch.bmm(d_o[:, :, head], v[:, :, head].transpose(1, 2), out=d_weights[head])
            if how.dropout:
                d_weights *= next(left)
            d_scores = torch.ops.aten._softmax_backward_data(d_weights, weights, -1, weights.dtype).div_(
                math.sqrt(q.shape[3])
            )
            for head in range(how.heads):
                d_q[:, :, head] = torch.bmm(d_scores[head], k[:, :, head])
                d_k[:, :, head] = torch.bmm(d_scores[head].transpose(1, 2), q[:, :, head])
        return d_query, d_key_value, None


def _parts(
    how: How, queried: Sequence[Tensor], *paired: Tensor
) -> Iterator[tuple[int, tuple[Tensor, ...], tuple[Tensor, ...]]]:
    """Length, views (C, Q, H, d) of tensors (T or B, D), and views (C, L, H, d) of both halves of tensors (T, 2D)."""
    asked = token = 0
    for count, length in how.blocks:
        queries = 1 if how.last_only else length
        rows, tokens = slice(asked, asked + count * queries), slice(token, token + count * length)
        asked, token = rows.stop, tokens.stop
        halves = [half for each in paired for half in each[tokens].view(count, length, 2, how.heads, -1).unbind(2)]
        yield length, tuple(each[rows].view(count, queries, how.heads, -1) for each in queried), tuple(halves)


def _weights(q: Tensor, k: Tensor, how: How, length: int) -> Tensor:
    """(H, C, Q, L) of queries (C, Q, H, d) and keys (C, L, H, d), before dropout."""
    count, queries, heads, width = q.shape
    scores = q.new_empty(heads, count, queries, length)
    for head in range(heads):
        torch.bmm(q[:, :, head], k[:, :, head].transpose(1, 2), out=scores[head])
    scores.div_(math.sqrt(width))
    if how.future(length):
        scores.masked_fill_(_future(length), -math.inf)
    return scores.softmax(-1)
