"""What every sequence encoder f offers, and where one is looked up by name.

Legend: B sequences, T packed tokens, D width, V items.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batches import Packed


class Backbone(nn.Module, ABC):
    """A sequence encoder with tied item embeddings: score of item v = f(S) . E[v]."""

    item_embedding: nn.Embedding
    """E (V + 1, D); row 0 is padding."""

    @abstractmethod
    def forward(self, packed: Packed, token_vectors: Tensor | None = None) -> Tensor:
        """h (B, D), in the order in which the sequences were asked for.

        `token_vectors` (T, D) stand in for the item embeddings of the tokens where given.
        """

    def scores(self, hidden: Tensor) -> Tensor:
        """(B, V) scores of items 1..V for hidden states (B, D)."""
        return hidden @ self.item_embedding.weight[1:].T


def build_backbone(config: ModelConfig, *, items: int, max_length: int) -> Backbone:
    """The backbone that the config names, freshly initialized from torch's global generator."""
    from engine.models.sasrec import SASRec

    backbones = {"sasrec": SASRec}
    return backbones[config.backbone](config, items=items, max_length=max_length)


def init_weights(module: nn.Module, std: float = 0.02) -> None:
    """Linear and embedding weights ~ N(0, std^2), biases 0 (as in BERT and the released code)."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


def zero_padding(embedding: nn.Embedding) -> None:
    """Set the padding row to 0."""
    with torch.no_grad():
        embedding.weight[0] = 0
