"""The backbone alpharec against LightGCN with nodes for users, as a textbook writes it, and the training of method alpharec."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.config import ModelConfig
from engine.config_files import build_config
from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.windows import Windows, pack_histories
from engine.data.dataset import TRAIN
from engine.errors import ConfigError, TrainingError
from engine.methods.model import Model
from engine.models.alpharec import TrainingGraph
from engine.models.registry import build_backbone
from engine.recommend import Recommender, build, load_model, save_model
from engine.training import checkpoint
from engine.training.trainer import BEST, Stopped
from tests.support.slow_contrast import assert_same

N, WIDTH, SIZE = 6, 8, 5
ALPHAREC = {"method": "alpharec"}


@pytest.fixture
def alpharec(make_dataset):
    """A backbone in double precision that knows the training interactions of a dataset, and the dataset."""

    def make(dataset=None, max_length=N, **options) -> Any:
        dataset = dataset or make_dataset(users=14, items=18)
        values = {"backbone": "alpharec", "width": WIDTH, "inner": 7} | options
        torch.manual_seed(3)
        model = build_backbone(ModelConfig.model_validate(values), items=len(dataset.items), max_length=max_length)
        vectors = torch.from_numpy(np.random.default_rng(0).normal(size=(len(dataset.items) + 1, SIZE)))
        vectors[[0, 3]] = 0.0  # item 3 has no text
        model.before_training(dataset, vectors)
        return model.double(), dataset

    return make


def training_sets(dataset):
    """Items that each user has in training, one by one."""
    found = []
    for user in range(dataset.users):
        items = dataset.sequence[dataset.offsets[user] : dataset.offsets[user + 1]].tolist()
        found.append(sorted(set(items[: len(items) - 2] if len(items) >= 3 else items)))
    return found


def perceptron(model, x):
    y = model.adapt.weight @ x + model.adapt.bias
    y = torch.stack([value if value > 0 else 0.01 * value for value in y])
    return model.output.weight @ y + model.output.bias


def slow_graph(model, dataset):
    """Mean of all layers of users (U, D) and items (V, D), and the items' layers, node by node."""
    sets, count = training_sets(dataset), len(dataset.items)
    x = model.item_vectors
    has = [[user for user, items in enumerate(sets) if item in items] for item in range(1, count + 1)]
    users = [torch.stack([perceptron(model, torch.stack([x[i] for i in items]).mean(0)) for items in sets])]
    items = [torch.stack([perceptron(model, x[item]) for item in range(1, count + 1)])]
    nothing = torch.zeros(WIDTH, dtype=torch.float64)
    for _ in range(model.layers):
        of_users = [
            sum((items[-1][i - 1] / math.sqrt(len(own) * len(has[i - 1])) for i in own), nothing) for own in sets
        ]
        of_items = [sum((users[-1][u] / math.sqrt(len(own) * len(sets[u])) for u in own), nothing) for own in has]
        users.append(torch.stack(of_users))
        items.append(torch.stack(of_items))
    return torch.stack(users).mean(0), torch.stack(items).mean(0), items, has


def unit(rows):
    return torch.stack([row / row.norm() for row in rows])


def slow_hidden(model, graph, sequence):
    """h (D,) of a history, item by item."""
    _, _, layers, has = graph
    x = torch.stack([model.item_vectors[item] for item in sequence]).mean(0)
    h = perceptron(model, x)
    for items in layers[:-1]:
        for item in sequence:
            h = h + items[item - 1] / math.sqrt(len(sequence) * max(len(has[item - 1]), 1))
    return h / h.norm()


LAYOUTS = [pytest.param(Windows, id="packed")]
LAYOUTS += [pytest.param(lambda dataset, n: PaddedWindows(dataset, n, "cpu"), id="padded")]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_states_and_items_equal_the_equations(alpharec, layout, layers):
    model, dataset = alpharec(layers=layers)
    ids = torch.randperm(len(dataset.anchors))[:25] + 1
    graph = slow_graph(model, dataset)
    expected = (
        torch.stack([slow_hidden(model, graph, dataset.history(int(anchor), N).tolist()) for anchor in ids]),
        unit(graph[1]),
    )
    found = model(layout(dataset, N).pack(ids)), model.table()
    directions = torch.randn(len(ids), WIDTH), torch.randn(len(dataset.items), WIDTH)
    gradients = []
    for pair in (found, expected):
        value = torch.stack([(rows * to).sum() for rows, to in zip(pair, directions, strict=True)]).sum()
        gradients.append(torch.autograd.grad(value, list(model.parameters())))
    for mine, other in zip((*found, *gradients[0]), (*expected, *gradients[1]), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11)


