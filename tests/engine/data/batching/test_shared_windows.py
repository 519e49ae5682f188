"""One pass per user against each prefix on its own, laid at the same places of the window."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engine.config_files import build_config
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Packed, Windows
from engine.data.dataset import TRAIN
from engine.errors import TrainingError
from engine.models.losses import info_nce
from engine.models.registry import build_backbone

N = 6


@pytest.fixture
def dataset(dataset_of):
    generator = np.random.default_rng(3)
    return dataset_of([generator.integers(1, 30, length).tolist() for length in (3, 4, 5, 8, 9, 13, 20, 31)], items=30)


def windows_of(dataset, passes, anchor):
    """(items, positions) up to the prefix's last item, as its window has them."""
    packed = passes.pack(passes.numbers[torch.tensor([anchor])])
    depth = int(passes._depths[anchor])
    return packed.items[: depth + 1], packed.positions[: depth + 1]


def test_a_window_is_read_where_the_prefix_ends(dataset):
    passes = SharedWindows(dataset, N)
    for anchor in range(1, len(dataset.anchors) + 1):
        items, positions = windows_of(dataset, passes, anchor)
        history = dataset.history(anchor, 100).tolist()
        assert items.tolist() == history[len(history) - len(items) :]
        assert len(items) >= min(len(history), N // 2), "it has half a window before it, or all there is"
        assert positions.tolist() == list(range(int(positions[0]), int(positions[0]) + len(items)))
        assert int(positions[-1]) <= N - 1


def test_the_longest_prefix_of_a_user_stands_at_the_end_of_the_window(dataset):
    passes, windows = SharedWindows(dataset, N), Windows(dataset, N)
    for anchor in dataset.anchors.representing.tolist():
        items, positions = windows_of(dataset, passes, anchor)
        alone = windows.pack(torch.tensor([anchor]))
        assert items.tolist() == alone.items.tolist()
        assert positions.tolist() == alone.positions.tolist()


def test_prefixes_of_a_short_history_share_one_window(dataset):
    passes = SharedWindows(dataset, N)
    anchors = dataset.anchors
    train = anchors.ids(TRAIN)
    for user in (1, 2, 3, 4):
        own = torch.from_numpy(train[anchors.user_ids[train - 1] == user])
        assert len(passes.numbers[own].unique()) <= 1
    assert len(passes.numbers[torch.from_numpy(train)].unique()) < len(train) / 3


def _model(backbone):
    torch.manual_seed(5)
    settings = {"backbone": backbone, "width": 8, "heads": 2, "inner": 12, "dropout": 0.0, "attention_dropout": 0.0}
    return build_backbone(build_config(settings).model, items=30, max_length=N).double()


@pytest.mark.parametrize("backbone", ["sasrec", "gru4rec"])
def test_values_and_gradients_are_those_of_each_prefix_alone(dataset, backbone):
    """Float64, no dropout: encoding the user once gives what encoding each prefix at the same places gives."""
    passes, model = SharedWindows(dataset, N), _model(backbone)
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN))[torch.randperm(len(dataset.anchors.ids(TRAIN)))]
    batch = passes.gather([ids, ids[:5]])
    weight = torch.randn(len(ids) + 5, 8, dtype=torch.float64)
    shared = model.encode_at(batch.packed, batch.indices)
    (shared * weight).sum().backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    alone = []
    for anchor in [*ids.tolist(), *ids[:5].tolist()]:
        items, positions = windows_of(dataset, passes, anchor)
        one = Packed(items, positions, torch.tensor([len(items) - 1]), torch.tensor([0]), ((1, len(items)),))
        alone.append(model(one)[0])
    plain = torch.stack(alone)
    torch.testing.assert_close(shared, plain, rtol=1e-10, atol=1e-12)
    (plain * weight).sum().backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(ours[name], p.grad, rtol=1e-9, atol=1e-12, msg=name)


def test_every_prefix_once_in_batches_of_about_the_size(dataset):
    passes = SharedWindows(dataset, N)
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN))
    one, other = (passes.batches(ids, 10, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert torch.cat(one).sort().values.tolist() == ids.tolist()
    assert [part.tolist() for part in one] != [part.tolist() for part in other]
    for part in one:
        windows = passes.numbers[part].unique_consecutive()
        assert len(windows) == len(windows.unique()), "prefixes of a window stand together"
    assert max(map(len, one)) < 10 + N


@pytest.mark.parametrize("symmetric", [True, False])
def test_prefixes_of_one_user_are_no_negatives_of_each_other(symmetric):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    group_ids = torch.tensor([1, 1, 2, 3, 3])
    rows = torch.cat([a, b]) if symmetric else a
    others, users = (torch.cat([a, b]), group_ids.repeat(2)) if symmetric else (b, group_ids)
    total = 0.0
    for i, row in enumerate(rows):
        partner = (i + 5) % 10 if symmetric else i
        kept = [
            j
            for j in range(len(others))
            if j == partner or users[j] != (group_ids.repeat(2) if symmetric else group_ids)[i]
        ]
        total -= float(row @ others[partner]) - math.log(sum(math.exp(float(row @ others[j])) for j in kept))
    ours = float(info_nce(a, b, temperature=1.0, symmetric=symmetric, group_ids=group_ids))
    assert ours == pytest.approx(total / len(rows), rel=1e-12)
    apart = info_nce(a, b, temperature=1.0, symmetric=symmetric, group_ids=torch.arange(5))
    assert float(apart) == pytest.approx(float(info_nce(a, b, temperature=1.0, symmetric=symmetric)), rel=1e-12)


def test_a_training_in_this_mode_is_repeatable_and_learns(run):
    one, other = (run(mode="sequence", epochs=6, lr=0.01) for _ in range(2))
    assert one.told == other.told
    assert one.equals(other)
    losses = [event["loss_rec"] for event in one.values("train")]
    assert losses[-1] < losses[0]
    assert not one.equals(run(mode="prefix", epochs=6, lr=0.01))


def test_a_backbone_that_sees_both_ways_says_so(prepare):
    with pytest.raises(TrainingError, match="last item only"):
        prepare(mode="sequence", backbone="bert4rec")
