"""The alignment of hidden states with texts as loops over rows, to hold the parts against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def projected(layers: Sequence[Any], x: Tensor) -> Tensor:
    """The two layers of a projection on one vector (D,), number by number."""
    x = x @ layers[0].weight.T + layers[0].bias
    x = torch.stack([value if value > 0 else 0.01 * value for value in x])
    return x @ layers[2].weight.T + layers[2].bias


def slow_match(
    rows: Sequence[Tensor],
    texts: Sequence[Tensor],
    temperature: float,
    kin: Callable[[int, int], bool] = lambda a, b: False,
) -> Tensor:
    """Mean over the rows of -log of the share of the own text; pairs for which `kin` is true are no negatives of each other."""
    losses = []
    for number, row in enumerate(rows):
        scores = [
            torch.exp(row @ text / row.norm() / text.norm() / temperature)
            for other, text in enumerate(texts)
            if other == number or not kin(number, other)
        ]
        own = torch.exp(row @ texts[number] / row.norm() / texts[number].norm() / temperature)
        losses.append(-torch.log(own / torch.stack(scores).sum()))
    return torch.stack(losses).mean()
