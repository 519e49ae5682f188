"""Small things to test the engine with: random datasets and semantics, settings, a plain SASRec, and whole trainings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.config import Config
from engine.config_files import build_config
from engine.data.dataset import TRAIN, Dataset, Items
from engine.events import EpochFinished, Evaluated, Event, StepFinished
from engine.methods.semantics import Semantics
from engine.models.sasrec import SASRec
from engine.training import checkpoint
from engine.training.trainer import BEST, LAST, Trainer, TrainResult
from tests.support import installed_metrics

DAY = 86_400
SMALL = {
    "max_length": 6,
    "width": 8,
    "heads": 2,
    "inner": 12,
    "layers": 2,
    "batch": 32,
    "epochs": 2,
    "threads": 1,
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _dataset(sequences: Sequence[Sequence[int]], *, items: int, times: Sequence[int] | None, name: str) -> Dataset:
    lengths = [len(sequence) for sequence in sequences]
    return Dataset(
        name=name,
        user_raw_ids=[f"u{number}" for number in range(1, len(sequences) + 1)],
        items=Items(
            raw_ids=[f"i{number}" for number in range(1, items + 1)],
            titles=[f"Item {number}" for number in range(1, items + 1)],
            attributes=[{"brand": [f"Brand {number % 3}"]} for number in range(1, items + 1)],
        ),
        sequence=np.array([item for sequence in sequences for item in sequence], np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        timestamps=None if times is None else np.array(times, np.int64),
    )


@pytest.fixture
def dataset_of() -> Callable[..., Dataset]:
    """A dataset of the given sequences of item ids, with timestamps along all of them where given."""

    def make(
        sequences: Sequence[Sequence[int]],
        *,
        items: int | None = None,
        times: Sequence[int] | None = None,
        name: str = "small",
    ) -> Dataset:
        top = items or max(item for sequence in sequences for item in sequence)
        return _dataset(sequences, items=top, times=times, name=name)

    return make


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """A random dataset; `cyclic`: item v is always followed by item v + 1, which a model can learn."""

    def make(
        *, users: int = 30, items: int = 24, shortest: int = 1, longest: int = 12, seed: int = 0, cyclic: bool = False
    ) -> Dataset:
        rng = np.random.default_rng(seed)
        lengths = rng.integers(shortest, longest + 1, users)
        sequences = [rng.integers(1, items + 1, length).tolist() for length in lengths]
        if cyclic:
            sequences = [[(s[0] + step) % items + 1 for step in range(len(s))] for s in sequences]
        times = [time for length in lengths for time in np.sort(rng.integers(0, 9, length)) * DAY]
        return _dataset(sequences, items=items, times=times, name="small")

    return make


@pytest.fixture
def make_semantics() -> Callable[..., Semantics]:
    """Random semantics of a dataset; every third anchor has fewer neighbors and every seventh none."""

    def make(
        dataset: Dataset,
        *,
        size: int = 6,
        k: int = 4,
        item_k: int = 3,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> Semantics:
        rng = np.random.default_rng(seed)
        anchors, items = len(dataset.anchors), len(dataset.items)
        train = dataset.anchors.ids(TRAIN)
        neighbors = np.zeros((anchors + 1, k), np.int64)
        for anchor in range(1, anchors + 1):
            others = train[dataset.anchors.user_ids[train - 1] != dataset.anchors.user_ids[anchor - 1]]
            count = 0 if anchor % 7 == 0 else (1 + anchor % (k - 1) if anchor % 3 == 0 else k)
            neighbors[anchor, :count] = rng.choice(others, count, replace=False)
        substitutes = np.zeros((items + 1, item_k), np.int64)
        for item in range(1, items + 1):
            others = np.delete(np.arange(1, items + 1), item - 1)
            count = 0 if item % 7 == 0 else (1 if item % 3 == 0 else item_k)
            substitutes[item, :count] = rng.choice(others, count, replace=False)
        rows = np.concatenate([[0], 1 + rng.permutation(anchors)])  # a row is not its anchor's id

        def similarity(ids: np.ndarray) -> Tensor:
            return torch.from_numpy(-np.sort(-rng.uniform(-0.2, 1.0, ids.shape), 1) * (ids > 0)).to(dtype)

        return Semantics(
            user_vectors=torch.from_numpy(rng.normal(size=(anchors + 1, size))).to(dtype),
            user_rows=torch.from_numpy(rows),
            neighbors=torch.from_numpy(neighbors),
            similarity=similarity(neighbors),
            item_vectors=torch.from_numpy(rng.normal(size=(items + 1, size))).to(dtype),
            substitutes=torch.from_numpy(substitutes),
            item_similarity=similarity(substitutes),
        )

    return make


@pytest.fixture
def small_config() -> Callable[..., Config]:
    """A config of a tiny model and a short training, with settings by leaf name over it."""

    def make(**settings: Any) -> Config:
        return build_config(SMALL, settings)

    return make


@pytest.fixture
def plain_encode() -> Callable[..., Tensor]:
    """SASRec as a textbook writes it, on the parameters of ours: h (B, D).

    Sequences are padded on the left to the window, every position goes through every layer, and a causal and a padding
    mask hide what must not be seen. `vectors` (B, n, D) stand in for item embeddings where given; `every` gives all
    states (B, n, D).
    """

    def encode(
        model: SASRec, sequences: Sequence[Sequence[int]], vectors: Tensor | None = None, *, every: bool = False
    ) -> Tensor:
        length = model.position_embedding.num_embeddings
        ids = torch.zeros(len(sequences), length, dtype=torch.long)
        for row, sequence in enumerate(sequences):
            ids[row, length - len(sequence) :] = torch.tensor(list(sequence))
        x = model.item_embedding.weight[ids] if vectors is None else vectors
        x = _norm(x + model.position_embedding.weight[torch.arange(length)], model.input_norm)
        hidden = torch.ones(length, length, dtype=torch.bool).triu(1) | (ids == 0)[:, None, None, :]  # (B, 1, n, n)
        for layer in model.layers:
            x = _plain_layer(layer, x, hidden)
        return x if every else x[:, -1]

    return encode


def _norm(x: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-12) * norm.weight + norm.bias


def _plain_layer(layer: Any, x: Tensor, hidden: Tensor) -> Tensor:
    keys, values = layer.key_value(x).chunk(2, -1)
    heads = []
    for q, k, v in zip(*(part.chunk(layer.heads, -1) for part in (layer.query(x), keys, values)), strict=True):
        scores = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).masked_fill(hidden[:, 0], -1e9)  # (B, n, n)
        heads.append(scores.softmax(-1) @ v)
    x = _norm(x + layer.output(torch.cat(heads, -1)), layer.attention_norm)
    return _norm(x + layer.contract(F.gelu(layer.expand(x))), layer.feed_norm)


@dataclass
class Run:
    """A training and all that it told."""

    trainer: Trainer
    events: list[Any] = field(default_factory=list)
    result: Any = None

    def of(self, kind: type[Event]) -> list[Any]:
        """Its events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def finish(self) -> TrainResult:
        """Train to the end."""
        self.result = self.trainer.run()
        return self.result

    def values(self, split: str) -> list[dict[str, float]]:
        """Train or validation metrics by name, epoch by epoch."""
        return [{m.name: m.value for m in event.metrics if m.split == split} for event in self.of(EpochFinished)]

    @property
    def told(self) -> list[Any]:
        """Every event but for the time that it took, as plain values."""
        return [_plain(event) for event in self.events if not isinstance(event, StepFinished)]

    @property
    def trace(self) -> dict[str, Any]:
        """What a setting may change, by where it shows."""
        return {
            "losses": self.values("train"),
            "epochs": [(event.step, event.improved, event.bad_epochs) for event in self.of(EpochFinished)],
            "names": list(self.values("valid")[0]),
            "ranks": [event.columns["rank"].tolist() for event in self.of(Evaluated)],
            "weights": {name: value.tolist() for name, value in self.weights(BEST).items()},
        }

    def weights(self, name: str) -> dict[str, Tensor]:
        """The weights in one of its checkpoints."""
        return checkpoint.read_weights(self.trainer.folder / name)

    def equals(self, other: Run) -> bool:
        """Whether the weights of both checkpoints are the same bit by bit."""
        return all(
            torch.equal(value, other.weights(name)[key])
            for name in (BEST, LAST)
            for key, value in self.weights(name).items()
        )


