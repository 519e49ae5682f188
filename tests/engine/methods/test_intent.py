"""The contrast with intents: its loss, what is clustered, and trainings with it."""

from __future__ import annotations

import math

import pytest
import torch

from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.methods.base import Anchors
from engine.methods.model import Model
from engine.training import checkpoint
from engine.training.trainer import LAST, Stopped
from tests.support.slow_contrast import assert_same, slow_contrast

N = 6
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
ICSREC = {"method": "icsrec", "parts.intent.clusters": 4}


@pytest.fixture
def build(make_dataset, small_config):
    """A float64 ICSRec with its dataset and the windows of a class, in training mode, with centroids drawn."""

    def make(windows=Windows, **settings):
        dataset = make_dataset(longest=9, items=20)
        config = small_config(**(NO_DROPOUT | ICSREC | settings))
        made = PaddedWindows(dataset, N, "cpu") if windows is PaddedWindows else windows(dataset, N)
        torch.manual_seed(1)
        model = Model(config, dataset=dataset, windows=made, semantics=None).double().train()
        with torch.no_grad():  # at 0.02 every hidden state is much the same
            model.backbone.item_embedding.weight.mul_(30)
            if "intent" in model.parts:
                model.parts["intent"].centroids.copy_(torch.randn(4, 8))
        return model, dataset, made

    return make


def intent_of(h, centroids):
    distances = [float(((h.detach() - centroid) ** 2).sum()) for centroid in centroids]
    return distances.index(min(distances))


@pytest.mark.parametrize("settings", [{}, {"kin": False}, {"temperature": 0.5, "similarity": "cosine"}], ids=str)
def test_the_loss_equals_the_reference(build, plain_encode, settings):
    model, dataset, windows = build(**{f"parts.intent.{leaf}": value for leaf, value in settings.items()})
    centroids = model.parts["intent"].centroids
    train, targets = dataset.anchors.ids(TRAIN), dataset.anchors.targets
    anchors = torch.from_numpy(train[:14])
    kind = {"temperature": settings.get("temperature", 1.0), "cosine": settings.get("similarity") == "cosine"}

    def slow():
        positives = []
        for anchor, chance in zip(anchors.tolist(), torch.rand(len(anchors)).tolist(), strict=True):
            others = [
                other for other in train.tolist() if targets[other - 1] == targets[anchor - 1] and other != anchor
            ]
            positives.append(others[int(chance * len(others))] if others else anchor)
        h, other = (
            plain_encode(model.backbone, [dataset.history(a, N).tolist() for a in ids])
            for ids in (anchors.tolist(), positives)
        )
        wanted = [targets[anchor - 1] for anchor in anchors.tolist()]
        scores = (h @ model.backbone.item_embedding.weight[1:].T).log_softmax(1)
        total = -sum(scores[row, target - 1] for row, target in enumerate(wanted)) / len(anchors)
        total = total + 0.3 * slow_contrast(h, other, kin=lambda a, b: wanted[a] == wanted[b])
        for rows in (h, other):
            intents = [intent_of(row, centroids) for row in rows]
            assert 1 < len(set(intents)) < len(intents)
            near = [centroids[intent] / centroids[intent].norm() for intent in intents]

            def kin(a, b, intents=intents):
                return settings.get("kin", True) and intents[a] == intents[b]

            total = total + 0.1 * slow_contrast(rows, near, kin=kin, **kind)
        return total

    assert_same(model, lambda: model.losses(anchors, windows).total, slow)


def test_both_contrasts_read_one_pass(build):
    for settings, passes in (({}, 3), ({"parts.same_target.weight": 0}, 3), ({"parts.intent.weight": 0}, 3)):
        model, dataset, windows = build(**settings)
        seen = []
        model.backbone.register_forward_hook(lambda _, args, output, seen=seen: seen.append(len(args[0].last)))
        model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:10]), windows)
        assert seen == [10 * passes]


