"""Several processes train as one does: gradients, losses, ranks, and the way on after a stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from engine.data.dataset import TRAIN
from engine.errors import CheckpointError, ConfigError, TrainingError
from engine.evaluation import evaluator
from engine.events import EpochFinished, Evaluated, StepFinished, Warned
from engine.methods.combination import check_combination
from engine.methods.sracl import Inter
from engine.processes import ALONE, Processes
from engine.training import checkpoint, process_group, trainer
from engine.training.trainer import BEST, LAST
from tests.support.peer import peer, steps, trained

REPEATED = {"dropout": 0.0, "attention_dropout": 0.0, "weight_dropout": 0.0, "swap": 0.0}
"""Nothing that processes draw each for themselves."""
Both = Callable[..., Any]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with peer(tmp_path_factory.mktemp("processes")) as call:
        yield call


@pytest.fixture
def given(world: Any, small_config: Any, make_semantics: Any) -> Callable[..., tuple[Any, ...]]:
    """Config, data set and semantics of settings."""

    def make(double: bool = True, **settings: Any) -> tuple[Any, ...]:
        config = small_config(**REPEATED | settings)
        dtype = torch.float64 if double else torch.float32
        return config, world.dataset, make_semantics(world.dataset, dtype=dtype) if config.needs else None

    return make


CASES: dict[str, dict[str, Any]] = {
    "plain": {"method": "plain"},
    "chunks": {"method": "plain", "backbone": "gru4rec", "parts.rec.chunk": 5},
    "sracl": {"weight_dropout": 0.5},  # drawn with the views, which all processes draw alike
    "synthesize": {"swap": 1.0, "item_kind": "synthesize"},
    "one-way": {"direction": "one-way", "mode": "sequence", "backbone": "ligr"},
    "duorec": {"method": "duorec", "parts.same_target.kin": True, "backbone": "bsarec"},
    "mclrec": {"method": "mclrec"},
    "coserec": {"method": "coserec", "parts.augmented.representation": "states"},
    "iclrec": {"method": "iclrec", "parts.intent.clusters": 3, "parts.intent.representation": "mean"},
    "icsrec": {"method": "icsrec", "parts.intent.clusters": 3},
    "rlmrec-con": {"method": "rlmrec-con"},
    "rlmrec-gen": {"method": "rlmrec-gen"},
    "llm-esr": {"method": "llm-esr"},
    "s3rec": {"method": "s3rec", "parts.aap.floor": 2},
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_gradients_are_those_of_one_process(settings: dict[str, Any], both: Both, given: Any) -> None:
    setting = given(**settings)
    ids = torch.from_numpy(setting[1].anchors.ids(TRAIN))
    staged = settings.get("method") == "s3rec"
    batches = [ids[:33], ids[60:61]]  # 17 and 16 rows, and one and none
    alone, losses = steps(ALONE, *setting, batches, staged=staged)
    shared, ours = both(steps, *setting, batches, staged=staged)
    assert [list(one) for one in shared] == [list(one) for one in alone]
    for one, other in zip(alone, shared, strict=True):
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, rtol=0, atol=1e-12 * max(1.0, float(value.abs().max())))
    np.testing.assert_allclose(ours[:1], losses[:1], rtol=1e-12)
    np.testing.assert_allclose(ours, losses, rtol=1e-9)


def test_without_the_gather_the_gradient_is_another_one(
    both: Both, given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound of the test above can be missed."""
    setting = given()
    ids = torch.from_numpy(setting[1].anchors.ids(TRAIN))
    alone, _ = steps(ALONE, *setting, [ids[:32]])
    backward = process_group._Gathered.backward
    monkeypatch.setattr(process_group._Gathered, "backward", lambda ctx, grad: (backward(ctx, grad)[0] / 2, None, None))
    shared, _ = both(steps, *setting, [ids[:32]])
    name = "backbone.item_embedding.weight"
    assert (shared[0][name] - alone[0][name]).abs().max() > 0.01 * alone[0][name].abs().max()


