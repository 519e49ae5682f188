"""A backbone of one's own: a decaying mean of the last items, behind a small network.

sracl run --set model.backbone=examples/own_backbone.py:Decay
"""

import torch
from torch import nn

from engine.models.backbone import Backbone, init_weights


class Decay(Backbone):
    """h = MLP(sum of decay^age E[item]), with a learned decay for each of the D numbers."""

    def __init__(self, config, *, items, max_length):
        super().__init__(config, items=items, max_length=max_length)
        self.max_length = max_length
        self.item_embedding = nn.Embedding(items + 1, config.width, padding_idx=0)  # (V + 1, D), row 0 is padding
        self.decay = nn.Parameter(torch.zeros(config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.network = nn.Sequential(
            nn.Linear(config.width, config.inner), nn.GELU(), nn.Linear(config.inner, config.width)
        )
        init_weights(self)

    def forward(self, packed, token_vectors=None):
        x = self.item_embedding(packed.items) if token_vectors is None else token_vectors  # (T, D)
        age = self.max_length - 1 - packed.positions  # (T,) 0 is the last item
        x = self.dropout(x) * torch.sigmoid(self.decay) ** age[:, None]
        sums = torch.zeros_like(x[: len(packed.last)]).index_add(0, packed.sequences, x)  # (B, D)
        return self.network(sums)[packed.restore]
