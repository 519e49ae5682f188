"""Attention on the CPU equals the plain products, values and gradients, with the same dropout."""

from __future__ import annotations

import pytest
import torch

from engine.models import attention
from engine.models.attention import AttentionSpec, attend, attend_by_block, attend_last, pool_by_block

pytestmark = pytest.mark.usefixtures("with_and_without_kernels")

BLOCKS = ((3, 1), (2, 2), (1, 5), (4, 7))
SEQUENCES, TOKENS, WIDTH = 10, 40, 8


def _inputs(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    torch.manual_seed(3)
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]


def _values_and_gradients(way, inputs: list[torch.Tensor], how: AttentionSpec) -> list[torch.Tensor]:
    torch.manual_seed(1)
    out = way(*inputs, how)
    out = out if isinstance(out, tuple) else (out,)
    generator = torch.Generator().manual_seed(2)
    total = sum((part * torch.randn(part.shape, generator=generator, dtype=part.dtype)).sum() for part in out)
    return [*(part.detach() for part in out), *torch.autograd.grad(total, inputs), torch.rand(())]  # all drew as much


def _by_block(qkv: torch.Tensor, how: AttentionSpec) -> torch.Tensor:
    sizes = [count * length * length for count, length in how.blocks]
    return attend_by_block(qkv, attention._draw_mask(how, sizes, qkv), how)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("causal", [False, True])
def test_it_equals_the_products_of_whole_blocks(causal: bool, rate: float, heads: int) -> None:
    how = AttentionSpec(BLOCKS, heads, causal, rate)
    inputs = _inputs((TOKENS, 3 * WIDTH))
    ours, plain = (_values_and_gradients(way, inputs, how) for way in (attend, _by_block))
    for mine, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("device", ["cpu", "other"])
def test_the_last_token_alone_equals_keys_and_values_of_all_tokens(
    monkeypatch: pytest.MonkeyPatch, device: str, rate: float, heads: int
) -> None:
    if device == "other":
        monkeypatch.setattr(attention._PoolOnCPU, "apply", pool_by_block)
    how = AttentionSpec(BLOCKS, heads, causal=True, dropout=rate)
    key_bias = _inputs((WIDTH,))[0].detach()

    def plain(query, tokens, key, value, value_bias, how: AttentionSpec) -> torch.Tensor:
        mask = attention._draw_mask(how, [count * length for count, length in how.blocks], query)
        found, asked, token, drawn = [], 0, 0, 0
        for count, length in how.blocks:
            for _ in range(count):
                x = tokens[token : token + length]
                keys, values = x @ key.T + key_bias, x @ value.T + value_bias
                for head in range(heads):
                    part = slice(head * (WIDTH // heads), (head + 1) * (WIDTH // heads))
                    weights = (keys[:, part] @ query[asked, part] / (WIDTH // heads) ** 0.5).softmax(0)
                    if mask is not None:
                        weights = weights * mask[drawn : drawn + length]
                    drawn += length
                    found.append(weights @ values[:, part])
                asked, token = asked + 1, token + length
        return torch.stack(found).view(SEQUENCES, WIDTH)

    inputs = _inputs((SEQUENCES, WIDTH), (TOKENS, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH,))
    ours, slow = (_values_and_gradients(way, inputs, how) for way in (attend_last, plain))
    for mine, other in zip(ours, slow, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_its_gradient_is_that_of_its_values() -> None:
    how = AttentionSpec(((1, 1), (2, 3)), 2, causal=True, dropout=0.0)
    assert torch.autograd.gradcheck(lambda qkv: attend(qkv, how), _inputs((7, 12)))
    inputs = _inputs((3, 4), (7, 4), (4, 4), (4, 4), (4,))
    assert torch.autograd.gradcheck(lambda *parts: attend_last(*parts, how), inputs)


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    how = AttentionSpec(BLOCKS, 2, causal=True, dropout=0.5)
    whole = _inputs((TOKENS, 3 * WIDTH), dtype=torch.float32)
    last = _inputs((SEQUENCES, WIDTH), (TOKENS, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH,), dtype=torch.float32)
    for way, inputs in ((attend, whole), (attend_last, last)):
        with torch.no_grad():
            assert way(*inputs, how).grad_fn is None
        out = way(*(each.detach() for each in inputs), how)
        assert not out.requires_grad
        assert out.shape == (len(inputs[0]), WIDTH)
