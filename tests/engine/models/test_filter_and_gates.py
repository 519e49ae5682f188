"""The backbones bsarec and ligr against plain, padded implementations in double precision, values and gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from engine.config import ModelConfig
from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.errors import TrainingError
from engine.models.bsarec import lowpass
from engine.models.registry import build_backbone

N, WIDTH = 6, 8


def build(name, items=24, max_length=N, **settings) -> Any:
    torch.manual_seed(3)
    values = {"backbone": name, "width": WIDTH, "inner": 12, "dropout": 0.0, "attention_dropout": 0.0} | settings
    model = build_backbone(ModelConfig.model_validate(values), items=items, max_length=max_length).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        model.item_embedding.weight[0] = 0.0
    return model


def norm(x, layer):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / torch.sqrt(variance + layer.eps) * layer.weight + layer.bias


def attention(layer, x, hidden):
    """The output layer of multi-head attention over (B, n, D), head by head."""
    keys, values = layer.key_value(x).chunk(2, -1)
    heads = []
    for q, k, v in zip(*(part.chunk(layer.heads, -1) for part in (layer.query(x), keys, values)), strict=True):
        scores = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).masked_fill(hidden, -1e9)
        heads.append(scores.softmax(-1) @ v)
    return layer.output(torch.cat(heads, -1))


def bsa_layer(layer, x, hidden, real, *, mix, bands):
    """By the real Fourier transform of all n positions; padding is 0 there."""
    spectrum = torch.fft.rfft(x * real[..., None], dim=1, norm="ortho")
    spectrum[:, bands // 2 + 1 :] = 0
    low = torch.fft.irfft(spectrum, n=x.shape[1], dim=1, norm="ortho")
    filtered = norm(x + low + layer.high_scale**2 * (x - low), layer.filter_norm)
    attended = norm(x + attention(layer, x, hidden), layer.attention_norm)
    y = mix * filtered + (1 - mix) * attended
    return norm(y + layer.contract(F.gelu(layer.expand(y))), layer.feed_norm)


def ligr_layer(layer, x, hidden, real):
    x = x + torch.sigmoid(layer.attention_gate(x)) * attention(layer, norm(x, layer.attention_norm), hidden)
    y = norm(x, layer.feed_norm)
    swish = y @ layer.swish.weight.T
    fed = (swish * torch.sigmoid(swish) * (y @ layer.expand.weight.T)) @ layer.contract.weight.T
    return x + torch.sigmoid(layer.feed_gate(x)) * fed


def plain(model, sequences, layer, **options):
    """States (B, n, D) of sequences that are padded on the left to the window."""
    length = model.position_embedding.num_embeddings
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, length - len(sequence) :] = torch.tensor(sequence)
    x = model.item_embedding.weight[ids] + model.position_embedding.weight
    x = norm(x, model.input_norm) if layer is bsa_layer else x
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1) | (ids == 0)[:, None, :]  # (B, n, n)
    for one in model.layers:
        x = layer(one, x, hidden, ids > 0, **options)
    return x


def compare(model, ours, expected):
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)
    direction = torch.randn(ours.shape, dtype=torch.float64)
    named = dict(model.named_parameters())
    gradients = [
        torch.autograd.grad((value * direction).sum(), list(named.values()), allow_unused=True, materialize_grads=True)
        for value in (ours, expected)
    ]
    for name, gradient, other in zip(named, *gradients, strict=True):
        torch.testing.assert_close(
            gradient, other, rtol=1e-8, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}"
        )
    return dict(zip(named, gradients[0], strict=True))


def some(dataset, max_length):
    """Ids, one of them twice, and their windows as lists."""
    ids = torch.randperm(len(dataset.anchors))[:25] + 1
    ids = torch.cat([ids, ids[:3]])
    return ids, [dataset.history(int(anchor), max_length).tolist() for anchor in ids]


LAYOUTS = [pytest.param(lambda dataset, n: Windows(dataset, n), id="packed")]
LAYOUTS += [pytest.param(lambda dataset, n: PaddedWindows(dataset, n, "cpu"), id="padded")]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("mix", "bands"), [(0.9, 3), (0.4, 1), (1.0, 5), (0.0, 3), (0.6, 99)])
@pytest.mark.parametrize(("layers", "max_length"), [(1, 6), (2, 1), (2, 7), (3, 14)])
def test_bsarec_equals_fourier_transforms(make_dataset, layout, mix, bands, layers, max_length):
    dataset = make_dataset(users=12)
    model = build("bsarec", layers=layers, max_length=max_length, filter_mix=mix, filter_bands=bands)
    ids, sequences = some(dataset, max_length)
    expected = plain(model, sequences, bsa_layer, mix=mix, bands=bands)[:, -1]
    gradients = compare(model, model(layout(dataset, max_length).pack(ids)), expected)
    reached = mix > 0 and bands // 2 < max_length // 2  # else there is no filter, or nothing above it
    assert bool(gradients["layers.0.high_scale"].abs().max() > 1e-12) == reached


@given(length=st.integers(1, 40), bands=st.integers(1, 60))
def test_the_lowpass_matrix_is_a_transform_cut_and_brought_back(length, bands):
    matrix = lowpass(length, bands, torch.float64, torch.device("cpu"))
    spectrum = torch.fft.rfft(torch.eye(length, dtype=torch.float64), dim=0)
    spectrum[bands // 2 + 1 :] = 0
    torch.testing.assert_close(matrix, torch.fft.irfft(spectrum, n=length, dim=0), rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix @ matrix, matrix, rtol=0, atol=1e-12)  # a projection
    torch.testing.assert_close(matrix.sum(1), torch.ones(length, dtype=torch.float64))  # which keeps what is constant


def test_bsarec_looks_both_ways_and_so_is_not_trained_by_sequences(prepare, make_dataset):
    model = build("bsarec")
    with pytest.raises(NotImplementedError):
        model.encode_at(Windows(make_dataset(), N).pack(torch.arange(1, 5)), torch.arange(4))
    with pytest.raises(TrainingError, match="bsarec is read at a sequence's last item only"):
        prepare(backbone="bsarec", mode="sequence")


def test_the_scale_of_high_frequencies_begins_as_a_normal_number():
    torch.manual_seed(0)
    model: Any = build_backbone(ModelConfig(backbone="bsarec", width=512), items=5, max_length=N)
    scale = model.layers[0].high_scale.detach()
    assert float(scale.mean()) == pytest.approx(0, abs=0.15)
    assert float(scale.std()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize(("layers", "max_length"), [(1, 6), (2, 1), (2, 7), (3, 14)])
def test_ligr_equals_its_equations(make_dataset, layout, heads, layers, max_length):
    dataset = make_dataset(users=12)
    model = build("ligr", layers=layers, heads=heads, max_length=max_length)
    ids, sequences = some(dataset, max_length)
    expected = plain(model, sequences, ligr_layer)[:, -1]
    gradients = compare(model, model(layout(dataset, max_length).pack(ids)), expected)
    assert all(
        gradient.abs().sum() > 0 for name, gradient in gradients.items() if max_length > 1 and "bias" not in name
    )


def test_ligr_gives_the_state_at_any_item(make_dataset):
    dataset, model = make_dataset(users=12), build("ligr")
    packed = Windows(dataset, N).pack(torch.from_numpy(dataset.anchors.ids(TRAIN))[:20])
    indices = torch.arange(len(packed.items))
    firsts = (packed.last - packed.lengths + 1)[packed.sequences]
    states, rows = [], packed.restore.argsort()[packed.sequences]
    sequences = [dataset.history(int(one), N).tolist() for one in dataset.anchors.ids(TRAIN)[:20]]
    whole = plain(model, sequences, ligr_layer)
    for token in indices.tolist():
        sequence = sequences[int(rows[token])]
        states.append(whole[int(rows[token]), N - len(sequence) + token - int(firsts[token])])
    compare(model, model.encode_at(packed, indices), torch.stack(states))


def test_ligr_begins_with_xavier_weights_in_its_layers_and_small_embeddings():
    torch.manual_seed(0)
    model: Any = build_backbone(ModelConfig(backbone="ligr", width=64), items=500, max_length=N)
    for linear, fan in ((model.layers[0].query, 128), (model.layers[0].swish, 320), (model.layers[1].contract, 320)):
        assert float(linear.weight.std()) == pytest.approx(math.sqrt(2 / fan), rel=0.05)
    assert float(model.item_embedding.weight[1:].std()) == pytest.approx(0.02, rel=0.05)
    assert not any(value.any() for name, value in model.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize("name", ["bsarec", "ligr"])
def test_dropout_of_hidden_states_and_of_attention_each_change_training(make_dataset, name):
    packed = Windows(make_dataset(), N).pack(torch.arange(1, 20))
    for rates in ({"dropout": 0.3}, {"attention_dropout": 0.3}):
        model = build(name, **rates).train()
        assert not torch.equal(model(packed), model(packed)), rates
