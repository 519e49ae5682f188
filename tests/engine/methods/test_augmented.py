"""The contrast of two augmented views: its views, its loss, and trainings with it."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch

from engine.config_files import build_config
from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.errors import ConfigError
from engine.methods.base import Anchors
from engine.methods.model import Model
from engine.training.trainer import Stopped
from tests.support.slow_contrast import assert_same, slow_contrast

N = 6
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
CL4SREC = {"method": "cl4srec", "parts.augmented.weight": 0.3}
COSEREC = {"method": "coserec", "parts.augmented.weight": 0.3, "parts.augmented.warmup": 1}


@pytest.fixture
def build(make_dataset, small_config):
    """A float64 CL4SRec with its dataset and the windows of a class, in training mode."""

    def make(windows=Windows, **settings):
        dataset = make_dataset(longest=9, items=20)
        config = small_config(**(NO_DROPOUT | CL4SREC | settings))
        made = PaddedWindows(dataset, N, "cpu") if windows is PaddedWindows else windows(dataset, N)
        torch.manual_seed(1)
        model = Model(config, dataset=dataset, windows=made, semantics=None).double().train()
        with torch.no_grad():  # at 0.02 every hidden state is much the same
            model.backbone.item_embedding.weight.mul_(30)
            if hasattr(model.shared("augmentation"), "mask"):
                model.shared("augmentation").mask.mul_(30)
        return model, dataset, made

    return make


def batch_of(dataset, windows, count=14):
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN)[:count])
    return Anchors(ids=ids, targets=windows.targets[ids], windows=windows, group_ids=windows.group_ids(ids))


def drawn(model, batch):
    """Items of both views, sequence by sequence, and whether each item is masked."""
    views = model.active()[1].views(batch)
    found = []
    for number, view in enumerate(views):
        runs, each = view.sequences, []
        for row, (start, length) in enumerate(zip(runs.starts.tolist(), runs.lengths.tolist(), strict=True)):
            items = runs.source[start : start + length].tolist()
            masked = (
                [False] * length if view.edit is None else view.edit.rows.masked[number * len(batch) + row].tolist()
            )
            each.append((items, masked[:length]))
        found.append(each)
    return found


def encoded(model, plain_encode, view):
    """States (L, D) at the items of each sequence of a view, the vector of masked items put in by hand."""
    table, mask, found = model.backbone.item_embedding.weight, model.shared("augmentation").mask, []
    for items, masked in view:
        vectors = [mask if hides else table[item] for item, hides in zip(items, masked, strict=True)]
        padded = torch.stack([torch.zeros(8).double()] * (N - len(items)) + vectors)
        found.append(plain_encode(model.backbone, [items], padded[None], every=True)[0, N - len(items) :])
    return found


@pytest.mark.parametrize("windows", [Windows, PaddedWindows, SharedWindows])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_the_loss_equals_the_reference(build, plain_encode, windows, similarity):
    mode = "sequence" if windows is SharedWindows else "prefix"
    chosen = {"parts.augmented.similarity": similarity, "parts.augmented.temperature": 0.5, "mode": mode}
    model, dataset, made = build(windows, **chosen)
    part = model.active()[1]
    users = dataset.anchors.user_ids

    def ours():
        batch = batch_of(dataset, made)
        return model.losses(batch.ids, made).terms["loss_augmented"]

    def slow():
        batch = batch_of(dataset, made)
        first, second = ([h[-1] for h in encoded(model, plain_encode, view)] for view in drawn(model, batch))
        return slow_contrast(
            first,
            second,
            temperature=0.5,
            cosine=similarity == "cosine",
            kin=lambda a, b: mode == "sequence" and users[batch.ids[a] - 1] == users[batch.ids[b] - 1],
        )

    torch.manual_seed(7)
    assert any(any(masked) for view in drawn(model, batch_of(dataset, made)) for _, masked in view)
    assert float(assert_same(model, ours, slow)) > 0
    assert part.config.similarity == similarity


def test_all_states_are_aligned_at_the_last_item(build, plain_encode):
    model, dataset, windows = build(**{"parts.augmented.representation": "states"})

    def aligned(states):
        return torch.cat([torch.zeros((N - len(states)) * 8).double(), states.flatten()])

    def slow():
        views = drawn(model, batch_of(dataset, windows))
        return slow_contrast(*([aligned(h) for h in encoded(model, plain_encode, view)] for view in views))

    def ours():
        return model.losses(batch_of(dataset, windows).ids, windows).terms["loss_augmented"]

    assert_same(model, ours, slow)


def test_views_that_are_read_at_every_item_have_the_same_last_state(build):
    found = []
    for every in (False, True):
        model, dataset, windows = build()
        if every:
            model.shared("augmentation").read_every()
        torch.manual_seed(3)
        found.append(model.losses(batch_of(dataset, windows).ids, windows).terms["loss_augmented"])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("choice", ["different", "independent"])
def test_which_views_are_made(build, choice):
    model, dataset, windows = build(**{"parts.augmented.choice": choice})
    train = torch.from_numpy(dataset.anchors.ids(TRAIN))
    batch = Anchors(ids=train, targets=windows.targets[train], windows=windows)
    torch.manual_seed(1)
    kinds = {"crop": 0, "mask": 0, "reorder": 0, "same": 0}
    pairs = set()
    for anchor, *pair in zip(train.tolist(), *drawn(model, batch), strict=True):
        prefix, pair_kinds = dataset.history(anchor, N).tolist(), []
        for items, masked in pair:
            if any(masked):
                kind = "mask"
                assert items == prefix
                assert sum(masked) == int(0.3 * len(prefix))
            elif len(items) < len(prefix):
                kind = "crop"
                assert len(items) == max(int(0.6 * len(prefix)), 1)
            else:
                kind = "same" if items == prefix else "reorder"
                assert sorted(items) == sorted(prefix)
            kinds[kind] += 1
            pair_kinds.append(kind)
        assert len(prefix) > 1 or pair_kinds == ["same", "same"]
        if len(prefix) >= 4:
            pairs.add(tuple(pair_kinds))
    assert min(kinds.values()) > 0
    assert (("crop", "crop") in pairs) == (choice == "independent")
    assert (("mask", "mask") in pairs) == (choice == "independent")
    assert model.active()[1].metrics() == {"unchanged_share": kinds["same"] / (2 * len(train))}
    assert model.active()[1].metrics() == {"unchanged_share": 0.0}, "counting starts anew"


def test_a_batch_has_one_pair_of_views(build):
    model, dataset, windows = build()
    batch, notes = batch_of(dataset, windows), {}
    part = model.active()[1]
    first = part.views(batch)
    assert part.views(batch) == first
    model.losses(batch.ids, windows, notes=notes)
    before = notes["augmented"]
    model.losses(batch.ids, windows, notes=notes)
    assert notes["augmented"] is before
    assert int(model.shared("augmentation").tally[1]) == 2 * 2 * len(batch)
    assert [view.key for view in before] == ["augmented 1", "augmented 2"]


@pytest.mark.parametrize(
    ("windows", "mode"), [(Windows, "prefix"), (PaddedWindows, "prefix"), (SharedWindows, "sequence")]
)
def test_views_hold_items_of_their_prefix_alone(build, windows, mode):
    model, dataset, made = build(windows, mode=mode)
    train = torch.from_numpy(dataset.anchors.ids(TRAIN))
    batch = Anchors(ids=train, targets=made.targets[train], windows=made)
    for view in drawn(model, batch):
        for anchor, (items, _) in zip(train.tolist(), view, strict=True):
            prefix = dataset.history(anchor, N).tolist()
            assert not list(items) or all(items.count(item) <= prefix.count(item) for item in items)


def test_padded_windows_give_the_same(build):
    found = []
    for windows in (Windows, PaddedWindows):
        model, dataset, made = build(windows)
        torch.manual_seed(5)
        found.append(model.losses(batch_of(dataset, made).ids, made).terms)
    assert found[0]["loss_augmented"] > 0
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("windows", [Windows, PaddedWindows])
def test_views_with_similar_items(build, windows):
    ratios = {"parts.augmented.mask": 0.4, "parts.augmented.reorder": 0.7, "parts.augmented.short_length": 2}
    model, dataset, made = build(windows, **COSEREC, **ratios)
    part = model.active()[1]
    part.before_epoch(1, lambda ids: pytest.fail("nothing is encoded"))
    similar = model.shared("augmentation").similar.tolist()
    train = torch.from_numpy(dataset.anchors.ids(TRAIN))
    torch.manual_seed(1)
    kinds = {"short": set(), "long": set()}
    for view in drawn(model, Anchors(ids=train, targets=made.targets[train], windows=made)):
        for anchor, (items, masked) in zip(train.tolist(), view, strict=True):
            prefix = dataset.history(anchor, N).tolist()
            kinds["long" if len(prefix) > 2 else "short"].add(kind_of(prefix, items, any(masked), similar))
    assert kinds["short"] == {"insert", "substitute", "same"}  # mask hides none of one or two items
    assert kinds["long"] == {"crop", "mask", "reorder", "insert", "substitute", "same"}


def kind_of(prefix, items, masked, similar):
    if masked:
        return "mask"
    if items == prefix:
        return "same"
    count = max(int(0.4 * len(prefix)), 1)
    longer = []
    for some in combinations(range(len(prefix)), count):
        longer.append(
            [i for place, old in enumerate(prefix) for i in ((similar[old], old) if place in some else (old,))]
        )
    if items in [each[-N:] for each in longer]:
        return "insert"
    if len(items) < len(prefix):
        return "crop"
    if sum(old != new for old, new in zip(prefix, items, strict=True)) == 1 and all(
        new in (old, similar[old]) for old, new in zip(prefix, items, strict=True)
    ):
        return "substitute"
    assert sorted(items) == sorted(prefix)
    return "reorder"


def test_what_is_held_out_does_not_count_as_similar(build, make_dataset, dataset_of):
    model, dataset, windows = build(**COSEREC)
    sequences = [dataset.sequence[start:stop].copy() for start, stop in pairwise(dataset.offsets)]
    for sequence in sequences:
        if len(sequence) >= 3:
            sequence[-2:] = 1
    other = dataset_of([sequence.tolist() for sequence in sequences], items=20)
    for epoch in (1, 2):
        model.active()[1].before_epoch(epoch, lambda ids: pytest.fail("nothing is encoded"))
        before = model.shared("augmentation").similar.clone()
        changed = Model(model.config, dataset=other, windows=Windows(other, N), semantics=None).double()
        changed.load_state_dict(model.state_dict())
        changed.active()[1].before_epoch(epoch, lambda ids: pytest.fail("nothing is encoded"))
        assert torch.equal(changed.shared("augmentation").similar, before)
    assert windows.max_length == N


def test_without_mask_there_is_no_vector_and_no_edit(build):
    model, dataset, windows = build(**{"parts.augmented.operators": "[crop, reorder]"})
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"backbone"}
    assert all(view.edit is None for view in model.active()[1].views(batch_of(dataset, windows)))


def test_weight_0_is_the_plain_run(run):
    plain = run(method="plain", semantics=None)
    off = run(method="cl4srec", semantics=None, **{"parts.augmented.weight": 0})
    assert plain.equals(off)
    assert off.values("train")[0]["loss_augmented"] == 0


@pytest.mark.parametrize("method", [CL4SREC, COSEREC], ids=["cl4srec", "coserec"])
@pytest.mark.parametrize("mode", ["prefix", "sequence"])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(prepare, run, world, mode, method, tmp_path):
    method = {"semantics": None, "mode": mode} | method
    left = iter([False] * (world.steps + 1) + [True])  # in the second epoch, after the warm-up
    stopped = prepare(folder=tmp_path, stop=lambda: next(left), **method)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    resumed = prepare(folder=tmp_path, **method)
    torch.manual_seed(12345)
    resumed.trainer.resume()
    resumed.finish()
    whole = run(**method)
    assert whole.equals(resumed)
    assert whole.told[-3:] == resumed.told[-3:]
    last = whole.values("train")[-1]
    assert last["loss_augmented"] > 0
    assert 0 < last["unchanged_share"] < 0.9
    assert last == resumed.values("train")[-1]


def test_beside_the_contrasts_of_sracl(run):
    both = run(**{"method.parts": ["rec", "augmented", "same_target", "inter"], "epochs": 1}).values("train")[0]
    assert list(both) == ["loss", "loss_rec", "loss_augmented", "loss_same_target", "loss_cs", "unchanged_share"]
    assert min(both.values()) > 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"operators": ["crop", "crop"]}, "each operator can stand there once"),
        ({"operators": ["mask"]}, "use choice = independent"),
        ({"operators": ["crop", "fold"]}, r"parts\.augmented\.operators"),
        ({"operators": []}, r"parts\.augmented\.operators"),
        ({"choice": "independent", "short_length": 3, "short_operators": ["mask", "mask"]}, "can stand there once"),
        ({"crop": 0}, r"parts\.augmented\.crop"),
    ],
)
def test_settings_that_do_not_go_together(given, words):
    with pytest.raises(ConfigError, match=words):
        build_config({f"parts.augmented.{leaf}": value for leaf, value in given.items()})


def test_states_are_refused_where_the_backbone_has_none(prepare):
    with pytest.raises(ConfigError, match="cannot give the states at every item"):
        prepare(backbone="bert4rec", method="cl4srec", semantics=None, **{"parts.augmented.representation": "states"})