def test_prefixes_of_one_user_are_no_negatives_in_sequence_mode(build):
    model, dataset, windows = build(SharedWindows, mode="sequence")
    part = model.parts["intent"]
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN)[:12])
    batch = Anchors(ids, windows.targets[ids], windows, group_ids=windows.group_ids(ids))
    rows = torch.randn(2, 12, 8, dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    users = dataset.anchors.user_ids[ids - 1]
    for side in rows:
        intents = [intent_of(row, part.centroids) for row in side]
        near = [part.centroids[intent] / part.centroids[intent].norm() for intent in intents]
        total = total + slow_contrast(
            side, near, kin=lambda a, b, intents=intents: intents[a] == intents[b] or users[a] == users[b]
        )
    torch.testing.assert_close(part.loss(batch, list(rows)), total, rtol=1e-9, atol=1e-11)


def test_the_clusters_are_those_of_all_training_prefixes(build):
    model, dataset, windows = build()
    part, asked = model.parts["intent"], []

    def encode(ids):
        asked.append(ids)
        return model.backbone(windows.pack(ids)).detach()

    before, state = part.centroids.clone(), torch.get_rng_state()
    model.before_epoch(1, encode, None)
    (ids,) = asked
    assert ids.tolist() == dataset.anchors.ids(TRAIN).tolist()
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(part.centroids, before)
    first = part.centroids.clone()
    assert int(part.sizes.sum()) == len(ids)
    hidden = encode(ids)
    for number in range(4):  # 20 iterations are enough here
        own = hidden[part.intents_of(hidden) == number]
        assert len(own) == part.sizes[number]
        torch.testing.assert_close(part.centroids[number], own.mean(0))
    model.before_epoch(2, encode, None)
    other = part.centroids.clone()
    model.before_epoch(1, encode, None)
    assert torch.equal(part.centroids, first)
    assert not torch.equal(other, first), "an epoch draws anew"
    another, *_ = build(seed=2)
    another.before_epoch(1, encode, None)
    assert not torch.equal(another.parts["intent"].centroids, first), "and so does another seed"


def test_what_is_measured_of_the_clusters(build):
    model, _, _ = build()
    part = model.parts["intent"]
    part.sizes.copy_(torch.tensor([6, 0, 2, 0]))
    assert model.metrics() == pytest.approx(
        {
            "intent_empty": 0.5,
            "intent_largest": 0.75,
            "intent_effective": math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)),
        }
    )
    part.sizes.copy_(torch.full((4,), 3))
    assert model.metrics()["intent_effective"] == pytest.approx(4)


WIDER = """
import torch
from torch import nn
from engine.models.backbone import Backbone

class Own(Backbone):
    def __init__(self, config, *, items, max_length):
        super().__init__(config, items=items, max_length=max_length)
        self.item_embedding = nn.Embedding(items + 1, config.width, padding_idx=0)

    def table(self):
        return self.item_embedding.weight[1:].repeat(1, 2)

    def forward(self, packed, token_vectors=None):
        return self.item_embedding(packed.items).repeat(1, 2)[packed.last][packed.restore]
"""


def test_hidden_states_may_be_wider_than_the_embeddings(run, tmp_path):
    (tmp_path / "wider.py").write_text(WIDER)
    made = run(**(ICSREC | {"semantics": None, "epochs": 1, "backbone": f"{tmp_path / 'wider.py'}:Own"}))
    assert made.weights(LAST)["parts.intent.centroids"].shape == (4, 16)
    assert made.values("train")[0]["loss_intent"] > 0


def test_more_clusters_than_prefixes(run):
    made = run(**(ICSREC | {"parts.intent.clusters": 500, "semantics": None, "epochs": 1}))
    measured = made.values("train")[0]
    assert 0.5 < measured["intent_empty"] < 1
    assert math.isfinite(measured["loss"])
    assert measured["loss_intent"] > 0


def test_padded_windows_give_the_same(build):
    found = []
    for windows in (Windows, PaddedWindows):
        model, dataset, made = build(windows)
        torch.manual_seed(5)
        found.append(model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:12]), made).terms)
    assert found[0]["loss_intent"] > 0
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-9, atol=1e-11)


def test_weight_0_is_the_run_without_it(run):
    off = run(**(ICSREC | {"semantics": None, "parts.intent.weight": 0}))
    duorec = {"method": "duorec", "parts.same_target.weight": 0.3, "parts.same_target.kin": True}
    assert off.equals(run(**(duorec | {"semantics": None})))
    assert off.values("train")[0]["loss_intent"] == 0


def test_alone_it_reads_another_prefix_drawn_at_random(run):
    """A setting of a part that is off has no effect, since it is not in the hash."""
    alone = ICSREC | {"semantics": None, "epochs": 1, "parts.same_target.weight": 0}
    first, second = (run(**(alone | {"parts.same_target.positive": kind})) for kind in ("random", "last"))
    assert first.equals(second)
    assert first.trainer.config.config_hash() == second.trainer.config.config_hash()


@pytest.mark.parametrize("mode", ["prefix", "sequence"])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(prepare, run, mode, tmp_path):
    settings = ICSREC | {"semantics": None, "mode": mode}
    left = iter([False, False, True])
    stopped = prepare(folder=tmp_path, stop=lambda: next(left), **settings)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    assert checkpoint.read_state(tmp_path / LAST).done > 0
    resumed = prepare(folder=tmp_path, **settings)
    torch.manual_seed(12345)
    resumed.trainer.resume()
    assert torch.equal(resumed.trainer.model.parts["intent"].centroids, stopped.trainer.model.parts["intent"].centroids)
    resumed.finish()
    whole = run(**settings)
    assert whole.equals(resumed)
    assert whole.values("train")[-1] == resumed.values("train")[-1]
    assert whole.values("train")[-1]["intent_effective"] > 1
