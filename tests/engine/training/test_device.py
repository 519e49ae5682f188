"""A training on another device than the CPU mixes no devices, and gives what it gives on the CPU."""

from __future__ import annotations

import pytest
import torch

from engine import processes
from engine.events import EpochFinished, Evaluated, WeightsSampled
from engine.training import optimizer
from engine.training.trainer import BEST
from tests.support import pretended_device

pytestmark = pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
PLAIN = {"dropout": 0.0, "attention_dropout": 0.0, "weight_dropout": 0.0, "epochs": 1}
"""Dropout is torch's own on a GPU and ours on the CPU: the numbers can be compared without it."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    adam, tensor = optimizer.Adam, torch.tensor

    def made(data, *, device=None, **kwargs):
        """`meta` tensors are made without asking the machine; others are made on the CPU and moved."""
        return tensor(data, **kwargs).to(device or "cpu")

    monkeypatch.setattr(torch, "tensor", made)
    monkeypatch.setattr(
        processes, "pick_device", lambda name: torch.device(name if name != "auto" else pretended_device.DEVICE)
    )
    monkeypatch.setattr(optimizer, "Adam", lambda *args, fused, **kwargs: adam(*args, foreach=False, **kwargs))
    return pretended_device.Machine()


def test_the_device_refuses_what_a_gpu_refuses(machine):
    with machine:
        there, here = torch.ones(3).to(pretended_device.DEVICE), torch.ones(3)
        assert (there + torch.tensor(1.0)).cpu().tolist() == [2, 2, 2]
        assert there[torch.tensor([0, 1])].device == pretended_device.DEVICE
        with pytest.raises(RuntimeError, match="beside the device"):
            there + here
        with pytest.raises(RuntimeError, match="beside the device"):
            here[there.long()]
    assert machine.waits == {"aten::_to_copy": 1}


@pytest.mark.parametrize(
    "settings",
    [
        {"swap": 0.0},  # what is drawn for padding, too, differs
        {"mode": "sequence"},
        {"item_kind": "synthesize", "direction": "one-way", "swap": 1.0},
        {"method": "duorec", "semantics": None},
        {"method": "cl4srec", "semantics": None},
        {"method": "mclrec", "semantics": None},
        {"method": "coserec", "semantics": None, "parts.augmented.warmup": 0},
        {"method": "s3rec", "semantics": None, "parts.mip.epochs": 1},
        {"method": "icsrec", "semantics": None, "parts.intent.clusters": 4},
        {"method": "iclrec", "semantics": None, "parts.intent.clusters": 4},
        {
            "method": "iclrec",
            "semantics": None,
            "parts.intent.clusters": 4,
            "parts.intent.representation": "mean",
        },
        {"method": "rlmrec-con"},
        {"method": "rlmrec-gen"},
        {"backbone": "gru4rec", "kind": "random"},
        {"backbone": "bert4rec", "kind": "top1", "mask_seen": True},
        {"backbone": "bsarec", "swap": 0.0},
        {"backbone": "ligr", "mode": "sequence"},
        {"method": "llm-esr"},
        {"method": "alpharec", "batch": 256},
    ],
    ids=str,
)
def test_a_training_there_gives_what_it_gives_here(prepare, machine, settings):
    settings = PLAIN | settings
    here = prepare(device="cpu", **settings)
    here.finish()
    with machine:
        there = prepare(device="auto", **settings)
        there.finish()
    assert there.trainer.device == pretended_device.DEVICE
    assert {parameter.device for parameter in there.trainer.model.parameters()} == {pretended_device.DEVICE}
    for kind in (EpochFinished, Evaluated, WeightsSampled):
        assert len(there.of(kind)) == len(here.of(kind))
    for ours, theirs in zip(there.values("train"), here.values("train"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for name, weight in here.weights(BEST).items():
        one, other = there.weights(BEST)[name], weight
        if name.endswith("key_value.bias"):  # the gradient of a key's bias is 0 but for rounding, which Adam scales up
            one, other = one.chunk(2)[1], other.chunk(2)[1]
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_training_there_with_dropout(prepare, machine):
    with machine:
        there = prepare(device="auto", epochs=1)
        assert there.finish().epochs == 1
    assert all(weight.isfinite().all() for weight in there.weights(BEST).values())
