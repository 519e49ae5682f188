"""SASRec as the paper uses it: a post-norm Transformer over the window, read at its last position.

Legend: B sequences, T packed tokens, C sequences of one length L, H heads, D width, d = D / H.

Tokens are packed (engine/data/batches.py): embeddings, norms and linear layers see all T tokens at once, attention
sees one block per length, so no padding is ever computed, and the last layer works at last positions only. Both are
exact: a padded implementation with causal and padding masks gives the same values and gradients.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batches import Packed
from engine.models.backbone import Backbone, init_weights, zero_padding
from engine.models.dropout import dropout

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
        queried = x[packed.last] if last_only else x
        attended = self._attend(self.query(queried), self.key_value(x), packed, last_only=last_only)
        if read is not None:
            attended, queried = attended[read], queried[read]
        x = self.attention_norm(self._drop(self.output(attended)) + queried)
        return self.feed_norm(self._drop(self.contract(F.gelu(self.expand(x)))) + x)

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)

    def _attend(self, query: Tensor, key_value: Tensor, packed: Packed, *, last_only: bool) -> Tensor:
        attended: list[Tensor] = []
        queries = [count * (1 if last_only else length) for count, length in packed.blocks]
        tokens = [count * length for count, length in packed.blocks]
        parts = zip(packed.blocks, query.split(queries), key_value.split(tokens), strict=True)
        for (count, length), q, kv in parts:
            q = q.view(count, -1, self.heads, q.shape[1] // self.heads).transpose(1, 2)  # (C, H, Q, d)
            k, v = kv.view(count, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4)  # (C, H, L, d) each
            scores = q @ k.transpose(2, 3) / math.sqrt(k.shape[-1])  # (C, H, Q, L)
            if self.causal and not last_only and length > 1:
                future = torch.ones(length, length, dtype=torch.bool, device=scores.device).triu(1)
                scores = scores.masked_fill(future, -math.inf)
            weights = dropout(scores.softmax(-1), self.attention_dropout, self.training)
            attended.append((weights @ v).transpose(1, 2).flatten(2).flatten(0, 1))  # (C * Q, D)
        return torch.cat(attended)


class SASRec(Backbone):
    """f: item and position embeddings, Transformer layers, the last position's hidden state (paper section 3.2)."""

    causal: ClassVar[bool] = True

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
