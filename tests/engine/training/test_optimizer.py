"""The optimizer computes what torch's does, and does not bring torch's compiler into the process."""

from __future__ import annotations

import copy
import subprocess
import sys

import torch

from engine.training.optimizer import Adam
from tests.support.commands import ROOT

STEPS = 5
FRESH = """
import sys, torch
from engine.training.optimizer import Adam
layer = torch.nn.Linear(3, 2)
optimizer = Adam(layer.parameters(), fused=True)
optimizer.zero_grad(set_to_none=True)
layer(torch.ones(3)).sum().backward()
optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""


def train(layer: torch.nn.Linear, optimizer: torch.optim.Optimizer) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        (layer(torch.randn(8, 3, generator=generator)) ** 2).mean().backward()
        optimizer.step()


def test_weights_and_state_are_those_of_torchs_own_bit_by_bit() -> None:
    ours = torch.nn.Linear(3, 2)
    theirs = copy.deepcopy(ours)
    optimizers = [kind(layer.parameters(), lr=0.01, weight_decay=0.1, fused=True)
                  for kind, layer in ((Adam, ours), (torch.optim.Adam, theirs))]  # fmt: skip
    train(ours, optimizers[0])
    train(theirs, optimizers[1])
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)
    states = [optimizer.state_dict() for optimizer in optimizers]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    for number, slots in states[0]["state"].items():
        assert all(torch.equal(value, states[1]["state"][number][name]) for name, value in slots.items())


def test_its_state_goes_on_in_another_one() -> None:
    whole = torch.nn.Linear(3, 2)
    cut = copy.deepcopy(whole)
    first, second = Adam(whole.parameters(), fused=True), Adam(cut.parameters(), fused=True)
    train(whole, first)
    train(cut, second)
    third = Adam(cut.parameters(), fused=True)
    third.load_state_dict(second.state_dict())
    train(whole, first)
    train(cut, third)
    assert torch.equal(whole.weight, cut.weight)


def test_hooks_around_a_step_are_called() -> None:
    layer, heard = torch.nn.Linear(3, 2), []
    optimizer = Adam(layer.parameters(), fused=True)
    optimizer.register_step_pre_hook(lambda *_: heard.append("before"))
    optimizer.register_step_post_hook(lambda *_: heard.append("after"))
    train(layer, optimizer)
    assert heard == ["before", "after"] * STEPS


def test_a_step_does_not_import_the_compiler() -> None:
    assert subprocess.run([sys.executable, "-c", FRESH], cwd=ROOT, check=False).returncode == 0
