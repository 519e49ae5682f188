"""The alignment with texts: its loss, what has no text, and trainings with it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.methods.base import View
from engine.methods.encoding import encode_views
from engine.methods.model import Model
from engine.methods.text_alignment import first_of_each, match
from engine.training import checkpoint
from engine.training.trainer import BEST, LAST, Stopped
from tests.support.slow_alignment import projected, slow_match
from tests.support.slow_contrast import assert_same

N, SIZE = 6, 5
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}
CON = {"method": "rlmrec-con"}
WINDOWS = {"prefix": Windows, "sequence": SharedWindows}


@pytest.fixture
def build(make_dataset, make_semantics, small_config):
    """A float64 RLMRec-Con with its dataset, windows and semantics; some prefixes and items have no text."""

    def make(windows=Windows, **given):
        dataset = make_dataset(longest=9, items=12)
        semantics = make_semantics(dataset, size=SIZE, dtype=torch.float64)
        semantics.user_rows[dataset.anchors.ids(TRAIN)[[1, 4]]] = 0
        semantics.user_vectors[semantics.user_rows[dataset.anchors.ids(TRAIN)[2]]] = 0
        semantics.item_vectors[[3, 7]] = 0
        semantics.item_vectors[0] = 9.0  # nobody's
        made = PaddedWindows(dataset, N, "cpu") if windows is PaddedWindows else windows(dataset, N)
        torch.manual_seed(1)
        model = Model(small_config(**(NO_DROPOUT | CON | given)), dataset=dataset, windows=made, semantics=semantics)
        model.double().train()
        with torch.no_grad():  # at 0.02 every hidden state is much the same
            model.backbone.item_embedding.weight.mul_(30)
        return model, dataset, made, semantics

    return make


@pytest.mark.parametrize("mode", WINDOWS)
@pytest.mark.parametrize("temperature", [0.2, 1.5])
def test_the_loss_equals_the_reference(build, plain_encode, mode, temperature):
    chosen = {"parts.align.temperature": temperature, "parts.align.weight": 0.3, "mode": mode}
    model, dataset, windows, semantics = build(WINDOWS[mode], **chosen)
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN)[:16])
    layers, table = model.parts["align"].projection, model.backbone.item_embedding.weight
    users = dataset.anchors.user_ids[ids.numpy() - 1]

    def slow():
        if mode == "prefix":
            h = plain_encode(model.backbone, [dataset.history(anchor, N).tolist() for anchor in ids.tolist()])
        else:
            (h,) = encode_views(model.backbone, [View(ids)], windows)
        targets = [int(dataset.anchors.targets[anchor - 1]) for anchor in ids.tolist()]
        scores = (h @ table[1:].T).log_softmax(1)
        total = -sum(scores[row, target - 1] for row, target in enumerate(targets)) / len(ids)
        known = [number for number in range(16) if number not in (1, 2, 4)]
        texts = [projected(layers, semantics.user_vectors[semantics.user_rows[ids[number]]]) for number in known]

        def kin(a, b):
            return mode == "sequence" and users[known[a]] == users[known[b]]

        total = total + 0.3 * slow_match([h[number] for number in known], texts, temperature, kin)
        distinct = list(dict.fromkeys(target for target in targets if target not in (3, 7)))
        assert len(distinct) + 1 < len(targets), "some are there twice"
        assert {3, 7} & set(targets), "and some have no text"
        texts = [projected(layers, semantics.item_vectors[item]) for item in distinct]
        return total + 0.3 * slow_match([table[item] for item in distinct], texts, temperature)

    assert_same(model, lambda: model.losses(ids, windows).total, slow)


def test_it_reads_the_pass_of_the_recommendation_loss(build):
    model, dataset, windows, _ = build()
    seen = []
    model.backbone.register_forward_hook(lambda _, args, output: seen.append(len(args[0].last)))
    model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:10]), windows)
    assert seen == [10]


def test_texts_get_no_gradient_and_their_projection_does(build):
    model, dataset, windows, semantics = build()
    model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:10]), windows).terms["loss_align"].backward()
    assert not semantics.user_vectors.requires_grad
    assert not semantics.item_vectors.requires_grad
    assert all(bool(value.grad.any()) for value in model.parts["align"].parameters())
    first, _, last = model.parts["align"].projection
    assert first.weight.shape == ((SIZE + 8) // 2, SIZE)
    assert last.weight.shape == (8, (SIZE + 8) // 2)
    assert {name for name in model.state_dict() if not name.startswith("backbone.")} == {
        f"parts.align.projection.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }


@pytest.mark.parametrize("count", [1, 2])
def test_a_batch_in_which_nothing_has_a_text_has_a_loss(build, count):
    model, dataset, windows, semantics = build()
    semantics.item_vectors[:] = 0
    semantics.user_rows[:] = 0
    part = Model(model.config, dataset=dataset, windows=windows, semantics=semantics).double()
    loss = part.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:count]), windows)
    loss.total.backward()
    assert float(loss.terms["loss_align"].detach()) == 0
    assert all(bool(value.grad.isfinite().all()) for value in part.parameters() if value.grad is not None)


def test_what_has_no_text_is_counted(build):
    model, dataset, _, _ = build()
    train = dataset.anchors.ids(TRAIN)
    missing = {3, 7} & set(dataset.anchors.targets[train - 1].tolist())
    assert len(missing) == 2
    assert model.metrics() == {"align_prefixes_without_text": 3, "align_items_without_text": 2}


def test_a_vector_of_what_has_no_text_does_not_matter(build):
    found = []
    for value in (0.0, 5.0):
        model, dataset, windows, semantics = build()
        semantics.user_vectors[0] = value
        semantics.item_vectors[0] = value
        found.append(model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:16]), windows).terms["loss_align"])
    assert torch.equal(*found)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_not_counted_is_as_if_it_were_not_there(data):
    count = data.draw(st.integers(1, 8))
    counted = torch.tensor(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    groups = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)))
    rows, texts = torch.randn(2, count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    kin = data.draw(st.sampled_from([None, groups]))
    whole = match(rows, texts, counted, temperature=0.3, group_ids=kin)
    alone = None if kin is None else kin[counted]
    every = torch.ones(int(counted.sum()), dtype=torch.bool)
    torch.testing.assert_close(
        whole, match(rows[counted], texts[counted], every, temperature=0.3, group_ids=alone), rtol=1e-12, atol=1e-12
    )
    assert float(whole) >= 0
    order = torch.tensor(data.draw(st.permutations(range(count))))
    same = match(
        rows[order] * 3,
        texts[order] * 0.1,
        counted[order],
        temperature=0.3,
        group_ids=None if kin is None else kin[order],
    )
    torch.testing.assert_close(whole, same, rtol=1e-9, atol=1e-12)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_the_first_of_equal_values(values):
    expected = [value not in values[:number] for number, value in enumerate(values)]
    assert first_of_each(torch.tensor(values)).tolist() == expected


def test_padded_windows_give_the_same(build):
    found = []
    for windows in (Windows, PaddedWindows):
        model, dataset, made, _ = build(windows)
        found.append(model.losses(torch.from_numpy(dataset.anchors.ids(TRAIN)[:14]), made).terms)
    assert found[0]["loss_align"] > 0
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-9, atol=1e-11)


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
    made = run(**CON, epochs=1, backbone=f"{tmp_path / 'wider.py'}:Own")
    assert made.weights(LAST)["parts.align.projection.2.weight"].shape[0] == 16
    assert made.values("train")[0]["loss_align"] > 0


def test_on_a_backbone_with_a_loss_of_its_own(run):
    made = run(**CON, epochs=1, backbone="bert4rec")
    assert 0 < made.values("train")[0]["loss_align"] < math.inf


def test_weight_0_is_the_plain_run(run):
    off = run(**CON, **{"parts.align.weight": 0}, semantics=None)
    assert off.equals(run(method="plain", semantics=None))
    assert off.values("train")[0]["loss_align"] == 0


def test_only_vectors_are_read_and_no_list(run, world):
    bare = replace(
        world.semantics,
        **{
            name: torch.zeros_like(getattr(world.semantics, name))
            for name in ("neighbors", "similarity", "substitutes", "item_similarity")
        },
    )
    assert run(**CON).equals(run(**CON, semantics=bare))
    other = replace(world.semantics, item_vectors=world.semantics.item_vectors.flip(0))
    assert not run(**CON).equals(run(**CON, semantics=other))


@pytest.mark.parametrize("mode", WINDOWS)
def test_a_stopped_training_goes_on_as_if_it_had_not_been(prepare, run, mode, tmp_path):
    left = iter([False, False, True])
    stopped = prepare(folder=tmp_path, stop=lambda: next(left), mode=mode, **CON)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    assert checkpoint.read_state(tmp_path / LAST).done > 0
    resumed = prepare(folder=tmp_path, mode=mode, **CON)
    torch.manual_seed(12345)
    resumed.trainer.resume()
    resumed.finish()
    whole = run(mode=mode, **CON)
    assert whole.equals(resumed)
    assert whole.values("train")[-1] == resumed.values("train")[-1]
    assert whole.values("train")[-1]["loss_align"] > 0
    assert "parts.align.projection.0.weight" in whole.weights(BEST)


def test_beside_the_contrasts_of_sracl(run):
    values = run(**{"method.parts": ["rec", "inter", "align"], "epochs": 1}).values("train")[0]
    assert min(values["loss_cs"], values["loss_align"]) > 0
