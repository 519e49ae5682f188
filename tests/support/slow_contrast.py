"""Symmetric InfoNCE of pairs as a loop over rows, and what the tests of contrastive parts compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def slow_contrast(
    rows: Sequence[Tensor],
    partners: Sequence[Tensor],
    *,
    temperature: float = 1.0,
    cosine: bool = False,
    kin: Callable[[int, int], bool] = lambda a, b: False,
) -> Tensor:
    """Mean over all 2B rows; pairs a and b for which `kin` is true are no negatives of each other."""
    count = len(rows)
    both = [row / row.norm() if cosine else row for row in (*rows, *partners)]
    total = torch.zeros((), dtype=both[0].dtype)
    for i, row in enumerate(both):
        partner = (i + count) % (2 * count)
        negatives = [j for j in range(2 * count) if j not in (i, partner) and not kin(i % count, j % count)]
        assert all(j % count != i % count for j in negatives)
        logits = torch.stack([row @ both[j] / temperature for j in (partner, *negatives)])
        total = total - logits.log_softmax(0)[0]
    return total / (2 * count)


def assert_same(model: torch.nn.Module, ours: Callable[[], Tensor], slow: Callable[[], Tensor]) -> Tensor:
    """Values and gradients of all parameters in float64; each is called with the same random numbers. Our value."""
    found = []
    for function in (ours, slow):
        torch.manual_seed(7)
        value = function()
        parameters = list(model.parameters())
        found.append((value, *torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)))
    names = ("value", *(name for name, _ in model.named_parameters()))
    for name, mine, other in zip(names, *found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")
    return found[0][0].detach()
