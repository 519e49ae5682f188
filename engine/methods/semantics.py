"""What the semantic stages prepare for training, as tensors.

Legend: R anchors with a vector, A anchors, V items, S semantic size, K neighbors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Semantics:
    """Vectors and neighbor lists of the offline stages (paper sections 3.2.1 and 3.2.2), by id; row 0 stands for none.

    What a method does not need is empty: no rows, or lists of zeros.
    """

    user_vectors: Tensor
    """(R, S) semantic vectors of anchors."""
    user_rows: Tensor
    """(A + 1,) row of each anchor in `user_vectors`."""
    neighbors: Tensor
    """(A + 1, K) anchor ids of the neighbors, most similar first; 0 where there are fewer."""
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
