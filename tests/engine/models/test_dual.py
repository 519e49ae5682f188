"""The backbone dual against a plain, padded implementation in double precision; what it makes of text vectors, and leaves behind."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import ModelConfig
from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.windows import Windows
from engine.errors import ConfigError, TrainingError
from engine.events import Warned
from engine.models.dual import CrossAttention, principal_components
from engine.models.registry import build_backbone
from engine.recommend import Recommender, build, load_model, save_model
from engine.training import checkpoint
from engine.training.trainer import BEST, LAST

N, WIDTH, SIZE = 6, 8, 5


@pytest.fixture
def dual(make_dataset, make_semantics):
    """A backbone in double precision with weights away from 0, and its dataset."""

    def make(dataset=None, **options) -> Any:
        dataset = dataset or make_dataset(users=12)
        values = {"backbone": "dual", "width": WIDTH, "inner": 12, "dropout": 0.0, "attention_dropout": 0.0} | options
        torch.manual_seed(3)
        model = build_backbone(ModelConfig.model_validate(values), items=len(dataset.items), max_length=N)
        vectors = make_semantics(dataset, size=SIZE, dtype=torch.float64).item_vectors
        vectors[0], vectors[7] = 0.0, 0.0  # item 7 has no text
        model.before_training(dataset, vectors)
        model = model.double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
            model.item_embedding.weight[0] = 0.0
        return model, dataset

    return make


def norm(x, layer):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / torch.sqrt(variance + layer.eps) * layer.weight + layer.bias


def attention(layer, count, asking, read, hidden):
    """One sequence, head by head: queries of `asking` (L, D) over keys and values of `read` (L, D)."""
    crossed = isinstance(layer, CrossAttention)
    keys, values = (layer.key(read), layer.value(read)) if crossed else layer.key_value(read).chunk(2, -1)
    heads = []
    for q, k, v in zip(*(part.chunk(count, -1) for part in (layer.query(asking), keys, values)), strict=True):
        scores = (q @ k.T / math.sqrt(q.shape[-1])).masked_fill(hidden, -math.inf)
        heads.append(scores.softmax(-1) @ v)
    return layer.output(torch.cat(heads, -1))


def adapted(model, item):
    first, second = model.adapt
    return second(first(model.item_vectors[item]))


def slow(model, sequence):
    """h (2D,) of one sequence, item by item."""
    places = model.position_embedding.weight[N - len(sequence) :]
    ids = torch.stack([model.item_embedding.weight[item] for item in sequence]) * math.sqrt(WIDTH) + places
    texts = torch.stack([adapted(model, item) for item in sequence]) * math.sqrt(WIDTH) + places
    nothing = torch.zeros(len(sequence), len(sequence), dtype=torch.bool)
    heads = model.heads
    crossed = attention(model.to_id, heads, texts, ids, nothing), attention(model.to_text, heads, ids, texts, nothing)
    states = []
    for x in crossed:
        for layer in model.layers:
            x = norm(x + attention(layer, heads, x, x, ~nothing.logical_not().tril()), layer.attention_norm)
            x = norm(x + layer.contract(F.gelu(layer.expand(x))), layer.feed_norm)
        states.append(x[-1])
    return torch.cat(states)


def slow_table(model):
    rows = range(1, model.item_embedding.num_embeddings)
    return torch.stack([torch.cat([model.item_embedding.weight[item], adapted(model, item)]) for item in rows])


def compare(model, ours, expected):
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)
    direction = torch.randn(ours.shape, dtype=torch.float64)
    named = dict(model.named_parameters())
    gradients = [
        torch.autograd.grad((value * direction).sum(), list(named.values()), allow_unused=True, materialize_grads=True)
        for value in (ours, expected)
    ]
    for name, gradient, other in zip(named, *gradients, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-8, atol=1e-10, msg=lambda t, name=name: f"{name}: {t}")
    return dict(zip(named, gradients[0], strict=True))


@pytest.mark.parametrize(
    "layout", [Windows, lambda dataset, n: PaddedWindows(dataset, n, "cpu")], ids=["packed", "padded"]
)
@pytest.mark.parametrize(("layers", "heads", "count"), [(1, 2, 4), (2, 4, 40), (2, 1, 1)])
def test_states_and_scores_equal_the_equations(dual, layout, layers, heads, count):
    model, dataset = dual(layers=layers, heads=heads)
    ids = torch.randperm(len(dataset.anchors))[:count] + 1
    windows = layout(dataset, N)
    expected = torch.stack([slow(model, dataset.history(int(anchor), N).tolist()) for anchor in ids])
    gradients = compare(model, model(windows.pack(ids)), expected)
    assert gradients["adapt.0.weight"].any()
    assert not gradients["item_embedding.weight"][0].any(), "padding is not trained"
    hidden = torch.randn(3, 2 * WIDTH, dtype=torch.float64)
    scores = model.scores(hidden)
    compare(model, scores, hidden @ slow_table(model).T)
    chosen = torch.tensor([[1, 5], [7, 24], [2, 2]])
    torch.testing.assert_close(model.scores_of(hidden, chosen), scores.gather(1, chosen - 1))
    with torch.no_grad():
        torch.testing.assert_close(model(windows.pack(ids)), expected)


def test_an_item_without_a_vector_has_the_bias_and_an_id_alone(dual):
    model, _ = dual()
    first, second = model.adapt
    torch.testing.assert_close(model.table()[6, WIDTH:], second(first.bias))


def test_the_tables_follow_the_weights(dual):
    model, _ = dual()
    other = {name: 1.5 * value for name, value in model.state_dict().items()}
    changes = (step, lambda model: model.float(), lambda model: model.load_state_dict(other))
    for change in changes:
        for training in (True, False):
            model.train(training)
            with torch.no_grad():
                before = model.table()
                assert (model.tables() is model.tables()) != training, "once for an evaluation"
            change(model.train(training or change is step))
            model.train(training)
            with torch.no_grad():
                after = model.table()
            torch.testing.assert_close(after, slow_table(model).detach())
            assert change is not step or not torch.equal(before, after)


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
    model.table().square().sum().backward()
    optimizer.step()


# The start


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(1, 9), st.integers(1, 12), st.integers(0, 99))
def test_principal_components(count, size, width, seed):
    torch.manual_seed(seed)
    vectors = torch.randn(count, size, dtype=torch.float64) * torch.rand(size, dtype=torch.float64)
    found = principal_components(vectors, width)
    assert found.shape == (count, min(width, size, count - 1))
    centered = vectors - vectors.mean(0)
    u, s, _ = torch.linalg.svd(centered, full_matrices=False)
    expected = (u * s)[:, : found.shape[1]]
    torch.testing.assert_close(found.abs(), expected.abs(), rtol=1e-6, atol=1e-8)
    directions = torch.linalg.lstsq(centered, found, driver="gelsd").solution
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    assert (largest > 0).all()


def test_equal_vectors_have_no_component():
    assert principal_components(torch.ones(4, 3), 2).shape == (4, 0)


def test_embeddings_begin_where_the_components_put_them(prepare, world):
    semantics = world.semantics
    semantics.item_vectors[0], semantics.item_vectors[5] = 0.0, 0.0
    made = prepare(method="plain", backbone="dual", dataset=world.dataset)
    weight = made.trainer.model.backbone.item_embedding.weight.detach()
    rows = torch.tensor([item for item in range(1, 25) if item != 5])
    found = principal_components(semantics.item_vectors[rows], 8)
    assert found.shape[1] == 6, "the vectors have six numbers"
    torch.testing.assert_close(weight[rows, :6], found)
    rest = torch.cat([weight[rows, 6:].flatten(), weight[5]])
    assert 0 < rest.abs().max() < 0.1
    assert not weight[0].any()


def test_texts_are_adapted_in_full_precision(dual):
    """As embeddings are looked up: an encoder that computes in bfloat16 reads the numbers that items are scored by."""
    model, _ = dual()
    model = model.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert model.input_vectors(torch.arange(5)).dtype == torch.float32
        assert model.table().dtype == torch.float32


def test_it_learns_what_follows(run, make_dataset, make_semantics):
    dataset = make_dataset(users=60, cyclic=True, shortest=6)
    settings = {"dropout": 0.0, "attention_dropout": 0.0, "lr": 0.01, "epochs": 12, "width": 16, "layers": 1}
    made = run(method="plain", backbone="dual", dataset=dataset, semantics=make_semantics(dataset), **settings)
    assert made.result.test["hr@5"] > 0.9, "chance is 0.21"


# Checkpoints and exports


def test_a_saved_model_needs_no_vectors(run, world, tmp_path):
    made = run(method="plain", backbone="dual", dropout=0.0, attention_dropout=0.0)
    config, folder = made.trainer.config, made.trainer.folder
    for name in (BEST, LAST):
        names = checkpoint.read_weights(folder / name)
        assert "backbone.folded_text" in names
        assert not any("item_vectors" in name for name in names)
    weights = checkpoint.read_weights(folder / BEST, "backbone.")
    alone = build(weights, config.model, max_length=N, items=24, where=folder / BEST)
    assert "adapt.0.weight" in weights, "the weights that were given are left as they are"
    trained = made.trainer.model.backbone.eval()
    ids = torch.arange(1, 20)
    packed = Windows(world.dataset, N).pack(ids)
    with torch.no_grad():
        torch.testing.assert_close(alone.scores(alone(packed)), trained.scores(trained(packed)))
    names = [f"i{n}" for n in range(1, 25)]
    model = Recommender(alone, config.model, N, names, names)
    save_model(model, tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.recommend([["i3"], ["i4", "i1"]]) == model.recommend([["i3"], ["i4", "i1"]])
    assert not any(name.startswith("adapt") for name in again.backbone.state_dict())
    again.backbone.load_state_dict(alone.state_dict())


# What is refused, or told


def test_it_is_not_trained_by_sequences(prepare):
    with pytest.raises(TrainingError, match="dual is read at a sequence's last item only"):
        prepare(method="llm-esr", mode="sequence")


def test_without_any_vector_there_is_nothing_to_read(prepare, world):
    world.semantics.item_vectors[1:] = 0.0
    with pytest.raises(ConfigError, match="no item of 'small' has a text vector"):
        prepare(method="plain", backbone="dual")


@pytest.mark.parametrize("missing", [[], [3, 9]])
def test_items_without_a_vector_are_told(run, world, missing):
    world.semantics.item_vectors[missing] = 0.0
    told = [event.message for event in run(method="plain", backbone="dual", epochs=1).of(Warned)]
    assert bool(told) == bool(missing)
    assert all("backbone dual reads zeros for 2 of 24 items" in message for message in told)


def test_other_backbones_say_nothing_of_vectors(run, world):
    world.semantics.item_vectors[3] = 0.0
    assert run(epochs=1).of(Warned) == []
