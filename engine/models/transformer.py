"""The Transformer layer that SASRec and BERT4Rec share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batching.windows import Packed
from engine.models.attention import AttentionSpec, attend, attend_last
from engine.models.dropout import dropout
from engine.models.feed_forward import feed_forward

LAYER_NORM_EPS = 1e-12


class Layer(nn.Module):
    """Self-attention and feed-forward, each followed by dropout, residual and LayerNorm."""

    def __init__(self, config: ModelConfig, *, causal: bool = True) -> None:
        super().__init__()
        width = config.width
        self.causal = causal
        self.heads = config.heads
        self.dropout, self.attention_dropout = config.dropout, config.attention_dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.expand = nn.Linear(width, config.inner)
        self.contract = nn.Linear(config.inner, width)
        self.feed_norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor, packed: Packed, *, last_only: bool, indices: Tensor | None = None) -> Tensor:
        """(T, D) for tokens (T, D), or (B, D) for the last tokens alone, or for the tokens with `indices` (B,)."""
        rate = self.attention_dropout if self.training else 0.0
        spec = AttentionSpec(packed.blocks, self.heads, self.causal and packed.causal, rate, packed.padding_mask)
        if last_only:
            queried = x[packed.last]
            key, value = self.key_value.weight.chunk(2)
            attended = attend_last(self.query(queried), x, key, value, self.key_value.bias.chunk(2)[1], spec)
        else:
            queried = x
            weight = torch.cat([self.query.weight, self.key_value.weight])  # one product reads the tokens once
            attended = attend(F.linear(x, weight, torch.cat([self.query.bias, self.key_value.bias])), spec)
        if indices is not None:
            attended, queried = attended[indices], queried[indices]
        x = self.attention_norm(self._drop(self.output(attended)) + queried)
        return self.feed_norm(self._drop(feed_forward(x, self.expand, self.contract)) + x)

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)
