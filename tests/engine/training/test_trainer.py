"""Training: the same seed gives the same bits, the best epoch is tested once, and what cannot be learned from says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.data.dataset import TEST, TRAIN, VALID
from engine.errors import TrainingError
from engine.evaluation import evaluator
from engine.events import EpochFinished, Evaluated, StepFinished, WeightsSampled
from engine.processes import pick_device
from engine.training import checkpoint, trainer
from engine.training.trainer import BEST, LAST

# Seeds


@pytest.mark.parametrize(("threads", "batch"), [(1, 32), (2, 128)])
def test_same_seed_same_bits(run, threads, batch):
    one, other = (run(threads=threads, batch=batch, epochs=2 if threads == 1 else 1) for _ in range(2))
    assert one.told == other.told
    assert one.equals(other)
    assert one.result.test == other.result.test


def test_another_seed_gives_another_run(run):
    one, other = run(seed=1), run(seed=2)
    assert not {e["loss"] for e in one.values("train")} & {e["loss"] for e in other.values("train")}
    assert [e.columns["rank"].tolist() for e in one.of(Evaluated)] != [
        e.columns["rank"].tolist() for e in other.of(Evaluated)
    ]
    assert not one.equals(other)


def test_every_training_prefix_once_per_epoch_in_another_order(prepare, world, monkeypatch):
    made = prepare(epochs=2)
    batches, losses = [], made.trainer.model.losses
    monkeypatch.setattr(
        made.trainer.model,
        "losses",
        lambda ids, windows, **of: batches.append(ids.tolist()) or losses(ids, windows, **of),
    )
    made.trainer.run()
    count = world.steps
    first, second = ([i for batch in part for i in batch] for part in (batches[:count], batches[count:]))
    assert sorted(first) == sorted(second) == world.dataset.anchors.ids(TRAIN).tolist()
    assert first != second
    assert [len(batch) for batch in batches[: count - 1]] == [32] * (count - 1)


def test_a_last_batch_of_one_is_left_out_and_a_single_one_is_not(run, world, dataset_of):
    count = len(world.dataset.anchors.ids(TRAIN))
    assert run(batch=count - 1, epochs=1).of(EpochFinished)[0].step == 1
    one = run(dataset=dataset_of([[1, 2, 3, 4]]), semantics=None, alpha=0, beta=0, epochs=1)
    assert one.of(EpochFinished)[0].step == 1


# Selection, with validation ranks from a script


@pytest.fixture
def scripted(prepare, monkeypatch):
    """A training in which validation gives each user the same rank, epoch by epoch as told."""

    def make(ranks, **settings):
        made = prepare(epochs=len(ranks), **({"ks": [1, 5, 10, 20]} | settings))
        measured = []  # (role, item embeddings then) of every reading

        def rank(backbone, windows, dataset, ids, config):
            role = int(dataset.anchors.roles[ids[0] - 1])
            measured.append((role, backbone.item_embedding.weight.detach().clone()))
            return np.full(len(ids), ranks[min(len(measured), len(ranks)) - 1], np.int32)

        def rank_and_list(*args, k):
            return rank(*args), np.ones((len(args[3]), k), np.int32)

        monkeypatch.setattr(evaluator, "rank_targets", rank)
        monkeypatch.setattr(evaluator, "rank_and_list", rank_and_list)
        made.finish()
        return made, measured

    return make


@pytest.mark.parametrize(
    ("ranks", "settings", "epochs", "best"),
    [
        ([5, 4, 3, 2, 1], {}, 5, 5),
        ([5, 4, 6, 7, 1], {"patience": 2}, 4, 2),
        ([5, 4, 6, 3, 7, 8, 9], {"patience": 2}, 6, 4),  # a better epoch starts the count anew
        ([4, 4, 4, 4, 4], {"patience": 3}, 4, 1),
        ([4, 4, 4, 4, 4], {"patience": 3, "tie_improves": True}, 5, 5),
        ([9, 8, 1], {"patience": 2, "select_digits": 1}, 3, 3),  # 1/9, 1/8, 1/7: all 0.1
        ([9, 8, 7, 7], {"patience": 2, "select_digits": 1}, 3, 1),
        ([9, 8, 7, 7], {"patience": 2, "select_digits": 2}, 4, 3),
        ([9, 8, 7], {"patience": 1, "select_digits": 1, "tie_improves": True}, 3, 3),
        ([9, 4, 3], {"select": "hr@5"}, 3, 2),
        ([9, 4, 3], {"select": "ndcg@5"}, 3, 3),
        ([4, 3, 1], {"select": "hr@1"}, 3, 3),
        ([50, 50, 50], {"patience": 2}, 3, 1),  # 0 is better than nothing
        ([4, 5], {"patience": 1}, 2, 1),
    ],
)
def test_early_stopping(scripted, ranks, settings, epochs, best):
    made, _ = scripted(ranks, **settings)
    assert (made.result.epochs, made.result.best_epoch) == (epochs, best)
    told = made.of(EpochFinished)
    assert [event.epoch for event in told] == list(range(1, epochs + 1))
    assert max(event.epoch for event in told if event.improved) == best
    assert told[-1].bad_epochs == epochs - best


def test_the_best_weights_are_tested_and_only_once(scripted):
    made, measured = scripted([5, 2, 3, 4])
    assert [role for role, _ in measured] == [VALID] * 4 + [VALID, TEST]
    at_epoch = [weight for _, weight in measured[:4]]
    for _, weight in measured[4:]:
        assert torch.equal(weight, at_epoch[1])
        assert not torch.equal(weight, at_epoch[3])
    assert torch.equal(
        checkpoint.read_weights(made.trainer.folder / LAST)["backbone.item_embedding.weight"], at_epoch[3]
    )
    assert torch.equal(
        checkpoint.read_weights(made.trainer.folder / BEST)["backbone.item_embedding.weight"], at_epoch[1]
    )
    assert [(event.split, event.epoch) for event in made.of(Evaluated)] == [("valid", 2), ("test", 2)]


# What is told


def test_events_come_in_order_and_hold_every_user(run, world):
    made = run(epochs=2, seed=4)
    told = [event for event in made.events if event.name not in ("step_finished", "epoch_recorded")]
    assert [(event.name, getattr(event, "phase", getattr(event, "split", None))) for event in told] == [
        ("weights_sampled", "initial"),
        ("weights_seen", None),
        ("epoch_finished", None),
        ("weights_seen", None),
        ("epoch_finished", None),
        ("weights_sampled", "last"),
        ("weights_sampled", "best"),
        ("evaluated", "valid"),
        ("evaluated", "test"),
    ]
    anchors = world.dataset.anchors
    for event, role in zip(made.of(Evaluated), (VALID, TEST), strict=True):
        assert event.columns["user_id"].tolist() == anchors.user_ids[anchors.ids(role) - 1].tolist()
        overall = {m.name: m.value for m in event.metrics if m.subgroup == "all"}
        assert overall["hr@5"] == float((event.columns["rank"] <= 5).mean())
        assert overall.pop("n") == len(anchors.ids(role))
        assert overall == (made.result.valid if role == VALID else made.result.test)
        assert {m.subgroup for m in event.metrics} >= {"all", "tied", "untied", "short", "head", "tail"}
    for event in made.of(EpochFinished):
        values = {m.name: m.value for m in event.metrics if m.split == "train"}
        expected = values["loss_rec"] + 0.1 * values["loss_cs"] + 0.1 * values["loss_is"]
        assert values["loss"] == pytest.approx(expected, rel=1e-5)
        assert {m.name for m in event.metrics if m.split == "valid"} == {
            f"{metric}@{k}" for metric in ("hr", "ndcg", "mrr") for k in (5, 10, 20)
        }
    assert made.result.train_seconds > 0
    assert made.result.evaluate_seconds > 0


def test_steps_are_told(run, world, monkeypatch):
    monkeypatch.setattr(trainer, "REPORT_SECONDS", -1.0)
    steps = run(epochs=2).of(StepFinished)
    count = world.steps
    assert [(s.epoch, s.step, s.done, s.steps_per_epoch) for s in steps] == [
        (epoch, (epoch - 1) * count + done, done, count) for epoch in (1, 2) for done in range(1, count + 1)
    ]
    assert all(s.loss > 0 for s in steps)


@pytest.mark.parametrize("kind", ["gat", "frozen"])
def test_sampled_weights(run, world, kind):
    made = run(kind=kind, lr=0.05)
    ids = world.dataset.anchors.representing
    neighbors = world.semantics.neighbors[ids].numpy()
    sampled = {event.phase: event.columns for event in made.of(WeightsSampled)}
    for columns in sampled.values():
        assert columns["anchor_id"].tolist() == [a for a, row in zip(ids, neighbors, strict=True) for n in row if n]
        assert columns["neighbor_id"].tolist() == neighbors[neighbors > 0].tolist()
        sums = np.bincount(columns["anchor_id"], columns["weight"])[np.unique(columns["anchor_id"])]
        assert sums == pytest.approx(np.ones(len(sums)), abs=1e-5)
    moved = np.abs(sampled["initial"]["weight"] - sampled["last"]["weight"]).max()
    assert (moved > 1e-4) == (kind == "gat")


def test_user_vectors_and_weights(run, world):
    made = run()
    ids, alone = made.trainer.user_vectors()
    assert ids.tolist() == world.dataset.anchors.representing.tolist()
    synthesis, model = made.trainer.model.shared("synthesis"), made.trainer.model
    both = synthesis.samples(model.backbone, torch.from_numpy(ids), made.trainer.windows)
    own, samples = (part.numpy() for part in both)
    assert own.shape == samples.shape == (len(ids), 8)
    assert own == pytest.approx(alone, abs=1e-5)
    neighbors, weights = synthesis.user_table(ids)
    assert neighbors.tolist() == world.semantics.neighbors[ids].tolist()
    assert (weights[neighbors == 0] == 0).all()
    lonely = ~(neighbors > 0).any(1)
    assert lonely.any()
    assert (samples[lonely] == 0).all()
    assert (np.abs(samples[~lonely]).sum(1) > 0).all()


def test_a_run_without_contrasts_tells_of_no_weights(run):
    made = run(alpha=0, beta=0, semantics=None)
    assert not made.of(WeightsSampled)
    assert made.trainer.model.shared("synthesis") is None
    ids, own = made.trainer.user_vectors()
    assert own.shape == (len(ids), 8)


# Learning, and failing to


@pytest.mark.parametrize("settings", [{"alpha": 0, "beta": 0}, {}, {"direction": "one-way", "kind": "dot"}], ids=str)
def test_what_can_be_learned_is_learned(run, make_dataset, make_semantics, settings):
    dataset = make_dataset(users=60, cyclic=True, shortest=4)
    easy = {"dropout": 0.0, "attention_dropout": 0.0, "lr": 0.01, "epochs": 25, "width": 16}
    made = run(dataset=dataset, semantics=make_semantics(dataset), **(easy | settings))
    rec = [{m.name: m.value for m in e.metrics}["loss_rec"] for e in made.of(EpochFinished)]
    assert rec[0] > 2.0
    assert rec[-1] < 0.2 * rec[0]
    assert made.result.test["hr@5"] > 0.95
    first = made.of(EpochFinished)[0].metrics
    assert made.result.valid["mrr@10"] > {m.name: m.value for m in first if m.split == "valid"}["mrr@10"]


@pytest.mark.parametrize("settings", [{}, {"alpha": 0, "beta": 0, "semantics": None}], ids=["contrasts", "backbone"])
def test_a_loss_that_is_no_number_is_explained(prepare, settings):
    made = prepare(lr=1e30, **settings)
    with pytest.raises(TrainingError, match=r"no longer a number at epoch 1, step \d+: .*loss_rec") as caught:
        made.trainer.run()
    assert "train.lr = 1e+30" in str(caught.value.where)
    assert "Lower train.lr" in str(caught.value.hint)
    assert checkpoint.read_state(made.trainer.folder / LAST).epoch == 0
    assert not made.of(EpochFinished)


def test_weights_that_break_in_the_last_step_are_noticed_in_validation(prepare):
    made = prepare(lr=1e30, batch=1000)
    with pytest.raises(TrainingError, match="not a number"):
        made.trainer.run()


@pytest.mark.parametrize(
    ("sequences", "missing"), [([[1, 2, 3], [2, 3, 1]], "training prefix"), ([[1, 2], [2, 3]], "validation target")]
)
def test_too_little_to_train_on(prepare, dataset_of, sequences, missing):
    with pytest.raises(TrainingError, match=f"has no {missing}") as caught:
        prepare(dataset=dataset_of(sequences), semantics=None, alpha=0, beta=0)
    assert caught.value.hint is not None


def test_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(TrainingError, match="CUDA is not available") as caught:
        pick_device("cuda:0")
    assert caught.value.where == "train.device"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    assert pick_device("cuda:1") == torch.device("cuda:1")
