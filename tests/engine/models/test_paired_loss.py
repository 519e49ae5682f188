"""The cross-entropy of partners beside torch's own."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.models.paired_loss import paired_cross_entropy


@settings(deadline=None)
@given(
    count=st.integers(2, 9),
    wide=st.integers(0, 3),
    symmetric=st.booleans(),
    share=st.sampled_from((0.0, 0.3, 1.0)),
    temperature=st.sampled_from((1.0, 0.07, 3.0)),
    seed=st.integers(0, 10_000),
)
def test_values_and_gradients_are_those_of_cross_entropy(count, wide, symmetric, share, temperature, seed):
    generator = torch.Generator().manual_seed(seed)
    rows, columns, weights = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((count, 3), (count + wide, 3), (count,))
    )
    columns = rows if symmetric else columns
    partner = torch.arange(count).roll(1)
    barred = torch.rand(count, len(columns), generator=generator) < share
    barred[torch.arange(count), partner] = False

    def plain(rows, columns):
        logits = (rows @ columns.T / temperature).masked_fill(barred, -math.inf)
        if symmetric:
            logits = logits.masked_fill(torch.eye(count, dtype=torch.bool), -math.inf)
        return F.cross_entropy(logits, partner, reduction="none")

    def ours(rows, columns):
        given = None if symmetric else columns
        return paired_cross_entropy(rows, given, partner, temperature=temperature, barred=barred)[0]

    found = []
    for loss in (plain, ours):
        leaves = [rows.clone().requires_grad_(), columns.clone().requires_grad_()]
        both = [leaves[0], leaves[0] if symmetric else leaves[1]]
        losses = loss(*both)
        (losses * weights).sum().backward()
        found.append([losses.detach(), leaves[0].grad, *([] if symmetric else [leaves[1].grad])])
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_columns_without_gradient_get_none(temperature):
    rows, columns = torch.randn(3, 2, requires_grad=True), torch.randn(3, 2)
    losses, shares = paired_cross_entropy(rows, columns, torch.arange(3), temperature=temperature)
    losses.sum().backward()
    assert rows.grad is not None
    assert columns.grad is None
    assert not shares.requires_grad


def test_a_share_too_small_for_a_float_is_no_infinite_loss():
    rows = torch.tensor([[100.0], [-100.0], [100.0]], requires_grad=True)
    losses, _ = paired_cross_entropy(rows, None, torch.tensor([1, 2, 0]), temperature=1.0)
    losses.sum().backward()
    assert losses.tolist() == [20_000.0, pytest.approx(math.log(2)), 0.0]
    assert rows.grad.isfinite().all()
