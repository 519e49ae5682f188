"""Derives from a config and a dataset which summaries, vectors and neighbor lists a run needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.config import Config, content_hash
from engine.data.dataset import TRAIN, Dataset
from engine.data.perturb import perturb_items
from engine.errors import ConfigError
from engine.extension_points import BACKENDS
from engine.method_table import Needs as MethodNeeds
from engine.retrieval.backends import build_backend

if TYPE_CHECKING:
    from engine.semantics.kinds import Kind


Floats = NDArray[np.float32]


Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Needs:
    """Owners that need summaries and vectors under a config, and the dataset that supplies their text."""

    config: Config
    dataset: Dataset
    """The dataset as stored, with its original titles."""
    text_dataset: Dataset
    """The dataset with titles dropped or swapped if the config does so; otherwise `dataset` itself."""
    users: bool
    """Whether semantic vectors of users are needed."""
    items: bool
    """Whether semantic vectors of items are needed."""

    @classmethod
    def of(cls, config: Config, dataset: Dataset) -> Needs:
        """Needs of a config on a dataset; perturbs the titles as configured."""
        items = perturb_items(dataset.items, drop=config.data.drop_titles, swap=config.data.swap_titles)
        text = dataset if items is dataset.items else replace(dataset, items=items)
        return cls(config, dataset, text, users=config.needs.users, items=config.needs.items)

    @property
    def textual(self) -> bool:
        """Whether the run uses text: its method needs semantic vectors, and these are not collaborative."""
        return bool(self.config.needs) and self.config.semantics.vector != "collaborative"

    def check_texts(self) -> None:
        """Refuse a method that learns from texts on a dataset that has none: all vectors would be zero, and nothing retrieved.

        Raises:
            ConfigError: it does, and the dataset has none.
        """
        if self.textual and not any(self.dataset.items.texts):
            raise ConfigError(
                f"no item of {self.dataset.name} has text, and its method learns from texts",
                where="data.dataset",
                hint="Import it with --items or --title-column; take --preset backbone or vector=collaborative, which need no "
                "texts; or run it all the same with --allow-degraded.",
            )

    @property
    def user_list(self) -> bool:
        """Whether neighbors of users are retrieved."""
        return self.users and bool(self.config.needs & MethodNeeds.NEIGHBORS)

    @property
    def item_list(self) -> bool:
        """Whether substitutes of items are retrieved."""
        return self.items and bool(self.config.needs & MethodNeeds.SUBSTITUTES)

    @property
    def vector_anchors(self) -> Ids:
        """Anchors that need a vector, (N,): candidates of the pool and queries, or the training anchors without retrieval."""
        from engine.retrieval.neighbors import anchors_needed

        pool, needs = self.config.retrieval.pool, self.config.needs
        if needs and not needs & MethodNeeds.NEIGHBORS:
            pool = "others"  # nothing is retrieved: the training anchors alone, whatever the pool
        return anchors_needed(self.dataset, pool, self.config.semantics.unit)

    @property
    def item_ids(self) -> Ids:
        """Items with a training interaction, (N,); others have no neighbors."""
        return np.flatnonzero(self.dataset.train_counts > 0)

    def queries(self, kind: Kind) -> Ids:
        """Anchors or items whose neighbors are retrieved, ascending."""
        anchors = self.dataset.anchors
        if kind == "item":
            return self.item_ids
        return anchors.representing if self.config.semantics.unit == "user" else anchors.ids(TRAIN)

    def summary_owners(self) -> dict[Kind, Ids]:
        """Owners of summaries by kind. Item-mean vectors do not use user summaries, which are only displayed: one per user."""
        owners: dict[Kind, Ids] = {}
        if not self.textual:
            return owners
        item_mean = self.config.semantics.vector == "item-mean"
        if self.users:
            owners["user"] = self.dataset.anchors.representing if item_mean else self.vector_anchors
        if self.items or item_mean:
            owners["item"] = self.item_ids
        return owners

    def asked(self, kind: Kind, owners: Ids) -> Ids:
        """For each owner the owner of the summary it uses; with unit `every-m` several anchors share a summary."""
        from engine.data.histories import source_anchors

        return source_anchors(self.dataset, owners, self.config.semantics.unit) if kind == "user" else owners

    def unit_of(self, kind: Kind) -> str:
        """Unit that a summary of this kind describes: `prefix`, `every-m`, `user` or `item`."""
        return self.config.semantics.unit if kind == "user" else "item"

    def list_key(self, kind: Kind, source: str, encoder: str | None) -> dict[str, Any]:
        """Parameters that determine a neighbor list, stored with it; `list_id` is their hash."""
        semantics, retrieval = self.config.semantics, self.config.retrieval
        key: dict[str, Any] = {
            "vector": semantics.vector,
            "source": source,
            "encoder": encoder,
            "similarity": retrieval.similarity,
            "backend": BACKENDS.label_of(retrieval.backend),
            "k": retrieval.k if kind == "user" else retrieval.item_k,
        }
        key |= build_backend(retrieval).parameters()
        if kind == "user":
            key |= {"pool": retrieval.pool, "unit": semantics.unit}
            if semantics.vector != "text":
                key["max_length"] = self.config.data.max_length
        return key

    def list_id(self, kind: Kind, source: str, encoder: str | None) -> str:
        """Content hash of dataset, kind and parameters, under which a neighbor list is stored and reused."""
        return content_hash([self.dataset.dataset_id, kind, self.list_key(kind, source, encoder)])


def needs_of(config: Config, dataset: Dataset, kinds: Sequence[str]) -> Needs:
    """Needs restricted to the given kinds of summaries, regardless of the method."""
    return replace(Needs.of(config, dataset), users="user" in kinds, items="item" in kinds)


def check_retrieval(config: Config, *, exact: str | None = None) -> None:
    """Refuse settings by which no neighbors are searched.

    Args:
        exact: option that needs an exact search, if any.

    Raises:
        ConfigError: nothing is searched, or the search is not exact.
    """
    backend = config.retrieval.backend
    if not config.needs & (MethodNeeds.NEIGHBORS | MethodNeeds.SUBSTITUTES):
        raise ConfigError(
            "these settings retrieve no neighbors", where="method", hint="Name a method or preset that does."
        )
    if exact is not None and not build_backend(config.retrieval).exact:
        raise ConfigError(
            f"{backend} makes one index for the whole list, so its search is one job",
            where=exact,
            hint=f"Leave {exact} out, or set backend=exact.",
        )
