"""The contrast of augmented views with the intent of their prefix: its loss, its passes, and trainings with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.config_files import build_config
from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.errors import ConfigError
from engine.methods.base import Anchors, View
from engine.methods.encoding import encode_views
from engine.methods.model import Model
from engine.training import checkpoint
from engine.training.trainer import LAST, Stopped
from tests.support.slow_contrast import assert_same, slow_contrast

N = 6
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
ICLREC = {"method": "iclrec", "parts.intent.clusters": 4}
MEAN = {"parts.intent.representation": "mean"}
WINDOWS = {"prefix": Windows, "sequence": SharedWindows}


@pytest.fixture
def build(make_dataset, small_config):
    """A float64 ICLRec with its dataset and the windows of a class, in training mode, with centroids drawn."""

    def make(windows=Windows, **settings):
        dataset = make_dataset(longest=9, items=20)
        config = small_config(**(NO_DROPOUT | ICLREC | settings))
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


@pytest.mark.parametrize("mode", WINDOWS)
@pytest.mark.parametrize("settings", [{}, {"kin": True}, {"temperature": 0.5, "similarity": "cosine"}], ids=str)
def test_the_loss_equals_the_reference(build, mode, settings):
    model, dataset, windows = build(
        WINDOWS[mode], mode=mode, **{f"parts.intent.{leaf}": value for leaf, value in settings.items()}
    )
    intent = model.parts["intent"]
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN)[:12])
    users = dataset.anchors.user_ids[ids.numpy() - 1]
    kind = {"temperature": settings.get("temperature", 1.0), "cosine": settings.get("similarity") == "cosine"}

    def slow():
        batch = Anchors(ids=ids, targets=windows.targets[ids], windows=windows)
        h, first, second = (list(rows) for rows in encode_views(model.backbone, intent.views(batch), windows))
        scores = (torch.stack(h) @ model.backbone.item_embedding.weight[1:].T).log_softmax(1)
        total = -sum(scores[row, target - 1] for row, target in enumerate(batch.targets.tolist())) / len(ids)

        def same_user(a, b):
            return mode == "sequence" and users[a] == users[b]

        total = total + 0.1 * slow_contrast(first, second, kin=same_user)
        intents = [intent_of(row, intent.centroids) for row in h]
        assert 1 < len(set(intents)) < len(intents)
        near = [intent.centroids[number] / intent.centroids[number].norm() for number in intents]

        def kin(a, b):
            return a == b or same_user(a, b) or (settings.get("kin", False) and intents[a] == intents[b])

        terms = [slow_contrast(view, near, kin=kin, **kind) for view in (first, second)]
        return total + 0.1 * sum(terms) / 2

    assert_same(model, lambda: model.losses(ids, windows).total, slow)


def test_both_views_have_the_intent_of_the_prefix_and_not_their_own(build):
    model, dataset, windows = build()
    part = model.parts["intent"]
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN)[:12])
    batch = Anchors(ids=ids, targets=windows.targets[ids], windows=windows)
    h, first, second = torch.randn(3, 12, 8, dtype=torch.float64).requires_grad_()
    assert not torch.equal(part.intents_of(h), part.intents_of(first))
    own, one, other = torch.autograd.grad(part.loss(batch, [h, first, second]), [h, first, second], allow_unused=True)
    assert own is None, "an intent has no gradient"
    assert bool(one.any())
    assert bool(other.any())
    near = part.centroids[part.intents_of(h)]
    near = list(near / near.norm(dim=1, keepdim=True))
    expected = (slow_contrast(list(first), near) + slow_contrast(list(second), near)) / 2
    torch.testing.assert_close(part.loss(batch, [h, first, second]), expected, rtol=1e-9, atol=1e-11)


def test_the_contrasts_and_the_recommendation_loss_read_three_passes(build):
    for settings in ({}, {"parts.augmented.weight": 0}, {"parts.intent.weight": 0}):
        model, dataset, windows = build(**settings)
        seen = []
        model.backbone.register_forward_hook(lambda _, args, output, seen=seen: seen.append(len(args[0].last)))
        model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:10]), windows)
        assert seen == [30]


def test_views_that_are_read_at_every_item_are_contrasted_at_the_last(build):
    found = []
    for representation in ("last", "states"):
        model, dataset, windows = build(**{"parts.augmented.representation": representation})
        torch.manual_seed(3)
        found.append(model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:12]), windows).terms["loss_intent"])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-11)


def states_of_each(model, views, windows):
    """States (L, D) of each sequence of each view."""
    every = encode_views(model.backbone, [replace(view, read="every", key=None) for view in views], windows)
    return [
        [found.hidden[found.rows == row] for row in range(len(view))] for view, found in zip(views, every, strict=True)
    ]


@pytest.mark.parametrize("mode", WINDOWS)
def test_means_of_all_states_in_place_of_the_last_one(build, mode):
    model, dataset, windows = build(WINDOWS[mode], mode=mode, **MEAN)
    part, ids = model.parts["intent"], torch.from_numpy(dataset.anchors.ids(TRAIN)[:12])
    users = dataset.anchors.user_ids[ids.numpy() - 1]

    def kin(a, b):
        return a == b or (mode == "sequence" and users[a] == users[b])

    def slow():
        batch = Anchors(ids=ids, targets=windows.targets[ids], windows=windows)
        h, first, second = states_of_each(model, part.views(batch), windows)
        assert [len(states) for states in h] == windows.anchor_runs(ids).lengths.tolist()
        intents = [intent_of(states.mean(0), part.centroids) for states in h]
        assert 1 < len(set(intents)) < len(intents)
        near = [part.centroids[number] / part.centroids[number].norm() for number in intents]
        return sum(slow_contrast([states.mean(0) for states in view], near, kin=kin) for view in (first, second)) / 2

    assert_same(model, lambda: model.losses(ids, windows).terms["loss_intent"], slow)


def test_the_recommendation_loss_and_the_instance_contrast_are_the_same_beside_means(build):
    found = []
    for settings in ({}, MEAN):
        model, dataset, windows = build(**settings)
        seen = []
        encode_at = model.backbone.encode_at
        model.backbone.register_forward_hook(lambda _, args, output, seen=seen: seen.append(len(args[0].last)))
        model.backbone.encode_at = lambda packed, *args, seen=seen, encode_at=encode_at: (
            seen.append(len(packed.last)),
            encode_at(packed, *args),
        )[1]
        torch.manual_seed(3)
        found.append(model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:10]), windows).terms)
        assert seen == [30]
    for name in ("loss_rec", "loss_augmented"):
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-9, atol=1e-11)
    assert not torch.allclose(found[0]["loss_intent"], found[1]["loss_intent"])


def test_the_clusters_are_those_of_the_means(build):
    model, dataset, windows = build(dropout=0.5, **MEAN)
    part, train = model.parts["intent"], torch.from_numpy(dataset.anchors.ids(TRAIN))

    def encode(ids):
        raise AssertionError("the last state is not read")

    state = torch.get_rng_state()
    model.before_epoch(1, encode, None)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.backbone.training
    model.eval()
    (states,) = states_of_each(model, [View(train)], windows)
    means = torch.stack([rows.mean(0) for rows in states]).detach()
    for number in range(4):  # 20 iterations are enough here
        own = means[part.intents_of(means) == number]
        assert len(own) == part.sizes[number]
        torch.testing.assert_close(part.centroids[number], own.mean(0))


def test_means_that_cannot_be_taken_are_refused(prepare):
    with pytest.raises(
        ConfigError, match=r"parts.intent.representation: .* take mean with parts.intent.pair = augmented"
    ):
        build_config({"method": "icsrec"}, MEAN)
    with pytest.raises(ConfigError) as refused:
        build_config(ICLREC, MEAN, {"backbone": "dul"})
    assert "parts.intent" not in refused.value.message, "the method's pair is known, though a name is not"
    for backbone in ("bert4rec", "bsarec"):
        with pytest.raises(ConfigError, match=f"backbone {backbone} cannot give the states at every item"):
            prepare(**ICLREC, **MEAN, backbone=backbone, semantics=None)


@pytest.mark.parametrize("settings", [{}, {"parts.intent.representation": "mean"}], ids=["last", "mean"])
def test_padded_windows_give_the_same(build, settings):
    found = []
    for windows in (Windows, PaddedWindows):
        model, dataset, made = build(windows, **settings)
        torch.manual_seed(5)
        found.append(model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:12]), made).terms)
    assert found[0]["loss_intent"] > 0
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-9, atol=1e-11)


def test_similar_items_are_found_where_the_contrast_of_the_views_is_off(build):
    model, _, windows = build(**{"parts.augmented.weight": 0, "parts.augmented.operators": ["insert", "substitute"]})
    model.before_epoch(1, lambda ids: model.backbone(windows.pack(ids)).detach(), None)
    assert int((model.shared("augmentation").similar > 0).sum()) == 20


def test_weight_0_is_the_run_without_it(run):
    off = run(**(ICLREC | {"semantics": None, "parts.intent.weight": 0}))
    views = {"choice": "independent", "crop": 0.2, "mask": 0.7, "reorder": 0.2}
    alone = {"method": "cl4srec", "semantics": None} | {f"parts.augmented.{leaf}": to for leaf, to in views.items()}
    assert off.equals(run(**alone))
    assert off.values("train")[0]["loss_intent"] == 0
    assert off.trainer.config.config_hash() == run(**alone, epochs=2).trainer.config.config_hash()
    both = {"parts.intent.weight": 0, "parts.augmented.weight": 0}
    assert run(**(ICLREC | {"semantics": None} | both)).equals(run(method="plain", semantics=None))


def test_settings_of_the_views_are_in_the_hash_where_their_contrast_is_off():
    off = {"method": "iclrec", "parts.augmented.weight": 0}
    hashes = {build_config(off | {"parts.augmented.crop": crop}).config_hash() for crop in (0.2, 0.7)}
    assert len(hashes) == 2
    same = {build_config({"method": "icsrec", "parts.augmented.crop": crop}).config_hash() for crop in (0.2, 0.7)}
    assert same == {"4206c93c9ecd26b1"}, "as runs recorded it before there was another pair"


def test_views_that_no_part_of_the_method_makes_are_refused(prepare):
    settings = {"method.parts": ["rec", "intent"], "parts.intent.pair": "augmented", "semantics": None}
    with pytest.raises(ConfigError, match="pair = augmented reads the views of part augmented") as refused:
        prepare(**settings)
    assert refused.value.where == "parts.intent.pair"
    prepare(**settings | {"method.parts": ["rec", "augmented", "intent"], "parts.augmented.weight": 0})
    prepare(**settings | {"parts.intent.pair": "same_target"})


@pytest.mark.parametrize("representation", ["last", "mean"])
@pytest.mark.parametrize("mode", WINDOWS)
def test_a_stopped_training_goes_on_as_if_it_had_not_been(prepare, run, mode, representation, tmp_path):
    settings = ICLREC | {"semantics": None, "mode": mode, "parts.intent.representation": representation}
    left = iter([False, False, True])
    stopped = prepare(folder=tmp_path, stop=lambda: next(left), **settings)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    assert checkpoint.read_state(tmp_path / LAST).done > 0
    resumed = prepare(folder=tmp_path, **settings)
    torch.manual_seed(12345)
    resumed.trainer.resume()
    resumed.finish()
    whole = run(**settings)
    assert whole.equals(resumed)
    assert whole.values("train")[-1] == resumed.values("train")[-1]
    assert whole.values("train")[-1]["loss_intent"] > 0
