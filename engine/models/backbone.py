"""The interface of a sequence encoder f; engine/models/registry.py looks one up by name.

Legend: B sequences, T packed tokens, D width, I width of the input (D unless a class says otherwise), V items, S semantic size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.data.batching.windows import Packed
from engine.data.dataset import Dataset
from engine.method_table import Needs
from engine.models.chosen_scores import chosen_scores
from engine.models.chunked_loss import chunked_cross_entropy
from engine.models.losses import recommendation_loss

FORMER_NAMES = {"own_loss": "has_own_loss", "pads": "accepts_padding", "at": "encode_at"}
"""What a `Backbone` may still call its flags and methods, and their names."""


class Backbone(nn.Module, ABC):
    """A sequence encoder whose score of item v is f(S) . table()[v - 1]; by default the table is the item embeddings."""

    item_embedding: nn.Embedding
    """E (V + 1, D); row 0 is padding. A class without it says what stands for items by `input_vectors` and `table`."""
    needs: ClassVar[Needs] = Needs.NONE
    """`Needs.ITEM_VECTORS` where it reads vectors of the items' texts: `before_training` gets them, a saved model does not."""
    has_own_loss: ClassVar[bool] = False
    """Whether L_rec needs a pass of its own (`loss`) instead of the hidden states that the contrasts share."""
    causal: ClassVar[bool] = False
    """Whether `encode_at` gives the state at any item from that item and earlier ones (`train.mode = "sequence"`)."""
    both_ways: ClassVar[bool] = False
    """Whether it lets every item see its whole sequence where `packed.causal` is false, as pretrainings want it."""
    own_loss_over_items: ClassVar[bool] = False
    """Whether a loss of its own is `cross_entropy` over all items, which `parts.rec.chunk` can cut into chunks."""
    items_at_once: int = 0
    """Items that `cross_entropy` scores at once; 0 means all. L_rec sets it by `parts.rec.chunk`."""
    accepts_padding: ClassVar[bool] = False
    """Whether it takes sequences that are padded to one block (engine/data/batching/padded_windows.py), as a GPU likes them."""

    unsharded: ClassVar[str] = ""
    """Why several processes cannot share a batch (`train.processes`), of which each encodes some sequences; empty where a state, and a
    loss of its own as a mean over prefixes, is that of the sequence whatever else is in the batch. A class of your own says it itself,
    also where its base class does."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read a class that uses former names, as in files kept with older runs: `own_loss`, `pads`, `at`."""
        super().__init_subclass__(**kwargs)
        for former, name in FORMER_NAMES.items():
            if former in vars(cls) and name not in vars(cls):
                setattr(cls, name, vars(cls)[former])

    def __init__(self, config: ModelConfig, *, items: int, max_length: int) -> None:
        """A backbone of V items that sees the last `max_length` ones."""
        super().__init__()

    def before_training(self, dataset: Dataset, item_vectors: Tensor | None) -> None:
        """Once, after it is built and before anything is trained or loaded: take in what it reads beside sequences.

        It is not called for a model that is loaded to recommend, which has the state of this one and nothing else. Of the data set
        only training interactions (`train_mask`) may be read.

        Args:
            item_vectors: (V + 1, S) semantic vectors of items by id, zeros where an item has none; none unless it `needs` them.
        """

    def input_vectors(self, items: Tensor) -> Tensor:
        """(T, I) what stands for items (T,) before the encoder, and what `token_vectors` replace; by default their embeddings."""
        return self.item_embedding(items)

    @abstractmethod
    def forward(self, packed: Packed, token_vectors: Tensor | None = None) -> Tensor:
        """h (B, D), in the order in which the sequences were requested.

        `token_vectors` (T, I), where given, replace the `input_vectors` of the tokens, by default their embeddings (T, D).
        """

    def encode_at(self, packed: Packed, indices: Tensor, token_vectors: Tensor | None = None) -> Tensor:
        """h (B, D) at tokens given by their `indices` (B,) in `packed.items`, each from itself and earlier items alone.

        Raises:
            NotImplementedError: the backbone is not `causal`.
        """
        raise NotImplementedError

    def encode_few(self, packed: Packed, indices: Tensor, token_vectors: Tensor | None = None) -> Tensor:
        """`encode_at` for some tokens of the batch, the last ones of its sequences among them; a class may have a faster way."""
        return self.encode_at(packed, indices, token_vectors)

    def table(self) -> Tensor:
        """(V, D) what hidden states are scored against, of items 1..V; of another width where h has it, too."""
        return self.item_embedding.weight[1:]

    def scores(self, hidden: Tensor) -> Tensor:
        """(B, V) scores of items 1..V for hidden states (B, D)."""
        scores = hidden @ self.table().T
        return scores if (biases := self.item_biases()) is None else scores + biases

    def item_biases(self) -> Tensor | None:
        """(V,) what is added to the scores of items 1..V; none by default."""
        return None

    def cross_entropy(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy over all items of hidden states (B, D) against target item ids (B,), by chunks where `items_at_once` says so.

        A class with `scores` of its own has all of them at once.
        """
        if self.items_at_once and type(self).scores is Backbone.scores:
            return chunked_cross_entropy(hidden, self.table(), self.item_biases(), targets, chunk=self.items_at_once)
        return recommendation_loss(self.scores(hidden), targets)

    def scores_of(self, hidden: Tensor, items: Tensor) -> Tensor:
        """(B, C) scores of chosen items (B, C), by id, for hidden states (B, D); a class with `scores` of its own has this, too."""
        embedding: nn.Embedding | None = getattr(self, "item_embedding", None)
        if embedding is not None and embedding.sparse and type(self).table is Backbone.table:
            scores = chosen_scores(hidden, embedding.weight, items, sparse=True)
        else:
            scores = chosen_scores(hidden, self.table(), items - 1)
        return scores if (biases := self.item_biases()) is None else scores + biases[items - 1]

    def loss(self, packed: Packed, targets: Tensor) -> Tensor:
        """L_rec of sequences and their target item ids (B,), both in the requested order."""
        return self.cross_entropy(self(packed), targets)

    def loss_of_anchors(self, packed: Packed, targets: Tensor, anchor_ids: Tensor) -> Tensor:
        """`loss` of training prefixes whose anchor ids (B,) are known: what trains a class with `has_own_loss`."""
        return self.loss(packed, targets)


def weight_of(backbone: nn.Module) -> nn.Parameter:
    """One of its parameters, which tells its device and type of number."""
    return next(backbone.parameters())


def input_width(backbone: Backbone) -> int:
    """I, the numbers that stand for an item before the encoder."""
    with torch.no_grad():
        return backbone.input_vectors(torch.zeros(1, dtype=torch.long, device=weight_of(backbone).device)).shape[1]


def item_rows(backbone: Backbone) -> Tensor:
    """(V + 1, D) item vectors by id: the item embeddings, or what items are scored by where there are none."""
    embedding = getattr(backbone, "item_embedding", None)
    return F.pad(backbone.table(), (0, 0, 1, 0)) if embedding is None else embedding.weight


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
