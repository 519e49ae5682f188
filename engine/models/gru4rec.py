"""GRU4Rec: gated recurrent units over the window, read after its last item (Hidasi et al., ICLR 2016).

Legend: B sequences, T packed tokens, L steps, D width, H hidden size.

As in today's reimplementations: item embeddings, dropout, GRU layers, a linear layer back to the width, and the full
softmax of SRA-CL's recommendation loss in place of sampled pairs. Tokens are laid out step by step, longest sequence
first, so no padding is computed.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from engine.config import ModelConfig
from engine.data.batching.windows import Packed
from engine.models.backbone import Backbone, init_weights, zero_padding
from engine.models.dropout import dropout


class GRU4Rec(Backbone):
    """f: item embeddings, `layers` GRUs of size `inner`, a linear layer; `heads` and `attention_dropout` do not apply."""

    causal: ClassVar[bool] = True

    def __init__(self, config: ModelConfig, *, items: int, max_length: int) -> None:
        super().__init__(config, items=items, max_length=max_length)
        self.dropout = config.dropout
        self.item_embedding = nn.Embedding(items + 1, config.width, padding_idx=0)
        between = config.dropout if config.layers > 1 else 0.0
        self.gru = nn.GRU(config.width, config.inner, config.layers, dropout=between)
        self.output = nn.Linear(config.inner, config.width)
        init_weights(self)
        for name, parameter in self.gru.named_parameters():
            nn.init.xavier_uniform_(parameter) if name.startswith("weight") else nn.init.zeros_(parameter)
        if config.padding == "zero":
            zero_padding(self.item_embedding)

    def forward(self, packed: Packed, token_vectors: Tensor | None = None) -> Tensor:
        states = self._run(packed, token_vectors)[1]  # (layers, B, H), longest sequence first
        return self.output(states[-1].flip(0))[packed.restore]  # (B, D)

    def encode_at(self, packed: Packed, indices: Tensor, token_vectors: Tensor | None = None) -> Tensor:
        return self.output(self._run(packed, token_vectors)[0][indices])  # (B, D)

    def _run(self, packed: Packed, token_vectors: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self.item_embedding(packed.items) if token_vectors is None else token_vectors  # (T, D)
        order, sizes = by_step(packed)
        x = dropout(x, self.dropout, self.training)[order]
        hidden, states = self.gru(PackedSequence(x, sizes))
        return torch.empty_like(hidden.data).index_copy(0, order, hidden.data), states


def by_step(packed: Packed) -> tuple[Tensor, Tensor]:
    """Order (T,) that puts all first tokens before all second ones, longest sequence first, and their counts (L,), on the CPU."""
    ends = packed.last.flip(0)  # (B,)
    lengths = packed.lengths.flip(0)
    steps = torch.arange(packed.blocks[-1][1], device=ends.device)[:, None]  # (L, 1)
    inside = steps < lengths  # (L, B)
    return (ends - lengths + 1 + steps)[inside], inside.sum(1).cpu()
