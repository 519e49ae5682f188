"""Some users over the epochs: their ranks and weights are those of the training, which does not notice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.config_files import build_config
from engine.data.dataset import VALID
from engine.evaluation.ranking import encode
from engine.events import EpochFinished, EpochRecorded, Evaluated, WeightsSampled
from engine.training.trainer import Stopped
from engine.training_cost import MOST_RECORDED_BYTES, recorded_epochs, recorded_users


@pytest.mark.parametrize(
    ("epochs", "most", "expected"),
    [
        (100, 10, [0, 1, 2, 3, 6, 10, 18, 32, 56, 100]),
        (3, 10, [0, 1, 2, 3]),
        (100, 0, []),
        (100, 1, [0]),
        (100, 2, [0, 1]),
        (1, 5, [0, 1]),
    ],
)
def test_epochs_are_recorded_at_growing_distances(epochs, most, expected):
    assert recorded_epochs(build_config({"train.epochs": epochs, "record.snapshots": most})) == expected


def test_users_are_few_enough_for_the_room():
    config = build_config({})
    assert recorded_users(config, 60) == (60, 60 * 12 * 4 * (4 + 10))
    assert recorded_users(config, 22_363)[0] == 1000
    wide = build_config({"retrieval.k": 1000, "record.snapshots": 100, "record.users": 10**6})
    count, size = recorded_users(wide, 10**6)
    assert 0 < count < 1000
    assert 0.9 * MOST_RECORDED_BYTES < size <= MOST_RECORDED_BYTES
    assert recorded_users(build_config({"alpha": 0, "beta": 0}), 10) == (10, 10 * 12 * 4 * 4)
    assert recorded_users(build_config({"record.snapshots": 0}), 10) == (0, 0)


def test_ranks_and_weights_are_those_of_the_epoch(run, world):
    made = run(epochs=5, patience=5)
    best, anchors = made.trainer.state.best_epoch, world.dataset.anchors
    recorded = made.of(EpochRecorded)
    assert [event.epoch for event in recorded] == [0, 1, 2, 3, 4, 5]
    users = anchors.user_ids[anchors.ids(VALID) - 1].tolist()
    assert all(event.columns["user_id"].tolist() == users for event in recorded)
    for event in made.of(EpochFinished):
        ranks = np.array(recorded[event.epoch].columns["rank"])
        hits = next(m.value for m in event.metrics if (m.split, m.name) == ("valid", "hr@5"))
        assert hits == pytest.approx((ranks <= 5).mean())
        assert recorded[event.epoch].step == event.step
    of_test = made.of(Evaluated)[0]
    assert of_test.split == "valid"
    assert recorded[best].columns["rank"].tolist() == of_test.columns["rank"].tolist()
    for phase, event in zip(("initial", "last", "best"), (recorded[0], recorded[5], recorded[best]), strict=True):
        sampled = next(one.columns for one in made.of(WeightsSampled) if one.phase == phase)
        for user, weights in zip(event.columns["user_id"], event.columns["weights"], strict=True):
            prefix = anchors.representing[anchors.user_ids[anchors.representing - 1] == user]
            mine = sampled["weight"][np.isin(sampled["anchor_id"], prefix)]
            assert np.array_equal(weights[: len(mine)], mine)
            assert not weights[len(mine) :].any()


def test_the_map_keeps_the_largest_part_of_the_variance(run, world):
    made = run(epochs=2, patience=2, **{"record.snapshots": 10})
    last, anchors = made.of(EpochRecorded)[-1], world.dataset.anchors
    assert last.epoch == 2
    users = np.asarray(last.columns["user_id"])
    prefixes = np.zeros(world.dataset.users + 1, np.int64)
    prefixes[anchors.user_ids[anchors.representing - 1]] = anchors.representing
    there = prefixes[users] > 0
    places = np.array([last.columns["x"], last.columns["y"]], float).T
    assert np.isnan(places[~there]).all()
    model = made.trainer.model.backbone
    vectors = encode(model, made.trainer.windows, prefixes[users][there]).double().numpy()
    vectors -= vectors.mean(axis=0)
    singular = np.linalg.svd(vectors, compute_uv=False)
    assert np.linalg.norm(places[there], axis=0) == pytest.approx(singular[:2], rel=1e-4)
    assert abs(places[there][:, 0] @ places[there][:, 1]) < 1e-3 * singular[0] * singular[1]


def test_best_and_last_epoch_are_recorded_though_they_were_passed(run):
    made = run(epochs=6, patience=6, seed=2, **{"record.snapshots": 1})
    best = made.trainer.state.best_epoch
    assert [event.epoch for event in made.of(EpochRecorded)] == [0, 6] + [best] * (best != 6)
    valid = next(event for event in made.of(Evaluated) if event.split == "valid")
    assert made.of(EpochRecorded)[-1].columns["rank"].tolist() == valid.columns["rank"].tolist() or best == 6


@pytest.mark.parametrize(
    "settings",
    [{}, {"kind": "random", "item_kind": "synthesize"}, {"alpha": 0, "beta": 0, "semantics": None}],
    ids=["default", "random", "backbone"],
)
def test_the_training_is_the_same_without(run, settings):
    one, other = run(epochs=3, **settings), run(epochs=3, **settings, **{"record.snapshots": 0})
    assert one.of(EpochRecorded)
    assert not other.of(EpochRecorded)
    assert one.equals(other)
    assert [told for told in one.told if told[0] != "epoch_recorded"] == other.told


def test_random_numbers_of_an_own_synthesizer_are_left_alone(prepare, monkeypatch):
    made = prepare(epochs=1)
    recorder = made.trainer._recorder
    monkeypatch.setattr(recorder, "_weights", lambda: [torch.rand(1)] * len(recorder._users))
    before = torch.get_rng_state()
    recorder.record(1, 1)
    assert torch.equal(before, torch.get_rng_state())


def test_a_method_without_neighbors_has_ranks_alone(run):
    made = run(epochs=1, alpha=0, beta=0, semantics=None)
    assert {weight for event in made.of(EpochRecorded) for weight in event.columns["weights"]} == {None}


def test_fewer_users_are_spread_over_all(run, world):
    anchors = world.dataset.anchors
    users = anchors.user_ids[anchors.ids(VALID) - 1].tolist()
    made = run(epochs=1, **{"record.users": 3})
    for event in made.of(EpochRecorded):
        found = event.columns["user_id"].tolist()
        assert found == [users[0], users[round((len(users) - 1) / 2)], users[-1]]


def test_epochs_of_a_stage_before_are_not_recorded(run):
    made = run(method="s3rec", semantics=None, epochs=2, **{"parts.mip.epochs": 2})
    assert [event.epoch for event in made.of(EpochRecorded)][:3] == [0, 3, 4]


def test_a_resumed_training_records_what_was_not(prepare, world, tmp_path):
    stop = iter([False] * (world.steps + 1) + [True])
    first = prepare(epochs=3, folder=tmp_path, stop=lambda: next(stop))
    with pytest.raises(Stopped):
        first.trainer.run()
    assert [event.epoch for event in first.of(EpochRecorded)] == [0, 1]
    second = prepare(epochs=3, folder=tmp_path)
    second.trainer.resume()
    second.finish()
    assert [event.epoch for event in second.of(EpochRecorded)][:2] == [2, 3]
