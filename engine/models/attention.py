"""Self-attention over packed blocks: between all tokens of a sequence, and of its last token alone.

Legend: B sequences, C of one length L in a block, T tokens, H heads, D width, d = D / H.

Each has a kernel for the CPU (kernels.c), an implementation by torch's operators for a CPU without it, and one for other devices, with the
same values and gradients, and on a CPU the same dropout masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from engine.models.cpu import by_hand
from engine.models.dropout import Drawn, draw, keep_mask
from engine.models.kernels import LANES, Kernels, first_derivative_alone, kernels_for

Blocks = Sequence[tuple[int, int]]
"""(C, L) of each block, in order of the tokens."""


@dataclass(frozen=True)
class AttentionSpec:
    """Which tokens attend to which, in spec many heads, and with what dropout."""

    blocks: Blocks
    heads: int
    causal: bool
    """Whether a token attends to itself and earlier tokens alone; the last token attends to its whole sequence anyway."""
    dropout: float
    """Rate for the weights; 0 outside training."""
    padding_mask: Tensor | None = None
    """(C, L) true at padding tokens of a single block, which no token attends to; what they attend to does not matter."""


def attend(qkv: Tensor, spec: AttentionSpec) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of every block and head: (T, D) for queries, keys and values (T, 3D)."""
    sizes = [count * length * length for count, length in spec.blocks]
    kernels = _kernels(spec, qkv)
    if kernels is not None:
        keep = draw(sum(sizes) * spec.heads, spec.dropout)
        return _Kernel.apply(qkv, keep, spec, kernels)  # pyright: ignore[reportReturnType]
    mask = _draw_mask(spec, sizes, qkv)
    if by_hand(qkv) and spec.padding_mask is None:
        return _OnCPU.apply(qkv, mask, spec)  # pyright: ignore[reportReturnType]
    return attend_by_block(qkv, mask, spec)


def attend_by_block(qkv: Tensor, mask: Tensor | None, spec: AttentionSpec) -> Tensor:
    """`attend` as one product per block: few launches for a GPU, at the price of copies."""
    attended: list[Tensor] = []
    for (count, length), rows, part in _blocks(spec, mask, square=True):
        q, k, v = qkv[rows].view(count, length, 3, spec.heads, -1).permute(2, 0, 3, 1, 4)  # (C, H, L, d) each
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3]) + _causal_bias(spec, length, q)  # (C, H, L, L)
        weights = _without_padding(scores, spec).softmax(-1)
        if part is not None:
            weights = weights * part.view(spec.heads, count, length, length).transpose(0, 1)
        attended.append((weights @ v).transpose(1, 2).flatten(2).flatten(0, 1))  # (C * L, D)
    return torch.cat(attended)


def attend_last(
    query: Tensor, tokens: Tensor, key: Tensor, value: Tensor, value_bias: Tensor, spec: AttentionSpec
) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of each sequence's last token: (B, D) for query (B, D) and all tokens (T, D).

    Keys and values are tokens @ key^T and tokens @ value^T + value_bias, but they are not computed: q (K x) = (q K) x and
    sum_t w_t (V x_t) = V (sum_t w_t x_t), so the weights `key` and `value` (D, D) meet B queries, not T tokens. A bias of
    the keys adds the same to all scores of a query, which softmax takes out again: it has no part in it.
    """
    width, heads = query.shape[1], spec.heads
    queries = query.view(-1, heads, width // heads).transpose(0, 1) @ key.view(heads, -1, width)  # (H, B, D)
    queries = (queries / math.sqrt(width // heads)).transpose(0, 1).contiguous()  # (B, H, D)
    pooled, share = _pool(queries, tokens, spec)
    values = pooled.transpose(0, 1) @ value.view(heads, -1, width).transpose(1, 2)  # (H, B, d)
    values = values + share.T[:, :, None] * value_bias.view(heads, 1, -1)
    return values.transpose(0, 1).flatten(1)  # (B, D)


def _pool(queries: Tensor, tokens: Tensor, spec: AttentionSpec) -> tuple[Tensor, Tensor]:
    kernels = _kernels(spec, queries)
    if kernels is not None:
        keep = draw(spec.heads * len(tokens), spec.dropout)
        return _PoolKernel.apply(queries, tokens, keep, spec, kernels)  # pyright: ignore[reportReturnType]
    mask = _draw_mask(spec, [count * length for count, length in spec.blocks], queries)
    if by_hand(queries) and spec.padding_mask is None:
        return _PoolOnCPU.apply(queries, tokens, mask, spec)  # pyright: ignore[reportReturnType]
    return pool_by_block(queries, tokens, mask, spec)


def pool_by_block(queries: Tensor, tokens: Tensor, mask: Tensor | None, spec: AttentionSpec) -> tuple[Tensor, Tensor]:
    """Sums of tokens (B, H, D), weighted by softmax(queries . token) of queries (B, H, D), and the weights' sums (B, H)."""
    pooled: list[Tensor] = []
    shares: list[Tensor] = []
    before = 0
    for (count, length), rows, part in _blocks(spec, mask, square=False):
        x = tokens[rows].view(count, length, -1)  # (C, L, D)
        scores = queries[before : before + count] @ x.transpose(1, 2)  # (C, H, L)
        weights = _without_padding(scores, spec).softmax(-1)
        if part is not None:
            weights = weights * part.view_as(weights)
        pooled.append(weights @ x)
        shares.append(weights.sum(-1))
        before += count
    return torch.cat(pooled), torch.cat(shares)