def test_a_training_user_is_scored_as_its_node_is(alpharec, dataset_of):
    """For a history that is all that a user has in training, once each, the formula is LightGCN's."""
    dataset = dataset_of([[1, 2, 3, 9, 9], [2, 4, 5, 1, 6, 7], [3, 1, 8, 2], [9, 4, 2, 6], [5, 6]], items=10)
    model, _ = alpharec(dataset=dataset, max_length=20)
    users, items, _, _ = slow_graph(model, dataset)
    histories = [np.array(own) for own in training_sets(dataset)]
    found = model.scores(model(pack_histories(histories, 20)))
    torch.testing.assert_close(found, unit(users) @ unit(items).T, rtol=1e-9, atol=1e-11)


def test_an_item_that_nobody_has_in_training_is_its_text_alone(alpharec, dataset_of):
    dataset = dataset_of([[1, 2, 3, 4, 5], [2, 3, 1, 6]], items=8)
    model, _ = alpharec(dataset=dataset)
    torch.testing.assert_close(model.table()[7], unit([perceptron(model, model.item_vectors[8])])[0])


def test_validation_and_test_items_are_not_in_the_graph(alpharec, make_dataset):
    dataset = make_dataset(users=14, items=18, shortest=4)
    sequence = dataset.sequence.copy()
    sequence[~dataset.train_mask] = sequence[~dataset.train_mask] % 18 + 1
    other = replace(dataset, sequence=sequence)
    tables = [alpharec(dataset=one)[0].tables() for one in (dataset, other)]
    for name, table in tables[0].items():
        assert torch.equal(table, tables[1][name]), name
    graph = TrainingGraph(dataset)
    by_user = torch.repeat_interleave(torch.arange(dataset.users), torch.diff(graph.item_starts))
    by_item = torch.repeat_interleave(torch.arange(19), torch.diff(graph.user_starts))
    pairs = set(zip(by_user.tolist(), graph.items.tolist(), strict=True))
    assert pairs == set(zip(graph.users.tolist(), by_item.tolist(), strict=True))
    assert pairs == {(user, item) for user, items in enumerate(training_sets(dataset)) for item in items}


# The loss


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(1, 7), min_size=2, max_size=12), min_size=1, max_size=6), st.integers(0, 99))
def test_negatives_are_items_that_the_user_has_nowhere_in_training(dataset_of, sequences, seed):
    dataset = dataset_of(sequences, items=7)
    ids = torch.arange(1, len(dataset.anchors) + 1)
    torch.manual_seed(seed)
    drawn, exist = TrainingGraph(dataset).draw(ids, 30)
    sets = training_sets(dataset)
    for row, user in enumerate(dataset.anchors.user_ids.tolist()):
        others = set(range(1, 8)) - set(sets[user - 1])
        assert exist[row].tolist() == [bool(others)] * 30
        assert not others or set(drawn[row].tolist()) <= others


def test_each_of_the_other_items_is_drawn_as_often(dataset_of, monkeypatch):
    dataset = dataset_of([[2, 5, 6, 9, 1, 1], [1, 1, 1]], items=9)
    torch.manual_seed(0)
    drawn, _ = TrainingGraph(dataset).draw(torch.tensor([1]), 30_000)
    counts = torch.bincount(drawn[0], minlength=10)
    assert counts[[0, 2, 5, 6, 9]].sum() == 0
    assert (counts[[1, 3, 4, 7, 8]] - 6000).abs().max() < 5 * 6000**0.5
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 1.0))
    assert TrainingGraph(dataset).draw(torch.tensor([1]), 2)[0].tolist() == [[8, 8]]


@pytest.fixture
def build_model(make_dataset, make_semantics, small_config):
    def make(windows=Windows, **given):
        dataset = make_dataset(longest=9, items=20)
        config = small_config(**(ALPHAREC | given))
        made = PaddedWindows(dataset, N, "cpu") if windows is PaddedWindows else windows(dataset, N)
        torch.manual_seed(1)
        semantics = make_semantics(dataset, dtype=torch.float64)
        model = Model(config, dataset=dataset, windows=made, semantics=semantics).double().train()
        return model, dataset, made

    return make


def test_the_loss_equals_the_reference(build_model):
    model, dataset, windows = build_model(loss_negatives=5, loss_temperature=0.3)
    anchors = torch.from_numpy(dataset.anchors.ids(TRAIN)[:16])
    backbone = model.backbone

    def slow():
        chances = torch.rand(len(anchors), 5)
        sets, graph = training_sets(dataset), slow_graph(backbone, dataset)
        items = unit(graph[1])
        values = []
        for row, anchor in enumerate(anchors.tolist()):
            own = sets[dataset.anchors.user_ids[anchor - 1] - 1]
            others = [item for item in range(1, 21) if item not in own]
            chosen = [others[int(chance * len(others))] for chance in chances[row]]
            h = slow_hidden(backbone, graph, dataset.history(anchor, N).tolist())
            cosines = [h @ items[item - 1] / 0.3 for item in (int(dataset.anchors.targets[anchor - 1]), *chosen)]
            values.append(-torch.stack(cosines).log_softmax(0)[0])
        return torch.stack(values).mean()

    assert_same(model, lambda: model.losses(anchors, windows).total, slow)


