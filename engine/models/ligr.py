"""The layer of LiGR in a backbone: eSASRec's, with shifted sequences and sampled softmax (Tikhonovich et al., RecSys 2025).

Legend: B sequences, T packed tokens, D width, I inner size.

A pre-norm Transformer whose residuals are gated: x + sigma(G1 x) Drop(A(LN(x))), then x + sigma(G2 x) Drop(SwiGLU(LN(x))). As in the
released code neither the input nor the output is normalized, and linear layers begin with Xavier-normal weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batching.windows import Packed
from engine.models.sasrec import SASRec
from engine.models.transformer import Attention

NORM_EPS = 1e-5


class LiGR(SASRec):
    """f: item and position embeddings, gated pre-norm layers, the last position's state."""

    def __init__(self, config: ModelConfig, *, items: int, max_length: int) -> None:
        super().__init__(config, items=items, max_length=max_length)
        self.input_norm = None
        for part in self.layers.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_normal_(part.weight)

    def _layer(self, config: ModelConfig, max_length: int) -> nn.Module:
        return GatedLayer(config)


class GatedLayer(Attention):
    """Self-attention and SwiGLU, each behind a LayerNorm and a gate of the residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        width, inner = config.width, config.inner
        self.attention_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.attention_gate = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.feed_gate = nn.Linear(width, width)
        self.swish = nn.Linear(width, inner, bias=False)
        self.expand = nn.Linear(width, inner, bias=False)
        self.contract = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, packed: Packed, *, last_only: bool, indices: Tensor | None = None) -> Tensor:
        """(T, D) for tokens (T, D), or (B, D) for the last tokens alone, or for the tokens with `indices` (B,)."""
        tokens = self.attention_norm(x)
        attended = self._attend(tokens, packed, tokens[packed.last] if last_only else None)
        if last_only:
            x = x[packed.last]
        if indices is not None:
            attended, x = attended[indices], x[indices]
        x = x + torch.sigmoid(self.attention_gate(x)) * self._drop(self.output(attended))
        return x + torch.sigmoid(self.feed_gate(x)) * self._drop(self._swiglu(self.feed_norm(x)))

    def _swiglu(self, x: Tensor) -> Tensor:
        return self.contract(self._drop(F.silu(self.swish(x)) * self.expand(x)))
