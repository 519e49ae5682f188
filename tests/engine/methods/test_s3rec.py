"""S3-Rec's pretraining: the losses of its tasks, their views, and trainings with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TEST, TRAIN, VALID
from engine.errors import ConfigError
from engine.events import EpochFinished, Warned
from engine.methods.base import Anchors
from engine.methods.model import Model
from engine.methods.operators import draw_outside
from engine.methods.pretraining import attributes_of
from engine.training.trainer import BEST, LAST, Stopped
from tests.support.slow_contrast import assert_same

N = 6
TASKS = ("mip", "sp", "aap", "map")
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
S3REC = {"method": "s3rec", "semantics": None, "parts.mip.epochs": 2}
ALL_OFF = {f"parts.{task}.weight": 0 for task in TASKS}


@pytest.fixture
def shelved(make_dataset):
    """A data set with brands, of which each third of the items has one, categories that overlap, and one that all items have."""

    def make(**options):
        dataset = make_dataset(**({"longest": 9, "items": 20} | options))
        attributes = [
            own | {"categories": ["all", *(f"c{step}" for step in (2, 3, 5) if number % step == 0)], "price": ["1.00"]}
            for number, own in enumerate(dataset.items.attributes)
        ]
        return replace(dataset, items=replace(dataset.items, attributes=attributes))

    return make


@pytest.fixture
def build(shelved, small_config):
    """A float64 model with its dataset and the windows of a class, in training mode."""

    def make(windows=Windows, dataset=None, **settings):
        dataset = dataset or shelved()
        config = small_config(**({"method": "s3rec", "parts.mip.mask": 0.4} | NO_DROPOUT | settings))
        made = PaddedWindows(dataset, N, "cpu") if windows is PaddedWindows else windows(dataset, N)
        torch.manual_seed(1)
        model = Model(config, dataset=dataset, windows=made, semantics=None).double().train()
        with torch.no_grad():  # at 0.02 every hidden state is much the same
            model.backbone.item_embedding.weight.mul_(30)
            if model.shared("pretraining") is not None:
                model.shared("pretraining").mask.mul_(30)
            if model.shared("attributes") is not None:
                model.shared("attributes").vectors.weight.mul_(30)
            for part in model.parts.values():
                if hasattr(part, "output"):
                    part.output.weight.mul_(10)
                    part.output.bias.normal_()
        return model, dataset, made

    return make


def stage_of(model):
    return model.definition.stages[0]


def batch_of(dataset, windows, count=14):
    """Some training prefixes, of one item among them."""
    train = dataset.anchors.ids(TRAIN)
    lengths = dataset.anchors.positions[train - 1]
    assert (lengths[:count] == 1).any()
    ids = torch.from_numpy(train[:count])
    return Anchors(ids=ids, targets=windows.targets[ids], windows=windows, group_ids=windows.group_ids(ids))


def drawn(view, first=0):
    """Items of each sequence of a view, whose first one is `first` among those of its edit, and whether each is masked."""
    runs, found = view.sequences, []
    for row, (start, length) in enumerate(zip(runs.starts.tolist(), runs.lengths.tolist(), strict=True)):
        found.append(
            (runs.source[start : start + length].tolist(), view.edit.rows.masked[first + row, :length].tolist())
        )
    return found


def encoded(model, view):
    """States (L, D) at the items of each sequence, seen both ways, layer by layer without any packing."""
    found, mask = [], model.shared("pretraining").mask
    backbone = model.backbone
    for items, masked in view:
        vectors = [
            mask if hides else backbone.item_embedding.weight[item] for item, hides in zip(items, masked, strict=True)
        ]
        x = torch.stack(vectors) + backbone.position_embedding.weight[N - len(items) :]
        x = layer_norm(x, backbone.input_norm)
        for layer in backbone.layers:
            heads = []
            parts = (layer.query(x), *layer.key_value(x).chunk(2, -1))
            for q, k, v in zip(*(part.chunk(layer.heads, -1) for part in parts), strict=True):
                heads.append((q @ k.T / q.shape[1] ** 0.5).softmax(-1) @ v)
            x = layer_norm(x + layer.output(torch.cat(heads, -1)), layer.attention_norm)
            x = layer_norm(x + layer.contract(torch.nn.functional.gelu(layer.expand(x))), layer.feed_norm)
        found.append(x)
    return found


def layer_norm(x, norm):
    x = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-12)
    return x * norm.weight + norm.bias


def above(positive, negative, form):
    if form == "released":
        positive, negative = 1 / (1 + torch.exp(-positive)), 1 / (1 + torch.exp(-negative))
    return -torch.log(1 / (1 + torch.exp(negative - positive)))


def reduced(terms, reduction):
    return torch.stack(terms).sum() / (len(terms) if reduction == "mean" else 1)


def slow_losses(model, dataset, windows, *, form, reduction):
    """All four, as the paper has them, prefix by prefix and item by item; with the draws of our views."""
    batch = batch_of(dataset, windows)
    parts = {part.name: part for part in model.active(stage_of(model))}
    (view,) = parts["mip"].views(batch)
    masked = drawn(view)
    segments = parts["sp"].views(batch)
    context, positive, negative = (
        [states[-1] for states in encoded(model, drawn(one, first=number * len(batch)))]
        for number, one in enumerate(segments)
    )
    states = encoded(model, masked)
    prefixes = model.shared("pretraining").rows(batch)
    others, there = draw_outside(prefixes, len(dataset.items))  # its laws are tested with the operators
    assert there.all()
    table, mip = model.backbone.item_embedding.weight, parts["mip"].output
    vectors, names = model.shared("attributes").vectors.weight, attributes_of(model.config, dataset)
    terms = {name: [] for name in TASKS}
    for row, (items, hides) in enumerate(masked):
        for place, (item, hide) in enumerate(zip(items, hides, strict=True)):
            name = "map" if hide else "aap"
            found = parts[name].output(states[row][place])
            own = dataset.items.attributes[item - 1]
            chances = [1 / (1 + torch.exp(-(found @ vector))) for vector in vectors]
            has = [value in own.get(field, []) for field, value in names]
            terms[name].append(sum(-torch.log(p if yes else 1 - p) for p, yes in zip(chances, has, strict=True)))
            if hide:
                found, other = mip(states[row][place]), int(others[row, place])
                terms["mip"].append(above(found @ table[item], found @ table[other], form))
    for row, (items, _) in enumerate(masked):
        if len(items) > 1:
            found = parts["sp"].output(context[row])
            terms["sp"].append(above(found @ positive[row], found @ negative[row], form))
    assert min(map(len, terms.values())) > 8
    return {name: reduced(found, reduction) for name, found in terms.items()}


@pytest.mark.parametrize(("form", "reduction"), [("released", "mean"), ("single", "sum")])
def test_the_losses_equal_the_reference(build, form, reduction):
    model, dataset, windows = build(**{"parts.mip.form": form, "parts.mip.reduction": reduction})
    weights = {"mip": 1.0, "sp": 0.5, "aap": 0.2, "map": 1.0}
    ids = batch_of(dataset, windows).ids

    def ours():
        losses = model.losses(ids, windows, stage=stage_of(model))
        assert list(losses.terms) == [f"loss_{name}" for name in TASKS]
        return losses.total

    def slow():
        found = slow_losses(model, dataset, windows, form=form, reduction=reduction)
        return sum(weights[name] * value for name, value in found.items())

    assert_same(model, ours, slow)
    torch.manual_seed(7)
    terms = model.losses(ids, windows, stage=stage_of(model)).terms
    torch.manual_seed(7)
    for name, value in slow_losses(model, dataset, windows, form=form, reduction=reduction).items():
        torch.testing.assert_close(terms[f"loss_{name}"], value, rtol=1e-9, atol=1e-11)


def test_padded_windows_give_the_same(build):
    found = []
    for windows in (Windows, PaddedWindows, SharedWindows):
        model, dataset, made = build(windows, mode="sequence" if windows is SharedWindows else "prefix")
        torch.manual_seed(5)
        found.append(model.losses(batch_of(dataset, made).ids, made, stage=stage_of(model)).terms)
    for other in found[1:]:
        for name, value in found[0].items():
            torch.testing.assert_close(value, other[name], rtol=1e-9, atol=1e-11)


def test_tasks_share_views_and_the_vector_of_masked_items(build):
    model, dataset, windows = build()
    batch = batch_of(dataset, windows)
    asked = {part.name: part.views(batch) for part in model.active(stage_of(model))}
    assert asked["mip"] == asked["aap"] == asked["map"]
    (masked,) = asked["mip"]
    assert (masked.read, masked.causal, masked.key is not None) == ("every", False, True)
    assert {(view.read, view.causal, view.key) for view in asked["sp"]} == {("last", False, None)}
    assert len({id(view.edit.vector) for views in asked.values() for view in views}) == 1
    assert model.backbone.item_embedding.num_embeddings == len(dataset.items) + 1, "no row of E is a mask"


def test_no_view_holds_a_held_out_item(build, dataset_of):
    """Validation and test targets are items of their own."""
    sequences = [
        [*(1 + (user * 3 + step) % 9 for step in range(user % 7)), 20 + user, 60 + user] for user in range(1, 30)
    ]
    dataset = dataset_of([sequence for sequence in sequences if len(sequence) > 2])
    model, dataset, windows = build(dataset=dataset, **{"parts.aap.weight": 0, "parts.map.weight": 0})
    anchors = dataset.anchors
    held_out = {int(target) for role in (VALID, TEST) for target in anchors.targets[anchors.ids(role) - 1]}
    assert min(held_out) > 9
    seen, alien = set(), 0
    ids = torch.from_numpy(anchors.ids(TRAIN))
    for _ in range(5):
        batch = Anchors(ids=ids, targets=windows.targets[ids], windows=windows)
        for part in model.active(stage_of(model)):
            for view in part.views(batch):
                for row, (items, _) in enumerate(drawn(view)):
                    seen |= set(items)
                    alien += items != dataset.history(int(ids[row]), N).tolist()
    assert seen == set(range(1, 10))
    assert alien, "segments of others are among them"


@pytest.mark.parametrize("mode", ["prefix", "sequence"])
@pytest.mark.parametrize("at", [1, 6])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(prepare, run, world, shelved, tmp_path, mode, at):
    """`at`: in the second batch of the pretraining, or in the second epoch of the main training."""
    settings = S3REC | {"mode": mode, "dataset": shelved(longest=12, items=24), "parts.mip.epochs": 1}
    assert world.steps * 2 > 6 > world.steps > 2
    left = iter([False] * at + [True])
    stopped = prepare(folder=tmp_path, stop=lambda: next(left), **settings)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    resumed = prepare(folder=tmp_path, **settings)
    torch.manual_seed(12345)
    assert resumed.trainer.resume().done > 0
    resumed.finish()
    whole = run(**settings)
    assert whole.equals(resumed)
    told = [*stopped.told, *(event for event in resumed.told if event not in stopped.told)]
    assert told == whole.told
    assert [set(values) for values in whole.values("train")] == [
        {"loss", "loss_mip", "loss_sp", "loss_aap", "loss_map"},
        *[{"loss", "loss_rec"}] * 2,
    ]
    assert min(min(values.values()) for values in whole.values("train")) > 0


def test_without_its_tasks_it_is_the_plain_run(run):
    plain = run(method="plain", semantics=None)
    off = run(**S3REC | ALL_OFF)
    assert plain.equals(off)
    assert plain.trainer.config.config_hash() == off.trainer.config.config_hash()
    assert plain.told == off.told


def test_no_epoch_leaves_the_pretraining_out(run):
    values = run(**S3REC | {"parts.mip.epochs": 0}).values("train")
    assert [set(each) for each in values] == [{"loss", "loss_rec"}] * 2


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_trained_alone_for_the_epochs_of_the_stage(run, shelved, task):
    """Also where `mip`, whose settings the others read, is off."""
    alone = S3REC | {f"parts.{other}.weight": 0 for other in TASKS if other != task} | {"dataset": shelved(items=24)}
    made = run(**alone, epochs=1)
    assert [event.stage for event in made.of(EpochFinished)] == ["pretrain", "pretrain", ""]
    first, second, _ = made.values("train")
    assert [name for name in first if first[name]] == ["loss", f"loss_{task}"]
    assert [name for name in first if not first[name]] == [f"loss_{other}" for other in TASKS if other != task]
    assert second["loss"] != first["loss"]
    longer = run(**alone | {"parts.mip.epochs": 1}, epochs=1)
    assert longer.trainer.config.config_hash() != made.trainer.config.config_hash()
    assert not longer.equals(made)


def test_the_pretraining_learns(run, shelved):
    dataset = shelved(users=60, items=24, cyclic=True, shortest=4)
    made = run(**S3REC | {"parts.mip.epochs": 8, "lr": 0.01, "dropout": 0.0, "dataset": dataset}, epochs=1)
    first, last = made.values("train")[0], made.values("train")[7]
    assert all(last[f"loss_{task}"] < first[f"loss_{task}"] for task in TASKS), (first, last)


def test_an_exported_model_has_the_backbone_alone(run, shelved):
    made = run(**S3REC | {"dataset": shelved(items=24)}, epochs=1)
    roots = {name.split(".")[0] for name in made.weights(BEST)}
    assert roots == {"backbone", "parts", "pretraining", "attributes"}
    assert set(made.weights(LAST)) == set(made.weights(BEST))
    plain = run(method="plain", semantics=None, epochs=1)
    assert {name for name in made.weights(BEST) if name.startswith("backbone.")} == set(plain.weights(BEST))


def test_what_an_attribute_is(small_config, shelved):
    def found(**settings):
        return attributes_of(small_config(method="s3rec", **settings), dataset)

    dataset = shelved(items=20)
    brands = [("brand", f"Brand {number}") for number in range(3)]
    shelves = [("categories", f"c{step}") for step in (2, 3)]
    assert found() == [*brands, *shelves], "of c5 there are 4, all items are of category all, and a price is none"
    assert found(**{"parts.aap.floor": 4}) == [*brands, *shelves, ("categories", "c5")]
    assert found(**{"parts.aap.floor": 7}) == [*brands[1:], *shelves]
    assert found(**{"parts.aap.fields": "categories"}) == shelves
    assert found(**{"parts.aap.fields": ["price"], "parts.aap.floor": 1}) == []
    with pytest.raises(ConfigError, match="small has no item text color, size") as caught:
        found(**{"parts.aap.fields": "color, brand, size"})
    assert "brand, categories, price" in str(caught.value)


@pytest.mark.parametrize("titles_alone", [True, False])
def test_without_attributes_their_tasks_are_switched_off_and_the_run_says_so(run, prepare, make_dataset, titles_alone):
    dataset = make_dataset()
    attributes = [{} if titles_alone else {"brand": [f"brand {number}"]} for number in range(len(dataset.items))]
    dataset = replace(dataset, items=replace(dataset.items, attributes=attributes))
    made = run(**S3REC | {"dataset": dataset})
    said = [event.message for event in made.of(Warned)]
    assert [message.split(":")[0] for message in said] == [f"part {task} is switched off" for task in ("aap", "map")]
    assert all("brand, category" in message and "5 or more items of dataset small" in message for message in said)
    for values in made.values("train")[:2]:
        assert (values["loss_aap"], values["loss_map"]) == (0, 0)
        assert min(values["loss_mip"], values["loss_sp"]) > 0
    off = run(**S3REC | {"dataset": dataset, "parts.aap.weight": 0, "parts.map.weight": 0})
    assert made.equals(off)
    assert not off.of(Warned)
    named = S3REC | {"dataset": dataset, "parts.aap.fields": "brand" if titles_alone else "color"}
    with pytest.raises(ConfigError, match="has no item text"):
        prepare(**named)
    alone = run(**S3REC | {"dataset": dataset, "parts.mip.weight": 0, "parts.sp.weight": 0})
    assert [event.stage for event in alone.of(EpochFinished)] == ["", ""], "nothing is left to pretrain on"


@pytest.mark.parametrize(
    ("backbone", "off", "message"),
    [
        ("gru4rec", {}, "gru4rec cannot see a sequence both ways"),
        (
            "gru4rec",
            {f"parts.{task}.weight": 0 for task in ("mip", "aap", "map")},
            "gru4rec cannot see a sequence both ways",
        ),
        ("bsarec", {}, "states at every item, which backbone bsarec does not give"),
        ("bert4rec", {}, "states at every item, which backbone bert4rec does not give"),
    ],
)
def test_a_backbone_that_cannot_be_pretrained_so_is_refused(prepare, backbone, off, message):
    with pytest.raises(ConfigError, match=message):
        prepare(**S3REC | off | {"backbone": backbone})


def test_segments_alone_pretrain_a_backbone_that_is_read_at_the_last_item(run):
    values = run(**S3REC | {"backbone": "bert4rec", "method": "s3rec"} | ALL_OFF | {"parts.sp.weight": 1}).values(
        "train"
    )
    assert values[0]["loss"] == values[0]["loss_sp"] > 0


def test_ligr_is_pretrained_too(run):
    values = run(**S3REC | {"backbone": "ligr"}, epochs=1).values("train")
    assert [set(each) for each in values] == [{"loss", *(f"loss_{task}" for task in TASKS)}] * 2 + [
        {"loss", "loss_rec"}
    ]


def test_batches_that_have_nothing_for_a_task_have_a_loss(build, dataset_of):
    """Prefixes of one item have no segment and nothing unmasked; one that holds every item has no other."""
    items = list(range(1, N + 1))
    for sequences in ([[1, 2, 3], [4, 5, 6], [2, 4, 5]], [[*items, 1, 2, 3], [*items, 2, 1, 3]]):
        dataset = dataset_of(sequences, items=6)
        attributes = [{"brand": [f"brand {number % 2}"]} for number in range(6)]
        dataset = replace(dataset, items=replace(dataset.items, attributes=attributes))
        model, dataset, windows = build(dataset=dataset, **{"parts.aap.floor": 1})
        anchors = dataset.anchors
        longest = torch.from_numpy(anchors.ids(TRAIN)[anchors.positions[anchors.ids(TRAIN) - 1] % N <= 1])
        losses = model.losses(longest, windows, stage=stage_of(model))
        losses.total.backward()
        assert torch.isfinite(losses.total)
        gradients = [value.grad for value in model.parameters() if value.grad is not None]
        assert gradients
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
