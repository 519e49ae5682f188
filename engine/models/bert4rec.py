"""BERT4Rec: a Transformer that sees both ways and is trained to fill masked positions (Sun et al., CIKM 2019).

Legend: B sequences, T packed tokens, D width, V items, M masked positions.

A sequence is its items and one more position, n: there h is read, behind a mask, and there the target stands in
training. L_rec is BERT4Rec's own: items of the training sequence are masked and predicted from both sides. Half of
the sequences mask each position with probability `mask`, the others only the last one, which is the task at inference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batching.windows import Packed
from engine.models.backbone import Backbone, init_weights, zero_padding
from engine.models.residual_norm import normed_sum
from engine.models.table_rows import table_rows
from engine.models.transformer import LAYER_NORM_EPS, Layer

LAST_ONLY = 0.5
"""Share of training sequences in which the last position alone is masked."""


class BERT4Rec(Backbone):
    """f: item and position embeddings, Transformer layers without causal mask, an output layer; scores have a bias."""

    has_own_loss: ClassVar[bool] = True
    own_loss_over_items: ClassVar[bool] = True
    both_ways: ClassVar[bool] = True
    unsharded: ClassVar[str] = "its loss is a mean over masked items, of which each process has another number"

    def __init__(self, config: ModelConfig, *, items: int, max_length: int) -> None:
        super().__init__(config, items=items, max_length=max_length)
        self.dropout, self.mask, self.max_length = config.dropout, config.mask, max_length
        self.item_embedding = nn.Embedding(items + 1, config.width, padding_idx=0)
        self.mask_embedding = nn.Embedding(1, config.width)
        self.position_embedding = nn.Embedding(max_length + 1, config.width)
        self.input_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.layers = nn.ModuleList(Layer(config, causal=False) for _ in range(config.layers))
        self.output = nn.Linear(config.width, config.width)
        self.output_norm = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.item_bias = nn.Parameter(torch.zeros(items))
        init_weights(self)
        if config.padding == "zero":
            zero_padding(self.item_embedding)

    def forward(self, packed: Packed, token_vectors: Tensor | None = None) -> Tensor:
        x = self.item_embedding(packed.items) if token_vectors is None else token_vectors  # (T, D)
        longer, order = self._with_last_position(packed)
        masks = self.mask_embedding.weight.expand(len(packed.last), -1)  # (B, D)
        x = self._encode(torch.cat([x, masks])[order], longer, last_only=True)
        return self._head(x)[packed.restore]  # (B, D)

    def item_biases(self) -> Tensor:
        return self.item_bias

    def loss(self, packed: Packed, targets: Tensor) -> Tensor:
        """Mean cross-entropy of all masked positions of the training sequences, targets included."""
        last = torch.empty_like(targets)
        last[packed.restore] = targets  # in packed order
        longer, order = self._with_last_position(packed)
        items = torch.cat([packed.items, last])[order]  # (T + B,)
        masked = self._draw(longer)
        x = torch.where(masked[:, None], self.mask_embedding.weight, self.item_embedding(items))
        x = self._encode(x, longer, last_only=False)
        return self.cross_entropy(self._head(x[masked]), items[masked])  # of M rows

    def _draw(self, longer: Packed) -> Tensor:
        """(T + B,) positions to mask; a sequence that would have none masks its last one."""
        lengths = longer.lengths
        masked = torch.rand(len(longer.items), device=longer.items.device) < self.mask
        only = torch.rand(len(lengths), device=lengths.device) < LAST_ONLY  # (B,)
        masked &= ~torch.repeat_interleave(only, lengths, output_size=len(masked))
        sums = torch.cat([masked.new_zeros(1, dtype=torch.long), masked.long().cumsum(0)])
        none = sums[longer.last + 1] == sums[longer.last + 1 - lengths]
        masked[longer.last[none]] = True
        return masked

    def _with_last_position(self, packed: Packed) -> tuple[Packed, Tensor]:
        """The sequences with one more position each, and the order (T + B,) that brings [tokens, last positions] there.

        The items of the last positions are 0.
        """
        count, tokens = len(packed.last), len(packed.items)
        rank = torch.arange(count, device=packed.last.device)
        last = packed.last + 1 + rank
        order = torch.zeros(tokens + count, dtype=torch.long, device=last.device)
        is_last = order.bool().index_fill(0, last, True)
        order[last] = tokens + rank
        order[~is_last] = torch.arange(tokens, device=last.device)
        positions = torch.cat([packed.positions, packed.positions.new_full((count,), self.max_length)])[order]
        items = torch.cat([packed.items, packed.items.new_zeros(count)])[order]
        blocks = tuple((number, length + 1) for number, length in packed.blocks)
        return replace(packed, items=items, positions=positions, last=last, blocks=blocks), order

    def _encode(self, x: Tensor, longer: Packed, *, last_only: bool) -> Tensor:
        """(T + B, D), or (B, D) at the last positions alone."""
        positions = table_rows(self.position_embedding, longer.positions)
        x = normed_sum(x, positions, self.input_norm, self.dropout if self.training else 0.0)
        for number, layer in enumerate(self.layers, 1):
            x = layer(x, longer, last_only=last_only and number == len(self.layers))
        return x

    def _head(self, x: Tensor) -> Tensor:
        return self.output_norm(F.gelu(self.output(x)))
