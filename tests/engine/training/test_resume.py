"""A stopped or killed training goes on as if it had not been, and refuses to where it is another one."""

from __future__ import annotations

import pytest
import torch

from engine.errors import CheckpointError
from engine.events import EpochFinished, Warned
from engine.training import checkpoint, trainer
from engine.training.trainer import BEST, LAST, PREVIOUS, Stopped


class StopAt:
    """Asked after every step; says yes at the given one."""

    def __init__(self, step):
        self.left = step

    def __call__(self):
        self.left -= 1
        return self.left == 0


def resumed(prepare, **settings):
    made = prepare(**settings)
    torch.manual_seed(12345)  # another process has other random numbers
    torch.rand(7)
    made.trainer.resume()
    return made


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"alpha": 0, "beta": 0, "semantics": None},
        {"kind": "random", "item_kind": "synthesize", "weight_decay": 0.01},
    ],
    ids=["default", "backbone", "random"],
)
@pytest.mark.parametrize("at", ["first step", "mid-epoch", "last step of an epoch", "last epoch", "twice"])
def test_resumed_run_equals_one_that_was_never_stopped(prepare, run, world, at, settings, tmp_path):
    settings = {"epochs": 3, "folder": tmp_path} | settings
    steps = world.steps
    stops = {
        "first step": [1],
        "mid-epoch": [steps + 2],
        "last step of an epoch": [2 * steps],
        "last epoch": [2 * steps + 1],
        "twice": [steps + 1, steps + 3],  # the second counts from the end of epoch 1
    }[at]
    whole = run(**(settings | {"folder": None}))
    parts = [prepare(stop=StopAt(stops[0]), **settings)]
    for stop in [*stops[1:], 0]:
        with pytest.raises(Stopped):
            parts[-1].trainer.run()
        parts.append(resumed(prepare, stop=StopAt(stop), **settings))
    last = parts[-1]
    last.finish()

    told = [event for part in parts for event in part.told]
    unique = [event for place, event in enumerate(told) if event not in told[:place]]  # `initial` may come again
    assert unique == whole.told
    assert whole.equals(last)
    assert (last.result.best_epoch, last.result.epochs) == (whole.result.best_epoch, whole.result.epochs)
    assert (last.result.valid, last.result.test) == (whole.result.valid, whole.result.test)