def test_losses_after_twenty_steps(both: Both, given: Any) -> None:
    setting = given()
    ids = torch.from_numpy(setting[1].anchors.ids(TRAIN))
    batches = [*ids[:57].split(19), ids[57:60], ids[60:61]] * 4  # of 19, 3 and 1: one process has none of the last
    _, losses = steps(ALONE, *setting, batches)
    _, ours = both(steps, *setting, batches)
    assert len(ours) == 20
    np.testing.assert_allclose(ours, losses, rtol=1e-9)


def test_a_whole_training_and_the_ranks_of_all_users(both: Both, given: Any, tmp_path: Any) -> None:
    setting = given(method="plain", epochs=2, metrics=["hr", "mrr", "coverage"], select="coverage@10")
    (tmp_path / "one").mkdir()
    alone = trained(ALONE, *setting, tmp_path / "one", double=True)
    shared = both(trained, *setting, tmp_path, double=True)
    kinds = [type(event) for event in alone if not isinstance(event, StepFinished)]
    assert [type(event) for event in shared if not isinstance(event, StepFinished)] == kinds
    for one, other in zip(
        (event for event in alone if isinstance(event, Evaluated)),
        (event for event in shared if isinstance(event, Evaluated)),
        strict=True,
    ):
        assert one.columns["rank"].tolist() == other.columns["rank"].tolist()
        assert one.columns["user_id"].tolist() == other.columns["user_id"].tolist()
        assert one.metrics == other.metrics
    for one, other in zip(*([e for e in of if isinstance(e, EpochFinished)] for of in (alone, shared)), strict=True):
        values = [[metric.value for metric in event.metrics] for event in (one, other)]
        np.testing.assert_allclose(values[1], values[0], rtol=1e-9)
    weights = [checkpoint.read_weights(folder / BEST) for folder in (tmp_path / "one", tmp_path)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-9, atol=1e-12)


SETTINGS = {"epochs": 3, "dropout": 0.5, "attention_dropout": 0.5, "weight_dropout": 0.5, "swap": 0.2}


def test_a_stop_that_one_process_wants_and_the_way_on(both: Both, given: Any, world: Any, tmp_path: Any) -> None:
    setting = given(double=False, **SETTINGS)
    folders = [tmp_path / name for name in ("whole", "stopped")]
    for folder in folders:
        folder.mkdir()
    whole = both(trained, *setting, folders[0])
    stopped = both(trained, *setting, folders[1], stop=(1, world.steps + 2))
    state = checkpoint.read_state(folders[1] / LAST)
    assert (state.epoch, state.done) == (1, 2)
    resumed = both(trained, *setting, folders[1], resume=True)
    told = [event for event in (*stopped, *resumed) if isinstance(event, EpochFinished)]
    assert [event.metrics for event in told] == [event.metrics for event in whole if isinstance(event, EpochFinished)]
    one, other = ({n: checkpoint.read_weights(folder / n) for n in (BEST, LAST)} for folder in folders)
    assert all(torch.equal(value, other[file][name]) for file in one for name, value in one[file].items())
    random = [checkpoint.own_states(folder / LAST) for folder in folders]
    assert checkpoint.processes_of(random[0]) == 2
    assert all(torch.equal(value, random[1][name]) for name, value in random[0].items())


def test_another_number_of_processes_goes_on_between_epochs_alone(
    both: Both, given: Any, world: Any, tmp_path: Any
) -> None:
    setting = given(double=False, **SETTINGS)
    both(trained, *setting, tmp_path, stop=(0, world.steps + 2))
    with pytest.raises(
        CheckpointError, match=r"2 processes saved it within epoch 2, and this training has 1"
    ) as caught:
        trained(ALONE, *setting, tmp_path, resume=True)
    assert caught.value.hint == "Continue it with train.processes = 2."
    (tmp_path / "one").mkdir()
    one = given(double=False, **SETTINGS | {"epochs": 1})
    trained(ALONE, *one, tmp_path / "one")
    events = both(trained, *one, tmp_path / "one", resume=True)
    assert "2 processes go on from epoch 2, 1 were before" in next(e.message for e in events if isinstance(e, Warned))


