"""The recommendation losses against loops that spell them out, and trainings with each of them."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.errors import ConfigError
from engine.methods import rec
from engine.methods.combination import check_combination
from engine.methods.model import Model
from engine.models.chosen_scores import chosen_scores
from engine.models.losses import (
    binary_cross_entropy,
    corrected_softmax,
    draw_negatives,
    draw_popular,
    generalized_bce,
    sampled_softmax,
)
from engine.training.trainer import Stopped

N = 6
SAMPLED = ["bce", "ss", "ss-logq", "gbce"]
UNIFORM = ["bce", "ss", "gbce"]
SCORES = st.floats(-9, 9, allow_subnormal=False)  # a training before makes the CPU take those as zero


def sigma(x):
    return 1 / (1 + math.exp(-x))


def slow(loss, own, others, *, items, t):
    """The loss of one target with score `own` and negatives with scores `others`, in Python's floats."""
    if loss == "bce":
        return -math.log(sigma(own)) - sum(math.log(1 - sigma(s)) for s in others) / len(others)
    if loss == "ss":
        return -math.log(math.exp(own) / sum(math.exp(s) for s in [own, *others]))
    rate = len(others) / (items - 1)
    beta = rate * (t * (1 - 1 / rate) + 1 / rate)  # as published
    return -(math.log(sigma(own) ** beta) + sum(math.log(1 - sigma(s)) for s in others)) / (len(others) + 1)


@given(
    own=SCORES, others=st.lists(SCORES, min_size=1, max_size=20),
    items=st.integers(21, 500), t=st.floats(0, 1, allow_subnormal=False),
)  # fmt: skip
def test_losses_equal_their_definitions(own, others, items, t):
    scores = torch.tensor([own], dtype=torch.float64), torch.tensor([others], dtype=torch.float64)
    options = {"items": items, "t": t}
    assert float(binary_cross_entropy(*scores)) == pytest.approx(slow("bce", own, others, **options), rel=1e-9)
    assert float(sampled_softmax(*scores)) == pytest.approx(slow("ss", own, others, **options), rel=1e-9, abs=1e-12)
    assert float(generalized_bce(*scores, **options)) == pytest.approx(slow("gbce", own, others, **options), rel=1e-9)


