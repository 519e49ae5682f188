"""The tasks of S3-Rec's pretraining, each a part of its stage (Zhou et al., CIKM 2020).

The backbone sees its whole sequence. Masked items (`mip`), attributes of the others (`aap`) and of masked items (`map`) are told
from the states of one masked view of each prefix, segments (`sp`) from three more views.

Legend: B anchors of a batch, T tokens, M masked ones, D width, V items, A attributes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import Config
from engine.data.dataset import Dataset
from engine.methods.base import Anchors, Context, Part, States, View
from engine.methods.operators import draw_outside
from engine.methods.pretraining import FIELDS, attributes, attributes_of, pretraining
from engine.models.backbone import Backbone, init_weights, item_rows
from engine.part_settings import AapSettings, MapSettings, MipSettings, PartSettings, SpSettings


class Task(Part):
    """One task of the pretraining: a linear layer of its own, and the views that it shares."""

    sharded = "batch"

    def __init__(self, settings: PartSettings, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self.common = context.config.parts.mip
        with torch.no_grad():
            self.width = context.backbone.table().shape[1]  # that of h, which may be wider than the embeddings
        self._pretraining = (pretraining(context),)  # in a tuple: not a module of this one
        self.output = nn.Linear(self.width, self._outputs(context))
        init_weights(self)

    def _outputs(self, context: Context) -> int:
        return self.width

    @classmethod
    def problem_with(cls, backbone: type[Backbone], settings: PartSettings) -> str:
        return "" if backbone.both_ways else "cannot see a sequence both ways, as the pretraining does"

    def views(self, batch: Anchors) -> Sequence[View]:
        return (self._pretraining[0].masked(batch),)

    def _reduced(self, terms: Tensor, counts: Tensor) -> Tensor:
        """Mean or sum of the terms (T,) that count (T,); 0 where none does."""
        total = torch.where(counts, terms, 0.0).sum()
        return total if self.common.reduction == "sum" else total / counts.sum().clamp(min=1)

    def _above(self, positive: Tensor, negative: Tensor) -> Tensor:
        """(T,) -log sigma of how much one score is above another."""
        if self.common.form == "released":
            positive, negative = torch.sigmoid(positive), torch.sigmoid(negative)
        return F.softplus(negative - positive)


class Mip(Task):
    """Masked items: F_m = W h_m scores above an item that the prefix does not hold."""

    name = "mip"
    settings = MipSettings
    every = True

    def __init__(self, settings: MipSettings, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self._backbone = (context.backbone,)  # in a tuple: not a module of this one

    def _outputs(self, context: Context) -> int:
        with torch.no_grad():
            return item_rows(context.backbone).shape[1]

    def loss(self, batch: Anchors, hidden: Sequence[States]) -> Tensor:
        states, table = hidden[0], item_rows(self._backbone[0])
        prefixes = self._pretraining[0].rows(batch)
        others, there = draw_outside(prefixes, len(table) - 1)  # (B, n), (B,)
        rows, places = states.rows[states.edited], _places(states, prefixes.lengths)[states.edited]  # (M,) each
        found = self.output(states.hidden[states.edited])  # (M, D)
        which = (states.items[states.edited], others[rows, places])
        positive, negative = ((found * F.embedding(items, table)).sum(1) for items in which)
        return self._reduced(self._above(positive, negative), there[rows])


class Sp(Task):
    """Segments: W h of what surrounds a segment scores above another segment with the h of that segment."""

    name = "sp"
    settings = SpSettings

    def views(self, batch: Anchors) -> Sequence[View]:
        return self._pretraining[0].segments(batch)

    def loss(self, batch: Anchors, hidden: Sequence[Tensor]) -> Tensor:
        context, positive, negative = self.output(hidden[0]), hidden[1], hidden[2]  # (B, D) each
        terms = self._above((context * positive).sum(1), (context * negative).sum(1))
        return self._reduced(terms, self._pretraining[0].rows(batch).lengths > 1)


class AttributeTask(Task):
    """Attributes of items, from states at their tokens."""

    every = True

    def __init__(self, settings: PartSettings, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self._attributes = (attributes(context),)

    @classmethod
    def absent(cls, config: Config, dataset: Dataset) -> str:
        if attributes_of(config, dataset):
            return ""
        settings = config.parts.aap
        named = ", ".join(settings.fields or FIELDS)
        return (
            f"no value of {named} is that of {settings.floor} or more items of dataset {dataset.name}, but not of all"
        )

    def _loss(self, states: States, chosen: Tensor) -> Tensor:
        """Of the tokens that are chosen (T,)."""
        terms = self._attributes[0].loss_of(self.output(states.hidden[chosen]), states.items[chosen])
        return self._reduced(terms, torch.ones_like(terms, dtype=torch.bool))


class Aap(AttributeTask):
    """Attributes of the items that are not masked."""

    name = "aap"
    settings = AapSettings

    def loss(self, batch: Anchors, hidden: Sequence[States]) -> Tensor:
        return self._loss(hidden[0], ~hidden[0].edited)


class Map(AttributeTask):
    """Attributes of the items that are masked."""

    name = "map"
    settings = MapSettings

    def loss(self, batch: Anchors, hidden: Sequence[States]) -> Tensor:
        return self._loss(hidden[0], hidden[0].edited)


def _places(states: States, lengths: Tensor) -> Tensor:
    """(T,) the place of each token in its sequence, of `lengths` (B,), from 0."""
    behind = states.last_tokens(len(lengths))[states.rows] - torch.arange(len(states.rows), device=lengths.device)
    return lengths[states.rows] - 1 - behind