def test_padded_windows_give_the_same(build_model):
    found = []
    for windows in (Windows, PaddedWindows):
        model, dataset, made = build_model(windows)
        torch.manual_seed(5)
        found.append(model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:20]), made).total)
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-11)


def test_a_user_who_has_every_item_has_no_negative(alpharec, dataset_of):
    model, dataset = alpharec(dataset=dataset_of([[1, 2, 3, 2, 1], [1, 2, 3, 1]], items=3))
    windows, ids = Windows(dataset, N), torch.tensor([1, 2])
    loss = model.loss_of_anchors(windows.pack(ids), windows.targets[ids], ids)
    loss.backward()
    assert loss == 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


# The method


def test_it_is_the_plain_training_of_its_backbone():
    """So its hash is that of the same settings by hand."""
    by_hand = {"method": "plain", "backbone": "alpharec", "lr": 5e-4, "weight_decay": 1e-6}
    assert build_config(ALPHAREC).config_hash() == build_config(by_hand).config_hash()
    assert build_config(ALPHAREC, {"lr": 1e-3}).config_hash() != build_config(by_hand).config_hash()


def test_it_learns_who_has_what(run, make_dataset, make_semantics):
    dataset = make_dataset(users=60, cyclic=True, shortest=6)
    made = run(**ALPHAREC, dataset=dataset, semantics=make_semantics(dataset, size=24), lr=0.02, epochs=15, width=16)
    assert made.result.test["hr@5"] > 0.4, "chance is 0.21"
    assert made.values("train")[-1]["loss_rec"] < made.values("train")[0]["loss_rec"]


def test_a_stopped_training_goes_on_as_if_it_had_not_been(prepare, run, tmp_path):
    left = iter([False, False, True])
    stopped = prepare(folder=tmp_path, stop=lambda: next(left), **ALPHAREC)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    resumed = prepare(folder=tmp_path, **ALPHAREC)
    torch.manual_seed(12345)
    resumed.trainer.resume()
    resumed.finish()
    assert run(**ALPHAREC).equals(resumed)


def test_a_saved_model_needs_no_vectors_and_no_graph(run, world, tmp_path):
    made = run(**ALPHAREC)
    config, folder = made.trainer.config, made.trainer.folder
    weights = checkpoint.read_weights(folder / BEST, "backbone.")
    assert {name for name in weights if not name.startswith(("adapt", "output"))} == {
        "folded_hidden", "folded_neighborhood", "folded_items",
    }  # fmt: skip
    alone = build(weights, config.model, max_length=N, items=24, where=folder / BEST)
    trained = made.trainer.model.backbone.eval()
    packed = Windows(world.dataset, N).pack(torch.arange(1, 20))
    with torch.no_grad():
        torch.testing.assert_close(alone.scores(alone(packed)), trained.scores(trained(packed)))
    names = [f"i{n}" for n in range(1, 25)]
    model = Recommender(alone, config.model, N, names, names)
    save_model(model, tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.recommend([["i3"], ["i4", "i1"]]) == model.recommend([["i3"], ["i4", "i1"]])


def test_beside_parts_that_edit_items_by_number_and_by_vector(run):
    combined = {**ALPHAREC, "method.parts": ["rec", "augmented", "intra", "align"], "epochs": 1}
    more = {"synthesizer.item_kind": "synthesize", "parts.augmented.warmup": 0}
    operators = {"parts.augmented.operators": ["mask", "substitute"]}
    made = run(**combined, **more, **operators)
    assert all(math.isfinite(value) for value in made.values("train")[0].values())
    assert made.trainer.model.shared("augmentation").mask.shape == (12 + 8,)


def test_what_is_refused(prepare, world):
    with pytest.raises(TrainingError, match="alpharec is read at a sequence's last item only"):
        prepare(**ALPHAREC, mode="sequence")
    with pytest.raises(ConfigError, match="alpharec has a loss of its own, which ss cannot replace"):
        build_config(ALPHAREC, {"parts.rec.loss": "ss"})
    world.semantics.item_vectors[1:] = 0.0
    with pytest.raises(ConfigError, match="no item of 'small' has a text vector"):
        prepare(**ALPHAREC)
