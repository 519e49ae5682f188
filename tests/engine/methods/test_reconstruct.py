"""Texts found from masked prefixes: the loss, what is masked, what is refused, and trainings with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.errors import ConfigError
from engine.methods.base import ANCHOR, Anchors
from engine.methods.encoding import encode_views
from engine.methods.model import Model
from engine.models.registry import build_backbone
from engine.training import checkpoint
from engine.training.trainer import BEST, LAST, Stopped
from tests.support.slow_alignment import projected, slow_match
from tests.support.slow_contrast import assert_same

N, SIZE = 6, 5
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
GEN = {"method": "rlmrec-gen"}


@pytest.fixture
def build(make_dataset, make_semantics, small_config):
    """A float64 RLMRec-Gen with its dataset, windows and semantics; some prefixes and items have no text."""

    def make(windows=Windows, **given):
        dataset = make_dataset(longest=9, items=12)
        semantics = make_semantics(dataset, size=SIZE, dtype=torch.float64)
        semantics.user_rows[dataset.anchors.ids(TRAIN)[[1, 4]]] = 0
        semantics.item_vectors[[3, 7]] = 0
        made = PaddedWindows(dataset, N, "cpu") if windows is PaddedWindows else windows(dataset, N)
        torch.manual_seed(1)
        model = Model(small_config(**(NO_DROPOUT | GEN | given)), dataset=dataset, windows=made, semantics=semantics)
        model.double().train()
        with torch.no_grad():  # at 0.02 every hidden state is much the same
            model.backbone.item_embedding.weight.mul_(30)
            if "reconstruct" in model.parts:
                model.parts["reconstruct"].mask.normal_()
        return model, dataset, made, semantics

    return make


def some(dataset, count=16):
    return torch.from_numpy(dataset.anchors.ids(TRAIN)[:count])


def test_the_loss_equals_the_reference(build, plain_encode):
    chosen = {"temperature": 0.4, "weight": 0.3, "mask": 0.4}
    model, dataset, windows, semantics = build(**{f"parts.reconstruct.{leaf}": to for leaf, to in chosen.items()})
    part, table = model.parts["reconstruct"], model.backbone.item_embedding.weight
    ids = some(dataset)

    def slow():
        chance = torch.rand(len(ids), N)
        histories = [dataset.history(anchor, N).tolist() for anchor in ids.tolist()]
        vectors, hidden = [], []
        for row, items in enumerate(histories):
            hides = [bool(chance[row, place] < 0.4) for place in range(len(items))]
            given = [part.mask if hide else table[item] for item, hide in zip(items, hides, strict=True)]
            vectors.append(torch.stack([torch.zeros(8).double()] * (N - len(items)) + given))
            hidden.append([False] * (N - len(items)) + hides)
        states = plain_encode(model.backbone, histories, torch.stack(vectors), every=True)
        targets = [int(dataset.anchors.targets[anchor - 1]) for anchor in ids.tolist()]
        scores = (states[:, -1] @ table[1:].T).log_softmax(1)
        total = -sum(scores[row, target - 1] for row, target in enumerate(targets)) / len(ids)
        known = [row for row in range(16) if row not in (1, 4)]
        texts = [semantics.user_vectors[semantics.user_rows[ids[row]]] for row in known]
        total = total + 0.3 * slow_match([projected(part.projection, states[row, -1]) for row in known], texts, 0.4)
        found = [
            (states[row, place], items[place - N])
            for row, items in enumerate(histories)
            for place in range(N)
            if hidden[row][place]
        ]
        assert {3, 7} & {item for _, item in found}, "some have no text"
        found = [(state, item) for state, item in found if item not in (3, 7)]
        items = [item for _, item in found]
        assert len(set(items)) < len(items), "some are masked twice"
        projections = [projected(part.projection, state) for state, _ in found]
        texts = [semantics.item_vectors[item] for item in items]
        return total + 0.3 * slow_match(projections, texts, 0.4, lambda a, b: items[a] == items[b])

    assert_same(model, lambda: model.losses(ids, windows).total, slow)


def test_the_masks_are_those_of_the_one_pass_that_the_recommendation_loss_reads(build):
    model, dataset, windows, _ = build(**{"parts.reconstruct.mask": 0.5})
    ids, seen = some(dataset), []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args))
    encode_few = model.backbone.encode_few
    model.backbone.encode_few = lambda packed, *args: (seen.append(packed), encode_few(packed, *args))[1]
    torch.manual_seed(3)
    masked = model.losses(ids, windows).terms["loss_rec"]
    assert len(seen) == 1
    assert len(seen[0].last) == len(ids)
    plain, *_ = build(**{"parts.reconstruct.weight": 0})
    assert not torch.allclose(masked, plain.losses(ids, windows).terms["loss_rec"])
    batch = Anchors(ids=ids, targets=windows.targets[ids], windows=windows)
    (view,) = model.parts["reconstruct"].views(batch)
    assert view.key == ANCHOR
    assert model.parts["reconstruct"].views(batch) == (view,), "drawn once for all updates by a batch"
    (states,) = encode_views(model.backbone, [replace(view, read="every")], windows)
    every = [item for anchor in ids.tolist() for item in dataset.history(anchor, N).tolist()]
    assert sorted(states.items.tolist()) == sorted(every), "items of the prefixes alone"


def test_the_share_of_masks_is_that_of_the_setting(build):
    model, dataset, windows, _ = build(**{"parts.reconstruct.mask": 0.3})
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN)).repeat(30)
    (view,) = model.parts["reconstruct"].views(Anchors(ids=ids, targets=windows.targets[ids], windows=windows))
    (states,) = encode_views(model.backbone, [replace(view, read="every")], windows)
    assert len(states.edited) > 5000
    assert float(states.edited.double().mean()) == pytest.approx(0.3, abs=0.03)


def test_without_masks_the_recommendation_loss_is_the_plain_one(build):
    model, dataset, windows, _ = build(**{"parts.reconstruct.mask": 0.0})
    plain, *_ = build(**{"parts.reconstruct.weight": 0})
    ids = some(dataset)
    found = model.losses(ids, windows)
    torch.testing.assert_close(found.terms["loss_rec"], plain.losses(ids, windows).terms["loss_rec"])
    assert found.terms["loss_reconstruct"] > 0, "prefixes have texts all the same"
    found.total.backward()
    assert all(bool(value.grad.isfinite().all()) for value in model.parameters() if value.grad is not None)


def test_evaluation_masks_nothing(build):
    model, dataset, windows, _ = build(**{"parts.reconstruct.mask": 0.9})
    alone = build_backbone(model.config.model, items=len(dataset.items), max_length=N).double().eval()
    alone.load_state_dict(model.backbone.state_dict())
    model.eval()
    torch.testing.assert_close(model.backbone(windows.pack(some(dataset))), alone(windows.pack(some(dataset))))


def test_the_mask_begins_as_zeros_and_is_learned_and_saved(run):
    made = run(**GEN, epochs=1)
    weights = made.weights(LAST)
    assert bool(weights["parts.reconstruct.mask"].any())
    assert {name for name in weights if not name.startswith("backbone.")} == {
        "parts.reconstruct.mask",
        *(f"parts.reconstruct.projection.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")),
    }
    slow = run(**GEN, epochs=1, lr=1e-9).weights(LAST)["parts.reconstruct.mask"]
    assert float(slow.abs().max()) < 1e-6


def test_what_has_no_text_is_counted(build):
    model, dataset, _, _ = build()
    assert dataset.train_counts[[3, 7]].all()
    assert model.metrics() == {"reconstruct_prefixes_without_text": 2, "reconstruct_items_without_text": 2}


def test_padded_windows_give_the_same(build):
    found = []
    for windows in (Windows, PaddedWindows):
        model, dataset, made, _ = build(windows, **{"parts.reconstruct.mask": 0.4})
        torch.manual_seed(5)
        found.append(model.losses(some(dataset), made).terms)
    assert found[0]["loss_reconstruct"] > 0
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mode": "sequence"}, "part reconstruct: it masks items of a prefix"),
        (
            {"backbone": "bert4rec"},
            "part reconstruct reads states at every item, which backbone bert4rec does not give",
        ),
        ({"backbone": "bsarec"}, "part reconstruct reads states at every item, which backbone bsarec does not give"),
    ],
)
def test_what_does_not_go_with_it_is_refused(prepare, given, words):
    with pytest.raises(ConfigError, match=words):
        prepare(**GEN, **given)


OWN_LOSS = """
from engine.models.gru4rec import GRU4Rec

