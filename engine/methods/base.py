"""The interface of training objectives: a method is a list of parts, and a part is one named loss.

The trainer asks all parts for the sequences that they want encoded (`views`), lays them out in one packed batch, runs the
backbone once, and gives every part its hidden states (`loss`). docs/extending.md has the way to a method of your own.

Legend: B anchors of a batch, C sequences of a view, T packed tokens, D width, I width of the backbone's input (D for most), V items.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from engine.config import Config
from engine.data.batching.windows import Packed, Runs, Windows
from engine.data.dataset import Dataset
from engine.events import Event
from engine.method_table import Method, Needs, Stage, Step
from engine.models.backbone import Backbone
from engine.part_settings import PartSettings

if TYPE_CHECKING:
    from engine.methods.semantics import Semantics

__all__ = [
    "Anchors",
    "Context",
    "Edit",
    "Encode",
    "Method",
    "Needs",
    "Part",
    "PartSettings",
    "Stage",
    "Step",
    "Tokens",
    "View",
]

Edit = Callable[["Tokens"], "Tokens"]
"""Changes tokens of a view before they are encoded: their items, or their vectors. One that knows sequences by their number among
those that it edits has a method `of_sequences(numbers)` that gives the edit of some of them, for several processes."""
Encode = Callable[[Tensor], Tensor]
"""h (N, D) of anchors (N,), without gradient and dropout."""
Made = TypeVar("Made")


@dataclass(frozen=True)
class Tokens:
    """All tokens of a packed batch, on their way into the backbone."""

    packed: Packed
    mine: Tensor
    """(T,) true at the items of the views that are edited; an edit leaves the others, and padding, as they are."""
    items: Tensor
    """(T,) item ids."""
    vectors: Tensor | None
    """(T, I) vectors in place of the items' embeddings; none while nobody has changed one."""
    embedding: Callable[[Tensor], Tensor]
    """The backbone's `input_vectors` of items: its `item_embedding` unless the class says otherwise."""

    def embedded(self) -> Tensor:
        """(T, I) the vectors, or the embeddings of the items."""
        return self.embedding(self.items) if self.vectors is None else self.vectors


@dataclass(frozen=True)
class States:
    """States at tokens of a view: at every one by `read = "every"`, and by `read = "edited"` at those that its edit has changed
    and at the last of each sequence.
    """

    hidden: Tensor
    """(T, D)"""
    rows: Tensor
    """(T,) which of the view's C sequences each token belongs to."""
    items: Tensor
    """(T,) item ids, before any edit."""
    edited: Tensor
    """(T,) whether an edit has changed the item or the vector of this token."""

    def last_tokens(self, count: int) -> Tensor:
        """(C,) the last token of each of the view's C sequences: those of one stand together and in order."""
        tokens = torch.arange(len(self.rows), device=self.rows.device)
        return torch.zeros(count, dtype=torch.long, device=tokens.device).scatter_reduce(0, self.rows, tokens, "amax")

    def last(self, count: int) -> Tensor:
        """(C, D) the states at the last token of each of the view's C sequences."""
        return self.hidden[self.last_tokens(count)]


@dataclass(frozen=True)
class View:
    """Sequences that a part wants encoded."""

    sequences: Tensor | Runs
    """(C,) anchor ids, whose windows are meant, or runs of items. In sequence mode only anchors share windows."""
    edit: Edit | None = None
    """Changes items or vectors first. Views of one part with the same edit are edited by one call."""
    read: Literal["last", "edited", "every"] = "last"
    """States at the last token of each sequence, (C, D), or as `States` at every one, or at the last and those that are edited."""
    causal: bool = True
    """Whether tokens see earlier ones alone, as the backbone has it; false lets them see the whole sequence (`both_ways`)."""
    grad: bool = True
    """False encodes without gradient."""
    key: str | None = None
    """Views with equal keys are encoded once: the sequences of the first of them, edited if one of them has an edit, so that
    all of them see it, and read at all tokens that one of them wants. One without a key has a pass, and a dropout mask, of its own."""

    def __len__(self) -> int:
        return len(self.sequences)


ANCHOR = "anchor"
"""Key of the pass over the windows of the batch that L_rec reads. A part that gives a view of it an edit trains L_rec on edited
sequences."""


