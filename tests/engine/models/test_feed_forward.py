"""The feed-forward half in pieces equals the plain one, values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from engine.models import feed_forward as module
from engine.models.feed_forward import feed_forward


@pytest.mark.parametrize("tokens", [1, 3, 7, 12])
def test_pieces_equal_the_whole(monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    monkeypatch.setattr(module, "PIECE", 3)
    torch.manual_seed(1)
    expand, contract = nn.Linear(4, 10).double(), nn.Linear(10, 4).double()
    x, weight = torch.randn(tokens, 4, dtype=torch.float64, requires_grad=True), torch.randn(tokens, 4).double()
    inputs = (x, *expand.parameters(), *contract.parameters())
    found = []
    for out in (feed_forward(x, expand, contract), contract(F.gelu(expand(x)))):
        found.append((out.detach(), *torch.autograd.grad((out * weight).sum(), inputs)))
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
