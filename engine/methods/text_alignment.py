"""What the parts that align hidden states with texts have in common (RLMRec, WWW 2024).

Legend: B anchors of a batch, A anchors of the dataset, V items, N rows, S semantic size, D width.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.data.dataset import TRAIN
from engine.methods.base import Context
from engine.models.paired_loss import paired_cross_entropy


class Projection(nn.Sequential):
    """From texts to hidden states or back: two layers, the width between them the mean of both, Xavier's initial weights."""

    def __init__(self, size: int, width: int) -> None:
        middle = (size + width) // 2
        first, last = nn.Linear(size, middle), nn.Linear(middle, width)
        for layer in (first, last):
            nn.init.xavier_uniform_(layer.weight)
        super().__init__(first, nn.LeakyReLU(), last)


class Texts:
    """The semantic vectors of prefixes and items. A vector of zeros stands for no text."""

    def __init__(self, context: Context) -> None:
        """Of the semantics that a method with needs is built with."""
        assert context.semantics is not None, "a part with needs has semantics"
        semantics, train_ids = context.semantics, torch.from_numpy(context.dataset.anchors.ids(TRAIN))
        self._users, self._rows, self._items = semantics.user_vectors, semantics.user_rows, semantics.item_vectors
        self.size = self._users.shape[1]
        """S"""
        self._has_user, self._has_item = (vectors.any(1) for vectors in (self._users, self._items))
        self._has_user[0] = self._has_item[0] = False
        items = torch.from_numpy(np.flatnonzero(context.dataset.train_counts)).to(self._items.device)
        self._without = [int((~has).sum()) for _, has in (self.of_prefixes(train_ids), self.of_items(items))]

    def of_prefixes(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (B, S) of anchors (B,), and whether there is one (B,)."""
        rows = self._rows[ids.to(self._rows.device)]
        return self._users[rows], self._has_user[rows]

    def of_items(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (N, S) of items (N,), and whether there is one (N,)."""
        return self._items[items], self._has_item[items]

    def metrics(self, part: str) -> dict[str, int]:
        """How many training prefixes, and items of training sequences, have no text, by names that begin with the part's."""
        prefixes, items = self._without
        return {f"{part}_prefixes_without_text": prefixes, f"{part}_items_without_text": items}


def first_of_each(values: Tensor) -> Tensor:
    """(N,) true at the first of all rows with the same value (N,). Its shape is known without waiting for a GPU."""
    return ~(values[:, None] == values[None]).tril(-1).any(1)


def match(
    rows: Tensor, partners: Tensor, counted: Tensor, *, temperature: float, group_ids: Tensor | None = None
) -> Tensor:
    """One-way InfoNCE of paired rows (N, D) under the cosine, of those pairs alone that are counted (N,); 0 for none.

    The mean over rows of -log of the positive's share among the partners in the batch, the positive one of them.

    Args:
        group_ids: (N,) pairs of one group are no negatives of each other; none: all are.
    """
    barred = ~counted[None] if group_ids is None else ~counted[None] | (group_ids[:, None] == group_ids[None])
    own = torch.arange(len(rows), device=rows.device)
    losses, _ = paired_cross_entropy(
        F.normalize(rows, dim=1),
        F.normalize(partners, dim=1),
        own,
        temperature=temperature,
        barred=barred.expand(len(rows), -1).clone().fill_diagonal_(False),
    )
    return torch.where(counted, losses, 0.0).sum() / counted.sum().clamp(min=1)
