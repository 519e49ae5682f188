"""SASRec as the paper uses it: a post-norm Transformer over the window, read at its last position.

Legend: B sequences, T packed tokens, D width.

Tokens are packed (engine/data/batching/windows.py): embeddings, norms and linear layers see all T tokens at once, attention
sees one block per length, so no padding is ever computed, and the last layer works at last positions only. Both are
exact: a padded implementation with causal and padding masks gives the same values and gradients.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batching.windows import Packed, prefixes_at
from engine.models.backbone import Backbone, init_weights, zero_padding
from engine.models.dropout import dropout
from engine.models.residual_norm import normed_sum
from engine.models.table_rows import table_rows
from engine.models.transformer import LAYER_NORM_EPS, Layer


class SASRec(Backbone):
    """f: item and position embeddings, Transformer layers, the last position's hidden state (paper section 3.2)."""

    causal: ClassVar[bool] = True
    both_ways: ClassVar[bool] = True
    accepts_padding: ClassVar[bool] = True

    def __init__(self, config: ModelConfig, *, items: int, max_length: int) -> None:
        super().__init__(config, items=items, max_length=max_length)
        self.dropout = config.dropout
        self.item_embedding = nn.Embedding(items + 1, config.width, padding_idx=0)
        self.position_embedding = nn.Embedding(max_length, config.width)
        self.input_norm: nn.LayerNorm | None = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.layers = nn.ModuleList(self._layer(config, max_length) for _ in range(config.layers))
        init_weights(self)
        if config.padding == "zero":
            zero_padding(self.item_embedding)

    def _layer(self, config: ModelConfig, max_length: int) -> nn.Module:
        return Layer(config)

    def forward(self, packed: Packed, token_vectors: Tensor | None = None) -> Tensor:
        return self._run(packed, token_vectors)[packed.restore]  # (B, D)

    def encode_at(self, packed: Packed, indices: Tensor, token_vectors: Tensor | None = None) -> Tensor:
        return self._run(packed, token_vectors, indices)

    def encode_few(self, packed: Packed, indices: Tensor, token_vectors: Tensor | None = None) -> Tensor:
        """The last layer sees a prefix for each token that is read, and works at their last places alone."""
        if packed.padding_mask is not None or not packed.causal or type(self).encode_at is not SASRec.encode_at:
            return self.encode_at(packed, indices, token_vectors)
        x = self._before_last(packed, token_vectors)
        prefixes, index = prefixes_at(packed, indices)
        return self.layers[-1](x.index_select(0, index), prefixes, last_only=True)[prefixes.restore]  # (C, D)

    def _run(self, packed: Packed, token_vectors: Tensor | None, indices: Tensor | None = None) -> Tensor:
        x = self._before_last(packed, token_vectors)
        return self.layers[-1](x, packed, last_only=indices is None, indices=indices)  # (B, D)

    def _before_last(self, packed: Packed, token_vectors: Tensor | None) -> Tensor:
        """(T, D) what the last layer works on."""
        x = table_rows(self.item_embedding, packed.items) if token_vectors is None else token_vectors  # (T, D)
        positions, rate = table_rows(self.position_embedding, packed.positions), self.dropout if self.training else 0.0
        x = (
            dropout(x + positions, rate, True)
            if self.input_norm is None
            else normed_sum(x, positions, self.input_norm, rate)
        )
        for layer in self.layers[:-1]:
            x = layer(x, packed, last_only=False)
        return x
