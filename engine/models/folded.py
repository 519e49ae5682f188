"""A base for backbones that read text vectors of items in training, and tables made of them afterwards.

While it is trained, the backbone holds the frozen vectors of the items, which no checkpoint keeps, and layers that adapt them. Whenever
its state is read, what these layers make of all items is written beside it as tables (`folded_<name>`): a model that is loaded to
recommend is built without vectors and without those layers, and reads the tables.

Legend: V items, S semantic size.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.dataset import Dataset
from engine.errors import ConfigError
from engine.method_table import Needs
from engine.models.backbone import Backbone, weight_of


class FoldedBackbone(Backbone):
    """A subclass adds `adapt`, the layers that only training has, in `before_training`, and makes the tables in `fold`."""

    needs: ClassVar[Needs] = Needs.ITEM_VECTORS
    adapt: nn.Module | None
    item_vectors: Tensor | None
    """(V + 1, S) while it is trained."""

    def __init__(self, config: ModelConfig, *, items: int, max_length: int, tables: Mapping[str, int]) -> None:
        """As built to recommend.

        Args:
            tables: width of each table by name; each has V + 1 rows, and is all zeros until a state is loaded.
        """
        super().__init__(config, items=items, max_length=max_length)
        self.adapt = None
        self.register_buffer("item_vectors", None, persistent=False)
        self._names = tuple(tables)
        for name, width in tables.items():
            self.register_buffer(f"folded_{name}", torch.zeros(items + 1, width))
        self._found: Mapping[str, Tensor] | None = (
            None  # in evaluation mode, in which weights change by a state that is loaded alone
        )

    def before_training(self, dataset: Dataset, item_vectors: Tensor | None) -> None:
        """Hold the vectors; a subclass makes its layers, too.

        Raises:
            ConfigError: no item has a vector.
        """
        assert item_vectors is not None, "config.needs names them"
        if not item_vectors[1:].any():
            raise ConfigError(
                f"no item of {dataset.name!r} has a text vector, which this backbone reads",
                where="model.backbone",
                hint="Import the data set with item texts, or take another backbone.",
            )
        self.item_vectors = item_vectors.to(weight_of(self))

    @abstractmethod
    def fold(self) -> dict[str, Tensor]:
        """The tables by name, from the vectors, with gradient."""

    def tables(self) -> Mapping[str, Tensor]:
        """The tables by name: folded anew in training, once for an evaluation, or those that were loaded."""
        if self.item_vectors is None:
            return {name: getattr(self, f"folded_{name}") for name in self._names}
        if self._found is not None and not torch.is_grad_enabled():
            return self._found
        with full_precision(self.item_vectors):
            found = self.fold()
        if not (self.training or torch.is_grad_enabled()):
            self._found = found
        return found

    def train(self, mode: bool = True) -> Self:
        self._found = None
        return super().train(mode)

    def _apply(self, *args: Any, **options: Any) -> Self:
        self._found = None
        return super()._apply(*args, **options)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        if self.item_vectors is not None:
            with torch.no_grad():
                for name, table in self.tables().items():
                    getattr(self, f"folded_{name}").copy_(table)
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **options: Any) -> None:
        self._found = None
        if self.item_vectors is None:  # what only training has
            for key in [key for key in state_dict if key.startswith(f"{prefix}adapt.")]:
                del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *args, **options)


def full_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """Products on a tensor's device in its own precision, also in an encoder that computes in bfloat16."""
    kind = tensor.device.type
    lowered = kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if lowered else nullcontext()
