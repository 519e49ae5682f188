"""Windows that are padded for a GPU give what packed ones give, and let nobody wait for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.methods.model import Model
from tests.support import pretended_device

N = 6
PLAIN = {"dropout": 0.0, "attention_dropout": 0.0, "swap": 0.0, "alpha": 0.7, "beta": 0.4}


@pytest.fixture
def build(make_dataset, make_semantics, small_config):
    def make(**settings):
        dataset, config = make_dataset(), small_config(**(PLAIN | settings))
        torch.manual_seed(1)
        semantics = make_semantics(dataset, dtype=torch.float64)
        return Model(
            config, dataset=dataset, windows=Windows(dataset, N), semantics=semantics
        ).double().train(), dataset

    return make


def test_a_window_holds_the_last_items_and_nothing_else(make_dataset):
    dataset = make_dataset()
    windows = PaddedWindows(dataset, N, "cpu")
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN))
    packed = windows.pack(ids)
    assert packed.padding_mask is not None
    for anchor, items, padding in zip(ids.tolist(), packed.items.view(-1, N), packed.padding_mask, strict=True):
        history = dataset.history(anchor, N).tolist()
        assert items.tolist() == [0] * (N - len(history)) + history
        assert padding.tolist() == [True] * (N - len(history)) + [False] * len(history)
    assert windows.targets[ids].tolist() == dataset.anchors.targets[ids.numpy() - 1].tolist()


def test_a_batch_on_another_device_keeps_its_padding_mask(make_dataset):
    dataset = make_dataset()
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN))
    packed = PaddedWindows(dataset, N, "cpu").pack(ids)
    moved = packed.to("meta")
    assert moved.padding_mask is not None
    assert moved.padding_mask.device.type == moved.items.device.type == "meta"
    again = packed.to("cpu")
    assert again.padding_mask is not None
    assert again.padding_mask.equal(packed.padding_mask)
    assert again.blocks == packed.blocks
    assert Windows(dataset, N).pack(ids).to("meta").padding_mask is None


@pytest.mark.parametrize("settings", [{"weight_dropout": 0.0}, {"weight_dropout": 0.5}, {"layers": 1}, {"layers": 3}])
def test_losses_and_gradients_are_those_of_packed_windows(build, settings):
    model, dataset = build(**settings)
    ids = torch.from_numpy(np.random.default_rng(1).permutation(dataset.anchors.ids(TRAIN))[:20])
    found = []
    for windows in (Windows(dataset, N), PaddedWindows(dataset, N, "cpu")):
        torch.manual_seed(3)  # the weights' dropout is drawn first, and alike
        losses = model.losses(ids, windows)
        gradients = torch.autograd.grad(losses.total, list(model.parameters()), allow_unused=True)
        found.append([losses.total, *losses.terms.values(), *gradients])
    for packed, dense in zip(*found, strict=True):
        torch.testing.assert_close(dense, packed, rtol=1e-9, atol=1e-11)


def test_dropout_and_views_leave_no_trace_of_the_padding(build):
    """With every rate on, what stands at the padding has no part in the losses."""
    model, dataset = build(dropout=0.5, attention_dropout=0.5, swap=0.5)
    windows = PaddedWindows(dataset, N, "cpu")
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN)[:20])
    totals = []
    for value in (0.0, 100.0):
        with torch.no_grad():
            model.backbone.item_embedding.weight[0] = value
        torch.manual_seed(3)
        losses = model.losses(ids, windows)
        totals.append(losses.total.detach())
        losses.total.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert totals[0] == totals[1]


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
@pytest.mark.parametrize("settings", [{}, {"kind": "random"}, {"alpha": 0.0}, {"beta": 0.0}])
def test_a_step_never_waits_for_the_device(make_dataset, make_semantics, small_config, settings):
    dataset, config = make_dataset(), small_config(**settings)
    semantics = make_semantics(dataset)
    train = torch.from_numpy(dataset.anchors.ids(TRAIN))
    semantics.neighbors[train, 0] = train.flip(0)  # everybody has a neighbor, as in all real data
    rows = torch.zeros_like(semantics.user_rows)
    rows[train] = semantics.user_rows[train]
    semantics = type(semantics)(**(vars(semantics) | {"user_rows": rows}))
    machine = pretended_device.Machine()
    with machine:
        windows = PaddedWindows(dataset, N, pretended_device.DEVICE)
        there = semantics.to(pretended_device.DEVICE)
        model = Model(config, dataset=dataset, windows=windows, semantics=there).to(pretended_device.DEVICE)
        optimizer = torch.optim.Adam(model.parameters(), foreach=False)
        batches = windows.batches(train, 16, torch.Generator().manual_seed(1))
        before = machine.waits.copy()
        for ids in batches:
            optimizer.zero_grad(set_to_none=True)
            model.train().losses(ids, windows).total.backward()
            optimizer.step()
        waited = machine.waits - before
    assert len(batches) > 2
    assert not waited, f"{dict(waited)} in {len(batches)} steps"
