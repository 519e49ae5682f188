"""Kernels of our own give what torch's operators give: values, gradients and random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from engine.config_files import build_config
from engine.data.batching.windows import lay_out
from engine.models import kernels as module
from engine.models.attention import AttentionSpec, attend, attend_last
from engine.models.feed_forward import feed_forward_half
from engine.models.kernel_library import SWITCH
from engine.models.kernels import Kernels, kernels_for, missing
from engine.models.linear import linear
from engine.models.losses import recommendation_loss
from engine.models.registry import build_backbone
from engine.models.residual_norm import normed_sum, projected_norm
from engine.models.table_rows import table_rows

CLOSE = {torch.float64: 1e-12, torch.float32: 2e-5}
"""Largest difference, relative to the largest value of a tensor."""


@pytest.fixture(autouse=True)
def _needs_kernels() -> None:
    if missing():
        pytest.skip(missing())


def _compare(
    way: Callable[[], Tensor | Sequence[Tensor]], inputs: Sequence[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, gradients and the next random number with kernels and without."""
    found = []
    for switch in ("on", "off"):
        monkeypatch.setenv(SWITCH, switch)
        assert (kernels_for(inputs[0]) is None) == (switch == "off")
        torch.manual_seed(7)
        out = way()
        parts = [out] if isinstance(out, Tensor) else list(out)
        after, generator = torch.rand(()), torch.Generator().manual_seed(2)
        total = sum((part * torch.randn(part.shape, generator=generator, dtype=part.dtype)).sum() for part in parts)
        found.append([*(part.detach() for part in parts), *torch.autograd.grad(total, inputs), after])
    for ours, plain in zip(*found, strict=True):
        assert ours.shape == plain.shape
        assert (ours - plain).abs().max() <= CLOSE[inputs[0].dtype] * plain.abs().max()


