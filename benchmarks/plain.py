"""A training step as a textbook writes it, on the parameters of our model: what the fast path is measured against.

Legend: B anchors, K neighbors, n window, D width, S size of a semantic vector.

Every sequence is padded to the window, every position goes through every layer, every neighbor is encoded, dropout is torch's own.
`per_sample` does what the released code does, as it does it: windows, neighbors and swaps are assembled sample by sample,
the anchor's vector is repeated K times before it is projected, GELU is written out, masks are added. Same equations.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.data.dataset import Dataset
from engine.methods.model import Model
from engine.models.losses import info_nce, recommendation_loss
from engine.models.sasrec import SASRec
from engine.models.synthesizers import GAT


class PlainStep:
    """L = L_rec + alpha L_CS + beta L_IS of a batch, with the equations of the model that it is given."""

    def __init__(self, model: Model, dataset: Dataset, *, per_sample: bool) -> None:
        assert isinstance(model.backbone, SASRec)
        self.model, self.backbone, self.per_sample = model, model.backbone, per_sample
        window = model.config.data.max_length
        anchors = dataset.anchors
        lengths = np.minimum(anchors.positions, window)
        self._lists = [
            dataset.sequence[end - length : end].tolist() for end, length in zip(anchors.ends, lengths, strict=True)
        ]
        padded = np.zeros((len(anchors) + 1, window), np.int64)
        for row, items in enumerate(self._lists, 1):
            padded[row, window - len(items) :] = items
        self._padded = torch.from_numpy(padded)
        self._targets = torch.from_numpy(np.concatenate([[0], anchors.targets]).astype(np.int64))

    def __call__(self, anchor_ids: Tensor) -> Tensor:
        """The loss of anchors (B,)."""
        loss = self.model.config.loss
        rows = self._gathered(anchor_ids) if self.per_sample else self._padded[anchor_ids]  # (B, n)
        rec = recommendation_loss(self.backbone.scores(self._encode(rows)), self._targets[anchor_ids])
        second = self._encode(rows)
        samples = self._samples(anchor_ids)
        cs = info_nce(second, samples, temperature=loss.temperature, symmetric=True)
        views = [self._encode(self._swapped(rows)) for _ in range(2)]
        is_ = info_nce(views[0], views[1], temperature=loss.temperature, symmetric=True)
        return rec + loss.alpha * cs + loss.beta * is_

    def _gathered(self, anchor_ids: Tensor) -> Tensor:
        window = self._padded.shape[1]
        lists = [self._lists[anchor - 1] for anchor in anchor_ids.tolist()]
        return torch.stack([torch.tensor([0] * (window - len(items)) + items) for items in lists])

    def _samples(self, anchor_ids: Tensor) -> Tensor:
        """h+ (B, D), all neighbors in one pass."""
        assert self.model.semantics is not None
        neighbors = self.model.semantics.neighbors[anchor_ids]  # (B, K)
        flat = neighbors.flatten()
        weights = (
            self._repeated_weights(anchor_ids)
            if self.per_sample
            else self.model.shared("synthesis").neighbor_weights(anchor_ids)
        )
        rows = self._gathered(flat) if self.per_sample else self._padded[flat]
        hidden = self._encode(rows).unflatten(0, neighbors.shape)  # (B, K, D)
        return (weights[:, :, None] * hidden).sum(1)

    def _repeated_weights(self, anchor_ids: Tensor) -> Tensor:
        """p (B, K) with the anchor projected once for each neighbor."""
        semantics, gat = self.model.semantics, self.model.shared("synthesizer")
        assert semantics is not None
        assert isinstance(gat, GAT)
        neighbors = semantics.neighbors[anchor_ids]  # (B, K)
        others = semantics.user_vectors[semantics.user_rows[neighbors]] @ gat.projection  # (B, K, D)
        own = semantics.user_vectors[semantics.user_rows[anchor_ids]][:, None].repeat(1, neighbors.shape[1], 1)
        scores = torch.cat([own @ gat.projection, others], -1) @ gat.attention  # (B, K, 1)
        return F.dropout(F.leaky_relu(scores[:, :, 0], 0.2).softmax(1), gat.weight_dropout, self.model.training)

    def _swapped(self, rows: Tensor) -> Tensor:
        """A view (B, n) of windows: items replaced by substitutes."""
        assert self.model.semantics is not None
        substitutes, share = self.model.semantics.substitutes, self.model.config.loss.swap
        counts = (substitutes > 0).sum(1)
        if not self.per_sample:
            swap = (torch.rand(rows.shape) < share) & (counts[rows] > 0)
            draw = (torch.rand(rows.shape) * counts[rows]).long()
            return torch.where(swap, substitutes[rows, draw], rows)
        random = np.random.default_rng(int(torch.randint(2**31, ())))
        out = []
        for row in rows.tolist():
            view = list(row)
            for place, item in enumerate(row):
                if item and counts[item] and random.random() < share:
                    view[place] = int(substitutes[item, random.integers(int(counts[item]))])
            out.append(torch.tensor(view))
        return torch.stack(out)

    def _encode(self, rows: Tensor) -> Tensor:
        """h (B, D) of padded windows (B, n)."""
        backbone, training = self.backbone, self.model.training
        length = rows.shape[1]
        x = backbone.item_embedding(rows) + backbone.position_embedding(torch.arange(length))
        x = F.dropout(backbone.input_norm(x), backbone.dropout, training)
        hidden = torch.ones(length, length, dtype=torch.bool).triu(1) | (rows == 0)[:, None, None, :]  # (B, 1, n, n)
        for layer in backbone.layers:
            q, (k, v) = layer.query(x), layer.key_value(x).chunk(2, -1)
            q, k, v = (part.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in (q, k, v))  # (B, H, n, d)
            scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
            scores = scores + hidden * -1e4 if self.per_sample else scores.masked_fill(hidden, -1e4)
            weights = F.dropout(scores.softmax(-1), layer.attention_dropout, training)
            attended = layer.output((weights @ v).transpose(1, 2).flatten(2))
            x = layer.attention_norm(F.dropout(attended, layer.dropout, training) + x)
            fed = layer.contract(self._gelu(layer.expand(x)))
            x = layer.feed_norm(F.dropout(fed, layer.dropout, training) + x)
        return x[:, -1]

    def _gelu(self, x: Tensor) -> Tensor:
        return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))) if self.per_sample else F.gelu(x)
