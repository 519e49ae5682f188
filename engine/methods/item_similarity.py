"""Which item is most similar to each, by training sequences that hold both and by embeddings (CoSeRec, 2021).

Legend: V items, U users, D width.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.data.dataset import Dataset

AT_ONCE = 1024
"""Items whose similarities to all others are computed together."""


class ItemSimilarity:
    """The most similar item of each by training sequences, found once, and by embeddings, found when asked for."""

    def __init__(self, dataset: Dataset) -> None:
        best, score = most_held_together(dataset)
        self.best, self.score = torch.from_numpy(best), torch.from_numpy(score)
        """(V + 1,) each: the item most similar by training sequences, 0 where none is, and how similar it is, from 0 to 1."""
        self._trained = torch.from_numpy(np.flatnonzero(dataset.train_counts))

    def table(self, embeddings: Tensor | None, generator: torch.Generator) -> Tensor:
        """(V + 1,) the item most similar to each, with 0 for padding, on the CPU.

        Args:
            embeddings: (V + 1, D) of items, by which the similar item is taken where it is more similar so; none: by training
                sequences alone.
            generator: draws an item of the training sequences for one that stands in none together with another.
        """
        best, score = self.best, torch.where(self.best > 0, self.score, -1.0)
        if embeddings is not None:
            near, nearness = nearest_by_embedding(embeddings, self._trained)
            best = torch.where(nearness > score, near, best)
        drawn = self._trained[torch.randint(len(self._trained), (len(best),), generator=generator)]
        others = self._trained[torch.searchsorted(self._trained, drawn, right=True) % len(self._trained)]
        drawn = torch.where(drawn == torch.arange(len(best)), others, drawn)  # the next item in place of itself
        best = torch.where(best > 0, best, drawn)
        best[0] = 0
        return best


def most_held_together(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The item (V + 1,) most similar to each by training interactions, 0 where none is, and its similarity (V + 1,) from 0 to 1.

    Two items are the more similar the more users have both, a user with many items counting less: the sum of
    1 / log(1 + items of the user), over the root of the product of the users of each. Scaled over all pairs of items
    that a user has; of equally similar items the one with the lowest id.
    """
    from scipy.sparse import csr_array, diags_array

    users = np.repeat(np.arange(dataset.users), dataset.lengths)[dataset.train_mask]
    pairs = np.unique(np.stack([dataset.sequence[dataset.train_mask], users], 1), axis=0)
    total = len(dataset.items) + 1
    held = csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(total, dataset.users))
    weights = 1 / np.log1p(np.maximum(held.sum(0), 1))
    scale = 1 / np.sqrt(np.maximum(held.sum(1), 1))
    held = csr_array(diags_array(scale) @ held)
    weighted, others = csr_array(held @ diags_array(weights)), csr_array(held.T)
    best, score = np.zeros(total, np.int64), np.zeros(total)
    low, high = np.inf, -np.inf
    for first in range(0, total, AT_ONCE):
        found = csr_array(weighted[first : first + AT_ONCE] @ others).tocoo()
        kept = found.row + first != found.col
        rows, columns = found.row[kept] + first, found.col[kept]
        values = np.asarray(found.data[kept], np.float64)
        if len(rows) == 0:
            continue
        low, high = min(low, values.min()), max(high, values.max())
        order = np.lexsort((columns, np.negative(values), rows))
        items, firsts = np.unique(rows[order], return_index=True)
        best[items], score[items] = columns[order][firsts], values[order][firsts]
    scaled = (score - low) / (high - low) if high > low else np.ones(total)
    return best, np.where(best > 0, scaled, 0.0)


def nearest_by_embedding(embeddings: Tensor, trained: Tensor) -> tuple[Tensor, Tensor]:
    """The item (V + 1,) of those in training with the largest dot product with each of them, and that product (V + 1,) scaled from
    0 to 1 over all pairs, those of an item with itself too; 0 for an item that is not in training. Both on the CPU.
    """
    rows = embeddings[trained.to(embeddings.device)]  # (V', D)
    near, products = [], []
    low = high = rows.new_zeros(())
    for first in range(0, len(rows), AT_ONCE):
        some = rows[first : first + AT_ONCE] @ rows.T
        low = some.min() if first == 0 else torch.minimum(low, some.min())
        high = some.max() if first == 0 else torch.maximum(high, some.max())
        numbers = torch.arange(len(some), device=some.device)
        some[numbers, numbers + first] = -torch.inf
        value, column = some.max(1)
        near.append(column)
        products.append(value)
    scaled = ((torch.cat(products) - low) / (high - low).clamp(min=1e-12)).double().cpu().clamp(min=0)
    best, score = torch.zeros(len(embeddings), dtype=torch.long), torch.zeros(len(embeddings), dtype=torch.float64)
    best[trained], score[trained] = trained[torch.cat(near).cpu()], scaled
    return best, score
