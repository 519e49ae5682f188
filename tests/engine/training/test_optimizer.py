"""The optimizer computes what torch's does, and does not bring torch's compiler into the process."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.dataset import TRAIN
from engine.events import Warned
from engine.training.optimizer import Adam, RowAdam
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


def rows_trained(kind, touched, *, sparse=True):
    """A table of 5 rows after steps that touch some of them each, and what its optimizer keeps."""
    weight = torch.nn.Parameter(torch.arange(10, dtype=torch.float64).view(5, 2) / 7)
    optimizer = kind([weight], lr=0.1)
    for step, rows in enumerate(touched, 1):
        index = torch.tensor(rows, dtype=torch.long)
        chosen = torch.nn.functional.embedding(index, weight, sparse=sparse)
        optimizer.zero_grad(set_to_none=True)
        (chosen * torch.tensor([step, -1.0]) + chosen**2).sum().backward()
        optimizer.step()
    return weight.detach(), optimizer


@settings(deadline=None, max_examples=30)
@given(st.lists(st.permutations(range(5)), max_size=6))
def test_rows_that_every_step_touches_are_updated_as_by_adam(touched):
    torch.testing.assert_close(
        rows_trained(RowAdam, touched)[0], rows_trained(Adam, touched, sparse=False)[0], rtol=1e-12, atol=1e-14
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), max_size=8))
def test_untouched_rows_and_their_moments_stay_and_dense_gradients_are_read_alike(touched):
    """As torch's own, which takes sparse gradients alone and adds epsilon elsewhere; a row that is touched twice in a step has the sum of its gradients."""
    ours, optimizer = rows_trained(RowAdam, touched)
    torch.testing.assert_close(ours, rows_trained(torch.optim.SparseAdam, touched)[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours, rows_trained(RowAdam, touched, sparse=False)[0], rtol=1e-12, atol=1e-14)
    never = sorted(set(range(5)) - {row for rows in touched for row in rows})
    assert torch.equal(ours[never], rows_trained(RowAdam, [])[0][never])
    for slots in optimizer.state_dict()["state"].values():
        assert not slots["exp_avg_sq"][never].any()


def test_a_row_is_as_by_adam_up_to_its_second_touch_and_other_from_then_on():
    first, second = [[0], [1], [0, 2]], [[0], [1], [0, 2], [1, 3]]
    for touched, same in ((first, {1: False, 2: True, 3: True, 4: True}), (second, {3: True, 4: True})):
        ours, theirs = rows_trained(RowAdam, touched)[0], rows_trained(Adam, touched, sparse=False)[0]
        for row, equal in same.items():
            assert torch.allclose(ours[row], theirs[row], rtol=1e-12, atol=0) == equal, (touched, row)


@pytest.mark.parametrize("kind", [
    {"method": "plain"}, {"method": "plain", "backbone": "gru4rec", "padding": "random"}, {},
    {"method": "mclrec"}, {"method": "s3rec", "parts.mip.epochs": 1}, {"method": "plain", "mode": "sequence"},
], ids=["plain", "gru4rec", "sracl", "mclrec", "s3rec", "sequence"])  # fmt: skip
def test_a_training_touches_the_items_that_it_reads_or_samples_alone(run, kind):
    made = run(**kind, **{"parts.rec.loss": "ss", "negatives": 1, "epochs": 1, "sparse_adam": True, "batch": 64})
    model, trainer = made.trainer.model, made.trainer
    (rows,) = model.sparse_rows
    assert rows is model.backbone.item_embedding.weight
    named = [name for name in trainer._optimizers.by_group if name.endswith(":rows")]
    assert len(named) == 1
    assert sum("train.sparse_adam" in event.message for event in made.of(Warned)) == 1
    model.losses(torch.from_numpy(trainer.dataset.anchors.ids(TRAIN))[:2], trainer._training_windows).total.backward()
    assert rows.grad is not None
    assert rows.grad.is_sparse


def test_without_it_there_is_one_optimizer_and_no_word_of_it(run):
    made = run(**{"method": "plain", "parts.rec.loss": "ss", "epochs": 1})
    assert list(made.trainer._optimizers.by_group) == ["all"]
    assert not any("sparse_adam" in event.message for event in made.of(Warned))
