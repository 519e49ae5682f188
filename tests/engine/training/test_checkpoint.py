"""Checkpoints: what goes in comes out, a torn file says so, and the old file survives a write that fails."""

from __future__ import annotations

import json
import math
import os
import struct

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from engine.errors import CheckpointError
from engine.training import checkpoint
from engine.training.checkpoint import FORMAT, LoopState
from engine.training.optimizer import Optimizers

STATE = LoopState(
    config_hash="abc", dataset_sha256="def", seed=3, epoch=2, step=14, best_epoch=1, best_score=0.1 + 0.2, bad_epochs=1
)


def trained(seed=0, steps=3, size=4):
    """A model and its Adam after some steps, with state."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(size, size), nn.Linear(size, 1))
    model[1].bias.requires_grad_(False)
    optimizer = Optimizers({"all": [p for p in model.parameters() if p.requires_grad]}, lr=0.1, weight_decay=0.0)
    go_on(model, optimizer, steps, size)
    return model, optimizer


def go_on(model, optimizer, steps, size=4):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, size)).pow(2).sum().backward()
        optimizer.step("all")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "last.safetensors"


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("steps", [3, 0])
def test_round_trip_goes_on_bit_by_bit(path, steps):
    model, optimizer = trained(steps=steps)
    checkpoint.save(path, model=model, state=STATE, optimizers=optimizer)
    go_on(model, optimizer, 4)
    drawn = torch.rand(3)

    other, other_optimizer = trained(seed=9, steps=2)
    if steps == 0:  # an Adam that has not stepped has no state: nor must the one that goes on
        other_optimizer = Optimizers(
            {"all": [p for p in other.parameters() if p.requires_grad]}, lr=0.1, weight_decay=0.0
        )
    assert checkpoint.load(path, model=other, optimizers=other_optimizer) == STATE
    go_on(other, other_optimizer, 4)
    assert equal(model, other)
    assert torch.equal(torch.rand(3), drawn)
    ours, theirs = optimizer.slots(), other_optimizer.slots()
    assert {name.rpartition(".")[2] for name in ours} <= {"step", "exp_avg", "exp_avg_sq"}
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_without_an_optimizer_only_the_weights_are_read(path):
    model, optimizer = trained()
    checkpoint.save(path, model=model, state=STATE, optimizers=optimizer)
    other, other_optimizer = trained(seed=9)
    before = other_optimizer.slots()["0.exp_avg"].clone()
    torch.manual_seed(4)
    drawn = torch.rand(1)
    torch.manual_seed(4)
    checkpoint.load(path, model=other)
    assert torch.equal(torch.rand(1), drawn), "the generator is left alone"
    assert torch.equal(other_optimizer.slots()["0.exp_avg"], before)
    assert equal(model, other)


def test_a_checkpoint_without_optimizer_is_no_place_to_go_on_from(path):
    model, optimizer = trained()
    checkpoint.save(path, model=model, state=STATE)
    with pytest.raises(CheckpointError, match="has no optimizer"):
        checkpoint.load(path, model=model, optimizers=optimizer)


@pytest.mark.parametrize("score", [-math.inf, 1 / 3, 0.1 + 0.2])
def test_state_keeps_its_full_precision(path, score):
    state = LoopState(**{**vars(STATE), "best_score": score})
    checkpoint.save(path, model=nn.Linear(1, 1), state=state)
    assert checkpoint.read_state(path) == state


def test_read_weights_by_prefix(path):
    model, optimizer = trained()
    checkpoint.save(path, model=model, state=STATE, optimizers=optimizer)
    assert set(checkpoint.read_weights(path)) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    weights = checkpoint.read_weights(path, "0.")
    assert set(weights) == {"weight", "bias"}
    assert torch.equal(weights["weight"], model.state_dict()["0.weight"])


def test_missing(path):
    with pytest.raises(CheckpointError, match="no such checkpoint") as caught:
        checkpoint.read_state(path)
    assert caught.value.where == str(path)


def test_truncated_anywhere(path):
    model, optimizer = trained()
    checkpoint.save(path, model=model, state=STATE, optimizers=optimizer)
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, *range(200, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            checkpoint.load(path, model=model, optimizers=optimizer)
        with pytest.raises(CheckpointError):
            checkpoint.read_state(path)


def test_garbled(path):
    checkpoint.save(path, model=nn.Linear(3, 3), state=STATE, optimizers=trained()[1])
    whole = path.read_bytes()
    (header,) = struct.unpack("<Q", whole[:8])
    places = [*range(0, 8 + header, 11), *range(8 + header, len(whole), 401), len(whole) - 1]  # of names, state, values
    for place in places:
        for byte in {0x00, 0xFF, ord("7"), ord("a")} - {whole[place]}:
            path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            with pytest.raises(CheckpointError):
                checkpoint.read_state(path)
    path.write_bytes(os.urandom(5000))
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.read_weights(path)
    path.write_bytes(whole)
    assert checkpoint.read_state(path) == STATE


@pytest.mark.parametrize("state", [None, "{", "[]", '{"epoch": 1}', json.dumps({**vars(STATE), "more": 1})])
def test_a_loop_state_that_cannot_be_read(path, state):
    metadata = {"format": FORMAT} | ({} if state is None else {"state": state})
    save_file({"model.weight": torch.zeros(1)}, path, metadata)
    with pytest.raises(CheckpointError, match="damaged") as caught:
        checkpoint.read_state(path)
    assert caught.value.where == str(path)


def test_a_safetensors_file_of_others(path):
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of ours"):
        checkpoint.read_state(path)


def test_another_shape(path):
    checkpoint.save(path, model=nn.Linear(2, 2), state=STATE)
    with pytest.raises(CheckpointError, match="does not fit this model") as caught:
        checkpoint.load(path, model=nn.Linear(3, 2))
    assert caught.value.where == str(path)


def test_the_old_file_survives_a_rename_that_fails(path, monkeypatch):
    model, optimizer = trained()
    checkpoint.save(path, model=model, state=STATE, optimizers=optimizer)
    old = path.read_bytes()
    go_on(model, optimizer, 1)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(CheckpointError, match="No space left") as caught:
            checkpoint.save(path, model=model, state=STATE, optimizers=optimizer)
    assert caught.value.where == str(path)
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path], "nothing is left lying about"
    checkpoint.save(path, model=model, state=STATE, optimizers=optimizer)
    assert path.read_bytes() != old


def test_the_old_file_survives_being_killed_in_the_middle(path, monkeypatch):
    checkpoint.save(path, model=nn.Linear(2, 2), state=STATE)
    old = path.read_bytes()

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, model=nn.Linear(2, 2), state=STATE)
    assert path.read_bytes() == old


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be written"):
        checkpoint.save(tmp_path / "none" / "last.safetensors", model=nn.Linear(2, 2), state=STATE)
