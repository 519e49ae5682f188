"""The packed SASRec gives the values and gradients of a plain, padded one; its dropout is a dropout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.config import ModelConfig
from engine.data.batching.windows import Windows
from engine.models.backbone import init_weights
from engine.models.dropout import dropout
from engine.models.registry import build_backbone


def config_of(**settings):
    return ModelConfig.model_validate({"width": 8} | settings)


def backbone(items=24, max_length=6, dtype=torch.float64, **settings):
    torch.manual_seed(3)
    config = config_of(**({"inner": 12, "dropout": 0.0, "attention_dropout": 0.0} | settings))
    model = build_backbone(config, items=items, max_length=max_length).to(dtype)
    with torch.no_grad():  # norms and biases that are not 1 and 0, so that a mix-up shows
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        model.item_embedding.weight[0] = 0.0
    return model


def histories(dataset, ids, max_length):
    return [dataset.history(int(anchor), max_length).tolist() for anchor in ids]


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("max_length", [1, 4, 15])
def test_packed_equals_plain(make_dataset, plain_encode, layers, heads, max_length):
    dataset = make_dataset(users=12)
    model = backbone(layers=layers, heads=heads, max_length=max_length)
    ids = torch.randperm(len(dataset.anchors))[:40] + 1
    ids = torch.cat([ids, ids[:5]])  # the same sequence more than once
    direction = torch.randn(len(ids), 8, dtype=torch.float64)

    ours = model(Windows(dataset, max_length).pack(ids))
    gradients = torch.autograd.grad((ours * direction).sum(), list(model.parameters()))
    plain = plain_encode(model, histories(dataset, ids, max_length))
    expected = torch.autograd.grad((plain * direction).sum(), list(model.parameters()))

    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)
    for (name, _), gradient, other in zip(model.named_parameters(), gradients, expected, strict=True):
        torch.testing.assert_close(
            gradient, other, rtol=1e-9, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}"
        )
        assert max_length == 1 or gradient.abs().sum() > 0, name


def test_token_vectors_stand_in_for_item_embeddings(make_dataset, plain_encode):
    dataset = make_dataset(users=6)
    model = backbone()
    ids = torch.arange(1, 11)
    packed = Windows(dataset, 6).pack(ids)
    doubled = 2 * model.item_embedding(packed.items)
    sequences = histories(dataset, ids, 6)
    padded = torch.zeros(len(ids), 6, 8, dtype=torch.float64)
    for row, sequence in enumerate(sequences):
        padded[row, 6 - len(sequence) :] = 2 * model.item_embedding.weight[sequence]
    torch.testing.assert_close(model(packed, doubled), plain_encode(model, sequences, padded), rtol=1e-9, atol=1e-12)


def test_order_of_the_batch_does_not_matter(make_dataset):
    windows = Windows(make_dataset(), 6)
    model = backbone()
    ids = torch.randperm(30) + 1
    torch.testing.assert_close(
        model(windows.pack(ids)), model(windows.pack(ids.sort().values))[ids - 1], rtol=1e-12, atol=0
    )


def test_the_future_and_what_lies_before_the_window_are_not_seen(dataset_of):
    one = dataset_of([[1, 2, 3, 4, 5, 6, 7]], items=9)
    other = dataset_of([[9, 2, 3, 4, 8, 9, 9]], items=9)
    model = backbone(items=9, max_length=3)
    prefix = torch.tensor([4])  # window 2, 3, 4
    assert torch.equal(model(Windows(one, 3).pack(prefix)), model(Windows(other, 3).pack(prefix)))


def test_scores_are_dot_products_with_items_from_one(make_dataset):
    model = backbone(items=5)
    hidden = torch.randn(3, 8, dtype=torch.float64)
    scores, weight = model.scores(hidden).tolist(), model.item_embedding.weight.tolist()
    for row, vector in enumerate(hidden.tolist()):
        dots = [sum(a * b for a, b in zip(vector, weight[item], strict=True)) for item in range(1, 6)]
        assert scores[row] == pytest.approx(dots, rel=1e-9)


def test_initial_weights():
    torch.manual_seed(0)
    model = build_backbone(config_of(width=64), items=500, max_length=20)
    assert model.item_embedding.weight[0].abs().max() == 0
    for name, parameter in model.state_dict().items():
        if "norm" in name:
            assert torch.equal(parameter, torch.full_like(parameter, float(name.endswith("weight")))), name
        elif name.endswith("bias"):
            assert parameter.abs().max() == 0, name
        else:
            assert float(parameter.std()) == pytest.approx(0.02, rel=0.1), name
            assert abs(float(parameter.mean())) < 0.002, name
    assert all(module.eps == 1e-12 for module in model.modules() if isinstance(module, nn.LayerNorm))


def test_random_padding_row_is_only_another_initial_value(make_dataset):
    torch.manual_seed(0)
    zero = build_backbone(config_of(), items=24, max_length=6).eval()
    torch.manual_seed(0)
    drawn = build_backbone(config_of(padding="random"), items=24, max_length=6).eval()
    assert drawn.item_embedding.weight[0].abs().min() > 0
    assert torch.equal(zero.item_embedding.weight[1:], drawn.item_embedding.weight[1:])
    packed = Windows(make_dataset(), 6).pack(torch.arange(1, 9))
    assert torch.equal(zero(packed), drawn(packed))


def test_init_weights_takes_a_deviation():
    layer = nn.Linear(100, 100)
    init_weights(layer, std=0.5)
    assert float(layer.weight.detach().std()) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("hidden", [0.0, 0.3])
@pytest.mark.parametrize("attention", [0.0, 0.3])
def test_dropout_of_both_kinds_is_on_in_training_only(make_dataset, hidden, attention):
    packed = Windows(make_dataset(), 6).pack(torch.arange(1, 20))
    model = backbone(dropout=hidden, attention_dropout=attention)
    plain = backbone()
    assert torch.equal(model.eval()(packed), plain(packed))
    model.train()
    assert torch.equal(model(packed), model(packed)) == (hidden == attention == 0.0)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9, 1 / 3])
def test_dropout_keeps_the_mean_and_drops_its_share(rate):
    torch.manual_seed(0)
    x = torch.ones(400, 501)  # no multiple of the eight or four values cut from one word
    y = dropout(x, rate, True)
    dropped = y == 0
    error = (rate * (1 - rate) / x.numel()) ** 0.5
    assert abs(float(dropped.double().mean()) - rate) < 5 * error
    assert torch.allclose(y[~dropped], torch.tensor(1 / (1 - rate)), rtol=1e-4)
    assert abs(float(y.double().mean()) - 1) < 5 * error / (1 - rate)
    for axis in (0, 1):  # no row or column is favored
        share = dropped.double().mean(axis)
        assert float((share - rate).abs().max()) < 6 * (rate * (1 - rate) / x.shape[axis]) ** 0.5
    neighbors = (dropped[:, 1:] & dropped[:, :-1]).double().mean()
    assert float(neighbors) == pytest.approx(rate**2, abs=6 * error)


def test_dropout_outside_training_and_at_rate_zero_is_the_identity():
    x = torch.randn(5, 7)
    assert dropout(x, 0.5, False) is x
    assert dropout(x, 0.0, True) is x


@pytest.mark.parametrize("rate", [0.5, 0.3])
def test_dropout_follows_the_seed(rate):
    x = torch.ones(1000)
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(dropout(x, rate, True))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[2], dropout(x, rate, True)), "two calls draw two masks"


def test_dropout_has_the_gradient_of_its_mask():
    x = torch.ones(64, requires_grad=True)
    y = dropout(x, 0.25, True)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


@pytest.mark.parametrize("rate", [1e-9, 0.999999, 1 - 1e-12])
def test_dropout_at_the_ends_of_its_range(rate):
    torch.manual_seed(0)
    y = dropout(torch.ones(3_000_000), rate, True)
    assert float((y == 0).double().mean()) == pytest.approx(rate, abs=1e-4)
    assert float(y.double().mean()) == pytest.approx(1, abs=1.0 if rate > 0.5 else 1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dropout_of_nothing_and_of_any_float(dtype):
    assert dropout(torch.ones(0, 4, dtype=dtype), 0.5, True).shape == (0, 4)
    assert dropout(torch.ones(3, dtype=dtype), 0.3, True).dtype == dtype