def test_random_numbers_of_processes_are_their_own(both: Both, given: Any) -> None:
    """With dropout the gradient is another draw of the same mean, and no two processes drop the same."""
    setting = given(method="plain", dropout=0.5)
    ids = torch.from_numpy(setting[1].anchors.ids(TRAIN))
    one, _ = steps(ALONE, *setting, [ids[:32]])
    shared, _ = both(steps, *setting, [ids[:32]])
    twice, _ = both(steps, *setting, [torch.cat([ids[:16], ids[:16]])])
    half, _ = both(steps, *setting, [ids[:16]])
    name = "backbone.position_embedding.weight"
    assert not torch.allclose(shared[0][name], one[0][name])
    assert not torch.allclose(twice[0][name], half[0][name])


def test_processes_that_compute_other_losses_are_found(both: Both, given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = given()
    ids = torch.from_numpy(setting[1].anchors.ids(TRAIN))
    loss = Inter.loss
    monkeypatch.setattr(
        Inter, "loss", lambda self, batch, hidden: loss(self, batch, hidden) * 1.1
    )  # in this process alone
    with pytest.raises(TrainingError, match="not the same in all processes"):
        both(steps, *setting, [ids[:32]])


def test_all_processes_raise_what_one_finds(
    both: Both, given: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none of them waits for another afterwards."""
    with pytest.raises(TrainingError, match="no longer a number at epoch 1"):
        both(trained, *given(method="plain", lr=1e30), tmp_path)
    rank = evaluator.rank_targets

    def fail(*args: Any) -> Any:
        raise TrainingError("a score is not a number")

    with monkeypatch.context() as patch:  # in this process alone
        patch.setattr(evaluator, "rank_targets", fail)
        with pytest.raises(TrainingError, match="a score is not a number"):
            both(trained, *given(method="plain"), tmp_path)
    assert evaluator.rank_targets is rank
    assert both(trained, *given(method="plain", epochs=1), tmp_path)


def test_all_processes_save_when_one_is_due(
    both: Both, given: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    save = checkpoint.save
    monkeypatch.setattr(trainer, "SAVE_SECONDS", 0.0)  # in this process alone
    monkeypatch.setattr(
        checkpoint, "save", lambda path, *, state, **rest: saved.append(state.done) or save(path, state=state, **rest)
    )
    setting = given(method="plain", epochs=1)
    both(trained, *setting, tmp_path)
    steps_of_epoch = -(-len(setting[1].anchors.ids(TRAIN)) // 32)
    assert saved == [0, *range(1, steps_of_epoch + 1), 0, 0]


PARTS = """
import torch
from engine.data.batching.windows import Runs
from engine.method_table import Method
from engine.methods.base import ANCHOR, Part, Tokens, View
from dataclasses import dataclass, replace

class Rows(Part):
    name, sharded = "rows", "rows"
    def views(self, batch):
        runs = batch.windows.anchor_runs(batch.ids)
        return batch.view(key=ANCHOR), View(Runs(runs.starts, torch.ones_like(runs.lengths)))
    def loss(self, batch, hidden):
        return ((hidden[0] - hidden[1]).square().sum(1) * batch.targets).mean()

@dataclass(frozen=True, eq=False)
class Scaled:
    factors: torch.Tensor
    def of_sequences(self, numbers):
        return Scaled(self.factors[numbers])
    def __call__(self, tokens):
        packed = tokens.packed
        requested = torch.empty_like(packed.restore)
        requested[packed.restore] = torch.arange(len(requested))
        sequences = requested[packed.sequences]
        mine = torch.zeros_like(requested).scatter_reduce(0, sequences, tokens.mine.long(), "amax")
        number = (mine.cumsum(0) - 1)[sequences].clamp(min=0)
        return replace(tokens, vectors=torch.where(tokens.mine, self.factors[number], 1.0)[:, None] * tokens.embedded())

class Batch(Part):
    name, sharded = "batch", "batch"
    def views(self, batch):
        factors = torch.rand(2 * len(batch), dtype=torch.float64)
        edit = Scaled(factors)
        return batch.view(edit=edit), batch.view(edit=edit)
    def loss(self, batch, hidden):
        return (hidden[0] @ hidden[1].T).logsumexp(1).mean() + torch.rand(()).item()

class Wrong(Rows):
    name, sharded = "wrong", "rows"
    def views(self, batch):
        return batch.view(key=ANCHOR), batch.view(batch.ids[1:])

METHOD = Method(parts=("rec", Rows, Batch))
WRONG = Method(parts=("rec", Wrong))
"""


def test_parts_of_ones_own_of_both_kinds(both: Both, given: Any, tmp_path: Any) -> None:
    path = tmp_path / "own.py"
    path.write_text(PARTS)
    config, dataset, _ = given(method=f"{path}:METHOD")
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN))
    alone, losses = steps(ALONE, config, dataset, None, [ids[:33]])
    shared, ours = both(steps, config, dataset, None, [ids[:33]])
    for name, value in alone[0].items():
        torch.testing.assert_close(shared[0][name], value, rtol=0, atol=1e-12 * max(1.0, float(value.abs().max())))
    np.testing.assert_allclose(ours, losses, rtol=1e-12)
    config, *_ = given(method=f"{path}:WRONG")
    with pytest.raises(ConfigError, match="sharded = 'rows', but a view has 32 sequences for 33 prefixes"):
        both(steps, config, dataset, None, [ids[:33]])


# What is refused


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"backbone": "bert4rec", "method": "plain"}, "backbone bert4rec: its loss is a mean over masked items"),
        ({"sparse_adam": True, "parts.rec.loss": "ss", "method": "plain"}, "rows that one process has touched"),
        ({"batch": 2, "processes": 3}, "a batch of 2 prefixes cannot be shared by 3 processes"),
    ],
)
def test_what_cannot_be_shared_is_refused(settings: dict[str, Any], reason: str, small_config: Any) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        check_combination(small_config(**{"processes": 2} | settings))
    assert caught.value.where == "train.processes"


OWN = """
from engine.method_table import Method
from engine.methods.sracl import Inter
from engine.methods.same_target import SameTarget
from engine.models.sasrec import SASRec
from engine.models.synthesizers import GAT
class Mine(SASRec):
    {said}
class Weighs(GAT):
    {said}
class Loss(SameTarget):
    name = "mine"
    {said}
METHOD = Method(parts=("rec", Loss))
"""


@pytest.mark.parametrize("setting", ["model.backbone={}:Mine", "synthesizer.kind={}:Weighs", "method.name={}:METHOD"])
def test_code_of_ones_own_says_that_it_can_be_shared(setting: str, small_config: Any, tmp_path: Any) -> None:
    path, _, name = setting.partition("=")
    said = 'sharded = "batch"' if "METHOD" in name else 'unsharded = ""'
    for number, (code, match) in enumerate(
        [("pass", "does not say that several processes can share a batch"), (said, "")]
    ):
        file = tmp_path / f"own{number}.py"
        file.write_text(OWN.format(said=code))
        config = small_config(**{path: name.format(file), "processes": 2})
        if match:
            with pytest.raises(ConfigError, match=match):
                check_combination(config)
        else:
            check_combination(config)


def test_too_few_prefixes(given: Any, dataset_of: Any, tmp_path: Any) -> None:
    class Many(Processes):
        count = 3

    config, _, _ = given(method="plain")
    with pytest.raises(TrainingError, match="3 processes cannot share 2"):
        trained(Many(), config, dataset_of([[1, 2, 3, 4], [2, 3, 1, 4]]), None, tmp_path)
