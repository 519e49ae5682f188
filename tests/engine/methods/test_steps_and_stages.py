"""Several updates of a batch by several optimizers, and a pretraining: trained, stopped, killed, resumed, counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.events import EpochFinished, StepFinished, WeightsSeen
from engine.methods.base import Step
from engine.models.losses import recommendation_loss
from engine.training import checkpoint, trainer
from engine.training.optimizer import Adam
from engine.training.trainer import BEST, LAST, Stopped, Trainer
from tests.engine.conftest import Run, World
from tests.support import staged_method

OWN = f"{staged_method.__file__}:METHOD"
STAGE = {"semantics": None, "method": OWN, "epochs": 2}


class StopAt:
    """Asked after every step; says yes at the given one."""

    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize(
    "at", ["first step", "inside the stage", "its border", "main, first epoch", "main, last epoch"]
)
def test_a_stopped_training_goes_on_to_the_same_bits(
    prepare: Callable[..., Run], run: Callable[..., Run], world: World, tmp_path: Path, at: str
) -> None:
    steps = world.steps
    stop = {
        "first step": 1,
        "inside the stage": steps + 2,
        "its border": 2 * steps,
        "main, first epoch": 2 * steps + 1,
        "main, last epoch": 3 * steps + 2,
    }[at]
    whole = run(**STAGE)
    stopped = prepare(folder=tmp_path, stop=StopAt(stop), **STAGE)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    resumed = prepare(folder=tmp_path, **STAGE)
    torch.manual_seed(99)  # another process has other random numbers
    state = resumed.trainer.resume()
    done = (stop - 1) % steps + 1
    assert (state.epoch, state.done) == ((stop - 1) // steps, done)
    resumed.finish()
    told = [*stopped.told, *(event for event in resumed.told if event not in stopped.told)]
    assert told == whole.told
    assert whole.equals(resumed)
    assert (resumed.result.valid, resumed.result.test) == (whole.result.valid, whole.result.test)


def test_a_kill_at_the_border_of_the_stage_loses_nothing(
    prepare: Callable[..., Run], run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, save = run(**STAGE), checkpoint.save
    for number, before in enumerate((True, False)):
        place = tmp_path / str(number)
        place.mkdir()

        def fatal(path: Path, *, state: Any, before: bool = before, **rest: Any) -> None:
            if not (before and state.epoch == 2):
                save(path, state=state, **rest)
            if state.epoch == 2:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(trainer.checkpoint, "save", fatal)
            with pytest.raises(KeyboardInterrupt):
                prepare(folder=place, **STAGE).trainer.run()
        resumed = prepare(folder=place, **STAGE)
        assert resumed.trainer.resume().epoch == (1 if before else 2)
        resumed.finish()
        assert whole.equals(resumed)


def test_epochs_of_the_stage_are_counted_without_validation_and_the_main_training_is_complete(
    run: Callable[..., Run], world: World
) -> None:
    made = run(**STAGE | {"epochs": 3})
    epochs = made.of(EpochFinished)
    assert [(event.epoch, event.stage, event.epochs) for event in epochs] == [
        (1, "recovery", 5),
        (2, "recovery", 5),
        (3, "", 5),
        (4, "", 5),
        (5, "", 5),
    ]
    assert [event.step for event in epochs] == [world.steps * epoch for epoch in range(1, 6)]
    assert [bool(values) for values in made.values("valid")] == [False, False, True, True, True]
    assert [set(values) for values in made.values("train")] == [
        *[{"loss", "loss_recover", "masked_share"}] * 2,
        *[{"loss", "loss_rec", "loss_undo"}] * 3,
    ]
    assert all(0.2 < values["masked_share"] < 0.4 for values in made.values("train")[:2])
    assert [event.improved for event in epochs[:3]] == [False, False, True]
    assert [event.bad_epochs for event in epochs[:3]] == [0, 0, 0]
    assert made.result.epochs == 5
    assert made.result.best_epoch > 2
    assert [event.epoch for event in made.of(WeightsSeen)] == [1, 2], "its parts show what they have to"
    assert all(event.epochs == 5 for event in made.of(StepFinished))
    losses = [values["loss_recover"] for values in made.values("train")[:2]]
    assert losses[1] < losses[0]


def test_patience_counts_from_the_main_training(run: Callable[..., Run]) -> None:
    made = run(**STAGE | {"epochs": 9, "lr": 1e-12, "patience": 2, "parts.recover.epochs": 4})
    assert (made.result.best_epoch, made.result.epochs) == (5, 7)


def test_a_stage_that_is_off_or_has_no_epoch_is_left_out(run: Callable[..., Run]) -> None:
    off = run(**STAGE, **{"parts.recover.weight": 0})
    none = run(**STAGE, **{"parts.recover.epochs": 0})
    for made in (off, none):
        assert [event.stage for event in made.of(EpochFinished)] == ["", ""]
    assert not [name for name in off.weights(LAST) if "recover" in name]


def test_every_group_has_an_optimizer_of_its_own_in_checkpoints(
    prepare: Callable[..., Run], tmp_path: Path, world: World
) -> None:
    made = prepare(folder=tmp_path, stop=StopAt(2 * world.steps + 1), **STAGE)
    with pytest.raises(Stopped):
        made.trainer.run()
    tensors, _ = checkpoint._read(tmp_path / LAST)
    slots = {name for name in tensors if name.startswith("optimizer.")}
    assert {name.split(".")[1] for name in slots} == {"encoder", "own"}
    assert {name.split(".")[3] for name in slots} == {"step", "exp_avg", "exp_avg_sq"}
    taken = {
        group: {int(float(tensors[f"optimizer.{group}.{number}.step"])) for number in numbers}
        for group, numbers in (
            (group, {name.split(".")[2] for name in slots if name.split(".")[1] == group})
            for group in ("encoder", "own")
        )
    }
    assert taken == {"encoder": {2}, "own": {1}}, "they begin anew after the stage"


def test_three_updates_of_two_optimizers_are_what_they_say(prepare: Callable[..., Run]) -> None:
    """Against the same updates by hand, without dropout."""
    settings = STAGE | {"dropout": 0.0, "attention_dropout": 0.0, "parts.recover.weight": 0}
    ours, other = prepare(**settings).trainer, prepare(**settings).trainer
    ids = ours._ids[:16]
    model, undo = other.model, other.model.parts["undo"]
    for one in (ours, other):
        one.model.train()
        one.model.before_epoch(1, one._encode, None)
    encoder = Adam(model.backbone.parameters(), lr=ours.config.train.lr)
    own = Adam(undo.parameters(), lr=ours.config.train.lr)
    for _ in range(3):
        losses = ours._update(torch.from_numpy(ids), None)
        for parts, optimizer in ((("rec", "undo"), encoder), (("undo",), own), (("rec",), encoder)):
            hidden = model.backbone(other.windows.pack(torch.from_numpy(ids)))
            rec = recommendation_loss(model.backbone.scores(hidden), other.windows.targets[torch.from_numpy(ids)])
            used = hidden if optimizer is encoder else hidden.detach()
            moved = (undo.network(used) - hidden.detach() - 0.01 * undo.mean).square().mean()
            total = (rec if "rec" in parts else 0.0) + (0.5 * moved if "undo" in parts else 0.0)
            encoder.zero_grad()
            own.zero_grad()
            total.backward()
            optimizer.step()
            if parts == ("undo",):
                last_undo = float(moved.detach())
            if parts == ("rec",):
                last_rec = float(rec.detach())
        assert float(losses.terms["loss_rec"].detach()) == pytest.approx(last_rec, rel=1e-5)
        assert float(losses.terms["loss_undo"].detach()) == pytest.approx(last_undo, rel=1e-4)
    for name, value in model.named_parameters():
        torch.testing.assert_close(dict(ours.model.named_parameters())[name], value, rtol=1e-4, atol=1e-6)


def test_a_step_whose_parts_are_off_is_left_out(prepare: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    made = prepare(**STAGE, **{"parts.undo.weight": 0, "parts.recover.weight": 0})
    steps: list[Step] = []
    whole = made.trainer.model.losses
    monkeypatch.setattr(
        made.trainer.model, "losses", lambda *ids, step, **rest: steps.append(step) or whole(*ids, step=step, **rest)
    )
    made.finish()
    assert {step.parts for step in steps} == {("rec", "undo"), ("rec",)}
    assert all(values["loss_undo"] == 0 for values in made.values("train"))


def test_the_stage_is_the_start_of_the_main_training(prepare: Callable[..., Run], tmp_path: Path, world: World) -> None:
    made = prepare(folder=tmp_path, stop=StopAt(2 * world.steps), **STAGE)
    started = {name: value.clone() for name, value in made.trainer.model.named_parameters()}
    with pytest.raises(Stopped):
        made.trainer.run()
    moved = {name for name, value in made.trainer.model.named_parameters() if not torch.equal(value, started[name])}
    assert "backbone.item_embedding.weight" in moved
    assert {"parts.recover.mask", "parts.recover.output.weight"} <= moved
    assert not [name for name in moved if "undo" in name]
    assert not (tmp_path / BEST).exists()
    assert isinstance(made.trainer, Trainer)
