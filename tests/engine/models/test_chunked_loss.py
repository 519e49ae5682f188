"""Cross-entropy in chunks of items: the values and gradients of the whole matrix of scores, which is never made."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.errors import ConfigError
from engine.methods import rec
from engine.methods.combination import check_combination
from engine.methods.model import Model
from engine.models import chunked_loss
from engine.models.backbone import Backbone
from engine.models.chunked_loss import CHUNK, LARGE, chunked_cross_entropy, items_at_once
from engine.models.losses import recommendation_loss
from tests.support.largest_tensor import Largest


def gradients(value, inputs):
    return torch.autograd.grad(value * 3.7, inputs)  # as a weight in a sum of losses does


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 9), items=st.integers(1, 40), chunk=st.integers(1, 50), scale=st.sampled_from([0.1, 3.0, 300.0]),
    biased=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_values_and_gradients_are_those_of_all_scores_at_once(rows, items, chunk, scale, biased, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden, table = (torch.randn(n, 5, dtype=torch.float64, generator=generator) * scale**0.5 for n in (rows, items))
    bias = torch.randn(items, dtype=torch.float64, generator=generator) if biased else None
    targets = torch.randint(1, items + 1, (rows,), generator=generator)
    inputs = [one.requires_grad_() for one in (hidden, table, bias) if one is not None]
    scores = hidden @ table.T
    plain = recommendation_loss(scores if bias is None else scores + bias, targets)
    ours = chunked_cross_entropy(hidden, table, bias, targets, chunk=chunk)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    for one, other in zip(gradients(ours, inputs), gradients(plain, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13 * max(1.0, scale))


def test_by_hand():
    # scores 0, ln 2, ln 3 of three items: the sum of exponentials is 6
    table = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).log()[:, None]
    hidden = torch.ones(2, 1, dtype=torch.float64)
    value = chunked_cross_entropy(hidden, table, None, torch.tensor([3, 1]), chunk=2)
    assert float(value.exp()) == pytest.approx((2 * 6) ** 0.5, rel=1e-14)


@pytest.mark.parametrize("score", [-3e4, 3e4])
def test_scores_beyond_any_exponential_stay_finite_in_float32(score):
    hidden, table = torch.full((2, 1), score, requires_grad=True), torch.tensor([[1.0], [-1.0], [0.5]])
    value = chunked_cross_entropy(hidden, table, None, torch.tensor([1, 2]), chunk=1)
    assert float(value.detach()) == pytest.approx(3e4)
    assert torch.isfinite(torch.autograd.grad(value, hidden)[0]).all()


def test_a_number_that_is_none_is_not_hidden():
    hidden = torch.tensor([[float("nan")]])
    assert chunked_cross_entropy(hidden, torch.ones(5, 1), None, torch.tensor([1]), chunk=2).isnan()


def test_the_scores_of_a_batch_for_all_items_are_never_in_memory():
    rows, items, chunk = 50, 2000, 100
    hidden, table = (torch.randn(n, 4, requires_grad=True) for n in (rows, items))
    for given_chunk, most in ((chunk, items * 4), (0, rows * items)):
        with Largest() as seen:
            if given_chunk:
                value = chunked_cross_entropy(hidden, table, None, torch.ones(rows, dtype=torch.long), chunk=chunk)
            else:
                value = recommendation_loss(hidden @ table.T, torch.ones(rows, dtype=torch.long))
            value.backward()
        assert seen.numbers == most


def test_chunks_begin_beyond_100000_items():
    assert LARGE == 100_000
    assert [items_at_once(0, items) for items in (1, LARGE, LARGE + 1, 10**7)] == [0, 0, CHUNK, CHUNK]
    assert [items_at_once(7, items) for items in (1, 10**6)] == [7, 7]


@pytest.fixture
def build(make_dataset, small_config):
    def make(**chosen):
        dataset = make_dataset()
        config = small_config(**{"alpha": 0.0, "beta": 0.0, "dropout": 0.0, "attention_dropout": 0.0} | chosen)
        torch.manual_seed(1)
        windows = Windows(dataset, 6)
        model = Model(config, dataset=dataset, windows=windows, semantics=None).double()
        with torch.no_grad():
            for one in model.backbone.parameters():
                one.add_(torch.randn_like(one) * 0.3)
        return model, lambda: model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN))[5:17], windows).total

    return make


@pytest.mark.parametrize("kind", [
    {"backbone": "sasrec"}, {"backbone": "gru4rec"}, {"backbone": "bsarec"}, {"backbone": "ligr"}, {"backbone": "bert4rec"},
    {"method": "duorec"}, {"method": "cl4srec"}, {"method": "mclrec"},
], ids=lambda kind: next(iter(kind.values())))  # fmt: skip
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_every_method_has_the_same_loss_and_gradients_in_chunks(build, kind, chunk, monkeypatch):
    found = []
    for given_chunk in (0, chunk):
        model, loss = build(**kind, **{"parts.rec.chunk": given_chunk})
        if given_chunk:
            monkeypatch.setattr(Backbone, "cross_entropy", spied := Spy(Backbone.cross_entropy))
        torch.manual_seed(5)
        value = loss()
        found.append([value, *torch.autograd.grad(value, list(model.parameters()), allow_unused=True)])
    assert spied.chunks == [chunk]
    for ours, plain in zip(*found, strict=True):
        if plain is not None:
            torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


class Spy:
    def __init__(self, function):
        self.function, self.chunks = function, []

    def __get__(self, backbone, kind):
        def call(*given_values):
            self.chunks.append(backbone.items_at_once)
            return self.function(backbone, *given_values)

        return call


def test_a_large_catalog_has_chunks_and_a_small_one_has_none(build, monkeypatch):
    assert build()[0].backbone.items_at_once == 0
    monkeypatch.setattr(chunked_loss, "LARGE", 10)
    assert build()[0].backbone.items_at_once == CHUNK
    assert build(**{"parts.rec.chunk": 3})[0].backbone.items_at_once == 3


def test_a_backbone_whose_scores_are_its_own_has_no_chunks(tmp_path, small_config, build, monkeypatch):
    path = tmp_path / "own.py"
    path.write_text(
        "from engine.models.gru4rec import GRU4Rec\n\n\nclass Scaled(GRU4Rec):\n"
        "    def scores(self, hidden):\n        return 2 * super().scores(hidden)\n"
    )
    own = {"backbone": f"{path}:Scaled", "method": "plain"}
    check_combination(small_config(**own))
    with pytest.raises(ConfigError, match=r"no loss over all items that parts\.rec\.chunk can cut"):
        check_combination(small_config(**own, **{"parts.rec.chunk": 3}))
    with pytest.raises(ConfigError, match=r"no loss over all items that parts\.rec\.chunk can cut"):
        check_combination(small_config(**{"method": "alpharec", "parts.rec.chunk": 3}))
    check_combination(small_config(**{"backbone": "bert4rec", "method": "plain", "parts.rec.chunk": 3}))
    expected = build(**own)[1]()
    monkeypatch.setattr(rec, "items_at_once", lambda *_: 3)  # as beyond 100,000 items
    torch.testing.assert_close(build(**own)[1](), expected, rtol=0, atol=0)