def _kernels(spec: AttentionSpec, x: Tensor) -> Kernels | None:
    longest = max((length for _, length in spec.blocks), default=0)
    return kernels_for(x, rows=(longest,)) if spec.padding_mask is None else None


def _counts_and_lengths(spec: AttentionSpec) -> tuple[Tensor, Tensor]:
    """Those of the blocks."""
    counts, lengths = torch.tensor(spec.blocks, dtype=torch.int64).view(-1, 2).T.contiguous()
    return counts, lengths


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, keep: Drawn, spec: AttentionSpec, kernels: Kernels) -> Tensor:
        qkv, (counts, lengths) = qkv.contiguous(), _counts_and_lengths(spec)
        out = qkv.new_empty(len(qkv), qkv.shape[1] // 3)
        padded = -(-lengths // LANES) * LANES
        weights = qkv.new_empty(spec.heads * int((counts * lengths * padded).sum()))
        shape = (len(counts), spec.heads, out.shape[1], int(spec.causal))
        kernels.attend(qkv, counts, lengths, *shape, keep, out, weights)
        ctx.save_for_backward(qkv, counts, lengths, weights)
        ctx.shape, ctx.keep, ctx.kernels = shape, keep, kernels
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        first_derivative_alone()
        qkv, counts, lengths, weights = ctx.saved_tensors
        d_out, d_qkv = grads[0].contiguous(), torch.empty_like(qkv)
        ctx.kernels.attend_backward(qkv, counts, lengths, *ctx.shape, ctx.keep, d_out, weights, d_qkv)
        return d_qkv, None, None, None


class _PoolKernel(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, tokens: Tensor, keep: Drawn, spec: AttentionSpec, kernels: Kernels
    ) -> tuple[Tensor, Tensor]:
        queries, tokens, (counts, lengths) = queries.contiguous(), tokens.contiguous(), _counts_and_lengths(spec)
        pooled, share = torch.empty_like(queries), queries.new_empty(queries.shape[:2])
        weights = tokens.new_empty(spec.heads * len(tokens))
        shape = (len(counts), spec.heads, tokens.shape[1])
        kernels.pool(queries, tokens, counts, lengths, *shape, keep, pooled, share, weights)
        ctx.save_for_backward(queries, tokens, counts, lengths, weights)
        ctx.shape, ctx.keep, ctx.kernels = shape, keep, kernels
        return pooled, share

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        first_derivative_alone()
        queries, tokens, counts, lengths, weights = ctx.saved_tensors
        d_pooled, d_share = (grad.contiguous() for grad in grads)
        d_queries, d_tokens = torch.empty_like(queries), torch.empty_like(tokens)
        given = (ctx.keep, d_pooled, d_share, weights)
        ctx.kernels.pool_backward(queries, tokens, counts, lengths, *ctx.shape, *given, d_queries, d_tokens)
        return d_queries, d_tokens, None, None, None


class _OnCPU(torch.autograd.Function):
    """Head by head on strided views: BLAS reads queries, keys and values where they lie, and gradients go where they belong.

    As one product over (C, H) they would be copied first, one after the other, and their gradients thrice: with 20 lengths in
    a batch that takes as long as the arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, mask: Tensor | None, spec: AttentionSpec) -> Tensor:
        out = qkv.new_empty(len(qkv), qkv.shape[1] // 3)
        scale = math.sqrt(out.shape[1] // spec.heads)
        kept: list[Tensor] = []
        for (count, length), rows, part in _blocks(spec, mask, square=True):
            (q, k, v), (o,) = _heads(spec, qkv[rows], count, 3), _heads(spec, out[rows], count, 1)
            scores, bias = qkv.new_empty(spec.heads, count, length, length), _causal_bias(spec, length, qkv)
            for head in range(spec.heads):
                torch.baddbmm(bias, q[head], k[head].transpose(1, 2), alpha=1 / scale, out=scores[head])
            weights = torch.softmax(scores, -1)
            dropped = weights if part is None else torch.mul(weights, part.view_as(weights), out=scores)
            for head in range(spec.heads):
                o[head].copy_(torch.bmm(dropped[head], v[head]))
            kept += [weights, dropped]
        if any(ctx.needs_input_grad):
            ctx.spec, ctx.scale = spec, scale
            ctx.save_for_backward(qkv, mask, *kept)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        spec: AttentionSpec = ctx.spec
        qkv, mask, *kept = ctx.saved_tensors
        d_qkv = torch.empty_like(qkv)
        left = iter(kept)
        for (count, _), rows, part in _blocks(spec, mask, square=True):
            (q, k, v), (d_q, d_k, d_v) = (_heads(spec, each[rows], count, 3) for each in (qkv, d_qkv))
            (d_o,) = _heads(spec, grads[0][rows], count, 1)
            weights, dropped = next(left), next(left)
            d_weights = torch.empty_like(weights)
            for head in range(spec.heads):
                d_v[head].copy_(torch.bmm(dropped[head].transpose(1, 2), d_o[head]))
                torch.bmm(d_o[head], v[head].transpose(1, 2), out=d_weights[head])
            if part is not None:
                d_weights *= part.view_as(d_weights)
            d_scores = torch.ops.aten._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            d_scores.mul_(1 / ctx.scale)
            for head in range(spec.heads):
                d_q[head].copy_(torch.bmm(d_scores[head], k[head]))
                d_k[head].copy_(torch.bmm(d_scores[head].transpose(1, 2), q[head]))
        return d_qkv, None, None


class _PoolOnCPU(torch.autograd.Function):
    """`pool_by_block` with two products a block forward and four backward, none of which needs a copy."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, tokens: Tensor, mask: Tensor | None, spec: AttentionSpec
    ) -> tuple[Tensor, Tensor]:
        pooled, share = torch.empty_like(queries), queries.new_empty(queries.shape[:2])
        kept: list[Tensor] = []
        before = 0
        for (count, length), rows, part in _blocks(spec, mask, square=False):
            x, own = tokens[rows].view(count, length, -1), slice(before, before + count)
            weights = torch.softmax(torch.bmm(queries[own], x.transpose(1, 2)), -1)  # (C, H, L)
            dropped = weights if part is None else weights * part.view_as(weights)
            torch.bmm(dropped, x, out=pooled[own])
            torch.sum(dropped, -1, out=share[own])
            kept += [weights, dropped]
            before = own.stop
        if any(ctx.needs_input_grad):
            ctx.spec = spec
            ctx.save_for_backward(queries, tokens, mask, *kept)
        return pooled, share

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        spec: AttentionSpec = ctx.spec
        queries, tokens, mask, *kept = ctx.saved_tensors
        d_pooled, d_share = (grad.contiguous() for grad in grads)
        d_queries, d_tokens = torch.empty_like(queries), torch.empty_like(tokens)
        left = iter(kept)
        before = 0
        for (count, length), rows, part in _blocks(spec, mask, square=False):
            x, own = tokens[rows].view(count, length, -1), slice(before, before + count)
            d_x = d_tokens[rows].view(count, length, -1)
            weights, dropped = next(left), next(left)
            d_weights = torch.baddbmm(d_share[own][:, :, None], d_pooled[own], x.transpose(1, 2))  # (C, H, L)
            if part is not None:
                d_weights *= part.view_as(d_weights)
            d_scores = torch.ops.aten._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            torch.bmm(d_scores, x, out=d_queries[own])
            torch.bmm(dropped.transpose(1, 2), d_pooled[own], out=d_x)
            d_x.baddbmm_(d_scores.transpose(1, 2), queries[own])
            before = own.stop
        return d_queries, d_tokens, None, None


def _blocks(
    spec: AttentionSpec, mask: Tensor | None, *, square: bool
) -> Iterator[tuple[tuple[int, int], slice, Tensor | None]]:
    """Each block's (C, L), its tokens, and its part of the mask: C * H * L numbers, or L times as many where `square`."""
    token = drawn = 0
    for count, length in spec.blocks:
        rows, token = slice(token, token + count * length), token + count * length
        size = count * spec.heads * length * (length if square else 1)
        yield (count, length), rows, None if mask is None else mask[drawn : drawn + size]
        drawn += size


def _heads(spec: AttentionSpec, rows: Tensor, count: int, parts: int) -> list[tuple[Tensor, ...]]:
    """For each of `parts` parts of rows (C * L, parts * D) its views (C, L, d), one a head."""
    views = rows.view(count, len(rows) // count, parts * spec.heads, -1).unbind(2)
    return [views[first : first + spec.heads] for first in range(0, parts * spec.heads, spec.heads)]


def _draw_mask(spec: AttentionSpec, sizes: Sequence[int], like: Tensor) -> Tensor | None:
    """Dropout factors of the weights, for all blocks and heads at once: 0, or 1 / (1 - rate)."""
    return keep_mask((sum(sizes) * spec.heads,), spec.dropout, like) if spec.dropout else None


def _without_padding(scores: Tensor, spec: AttentionSpec) -> Tensor:
    """Scores (C, H, ..., L) with the lowest finite number at padding: a row of padding alone would be NaN with -inf."""
    if spec.padding_mask is None:
        return scores
    mask = spec.padding_mask.view(len(scores), *(1,) * (scores.dim() - 2), -1)
    return scores.masked_fill(mask, torch.finfo(scores.dtype).min)


def _causal_bias(spec: AttentionSpec, length: int, like: Tensor) -> Tensor:
    """(L, L) to add to scores: -inf at what follows a token; or one 0 (1, 1) without a causal mask."""
    return _future(length if spec.causal else 1, like.dtype, like.device)


@lru_cache(maxsize=256)
def _future(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((length, length), -math.inf, dtype=dtype, device=device).triu_(1)
