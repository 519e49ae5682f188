"""Attention on the CPU equals the plain products, values and gradients, with the same dropout."""

from __future__ import annotations

import pytest
import torch

from engine.models.attention import How, attend, attend_by_block

BLOCKS = ((3, 1), (2, 2), (1, 5), (4, 7))


def _inputs(how: How, dtype: torch.dtype, width: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    sequences, tokens = sum(count for count, _ in how.blocks), sum(count * length for count, length in how.blocks)
    query = torch.randn(sequences if how.last_only else tokens, width, dtype=dtype, requires_grad=True)
    return query, torch.randn(tokens, 2 * width, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_it_equals_the_products_of_whole_blocks(causal: bool, last_only: bool, rate: float, heads: int) -> None:
    how = How(BLOCKS, heads, causal, last_only, rate)
    query, key_value = _inputs(how, torch.float64)
    weight = torch.randn_like(query)
    found = []
    for way in (attend, attend_by_block):
        torch.manual_seed(1)
        out = way(query, key_value, how)
        found.append((out.detach(), *torch.autograd.grad((out * weight).sum(), (query, key_value))))
        after = torch.rand(())  # both have drawn as much
        found[-1] = (*found[-1], after)
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


def test_its_gradient_is_that_of_its_values() -> None:
    how = How(((1, 1), (2, 3)), 2, causal=True, last_only=False, dropout=0.0)
    query, key_value = _inputs(how, torch.float64, width=4)
    assert torch.autograd.gradcheck(lambda q, kv: attend(q, kv, how), (query, key_value))


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    how = How(BLOCKS, 2, causal=True, last_only=False, dropout=0.5)
    query, key_value = _inputs(how, torch.float32)
    with torch.no_grad():
        assert attend(query, key_value, how).grad_fn is None
    out = attend(query.detach(), key_value.detach(), how)
    assert not out.requires_grad
    assert out.shape == query.shape
