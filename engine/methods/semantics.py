"""What the semantic stages prepare for training, as tensors.

Legend: R anchors with a vector, A anchors, V items, S semantic size, K neighbors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.data.vector_rows import VectorRows


class PartedVectors:
    """Semantic vectors (R + 1, S) that are not in memory: what is read is computed. On a GPU they are, as a tensor."""

    device = torch.device("cpu")

    def __init__(self, rows: VectorRows) -> None:
        """Args:
        rows: (R, S), which stand behind a vector of zeros.
        """
        self._rows = rows
        self.shape = torch.Size((len(rows) + 1, rows.shape[1]))

    def __getitem__(self, index: Tensor) -> Tensor:
        """Vectors (..., S) of rows (...)."""
        flat = index.reshape(-1).numpy()
        found = (
            self._rows.take((flat - 1).clip(0)) if len(self._rows) else np.zeros((len(flat), self.shape[1]), np.float32)
        )
        found[flat == 0] = 0
        return torch.from_numpy(found).view(*index.shape, self.shape[1])

    def any(self, dim: int) -> Tensor:
        """(R + 1,) which vectors are not zero."""
        assert dim == 1, "of each vector"
        return torch.from_numpy(np.append(False, self._rows.filled()))

    def to(self, device: torch.device | str) -> Tensor | PartedVectors:
        """The same on another device."""
        if torch.device(device).type == "cpu":
            return self
        moved = torch.zeros(self.shape, device=device)
        for part, vectors in self._rows.parts():
            moved[part.start + 1 : part.stop + 1] = torch.from_numpy(vectors).to(device)
        return moved


@dataclass(frozen=True)
class Semantics:
    """Vectors and neighbor lists of the offline stages (paper sections 3.2.1 and 3.2.2), by id; row 0 stands for none.

    What a method does not need is empty: no rows, or lists of zeros.
    """

    user_vectors: Tensor | PartedVectors
    """(R + 1, S) semantic vectors of anchors, read by rows: `user_vectors[rows]`."""
    user_rows: Tensor
    """(A + 1,) row of each anchor in `user_vectors`."""
    neighbors: Tensor
    """(A + 1, K) anchor ids of the neighbors, most similar first; 0 at the end where there are fewer. Integers of 32 bits
    where these hold the ids."""
    similarity: Tensor
    """(A + 1, K) their similarity."""
    item_vectors: Tensor
    """(V + 1, S) semantic vectors of items."""
    substitutes: Tensor
    """(V + 1, K') item ids of the substitutes, most similar first; 0 where there are fewer."""
    item_similarity: Tensor
    """(V + 1, K') their similarity."""

    def to(self, device: torch.device | str) -> Semantics:
        """The same on another device."""
        return Semantics(**{name: tensor.to(device) for name, tensor in vars(self).items()})
