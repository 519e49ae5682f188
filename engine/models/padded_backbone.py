"""A base for sequence encoders that are written for padded batches, as most are elsewhere: `encode(items, mask)`.

It costs time. A packed backbone computes no padding and its last layer at the last position alone; here every layer works on
all n positions of every sequence, however short it is (docs/extending.md has a measurement).

Legend: B sequences, T packed tokens, n the window, D width, V items, H attention heads.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batching.windows import Packed
from engine.errors import ConfigError
from engine.models.backbone import Backbone, zero_padding

STD = 0.02
"""Of the item embeddings at the start, as in our backbones; other layers are initialized by the subclass."""


class PaddedBackbone(Backbone):
    """f: the state of an encoder for padded batches at the last position, or where the window of a prefix ends."""

    accepts_padding: ClassVar[bool] = True

    def __init__(self, config: ModelConfig, *, items: int, max_length: int) -> None:
        """Makes `item_embedding`; a subclass adds its layers."""
        super().__init__(config, items=items, max_length=max_length)
        self.max_length = max_length
        self.item_embedding = nn.Embedding(items + 1, config.width, padding_idx=0)
        nn.init.normal_(self.item_embedding.weight, std=STD)
        if config.padding == "zero":
            zero_padding(self.item_embedding)
        self._vectors: Tensor | None = None
        self._embedded = False

    @abstractmethod
    def encode(self, items: Tensor, mask: Tensor) -> Tensor:
        """States (B, n, D) of item ids (B, n), padded with 0 on the left.

        A state must not depend on padding, and in a class with `causal = True` not on later items. Item vectors come from
        `embed`, in place of which other vectors may stand (`synthesizer.item_kind = synthesize`).

        Args:
            mask: (B, n) true where there is an item; always true at the last position.
        """

    def embed(self, items: Tensor) -> Tensor:
        """Vectors (B, n, D) of the items that `encode` was given."""
        self._embedded = True
        return self.item_embedding(items) if self._vectors is None else self._vectors

    def forward(self, packed: Packed, token_vectors: Tensor | None = None) -> Tensor:
        return self._states(packed, token_vectors)[:, -1]  # (B, D)

    def encode_at(self, packed: Packed, indices: Tensor, token_vectors: Tensor | None = None) -> Tensor:
        if not self.causal:
            raise NotImplementedError
        states = self._states(packed, token_vectors)
        return states[_rows(packed)[indices], packed.positions[indices]]  # (B, D)

    def _states(self, packed: Packed, token_vectors: Tensor | None) -> Tensor:
        """(B, n, D) in the requested order, so that dropout draws the same numbers in every layout of a batch."""
        places = (_rows(packed), packed.positions)
        shape = (len(packed.last), self.max_length)
        items = packed.items.new_zeros(shape).index_put(places, packed.items)
        filled = torch.ones_like(packed.items, dtype=torch.bool)
        if packed.padding_mask is not None:
            filled = ~packed.padding_mask.flatten()
        mask = filled.new_zeros(shape).index_put(places, filled)
        mask[:, -1] = True  # an empty window sees its padding: attention over no token is undefined
        self._embedded = False
        if token_vectors is not None:
            self._vectors = self.item_embedding(torch.zeros_like(items)).index_put(places, token_vectors)
        try:
            states = self.encode(items, mask)
        finally:
            self._vectors = None
        if token_vectors is not None and not self._embedded:
            raise ConfigError(
                "encode reads item vectors from elsewhere than self.embed(items), so none can take their place",
                where="model.backbone",
                hint="Call self.embed(items) there, or use synthesizer.item_kind = draw.",
            )
        if states.shape != (*shape, self.item_embedding.embedding_dim):
            raise ConfigError(
                f"encode gives states of shape {tuple(states.shape)}, not {(*shape, self.item_embedding.embedding_dim)}",
                where="model.backbone",
            )
        return states


def blocked_attention(mask: Tensor, *, causal: bool, heads: int = 1) -> Tensor:
    """(B * H, n, n) true where a query must not attend to a key, as `torch.nn.TransformerEncoder` takes it.

    Blocked are padding and, if `causal`, later items. A position attends to itself even where it is padding, as a row
    without any key would give NaN, which the next layer spreads.
    """
    length = mask.shape[1]
    blocked = ~mask[:, None, :].expand(-1, length, -1)  # (B, n, n)
    if causal:
        blocked = blocked | torch.ones(length, length, dtype=torch.bool, device=mask.device).triu(1)
    blocked = blocked & ~torch.eye(length, dtype=torch.bool, device=mask.device)
    return blocked.repeat_interleave(heads, dim=0)


def _rows(packed: Packed) -> Tensor:
    """(T,) the sequence of each token, by requested order."""
    return packed.restore.argsort()[packed.sequences]
