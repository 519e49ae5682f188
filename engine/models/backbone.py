"""What every sequence encoder f offers, and where one is looked up by name.

Legend: B sequences, T packed tokens, D width, V items.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batches import Packed
from engine.errors import ConfigError
from engine.losses import recommendation_loss
from engine.models import naming


class Backbone(nn.Module, ABC):
    """A sequence encoder with tied item embeddings: score of item v = f(S) . E[v]."""

    item_embedding: nn.Embedding
    """E (V + 1, D); row 0 is padding."""
    own_loss: ClassVar[bool] = False
    """Whether L_rec needs a pass of its own (`loss`) instead of the hidden states that the contrasts share."""
    causal: ClassVar[bool] = False
    """Whether `at` can read it at every item, from what stands before (`train.mode = "sequence"`)."""

    pads: ClassVar[bool] = False
    """Whether it takes sequences that are padded to one block (engine/data/dense.py), as a GPU likes them."""

    def __init__(self, config: ModelConfig, *, items: int, max_length: int) -> None:
        """A backbone of V items that sees the last `max_length` ones."""
        super().__init__()

    @abstractmethod
    def forward(self, packed: Packed, token_vectors: Tensor | None = None) -> Tensor:
        """h (B, D), in the order in which the sequences were asked for.

        `token_vectors` (T, D) stand in for the item embeddings of the tokens where given.
        """

    def at(self, packed: Packed, read: Tensor, token_vectors: Tensor | None = None) -> Tensor:
        """h (B, D) at the tokens `read` (B,) of sequences, each from what stands before it and itself."""
        raise NotImplementedError

    def scores(self, hidden: Tensor) -> Tensor:
        """(B, V) scores of items 1..V for hidden states (B, D)."""
        return hidden @ self.item_embedding.weight[1:].T

    def loss(self, packed: Packed, targets: Tensor) -> Tensor:
        """L_rec of sequences and their target item ids (B,), both in the order that was asked for."""
        return recommendation_loss(self.scores(self(packed)), targets)


def build_backbone(config: ModelConfig, *, items: int, max_length: int) -> Backbone:
    """The backbone that the config names, freshly initialized from torch's global generator.

    Raises:
        ConfigError: it cannot be imported, is no `Backbone`, or cannot be built.
    """
    kind = backbone_class(config.backbone)
    if naming.split_file(config.backbone) is None:
        return kind(config, items=items, max_length=max_length)
    try:
        made = kind(config, items=items, max_length=max_length)
    except Exception as error:
        raise _refused(config.backbone, f"cannot be built: {type(error).__name__}: {error}") from error
    table = getattr(made, "item_embedding", None)
    if not isinstance(table, nn.Embedding) or table.weight.shape != (items + 1, config.width):
        raise _refused(config.backbone, f"its item_embedding is not an nn.Embedding({items} + 1, {config.width})")
    return made


def backbone_class(name: str) -> type[Backbone]:
    """The class that a name stands for: `(config, *, items, max_length)` builds it.

    Raises:
        ConfigError: it cannot be imported, or is no `Backbone`.
    """
    if name in naming.OURS:
        from engine.models.bert4rec import BERT4Rec
        from engine.models.gru4rec import GRU4Rec
        from engine.models.sasrec import SASRec

        return {"sasrec": SASRec, "gru4rec": GRU4Rec, "bert4rec": BERT4Rec}[name]
    try:
        found = _imported(name)
    except Exception as error:  # whatever a file of somebody else's raises
        raise _refused(name, f"cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Backbone)):
        raise _refused(name, "is no subclass of engine.models.backbone.Backbone")
    return found


def _imported(name: str) -> Any:
    parts = naming.split_file(name)
    if parts is None:
        point = naming.entry_point(name)
        if point is None:
            raise LookupError(naming.problem_of(name))
        return point.load()
    path, attribute = parts
    module = "sracl_backbone_" + hashlib.sha256(str(path).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    spec.loader.exec_module(loaded)
    return getattr(loaded, attribute)


def _refused(name: str, problem: str) -> ConfigError:
    hint = "examples/own_backbone.py is one that works."
    return ConfigError(f"{name} {problem}", where="model.backbone", hint=hint)


def init_weights(module: nn.Module, std: float = 0.02) -> None:
    """Linear and embedding weights ~ N(0, std^2), biases 0 (as in BERT and the released code)."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


def zero_padding(embedding: nn.Embedding) -> None:
    """Set the padding row to 0."""
    with torch.no_grad():
        embedding.weight[0] = 0