class Own(GRU4Rec):
    has_own_loss = True
"""


def test_a_backbone_with_a_loss_of_its_own_is_refused(prepare, tmp_path):
    (tmp_path / "own.py").write_text(OWN_LOSS)
    with pytest.raises(ConfigError, match="has a loss of its own, which reads no items that are masked here"):
        prepare(**GEN, backbone=f"{tmp_path / 'own.py'}:Own")


@pytest.mark.parametrize("backbone", ["gru4rec", "ligr"])
def test_on_other_backbones(run, backbone):
    values = run(**GEN, epochs=1, backbone=backbone).values("train")[0]
    assert values["loss_reconstruct"] > 0


def test_weight_0_is_the_plain_run(run):
    off = run(**GEN, **{"parts.reconstruct.weight": 0}, semantics=None)
    assert off.equals(run(method="plain", semantics=None))
    assert off.values("train")[0]["loss_reconstruct"] == 0


def test_a_stopped_training_goes_on_as_if_it_had_not_been(prepare, run, tmp_path):
    left = iter([False, False, True])
    stopped = prepare(folder=tmp_path, stop=lambda: next(left), **GEN)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    assert checkpoint.read_state(tmp_path / LAST).done > 0
    resumed = prepare(folder=tmp_path, **GEN)
    torch.manual_seed(12345)
    resumed.trainer.resume()
    resumed.finish()
    whole = run(**GEN)
    assert whole.equals(resumed)
    assert whole.values("train")[-1] == resumed.values("train")[-1]
    assert whole.values("train")[-1]["loss_reconstruct"] > 0
    assert "parts.reconstruct.mask" in whole.weights(BEST)


def test_beside_the_other_parts(run):
    """Those that read the pass of L_rec read it masked, each in its own way."""
    parts = ["rec", "align", "augmented", "intent", "reconstruct"]
    given = {"parts.intent.pair": "augmented", "parts.intent.clusters": 4, "epochs": 1, "method.parts": parts}
    values = run(**given).values("train")[0]
    assert min(values[f"loss_{name}"] for name in parts) > 0