class Fatal:
    """Counts the moments at which something is told or a checkpoint is written, before and after; dies at one of them."""

    def __init__(self, monkeypatch, at):
        self.left, self._save = at, checkpoint.save
        monkeypatch.setattr(checkpoint, "save", self.save)

    def __call__(self, event=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def save(self, *args, **settings):
        self()
        self._save(*args, **settings)
        self()


def kept(killed, resumed_at):
    """What a killed training told, without what it did beyond the checkpoint: that is dropped when the journal is taken in."""
    return [event for event in killed if event[1]["step"] <= resumed_at]


def test_no_epoch_is_lost_whenever_it_is_killed(prepare, run, tmp_path, monkeypatch):
    whole = run(epochs=2)
    for at in range(4, 100):  # from the first checkpoint on
        place = tmp_path / str(at)
        place.mkdir()
        with monkeypatch.context() as patch:
            killed = prepare(epochs=2, folder=place, report=Fatal(patch, at))
            try:
                killed.trainer.run()
                break
            except KeyboardInterrupt:
                pass
        last = resumed(prepare, epochs=2, folder=place)
        before = kept(killed.told, last.trainer.state.step)
        last.finish()
        told = [event for event in before if event not in last.told] + last.told
        assert told == whole.told, at
        assert whole.equals(last), at
    assert at > 15


def test_a_finished_run_resumed_only_reads_its_results_again(prepare, run, tmp_path):
    whole = run(folder=tmp_path)
    again = resumed(prepare, folder=tmp_path)
    result = again.trainer.run()
    assert not again.of(EpochFinished)
    assert (result.valid, result.test) == (whole.result.valid, whole.result.test)


def test_patience_is_counted_across_a_stop(prepare, run, tmp_path, world):
    settings = {"lr": 1e-12, "patience": 2, "epochs": 9}
    whole = run(**settings)
    assert whole.result.epochs == 3
    stopped = prepare(folder=tmp_path, stop=StopAt(2 * world.steps + 1), **settings)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    assert resumed(prepare, folder=tmp_path, **settings).trainer.run().epochs == 3


@pytest.mark.parametrize("changed", [{"alpha": 0.2}, {"epochs": 3}, {"seed": 2}, {"mask_seen": True}], ids=str)
def test_another_config_or_seed_cannot_go_on(run, prepare, tmp_path, changed):
    run(folder=tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match="seed" if "seed" in changed else "config_hash") as caught:
        prepare(folder=tmp_path, **({"epochs": 1} | changed)).trainer.resume()
    assert caught.value.where == str(tmp_path / LAST)


def test_another_dataset_cannot_go_on(run, prepare, tmp_path, make_dataset):
    run(folder=tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match="dataset_sha256"):
        prepare(folder=tmp_path, epochs=1, dataset=make_dataset(seed=5)).trainer.resume()


def test_what_cannot_change_the_result_may_change(run, prepare, tmp_path):
    run(folder=tmp_path, epochs=1)
    assert prepare(folder=tmp_path, epochs=1, device="auto", threads=2, budget=1.0).trainer.resume().epoch == 1


def test_nothing_to_go_on_from(prepare):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        prepare().trainer.resume()


def test_a_stopped_run_does_no_step_twice(prepare, run, world, tmp_path):
    stopped = prepare(epochs=2, folder=tmp_path, stop=StopAt(world.steps + 2))
    with pytest.raises(Stopped):
        stopped.trainer.run()
    state = checkpoint.read_state(tmp_path / LAST)
    assert (state.epoch, state.done, len(state.sums)) == (1, 2, 4)
    asked = StopAt(0)
    resumed(prepare, epochs=2, folder=tmp_path, stop=asked).trainer.run()
    assert -asked.left == world.steps - 2


def test_a_run_killed_within_an_epoch_goes_on_from_its_middle(prepare, run, world, tmp_path, monkeypatch):
    whole = run(epochs=2)
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0.0)

    class Kill(StopAt):
        def __call__(self):
            if super().__call__():
                raise KeyboardInterrupt
            return False

    killed = prepare(epochs=2, folder=tmp_path, stop=Kill(world.steps + 3))
    with pytest.raises(KeyboardInterrupt):
        killed.trainer.run()
    last = resumed(prepare, epochs=2, folder=tmp_path)
    assert last.trainer.state.done == 2
    last.finish()
    assert whole.equals(last)
    assert killed.told + last.told == whole.told


@pytest.mark.parametrize("damaged", [(LAST,), (LAST, PREVIOUS), (BEST,)], ids=str)
@pytest.mark.parametrize("how", ["cut", "bit", "empty"])
def test_a_damaged_checkpoint_falls_back(prepare, run, world, tmp_path, damaged, how):
    whole = run(epochs=3)
    stopped = prepare(epochs=3, folder=tmp_path, stop=StopAt(2 * world.steps + 1))
    with pytest.raises(Stopped):
        stopped.trainer.run()
    for name in damaged:
        data = bytearray((tmp_path / name).read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / name).write_bytes({"cut": bytes(data[: len(data) // 2]), "bit": bytes(data), "empty": b""}[how])
    last = resumed(prepare, epochs=3, folder=tmp_path)
    assert last.trainer.state.epoch == (2 if damaged == (LAST,) else 0)
    assert last.of(Warned)
    last.finish()
    assert whole.equals(last)
    assert (last.result.valid, last.result.test) == (whole.result.valid, whole.result.test)
