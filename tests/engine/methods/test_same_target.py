"""The contrast of prefixes with the same target: its draws, its loss, and trainings with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.methods.base import Anchors
from engine.methods.model import Model
from engine.methods.same_target import SameTargetIndex
from engine.training.trainer import Stopped
from tests.support.slow_contrast import assert_same, slow_contrast

N = 6
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
DUOREC = {"method": "duorec", "parts.same_target.weight": 0.3}


@pytest.fixture
def build(make_dataset, small_config):
    """A float64 DuoRec with its dataset and the windows of a class, in training mode."""

    def make(windows=Windows, dataset=None, **settings):
        dataset = dataset or make_dataset(longest=9, items=20)
        config = small_config(**(NO_DROPOUT | DUOREC | settings))
        made = PaddedWindows(dataset, N, "cpu") if windows is PaddedWindows else windows(dataset, N)
        torch.manual_seed(1)
        model = Model(config, dataset=dataset, windows=made, semantics=None).double().train()
        with torch.no_grad():  # at 0.02 every hidden state is much the same
            model.backbone.item_embedding.weight.mul_(30)
        return model, dataset, made

    return make


def others_of(dataset, anchor):
    """Training prefixes with the target of an anchor, but for itself, looked for one by one."""
    targets, train = dataset.anchors.targets, dataset.anchors.ids(TRAIN).tolist()
    return [other for other in train if other != anchor and targets[other - 1] == targets[anchor - 1]]


def batch_of(dataset, count=14):
    """Training prefixes of which some have the same target, some are of one user, and one has nobody with its target."""
    train = dataset.anchors.ids(TRAIN)
    alone = [anchor for anchor in train.tolist() if not others_of(dataset, anchor)]
    assert alone
    ids = torch.from_numpy(np.unique([*alone[:1], *train[: count - 1]]))
    targets, users = dataset.anchors.targets[ids - 1].tolist(), dataset.anchors.user_ids[ids - 1].tolist()
    assert len(set(targets)) < len(targets)
    assert len(set(users)) < len(users)
    return ids


@pytest.mark.parametrize(
    "others", [{"kin": False}, {"kin": True}, {"temperature": 0.5, "similarity": "cosine"}], ids=str
)
@pytest.mark.parametrize("positive", ["random", "last"])
def test_the_loss_equals_the_reference(build, plain_encode, positive, others):
    chosen = {"positive": positive} | others
    model, dataset, windows = build(**{f"parts.same_target.{leaf}": value for leaf, value in chosen.items()})
    anchors = batch_of(dataset)
    targets = dataset.anchors.targets[anchors.numpy() - 1]

    def slow():
        chances = torch.rand(len(anchors)).tolist() if positive == "random" else [1 - 1e-9] * len(anchors)
        positives = []
        for anchor, chance in zip(anchors.tolist(), chances, strict=True):
            same = others_of(dataset, anchor)
            positives.append(same[int(chance * len(same))] if same else anchor)
        h = plain_encode(model.backbone, [dataset.history(a, N).tolist() for a in anchors.tolist()])
        other = plain_encode(model.backbone, [dataset.history(a, N).tolist() for a in positives])
        scores = (h @ model.backbone.item_embedding.weight[1:].T).log_softmax(1)
        rec = -sum(scores[row, target - 1] for row, target in enumerate(targets)) / len(anchors)
        contrast = slow_contrast(
            h,
            other,
            temperature=others.get("temperature", 1.0),
            cosine=others.get("similarity") == "cosine",
            kin=lambda a, b: bool(others.get("kin")) and targets[a] == targets[b],
        )
        return rec + 0.3 * contrast

    assert_same(model, lambda: model.losses(anchors, windows).total, slow)


def batch_at(ids, windows):
    return Anchors(ids=ids, targets=windows.targets[ids], windows=windows, group_ids=windows.group_ids(ids))


def test_in_sequence_mode_prefixes_of_one_user_are_no_negatives_either(build):
    model, dataset, windows = build(SharedWindows, mode="sequence", **{"parts.same_target.kin": True})
    anchors = batch_of(dataset)
    targets, users = (of[anchors.numpy() - 1] for of in (dataset.anchors.targets, dataset.anchors.user_ids))
    rows, partners = torch.randn(2, len(anchors), 8, dtype=torch.float64)
    found = model.active()[1].loss(batch_at(anchors, windows), [rows, partners])
    slow = slow_contrast(rows, partners, kin=lambda a, b: targets[a] == targets[b] or users[a] == users[b])
    torch.testing.assert_close(found, slow, rtol=1e-9, atol=1e-11)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=9), min_size=1, max_size=8), st.integers(0, 9))
def test_what_is_drawn(dataset_of, sequences, seed):
    dataset = dataset_of([[1, 2, 3, 4], *sequences], items=5)
    train = torch.from_numpy(dataset.anchors.ids(TRAIN))
    index = SameTargetIndex(Windows(dataset, N), train)
    torch.manual_seed(seed)
    for found in (index.draw(train), index.last(train)):
        for anchor, other in zip(train.tolist(), found.tolist(), strict=True):
            assert other in (others_of(dataset, anchor) or [anchor])
    lasts = [max(others_of(dataset, anchor), default=anchor) for anchor in train.tolist()]
    assert index.last(train).tolist() == lasts


def test_each_of_the_others_is_drawn_as_often(make_dataset):
    dataset = make_dataset(items=6)
    train = dataset.anchors.ids(TRAIN)
    index = SameTargetIndex(Windows(dataset, N), torch.from_numpy(train))
    anchor = int(train[5])
    others = others_of(dataset, anchor)
    torch.manual_seed(3)
    drawn = index.draw(torch.full((20_000,), anchor))
    assert sorted(drawn.unique().tolist()) == sorted(others)
    expected = 20_000 / len(others)
    counts = torch.bincount(drawn)[others]
    assert (counts - expected).abs().max() < 5 * expected**0.5


def test_a_draw_is_never_beyond_the_last(make_dataset, monkeypatch):
    dataset = make_dataset(items=6)
    train = torch.from_numpy(dataset.anchors.ids(TRAIN))
    index = SameTargetIndex(Windows(dataset, N), train)
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 1.0))
    assert torch.equal(index.draw(train), index.last(train))


@pytest.mark.parametrize(("windows", "mode"), [(Windows, "prefix"), (SharedWindows, "sequence")])
def test_no_view_holds_a_held_out_item(build, windows, mode):
    model, dataset, made = build(windows, mode=mode)
    train = torch.from_numpy(dataset.anchors.ids(TRAIN))
    stops = set(dataset.anchors.ends[train - 1].tolist())  # where each training prefix ends
    for view in model.active()[1].views(batch_at(train, made)):
        assert set(view.sequences.tolist()) <= set(train.tolist())
        runs = made._runs(made.numbers[view.sequences] if mode == "sequence" else view.sequences)
        assert set((runs.starts + runs.lengths).tolist()) <= stops


def test_padded_windows_give_the_same(build):
    found = []
    for windows in (Windows, PaddedWindows):
        model, dataset, made = build(windows)
        torch.manual_seed(5)
        found.append(model.losses(batch_of(dataset), made).terms)
    assert found[0]["loss_same_target"] > 0
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-9, atol=1e-11)


def test_weight_0_is_the_plain_run(run):
    plain = run(method="plain", semantics=None)
    off = run(method="duorec", semantics=None, **{"parts.same_target.weight": 0})
    assert plain.equals(off)
    assert off.values("train")[0]["loss_same_target"] == 0


@pytest.mark.parametrize("mode", ["prefix", "sequence"])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(prepare, run, world, mode, tmp_path):
    method = {"semantics": None, "mode": mode} | DUOREC
    left = iter([False, False, True])
    stopped = prepare(folder=tmp_path, stop=lambda: next(left), **method)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    resumed = prepare(folder=tmp_path, **method)
    torch.manual_seed(12345)
    resumed.trainer.resume()
    resumed.finish()
    whole = run(**method)
    assert whole.equals(resumed)
    assert whole.values("train")[-1]["loss_same_target"] > 0


def test_beside_the_contrasts_of_sracl(run):
    combined = {"method.parts": ["rec", "same_target", "inter", "intra"], "epochs": 1}
    both = run(**combined).values("train")[0]
    assert list(both) == ["loss", "loss_rec", "loss_same_target", "loss_cs", "loss_is"]
    assert min(both.values()) > 0
    terms = [both[name] for name in ("loss_same_target", "loss_cs", "loss_is")]
    assert both["loss"] == pytest.approx(both["loss_rec"] + 0.1 * sum(terms), rel=1e-5)