def _plain(event: Event) -> tuple[Any, ...]:
    values = {key: value for key, value in event.payload().items() if "seconds" not in key}
    columns = {name: np.asarray(column).tolist() for name, column in getattr(event, "columns", {}).items()}
    return event.name, values, columns


@dataclass
class World:
    """What the trainings train on unless told otherwise."""

    dataset: Dataset
    semantics: Semantics

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(len(self.dataset.anchors.ids(TRAIN)) / SMALL["batch"])


@pytest.fixture
def world(make_dataset: Callable[..., Dataset], make_semantics: Callable[..., Semantics]) -> World:
    dataset = make_dataset()
    return World(dataset, make_semantics(dataset))


@pytest.fixture
def prepare(
    world: World, small_config: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Run]:
    """A training that has not begun, in a folder of its own unless one is given."""

    def make(
        *,
        folder: Path | None = None,
        stop: Callable[[], bool] = lambda: False,
        dataset: Dataset | None = None,
        semantics: Semantics | None = world.semantics,
        report: Callable[[Event], None] = lambda event: None,
        **settings: Any,
    ) -> Run:
        events: list[Event] = []

        def tell(event: Event) -> None:
            events.append(event)
            report(event)

        trainer = Trainer(
            small_config(**settings),
            dataset or world.dataset,
            semantics,
            folder=folder or tmp_path_factory.mktemp("run"),
            report=tell,
            stop=stop,
        )
        return Run(trainer, events)

    return make


@pytest.fixture
def run(prepare: Callable[..., Run]) -> Callable[..., Run]:
    """A whole training."""

    def make(**settings: Any) -> Run:
        made = prepare(**settings)
        made.finish()
        return made

    return make


@pytest.fixture
def install_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a module `some_metrics` of this code; the others are entry points, each with an attribute of the module."""
    yield lambda code, **names: installed_metrics.install(
        tmp_path, monkeypatch, {name: f"some_metrics:{one}" for name, one in names.items()}, some_metrics=code
    )
    monkeypatch.undo()
    installed_metrics.forget(["some_metrics"])
