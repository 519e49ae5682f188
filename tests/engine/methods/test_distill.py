"""The distance from the mean of the neighbors, and trainings of LLM-ESR."""

from __future__ import annotations

import pytest
import torch

from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.methods.base import Anchors
from engine.methods.model import Model
from engine.training.trainer import Stopped
from tests.support.slow_contrast import assert_same

N = 6
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
LLMESR = {"method": "llm-esr", "parts.distill.weight": 0.3}


@pytest.fixture
def build(make_dataset, make_semantics, small_config):
    """A float64 model with the distance, its dataset and windows of a class, in training mode."""

    def make(windows=Windows, **settings):
        dataset = make_dataset(longest=9, items=20)
        semantics = make_semantics(dataset, dtype=torch.float64)
        config = small_config(**(NO_DROPOUT | LLMESR | settings))
        made = PaddedWindows(dataset, N, "cpu") if windows is PaddedWindows else windows(dataset, N)
        torch.manual_seed(1)
        model = Model(config, dataset=dataset, windows=made, semantics=semantics).double().train()
        with torch.no_grad():  # at 0.02 every hidden state is much the same
            model.backbone.item_embedding.weight.mul_(3 if config.model.backbone == "dual" else 30)
        return model, dataset, made

    return make


def batch_of(model, dataset, count=18):
    """Training prefixes: some have all neighbors, some fewer, and some none."""
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN)[:count])
    counts = (model.semantics.neighbors[ids] > 0).sum(1)
    assert {0, 4} < set(counts.tolist())
    return ids


def batch_at(ids, windows):
    return Anchors(ids=ids, targets=windows.targets[ids], windows=windows)


@pytest.mark.parametrize("backbone", ["dual", "sasrec"])
def test_the_loss_equals_the_reference(build, backbone):
    model, dataset, windows = build(backbone=backbone)
    anchors = batch_of(model, dataset)

    def encoded(ids):
        return model.backbone(windows.pack(torch.as_tensor(ids)))

    def slow():
        h = encoded(anchors)
        targets = dataset.anchors.targets[anchors.numpy() - 1].tolist()
        scores = (h @ model.backbone.table().T).log_softmax(1)
        rec = -sum(scores[row, target - 1] for row, target in enumerate(targets)) / len(anchors)
        distances = []
        for row, anchor in enumerate(anchors.tolist()):
            neighbors = [one for one in model.semantics.neighbors[anchor].tolist() if one]
            if neighbors:
                mean = torch.stack([encoded([one])[0].detach() for one in neighbors]).mean(0)
                distances.append(torch.stack([(a - b) ** 2 for a, b in zip(h[row], mean, strict=True)]).mean())
        assert 0 < len(distances) < len(anchors)
        return rec + 0.3 * torch.stack(distances).mean()

    assert_same(model, lambda: model.losses(anchors, windows).total, slow)


def test_padded_windows_give_the_same(build):
    found = []
    for windows in (Windows, PaddedWindows):
        model, dataset, made = build(windows)
        found.append(model.losses(batch_of(model, dataset), made).terms)
    assert found[0]["loss_distill"] > 0
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("windows", [Windows, PaddedWindows])
def test_a_batch_without_any_neighbor_has_no_distance(build, windows):
    model, dataset, made = build(windows)
    model.semantics.neighbors.zero_()
    losses = model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:5]), made)
    assert losses.terms["loss_distill"] == 0
    losses.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("windows", "mode"), [(Windows, "prefix"), (PaddedWindows, "prefix"), (SharedWindows, "sequence")]
)
def test_the_anchor_is_encoded_once_and_every_other_view_is_a_training_prefix(build, windows, mode):
    more = {"backbone": "sasrec", "mode": mode} if mode == "sequence" else {}
    model, dataset, made = build(windows, **more)
    train = torch.from_numpy(dataset.anchors.ids(TRAIN))
    rec, distill = (part.views(batch_at(train, made)) for part in model.active())
    assert distill[0].key == rec[0].key
    assert not distill[1].grad
    assert set(distill[1].sequences.tolist()) <= {*train.tolist(), *([0] if windows is PaddedWindows else [])}
    losses = model.losses(train[:20], made)
    assert losses.terms["loss_distill"] > 0


def test_weight_0_is_the_plain_run(run):
    plain = run(method="plain", backbone="dual")
    off = run(method="llm-esr", **{"parts.distill.weight": 0})
    assert plain.equals(off)
    assert off.values("train")[0]["loss_distill"] == 0


def test_a_stopped_training_goes_on_as_if_it_had_not_been(prepare, run, tmp_path):
    left = iter([False, False, True])
    stopped = prepare(folder=tmp_path, stop=lambda: next(left), **LLMESR)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    resumed = prepare(folder=tmp_path, **LLMESR)
    torch.manual_seed(12345)
    resumed.trainer.resume()
    resumed.finish()
    whole = run(**LLMESR)
    assert whole.equals(resumed)
    assert whole.values("train")[-1]["loss_distill"] > 0


def test_beside_other_parts_whose_views_are_edited_by_vectors(run):
    """A masked item is hidden in both views of it: the learned vector is as wide as they are together."""
    combined = {"backbone": "dual", "method.parts": ["rec", "distill", "augmented", "inter", "intra"], "epochs": 1}
    made = run(**combined, **{"synthesizer.item_kind": "synthesize"})
    assert min(made.values("train")[0].values()) > 0
    assert made.trainer.model.shared("augmentation").mask.shape == (16,)