def _drawn(dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(3)
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("seed", range(12))
def test_attention(seed: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    lengths = sorted(chance.sample(range(1, 70), chance.randint(1, 6)))
    blocks = tuple((chance.randint(1, 9), length) for length in lengths)
    heads = chance.choice([1, 2, 4])
    width = heads * chance.choice([3, 8, 16, 32])
    spec = AttentionSpec(blocks, heads, causal=chance.random() < 0.7, dropout=chance.choice([0.0, 0.1, 0.3, 0.5, 0.9]))
    tokens, sequences = sum(count * length for count, length in blocks), sum(count for count, _ in blocks)
    (qkv,) = _drawn(dtype, (tokens, 3 * width))
    _compare(lambda: attend(qkv, spec), [qkv], monkeypatch)
    query, x, key, value, bias = _drawn(
        dtype, (sequences, width), (tokens, width), (width, width), (width, width), (width,)
    )
    _compare(lambda: attend_last(query, x, key, value, bias, spec), [query, x, key, value, bias], monkeypatch)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("rows", [1, 5, 97, 700, 2500])
@pytest.mark.parametrize(("width", "inner"), [(32, 64), (64, 256), (96, 32)])
def test_layers(width: int, inner: int, rows: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(4)
    expand, contract = nn.Linear(width, inner).to(dtype), nn.Linear(inner, width).to(dtype)
    norm = nn.LayerNorm(width, eps=1e-12).to(dtype)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x, other, wide = _drawn(dtype, (rows, width), (rows, width), (rows, inner))
    for rate in (0.0, 0.2, 0.5):
        weights = [*expand.parameters(), *contract.parameters(), *norm.parameters()]
        _compare(lambda rate=rate: feed_forward_half(x, expand, contract, norm, rate), [x, *weights], monkeypatch)
        given = [wide, other, *contract.parameters(), *norm.parameters()]
        _compare(lambda rate=rate: projected_norm(wide, contract, other, norm, rate), given, monkeypatch)
        _compare(lambda rate=rate: normed_sum(x, other, norm, rate), [x, other, *norm.parameters()], monkeypatch)
    _compare(lambda: linear(x, expand.weight, expand.bias), [x, *expand.parameters()], monkeypatch)
    _compare(lambda: linear(x, expand.weight), [x, expand.weight], monkeypatch)


@pytest.mark.parametrize("padding", [None, 0])
def test_rows_of_a_table(padding: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    table = nn.Embedding(17, 5, padding_idx=padding, dtype=torch.float64)
    index = torch.randint(0, 17, (300,), generator=torch.Generator().manual_seed(1))
    _compare(lambda: table_rows(table, index), [table.weight], monkeypatch)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(("rows", "items", "spread"), [(1, 2, 1.0), (7, 33, 30.0), (256, 2420, 3.0)])
def test_cross_entropy(
    rows: int, items: int, spread: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scores,) = _drawn(dtype, (rows, items))
    targets = torch.randint(1, items + 1, (rows,), generator=torch.Generator().manual_seed(1))
    _compare(lambda: recommendation_loss(scores * spread, targets), [scores], monkeypatch)
    _compare(lambda: 3 * recommendation_loss(scores * spread, targets), [scores], monkeypatch)
    assert recommendation_loss(scores[:0], targets[:0]).isnan()
    with pytest.raises(IndexError):
        recommendation_loss(scores, targets.new_full((rows,), items + 1))


def test_gelu_far_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its relative error is some 1e-6 at -6, where 1 + erf has lost all digits; nothing is not a number."""
    one = torch.zeros(32, 32)
    one[0, 0] = 1.0
    points = torch.cat([torch.linspace(-14, 14, 4001), torch.tensor([-1e30, -50.0, 0.0, 50.0, 1e30])])
    x = torch.zeros(len(points), 32)
    x[:, 0] = points
    inner, out = x.new_empty(len(x), 32), torch.empty_like(x)
    kernels = kernels_for(x)
    assert kernels is not None
    kernels.feed_forward(x, one, torch.zeros(32), one, inner, out, len(x), 32, 32)
    exact = points.double()
    right = exact * 0.5 * torch.special.erfc(-exact / 2**0.5)
    assert torch.allclose(out[:, 0].double(), right, rtol=1e-5, atol=1e-36)
    near = exact.abs() < 6
    assert torch.allclose(out[near, 0].double(), right[near], rtol=1.5e-6, atol=0)


@pytest.mark.parametrize("backbone", ["sasrec", "bert4rec", "bsarec", "ligr"])
@pytest.mark.parametrize("dtype", CLOSE)
def test_backbones(backbone: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    config = build_config({"backbone": backbone, "width": 32, "inner": 64, "heads": 2, "layers": 2}).model
    torch.manual_seed(5)
    model = build_backbone(config, items=40, max_length=20).to(dtype).train()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.3)
    lengths = torch.randint(1, 21, (50,), generator=torch.Generator().manual_seed(6))
    row = torch.randint(1, 41, (int(lengths.sum()),), generator=torch.Generator().manual_seed(7))
    packed = lay_out(row, torch.cumsum(lengths, 0) - lengths, lengths, 20)
    reached = [weight for name, weight in model.named_parameters() if "bias" not in name or "key_value" not in name]
    torch.manual_seed(7)
    grads = torch.autograd.grad(model(packed).sum(), reached, allow_unused=True)
    weights = [weight for weight, grad in zip(reached, grads, strict=True) if grad is not None]
    _compare(lambda: model(packed), weights, monkeypatch)


def test_one_thread_and_two_give_the_same_bits() -> None:
    torch.manual_seed(1)
    expand, contract, norm = nn.Linear(64, 256), nn.Linear(256, 64), nn.LayerNorm(64)
    blocks, table = ((40, 3), (30, 20), (20, 50)), nn.Embedding(90, 64)
    index = torch.randint(0, 90, (1720,))
    weights = [*expand.parameters(), *contract.parameters(), *norm.parameters(), table.weight]
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(2)
            x = table_rows(table, index)
            mixed = attend(linear(x, torch.cat([contract.weight[:, :64]] * 3)), AttentionSpec(blocks, 2, True, 0.5))
            out = feed_forward_half(normed_sum(mixed, x, norm, 0.5), expand, contract, norm, 0.5)
            found.append([out.detach(), *torch.autograd.grad(out.square().sum(), weights)])
    finally:
        torch.set_num_threads(before)
    for ours, theirs in zip(found[0], found[1], strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(found[0], found[2], strict=True):
        assert torch.equal(ours, theirs)


def test_what_is_not_a_number_stays_so() -> None:
    """A training that has come to no number has to be seen."""
    norm, expand, contract = nn.LayerNorm(32), nn.Linear(32, 32), nn.Linear(32, 32)
    x = torch.randn(12, 32)
    x[3, 5] = torch.nan
    for out in (
        linear(x, expand.weight),
        normed_sum(x, x, norm, 0.0),
        feed_forward_half(x, expand, contract, norm, 0.0),
    ):
        assert out[3].isnan().any()
        assert not out[:3].isnan().any()
    assert recommendation_loss(x, torch.ones(12, dtype=torch.long)).isnan()
    qkv = torch.randn(12, 96)
    qkv[3, 40] = torch.nan  # a key
    out = attend(qkv, AttentionSpec(((2, 6),), 1, causal=True, dropout=0.0))
    assert out[3:6].isnan().all()
    assert not out[:3].isnan().any()
    assert not out[6:].isnan().any()


def test_a_second_derivative_is_refused() -> None:
    x, weight = torch.randn(4, 32, requires_grad=True), torch.randn(32, 32, requires_grad=True)
    with pytest.raises(RuntimeError, match="SRACL_KERNELS=off"):
        torch.autograd.grad(linear(x, weight).square().sum(), x, create_graph=True)


def test_other_shapes_are_left_to_torch() -> None:
    x = torch.randn(3, 32)
    assert kernels_for(x, products=(32, 64)) is not None
    assert kernels_for(x, products=(32, 50)) is None
    assert kernels_for(x, rows=(1025,)) is None
    assert kernels_for(x.half()) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert kernels_for(x) is None


def test_wrong_arguments_are_refused() -> None:
    x, kernels = torch.randn(4, 32), kernels_for(torch.randn(1))
    assert kernels is not None
    with pytest.raises(AssertionError, match="takes 7 arguments, not 6"):
        kernels.linear(x, x, None, x, 4, 32)
    with pytest.raises(AssertionError, match="float64 in place of"):
        kernels.linear(x.double(), x, None, x, 4, 32, 4)
    with pytest.raises(AssertionError):
        kernels.linear(x.T, x, None, x, 4, 32, 4)
    with pytest.raises(Exception, match="argument 5"):
        kernels.linear(x, x, None, x, "4", 32, 4)


def test_kernels_that_compute_wrongly_are_not_used() -> None:
    right = kernels_for(torch.randn(1))
    assert right is not None
    assert module._agrees(right, torch.float32)
    for name in ("feed_forward", "norm", "attend"):
        wrong = Kernels.__new__(Kernels)
        vars(wrong).update(vars(right))
        setattr(wrong, name, lambda *_: None)
        assert not module._agrees(wrong, torch.float32), name
