"""Two views of every item, one learned and one of its text (LLM-ESR, Liu et al., NeurIPS 2024).

Legend: B sequences, T packed tokens, D width, V items, S semantic size.

An item is e_id (D), learned from where a PCA of the text vectors puts it, and e_text = A2 A1 x (D) of its frozen text vector x. Each view of a
sequence is e sqrt(D) + position; cross attention lets each view ask the other one, c_id with queries of the texts over the ids and
c_text the other way round, both ways along the sequence, without residual; then one SASRec encoder reads both.
h = [f(c_id), f(c_text)] (2D) scores items by [e_id, e_text].

As ours: positions count from the end of the window, the encoder's layers are those of our SASRec, and the adapter and the cross
attention, which have no residual, begin with Xavier-normal weights. An item without a text vector has the bias of the adapter as its
e_text, and a random e_id at the start.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batching.windows import Packed
from engine.data.dataset import Dataset
from engine.models.attention import AttentionSpec, attend
from engine.models.backbone import init_weights, zero_padding
from engine.models.dropout import dropout
from engine.models.folded import FoldedBackbone, full_precision
from engine.models.transformer import Layer


class Dual(FoldedBackbone):
    """f: two views of a sequence, crossed, each encoded; states of twice the width."""

    accepts_padding: ClassVar[bool] = True

    def __init__(self, config: ModelConfig, *, items: int, max_length: int) -> None:
        super().__init__(config, items=items, max_length=max_length, tables={"text": config.width})
        self.dropout, self.width = config.dropout, config.width
        self.item_embedding = nn.Embedding(items + 1, config.width, padding_idx=0)
        self.position_embedding = nn.Embedding(max_length, config.width)
        self.heads = config.heads
        self.to_id, self.to_text = CrossAttention(config.width), CrossAttention(config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        init_weights(self)
        _begin_wide(self.to_id, self.to_text)
        if config.padding == "zero":
            zero_padding(self.item_embedding)

    def before_training(self, dataset: Dataset, item_vectors: Tensor | None) -> None:
        super().before_training(dataset, item_vectors)
        assert self.item_vectors is not None
        size = self.item_vectors.shape[1]
        half = max(size // 2, 1)
        self.adapt = nn.Sequential(nn.Linear(size, half), nn.Linear(half, self.width))
        _begin_wide(self.adapt)
        with torch.no_grad():
            rows = 1 + self.item_vectors[1:].any(1).nonzero()[:, 0]
            found = principal_components(self.item_vectors[rows], self.width)  # (V', at most D)
            self.item_embedding.weight[rows, : found.shape[1]] = found

    def fold(self) -> dict[str, Tensor]:
        assert self.item_vectors is not None
        return {"text": F.linear(self.item_vectors, *self._adapter())}

    def _adapter(self) -> tuple[Tensor, Tensor]:
        """Both linear layers as one: weight (D, S) and bias (D,)."""
        assert isinstance(self.adapt, nn.Sequential)
        first, second = (layer for layer in self.adapt if isinstance(layer, nn.Linear))
        return second.weight @ first.weight, second.weight @ first.bias + second.bias

    def input_vectors(self, items: Tensor) -> Tensor:
        """(T, 2D) both views of items."""
        if self.item_vectors is not None and torch.is_grad_enabled() and items.numel() < len(self.item_vectors):
            with full_precision(self.item_vectors):
                text = F.linear(self.item_vectors[items], *self._adapter())  # no more rows than are asked for
        else:
            text = F.embedding(items, self.tables()["text"])
        return torch.cat([self.item_embedding(items), text], -1)

    def table(self) -> Tensor:
        """(V, 2D) [e_id, e_text] of items 1..V."""
        return torch.cat([self.item_embedding.weight, self.tables()["text"]], 1)[1:]

    def forward(self, packed: Packed, token_vectors: Tensor | None = None) -> Tensor:
        x = self.input_vectors(packed.items) if token_vectors is None else token_vectors  # (T, 2D)
        views = _both(packed)
        x = torch.cat(x.chunk(2, 1)) * math.sqrt(self.width) + self.position_embedding(views.positions)  # (2T, D)
        x = self._crossed(dropout(x, self.dropout, self.training), views)
        for layer in self.layers[:-1]:
            x = layer(x, views, last_only=False)
        hidden = self.layers[-1](x, views, last_only=True)  # (2B, D)
        return torch.cat(hidden.chunk(2), 1)[packed.restore]

    def _crossed(self, x: Tensor, views: Packed) -> Tensor:
        """(2T, D) each view as the other one asks for it, of both (2T, D)."""
        ids, texts = x.chunk(2)
        spec = AttentionSpec(views.blocks, self.heads, False, 0.0, views.padding_mask)
        found = attend(torch.cat([self.to_id(texts, ids), self.to_text(ids, texts)]), spec).chunk(2)
        return torch.cat([self.to_id.output(found[0]), self.to_text.output(found[1])])


class CrossAttention(nn.Module):
    """Queries (T, D) of one view, keys and values (T, D) of the other one side by side: (T, 3D); `output` comes behind the attention.

    The keys have no bias, which would add the same to all scores of a query.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.value, self.output = (nn.Linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=False)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        return torch.cat([self.query(asking), self.key(asked), self.value(asked)], 1)


def principal_components(vectors: Tensor, width: int) -> Tensor:
    """(V, W) the coordinates of vectors (V, S) along their W main directions, at most `width` and as many as they span.

    Each direction has the sign that makes its largest number positive, so that equal vectors give equal coordinates.
    """
    centered = vectors.double() - vectors.double().mean(0)
    values, directions = torch.linalg.eigh((centered.T @ centered).cpu())  # ascending
    values, directions = values.flip(0)[:width], directions.flip(1)[:, :width]
    directions = directions[:, values > 1e-12 * values[:1]]
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True)) if directions.numel() else directions
    return (centered @ (directions * largest.sign()).to(centered.device)).to(vectors.dtype)


def _both(packed: Packed) -> Packed:
    """The sequences once for each of two views, one behind the other; `restore` stays that of one view."""
    mask, last, blocks = packed.padding_mask, packed.last, packed.blocks
    return replace(
        packed,
        items=packed.items.repeat(2),
        positions=packed.positions.repeat(2),
        last=torch.cat([last, last + len(packed.items)]),
        blocks=(*blocks, *blocks) if mask is None else tuple((2 * count, length) for count, length in blocks),
        padding_mask=None if mask is None else mask.repeat(2, 1),
    )


def _begin_wide(*modules: nn.Module) -> None:
    """Xavier-normal weights of linear layers without a residual beside them, and biases of 0."""
    for module in modules:
        for part in module.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_normal_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
