"""The Transformer layer that SASRec and BERT4Rec share. Legend: B sequences, T packed tokens, D width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batching.windows import Packed
from engine.models.attention import AttentionSpec, attend, attend_last
from engine.models.dropout import dropout
from engine.models.feed_forward import feed_forward_half
from engine.models.linear import linear
from engine.models.residual_norm import projected_norm

LAYER_NORM_EPS = 1e-12


class Attention(nn.Module):
    """Multi-head self-attention of packed sequences, which layers of several kinds begin with."""

    def __init__(self, config: ModelConfig, *, causal: bool = True) -> None:
        super().__init__()
        width = config.width
        self.causal = causal
        self.heads = config.heads
        self.dropout, self.attention_dropout = config.dropout, config.attention_dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def _attend(self, x: Tensor, packed: Packed, last: Tensor | None) -> Tensor:
        """(T, D) before the output layer, for tokens (T, D); or (B, D) where the last tokens (B, D) alone are queries."""
        rate = self.attention_dropout if self.training else 0.0
        spec = AttentionSpec(packed.blocks, self.heads, self.causal and packed.causal, rate, packed.padding_mask)
        if last is not None:
            key, value = self.key_value.weight.chunk(2)
            return attend_last(self.query(last), x, key, value, self.key_value.bias.chunk(2)[1], spec)
        weight = torch.cat([self.query.weight, self.key_value.weight])  # one product reads the tokens once
        return attend(linear(x, weight, torch.cat([self.query.bias, self.key_value.bias])), spec)

    @property
    def _rate(self) -> float:
        """The rate of dropout now."""
        return self.dropout if self.training else 0.0

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self._rate, True)


class Layer(Attention):
    """Self-attention and feed-forward, each followed by dropout, residual and LayerNorm."""

    def __init__(self, config: ModelConfig, *, causal: bool = True) -> None:
        super().__init__(config, causal=causal)
        self.attention_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.expand = nn.Linear(config.width, config.inner)
        self.contract = nn.Linear(config.inner, config.width)
        self.feed_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor, packed: Packed, *, last_only: bool, indices: Tensor | None = None) -> Tensor:
        """(T, D) for tokens (T, D), or (B, D) for the last tokens alone, or for the tokens with `indices` (B,)."""
        queried = x[packed.last] if last_only else x
        attended = self._attend(x, packed, queried if last_only else None)
        if indices is not None:
            attended, queried = attended[indices], queried[indices]
        return self._fed(self._mixed(attended, queried, x, packed, last_only=last_only))

    def _mixed(self, attended: Tensor, queried: Tensor, x: Tensor, packed: Packed, *, last_only: bool) -> Tensor:
        """The first half for the queried tokens, from what attention gives for them."""
        return projected_norm(attended, self.output, queried, self.attention_norm, self._rate)

    def _fed(self, x: Tensor) -> Tensor:
        return feed_forward_half(x, self.expand, self.contract, self.feed_norm, self._rate)