@dataclass(frozen=True)
class Anchors:
    """A batch of training prefixes and what is known of them."""

    ids: Tensor
    """(B,) anchor ids, where the windows want them: on the CPU, or on a GPU."""
    targets: Tensor
    """(B,) item ids of the targets, on the device of the model."""
    windows: Windows
    group_ids: Tensor | None = None
    """(B,) equal numbers for prefixes that are no negatives of each other in InfoNCE (of one user, in sequence mode)."""
    step: Step = field(default_factory=Step)
    """The update that is computed."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What a part keeps from `views` for `loss`, by its name, and for further updates by the same batch."""

    def __len__(self) -> int:
        return len(self.ids)

    def view(self, ids: Tensor | None = None, **options: Any) -> View:
        """A view of the windows of anchors (C,), those of the batch where none are given; options as in `View`."""
        return View(self.ids if ids is None else ids, **options)

    def at(self, rows: slice) -> Anchors:
        """Some of these prefixes, with the notes of all."""
        group_ids = None if self.group_ids is None else self.group_ids[rows]
        return replace(self, ids=self.ids[rows], targets=self.targets[rows], group_ids=group_ids)


@dataclass(frozen=True)
class Context:
    """What a part is built with."""

    config: Config
    dataset: Dataset
    windows: Windows
    """Windows by which prefixes are encoded in training."""
    backbone: Backbone
    semantics: Semantics | None
    """Vectors and lists that the method needs; none where it needs none."""
    shared: dict[str, Any] = field(default_factory=dict)
    """What several parts use together; a module in it is trained and kept under its key. Where encoder and parts are updated
    apart, it is updated with the parts, or with the encoder if it says `updated_with_encoder = True`."""
    asked: list[str] = field(default_factory=list)
    """Names under which something was asked for, in order."""

    def share(self, name: str, make: Callable[[], Made]) -> Made:
        """What is shared under a name, made by the first part that asks."""
        self.asked.append(name)
        if name not in self.shared:
            self.shared[name] = make()
        return self.shared[name]


class Part(nn.Module, ABC):
    """One named loss. Parameters of its own are trained, saved as `parts.<name>.*`, and are not part of an exported model."""

    name: ClassVar[str]
    """Its name in settings (`parts.<name>`) and metrics (`loss_<name>`)."""
    needs: ClassVar[Needs] = Needs.NONE
    """What must be prepared for it."""
    settings: ClassVar[type[PartSettings]] = PartSettings
    """Its section of the settings."""
    scales: ClassVar[tuple[str, ...]] = ()
    """Paths of settings to raise when the loss is no longer a number, such as a temperature."""
    every: ClassVar[bool] = False
    """Whether it reads states at other tokens than the last, which not every backbone gives."""
    sequence_mode: ClassVar[str] = ""
    """Why it cannot be trained with `train.mode = sequence`; empty where it can."""
    sharded: ClassVar[Literal["", "rows", "batch"]] = ""
    """How several processes share its batches (`train.processes`). All of them make the same `views` of the whole batch, by the same
    random numbers, and encode a share of them. `batch`: all compute the loss, from the states of all sequences. `rows`: the loss is a mean
    over prefixes, each with one sequence in every view, and a process computes it of its own. Empty: not at all. A class of
    your own says it itself, also where its base class does."""

    def __init__(self, settings: Any, *, context: Context) -> None:
        """Build it from its settings, with random numbers of torch's global generator."""
        super().__init__()
        self.config = settings

    @classmethod
    def problem_with(cls, backbone: type[Backbone], settings: Any) -> str:
        """Why it cannot be trained on a backbone with these settings, as `has ...` or `cannot ...`; empty where it can."""
        return ""

    @classmethod
    def absent(cls, config: Config, dataset: Dataset) -> str:
        """What a data set has not that it learns from, as `no item has ...`: it is switched off then, and the run says so; empty
        where nothing is missing.

        Raises:
            ConfigError: a setting names what the data set has not.
        """
        return ""

    def start(self, backbone: Backbone) -> None:
        """Before the first step: change initial weights of the backbone."""

    def before_epoch(self, epoch: int, encode: Encode) -> None:
        """Before an epoch: what is computed once for it, kept in buffers so that a resumed epoch goes on with the same."""

    def views(self, batch: Anchors) -> Sequence[View]:
        """What to encode for a batch; nothing is encoded here."""
        return ()

    @abstractmethod
    def loss(self, batch: Anchors, hidden: Sequence[Any]) -> Tensor:
        """The loss, a scalar, from what each of the views gave: (C, D), or `States`."""

    def metrics(self) -> Mapping[str, float]:
        """Measured in the epoch that has ended, by name; they stand beside the losses, and counting starts anew."""
        return {}

    def seen(self, phase: str, *, epoch: int, step: int) -> Iterable[Event]:
        """What it has to show: at phase `initial`, `epoch`, `last`, or `best` (with the best weights loaded)."""
        return ()
