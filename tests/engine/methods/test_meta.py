"""The contrast with learned views: its loss, its three updates, and trainings with it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.methods.base import Anchors
from engine.methods.encoding import encode_views
from engine.methods.model import Model
from engine.training.trainer import BEST, Stopped
from tests.support.slow_contrast import assert_same, slow_contrast

N = 6
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
MCLREC = {"method": "mclrec", "parts.augmented.weight": 0.3, "parts.meta.weight": 0.2}


@pytest.fixture
def build(make_dataset, small_config):
    """A float64 MCLRec with its dataset and the windows of a class, in training mode."""

    def make(windows=Windows, **settings):
        dataset = make_dataset(longest=9, items=20)
        config = small_config(**(NO_DROPOUT | MCLREC | settings))
        made = PaddedWindows(dataset, N, "cpu") if windows is PaddedWindows else windows(dataset, N)
        torch.manual_seed(1)
        model = Model(config, dataset=dataset, windows=made, semantics=None).double().train()
        with torch.no_grad():  # at 0.02 every hidden state is much the same
            model.backbone.item_embedding.weight.mul_(30)
        return model, dataset, made

    return make


def learned(augmenter, h):
    """The network on one hidden state, layer by layer."""
    first, _, second, _, third = augmenter.layers
    for layer in (first, second):
        h = F.gelu(h @ layer.weight.T + layer.bias)
    h = h @ third.weight.T + third.bias
    return h / h.norm()


def slow_margin(rows, partners, *, temperature, cosine, kin):
    """As the equation has it, number by number."""
    count = len(rows)
    both = [row / row.norm() if cosine else row for row in (*rows, *partners)]
    above, spread, having = [], [], 0
    for i, row in enumerate(both):
        partner = (i + count) % (2 * count)
        negatives = [j for j in range(2 * count) if j not in (i, partner) and not kin(i % count, j % count)]
        if not negatives:
            continue
        having += 1
        p, n = row @ both[partner] / temperature, [row @ both[j] / temperature for j in negatives]
        largest = max(n, key=lambda value: value.item())
        above.append(torch.relu(p - largest))
        spread += [torch.maximum(p, largest) - value for value in n]
    return sum(above) / having + sum(spread) / len(spread)


@pytest.mark.parametrize("windows", [Windows, SharedWindows])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_the_loss_equals_the_reference(build, windows, similarity):
    mode = "sequence" if windows is SharedWindows else "prefix"
    chosen = {"similarity": similarity, "temperature": 0.5, "margin": 0.3}
    model, dataset, made = build(windows, mode=mode, **{f"parts.meta.{leaf}": value for leaf, value in chosen.items()})
    meta = model.active()[2]
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN)[:12])
    users = dataset.anchors.user_ids[ids.numpy() - 1]
    options = {
        "temperature": 0.5,
        "cosine": similarity == "cosine",
        "kin": lambda a, b: a == b or (mode == "sequence" and users[a] == users[b]),
    }

    def slow():
        batch = Anchors(ids=ids, targets=made.targets[ids], windows=made)
        z1, z2 = (list(h) for h in encode_views(model.backbone, meta.views(batch), made))
        y1, y2 = [learned(meta.first, h) for h in z1], [learned(meta.second, h) for h in z2]
        pairs = ((z1, y2), (z2, y1), (y1, y2))
        return sum(slow_contrast(*pair, **options) + 0.3 * slow_margin(*pair, **options) for pair in pairs)

    assert float(assert_same(model, lambda: model.losses(ids, made).terms["loss_meta"], slow)) > 0


@pytest.mark.parametrize("mode", ["prefix", "sequence"])
def test_a_batch_without_negatives_has_a_loss(build, mode):
    model, dataset, made = build(SharedWindows if mode == "sequence" else Windows, mode=mode)
    users = dataset.anchors.user_ids
    train = dataset.anchors.ids(TRAIN)
    own = train[users[train - 1] == users[train[0] - 1]]
    for ids in (train[:1], own[:2]):
        loss = model.losses(torch.from_numpy(ids), made).total
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(value.grad).all() for value in model.parameters() if value.grad is not None)


def test_padded_windows_give_the_same(build):
    found = []
    for windows in (Windows, PaddedWindows):
        model, dataset, made = build(windows)
        torch.manual_seed(5)
        found.append(model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:14]), made).terms)
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-9, atol=1e-11)


def test_encoder_and_augmenters_are_updated_apart(prepare, monkeypatch):
    trainer = prepare(**MCLREC, semantics=None).trainer
    model, changed, drawn = trainer.model, [], []
    step = trainer._optimizers.step
    augmentation = model.shared("augmentation")
    made = augmentation._made
    monkeypatch.setattr(augmentation, "_made", lambda batch: drawn.append(batch) or made(batch))

    def watched(updates):
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        step(updates)
        changed.append({name for name, value in model.named_parameters() if not torch.equal(value, before[name])})

    monkeypatch.setattr(trainer._optimizers, "step", watched)
    model.train()
    losses = trainer._update(torch.from_numpy(trainer._ids[:20]), None)
    own = {name for name, _ in model.named_parameters() if name.startswith("parts.meta.")}
    encoder = {name for name, _ in model.named_parameters()} - own
    assert "augmentation.mask" in encoder
    assert len(own) == 12
    assert [changes & own for changes in changed] == [set(), own, set()]
    assert [changes <= encoder for changes in changed] == [True, False, True]
    assert all({"augmentation.mask", "backbone.item_embedding.weight"} <= changes for changes in changed[::2])
    assert len(drawn) == 1, "one pair of views for all updates of a batch"
    assert list(losses.terms) == ["loss_rec", "loss_augmented", "loss_meta"]


def test_weight_0_is_the_run_without_it(run):
    parts = {"semantics": None, "method": "cl4srec", "method.parts": ["rec", "augmented", "meta"]}
    off = run(**parts, **{"parts.meta.weight": 0})
    assert run(method="cl4srec", semantics=None).equals(off)
    assert off.values("train")[0]["loss_meta"] == 0


def test_with_both_weights_at_0_it_is_a_backbone_of_two_updates(run, world):
    control = run(**MCLREC | {"parts.augmented.weight": 0, "parts.meta.weight": 0}, semantics=None, epochs=1)
    assert {name.split(".")[0] for name in control.weights(BEST)} == {"backbone"}
    (steps,) = {int(value) for name, value in control.trainer._optimizers.slots().items() if name.endswith(".step")}
    assert steps == 2 * world.steps


def test_the_views_are_there_where_their_own_contrast_is_off(run):
    values = run(**MCLREC | {"parts.augmented.weight": 0}, semantics=None, epochs=1).values("train")[0]
    assert values["loss_augmented"] == 0
    assert values["loss_meta"] > 0


@pytest.mark.parametrize("mode", ["prefix", "sequence"])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(prepare, run, world, mode, tmp_path):
    method = {"semantics": None, "mode": mode} | MCLREC
    left = iter([False] * (world.steps + 1) + [True])
    stopped = prepare(folder=tmp_path, stop=lambda: next(left), **method)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    resumed = prepare(folder=tmp_path, **method)
    torch.manual_seed(12345)
    resumed.trainer.resume()
    resumed.finish()
    whole = run(**method)
    assert whole.equals(resumed)
    assert whole.values("train")[-1] == resumed.values("train")[-1]
    assert min(whole.values("train")[-1].values()) > 0
