"""The real data sets beside the project, imported and embedded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.config import Config
from engine.config_files import build_config
from engine.data.dataset import TRAIN, Dataset
from engine.methods.semantics import Semantics

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@dataclass(frozen=True)
class Bench:
    """A data set and the vectors of its raw titles."""

    dataset: Dataset
    items: NDArray[np.float32]
    """(V + 1, S)"""
    anchor_ids: NDArray[np.int64]
    """(A,) training prefixes."""
    anchors: NDArray[np.float32]
    """(A, S) means of their items' vectors."""

    def semantics(self, config: Config) -> Semantics:
        """Neighbors and substitutes as a run finds them."""
        from engine.events import ignore
        from engine.retrieval.neighbors import item_neighbors, user_neighbors

        users = user_neighbors(
            self.anchors, self.anchor_ids, self.dataset, config.retrieval, queries=self.anchor_ids, report=ignore
        )
        items = item_neighbors(self.items, self.dataset, config.retrieval, report=ignore)
        count, size = len(self.dataset.anchors) + 1, self.items.shape[1]

        def by_id(rows: int, ids: NDArray[np.int64], values: NDArray[np.generic]) -> torch.Tensor:
            table = np.zeros((rows, values.shape[1]), values.dtype)
            table[ids] = values
            return torch.from_numpy(table)

        rows = np.zeros(count, np.int64)
        rows[self.anchor_ids] = np.arange(len(self.anchor_ids)) + 1
        return Semantics(
            user_vectors=torch.from_numpy(np.concatenate([np.zeros((1, size), np.float32), self.anchors])),
            user_rows=torch.from_numpy(rows),
            neighbors=by_id(count, users.query_ids, users.ids),
            similarity=by_id(count, users.query_ids, users.similarity),
            item_vectors=torch.from_numpy(self.items),
            substitutes=by_id(len(self.items), items.query_ids, items.ids),
            item_similarity=by_id(len(self.items), items.query_ids, items.similarity),
        )


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Callable[[str], Bench]:
    """A data set by the name of its folder; vectors are kept in pytest's cache between two runs."""
    made: dict[str, Bench] = {}

    def load(name: str) -> Bench:
        if name not in made:
            made[name] = _load(name, Path(str(request.config.cache.mkdir("sracl"))))  # pyright: ignore
        return made[name]

    return load


def _load(name: str, cache: Path) -> Bench:
    from engine.data.importing import import_dataset
    from engine.semantics.encoders.item_means import ItemMeans
    from engine.semantics.encoders.registry import build_encoder

    if not (DATA / name).is_dir():
        pytest.skip(f"{name} does not lie beside the project")
    dataset, _ = import_dataset(DATA / name, name=name)
    kept = cache / f"{name}-{dataset.sha256[:16]}.npy"
    if not kept.exists():
        vectors = build_encoder("minilm", []).encode(dataset.items.texts)
        np.save(kept, np.concatenate([np.zeros((1, vectors.shape[1]), np.float32), vectors]))
    items = np.load(kept)
    ids = dataset.anchors.ids(TRAIN)
    return Bench(dataset, items, ids, ItemMeans(items, dataset, ids, max_length=20).whole())


@pytest.fixture
def config() -> Callable[..., Config]:
    """The default settings with others over them."""

    def make(**settings: object) -> Config:
        return build_config(settings)

    return make
