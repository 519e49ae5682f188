"""SASRec as the paper uses it: a post-norm Transformer over the window, read at its last position.

Legend: B sequences, T packed tokens, D width.

Tokens are packed (engine/data/batches.py): embeddings, norms and linear layers see all T tokens at once, attention
sees one block per length, so no padding is ever computed, and the last layer works at last positions only. Both are
exact: a padded implementation with causal and padding masks gives the same values and gradients.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batches import Packed
from engine.models.attention import How, attend, attend_last
from engine.models.backbone import Backbone, init_weights, zero_padding
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

    def forward(self, x: Tensor, packed: Packed, *, last_only: bool, read: Tensor | None = None) -> Tensor:
        """(T, D) for tokens (T, D), or (B, D) for the last tokens alone, or for the tokens `read` (B,)."""
        rate = self.attention_dropout if self.training else 0.0
        how = How(packed.blocks, self.heads, self.causal, rate, packed.hidden)
        if last_only:
            queried = x[packed.last]
            key, value = self.key_value.weight.chunk(2)
            attended = attend_last(self.query(queried), x, key, value, self.key_value.bias.chunk(2)[1], how)
        else:
            queried = x
            weight = torch.cat([self.query.weight, self.key_value.weight])  # one product reads the tokens once
            attended = attend(F.linear(x, weight, torch.cat([self.query.bias, self.key_value.bias])), how)
        if read is not None:
            attended, queried = attended[read], queried[read]
        x = self.attention_norm(self._drop(self.output(attended)) + queried)
        return self.feed_norm(self._drop(feed_forward(x, self.expand, self.contract)) + x)

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)


class SASRec(Backbone):
    """f: item and position embeddings, Transformer layers, the last position's hidden state (paper section 3.2)."""

    causal: ClassVar[bool] = True
    pads: ClassVar[bool] = True

    def __init__(self, config: ModelConfig, *, items: int, max_length: int) -> None:
        super().__init__(config, items=items, max_length=max_length)
        self.dropout = config.dropout
        self.item_embedding = nn.Embedding(items + 1, config.width, padding_idx=0)
        self.position_embedding = nn.Embedding(max_length, config.width)
        self.input_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        init_weights(self)
        if config.padding == "zero":
            zero_padding(self.item_embedding)

    def forward(self, packed: Packed, token_vectors: Tensor | None = None) -> Tensor:
        return self._run(packed, token_vectors)[packed.restore]  # (B, D)

    def at(self, packed: Packed, read: Tensor, token_vectors: Tensor | None = None) -> Tensor:
        return self._run(packed, token_vectors, read)

    def _run(self, packed: Packed, token_vectors: Tensor | None, read: Tensor | None = None) -> Tensor:
        x = self.item_embedding(packed.items) if token_vectors is None else token_vectors  # (T, D)
        x = dropout(self.input_norm(x + self.position_embedding(packed.positions)), self.dropout, self.training)
        for layer in self.layers[:-1]:
            x = layer(x, packed, last_only=False)
        return self.layers[-1](x, packed, last_only=read is None, read=read)  # (B, D)