def test_gbce_by_hand():
    # V = 5, K = 2: r = 1/2, beta = 1 - 3/4 * 1/2 = 5/8; all scores 0: sigma = 1/2
    scores = torch.zeros(1, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    assert float(generalized_bce(*scores, items=5, t=0.75)) == pytest.approx((5 / 8 + 2) * math.log(2) / 3, rel=1e-12)
    everything = torch.zeros(1, 9, dtype=torch.float64)  # more draws than items: no item is underrepresented
    assert float(generalized_bce(scores[0], everything, items=5, t=0.75)) == pytest.approx(math.log(2), rel=1e-12)


@pytest.mark.parametrize("score", [-200.0, -90.0, 0.0, 90.0, 200.0])
def test_losses_are_finite_in_float32_where_a_sigmoid_is_not(score):
    own, others = torch.tensor([score], requires_grad=True), torch.full((1, 256), -score, requires_grad=True)
    for loss in (binary_cross_entropy, sampled_softmax, lambda a, b: generalized_bce(a, b, items=2420, t=0.75)):
        value = loss(own, others)
        assert torch.isfinite(value)
        assert value >= 0
        assert all(torch.isfinite(grad).all() for grad in torch.autograd.grad(value, (own, others)))
    double = generalized_bce(own.detach().double(), others.detach().double(), items=2420, t=0.75)
    assert float(value.detach()) == pytest.approx(float(double), rel=1e-6, abs=1e-30)


@given(items=st.integers(2, 30), count=st.integers(1, 40), data=st.data())
def test_negatives_are_items_other_than_the_target(items, count, data):
    targets = torch.tensor(data.draw(st.lists(st.integers(1, items), min_size=1, max_size=9)))
    drawn = draw_negatives(targets, count, items=items)
    assert drawn.shape == (len(targets), count)
    assert ((drawn >= 1) & (drawn <= items) & (drawn != targets[:, None])).all()


@pytest.mark.parametrize("target", [1, 3, 6])
def test_all_other_items_are_drawn_alike(target):
    torch.manual_seed(0)
    counts = Counter(draw_negatives(torch.full((1000,), target), 50, items=6).flatten().tolist())
    assert set(counts) == {1, 2, 3, 4, 5, 6} - {target}
    assert max(abs(count - 10_000) for count in counts.values()) < 500  # 5 standard deviations are 447


def sums_of(weights):
    return torch.tensor([0, *weights]).cumsum(0)


@settings(deadline=None)
@given(weights=st.lists(st.integers(1, 9), min_size=2, max_size=30), count=st.integers(1, 40), data=st.data())
def test_popular_negatives_are_items_other_than_the_target_with_their_probabilities(weights, count, data):
    targets = torch.tensor(data.draw(st.lists(st.integers(1, len(weights)), min_size=1, max_size=9)))
    drawn, log_q = draw_popular(targets, count, sums=sums_of(weights))
    assert drawn.shape == log_q.shape == (len(targets), count)
    for target, row, logs in zip(targets.tolist(), drawn.tolist(), log_q.tolist(), strict=True):
        for item, log in zip(row, logs, strict=True):
            assert 1 <= item <= len(weights)
            assert item != target
            assert math.exp(log) == pytest.approx(weights[item - 1] / (sum(weights) - weights[target - 1]), rel=1e-12)


@pytest.mark.parametrize("target", [1, 3, 5])
def test_popular_items_are_drawn_by_their_weights(target):
    torch.manual_seed(0)
    weights = [1, 5, 2, 8, 4]
    drawn = draw_popular(torch.full((1000,), target), 50, sums=sums_of(weights))[0]
    counts = Counter(drawn.flatten().tolist())
    assert set(counts) == {1, 2, 3, 4, 5} - {target}
    for item, count in counts.items():
        share = weights[item - 1] / (20 - weights[target - 1])
        assert abs(count - 50_000 * share) < 5 * (50_000 * share * (1 - share)) ** 0.5


def test_millions_of_interactions_are_drawn_to_the_last_item():
    torch.manual_seed(0)
    weights = torch.full((1_000_000,), 7, dtype=torch.long)
    weights[-1] = 10**12
    drawn, log_q = draw_popular(
        torch.tensor([5]), 1000, sums=torch.cat([torch.zeros(1, dtype=torch.long), weights.cumsum(0)])
    )
    assert (drawn == 1_000_000).all()
    assert log_q.abs().max() < 1e-5


def test_the_corrected_sum_has_that_over_all_items_as_its_mean():
    scores, weights, target = torch.tensor([0.3, -1.2, 2.0, 0.7], dtype=torch.float64), [1, 5, 2, 8], 2
    others = [item for item in (1, 2, 3, 4) if item != target]
    total = 0.0
    for first in others:  # every pair of draws, K = 2
        for second in others:
            drawn = torch.tensor([[first, second]])
            q = torch.tensor([[weights[item - 1] / 11 for item in (first, second)]], dtype=torch.float64)
            value = corrected_softmax(scores[[target - 1]], scores[drawn - 1], q.log())
            total += float(q.prod()) * math.exp(float(value) + float(scores[target - 1]))
    assert total == pytest.approx(float(scores.exp().sum()), rel=1e-12)


def test_of_enough_popular_draws_the_loss_is_nearly_the_whole_cross_entropy(build):
    whole = build()
    expected = float(whole[0].losses(whole[3], whole[2]).total.detach())
    found = {}
    for loss in ("ss-logq", "ss"):
        model, _, windows, ids = build(**{"parts.rec.loss": loss, "negatives": 20_000})
        torch.manual_seed(3)
        found[loss] = abs(float(model.losses(ids, windows).total.detach()) - expected)
    assert found["ss-logq"] < 0.03
    assert found["ss"] > 1, "it has no correction: its sum grows with K"


@pytest.fixture
def build(make_dataset, small_config):
    def make(kind=Windows, **settings):
        dataset = make_dataset()
        config = small_config(method="plain", dropout=0.0, attention_dropout=0.0, **settings)
        torch.manual_seed(1)
        windows = kind(dataset, N, "cpu") if kind is PaddedWindows else kind(dataset, N)
        model = Model(config, dataset=dataset, windows=windows, semantics=None).double()
        with torch.no_grad():
            model.backbone.item_embedding.weight.mul_(30)
        return model, dataset, windows, torch.from_numpy(dataset.anchors.ids(TRAIN))[5:17]

    return make


@pytest.mark.parametrize("loss", UNIFORM)
@pytest.mark.parametrize("backbone", ["sasrec", "gru4rec"])
def test_loss_and_gradients_equal_a_loop_over_samples(build, plain_encode, monkeypatch, loss, backbone):
    model, dataset, windows, ids = build(
        **{"backbone": backbone, "parts.rec.loss": loss, "negatives": 7, "gbce_t": 0.6}
    )
    drawn = []

    def record(targets, count, *, items):
        drawn.append(draw_negatives(targets, count, items=items))
        return drawn[0]

    monkeypatch.setattr(rec, "draw_negatives", record)
    monkeypatch.setattr(model.backbone, "scores", None)  # scores of all items are never made
    total = model.losses(ids, windows).total
    hidden = model.backbone(windows.pack(ids))
    if backbone == "sasrec":
        hidden = plain_encode(model.backbone, [dataset.history(int(one), N).tolist() for one in ids])
    table, items, values = model.backbone.item_embedding.weight, len(dataset.items), []
    for h, target, negatives in zip(hidden, windows.targets[ids].tolist(), drawn[0].tolist(), strict=True):
        own, others = table[target] @ h, torch.stack([table[item] @ h for item in negatives])
        if loss == "bce":
            values.append(-torch.log(torch.sigmoid(own)) - torch.log(1 - torch.sigmoid(others)).mean())
        elif loss == "ss":
            values.append(-torch.log(torch.exp(own) / (torch.exp(own) + torch.exp(others).sum())))
        else:
            beta = 1 - 0.6 * (1 - 7 / (items - 1))
            logs = torch.log(torch.sigmoid(own) ** beta) + torch.log(1 - torch.sigmoid(others)).sum()
            values.append(-logs / 8)
    expected = torch.stack(values).mean()
    torch.testing.assert_close(total, expected, rtol=1e-9, atol=0)
    parameters = list(model.backbone.parameters())
    for ours, plain in zip(*(torch.autograd.grad(x, parameters) for x in (total, expected)), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize("loss", SAMPLED)
def test_padded_windows_give_the_same_loss(build, loss):
    found = []
    for kind in (Windows, PaddedWindows):
        model, _, windows, ids = build(kind, **{"parts.rec.loss": loss, "negatives": 7})
        torch.manual_seed(5)
        found.append(model.losses(ids, windows).total)
    torch.testing.assert_close(*found, rtol=1e-10, atol=0)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("count", [1, 3, 5000])
def test_chosen_scores_and_their_gradients_are_those_of_plain_indexing(count, sparse):
    torch.manual_seed(0)
    hidden, table = (torch.randn(rows, 4, dtype=torch.float64, requires_grad=True) for rows in (7, 9))
    index = torch.randint(0, 9, (7, count))  # also more rows for each than a piece holds
    direction = torch.randn(7, count, dtype=torch.float64)
    found = [chosen_scores(hidden, table, index, sparse=sparse), (table[index] * hidden[:, None]).sum(2)]
    torch.testing.assert_close(*found)
    gradients = [torch.autograd.grad((scores * direction).sum(), [hidden, table]) for scores in found]
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours.to_dense(), plain)
    assert gradients[0][1].is_sparse == sparse


@pytest.mark.parametrize("mode", ["prefix", "sequence"])
@pytest.mark.parametrize("loss", SAMPLED)
def test_training_learns_what_follows(run, make_dataset, loss, mode):
    settings = {"dataset": make_dataset(users=60, cyclic=True, shortest=6), "semantics": None, "method": "plain"}
    settings |= {"dropout": 0.0, "attention_dropout": 0.0, "lr": 0.01, "width": 16, "mode": mode, "negatives": 8}
    made = run(**settings, epochs=20, **{"parts.rec.loss": loss})
    assert made.result.test["hr@5"] > 0.7, "chance is 0.21"


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("loss", SAMPLED)
def test_a_resumed_epoch_draws_the_negatives_that_it_would_have_drawn(prepare, loss, sparse):
    settings = {"method": "plain", "parts.rec.loss": loss, "negatives": 5, "sparse_adam": sparse}
    whole = prepare(**settings)
    whole.finish()
    steps = iter([False, False, True])
    broken = prepare(stop=lambda: next(steps, False), **settings)
    with pytest.raises(Stopped):
        broken.finish()
    again = prepare(folder=broken.trainer.folder, **settings)
    again.trainer.resume()
    again.finish()
    assert again.equals(whole)


def test_with_a_contrast_beside_it(run):
    made = run(**{"parts.rec.loss": "ss", "negatives": 5, "epochs": 1})
    (values,) = made.values("train")
    assert values["loss"] == pytest.approx(
        values["loss_rec"] + 0.1 * values["loss_cs"] + 0.1 * values["loss_is"], rel=1e-6
    )
    assert values["loss_rec"] < math.log(6) + 0.5, "5 negatives, not all items"


OWN = """
from engine.models.gru4rec import GRU4Rec

class Own(GRU4Rec):
    has_own_loss = True

class Biased(GRU4Rec):
    def scores(self, hidden):
        return super().scores(hidden) + 1

class Both(Biased):
    def scores_of(self, hidden, items):
        return super().scores_of(hidden, items) + 1
"""


def test_backbones_whose_scores_or_loss_are_their_own(tmp_path, small_config):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    for name, words in (("Own", "has a loss of its own"), ("Biased", "has scores of its own and no scores_of")):
        check_combination(small_config(backbone=f"{path}:{name}", method="plain"))
        with pytest.raises(ConfigError, match=words):
            check_combination(small_config(**{"backbone": f"{path}:{name}", "parts.rec.loss": "ss"}))
    check_combination(small_config(**{"backbone": f"{path}:Both", "parts.rec.loss": "ss"}))


def test_a_single_item_leaves_nothing_to_sample(prepare, dataset_of):
    dataset = dataset_of([[1, 1, 1, 1, 1], [1, 1, 1, 1]])
    with pytest.raises(ConfigError, match="no item beside the target"):
        prepare(**{"dataset": dataset, "method": "plain", "parts.rec.loss": "ss"})
