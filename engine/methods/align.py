"""Alignment of hidden states and items with their texts (RLMRec-Con, WWW 2024, carried over to sequences).

Legend: B anchors of a batch, S semantic size, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from engine.method_table import PARTS
from engine.methods.base import ANCHOR, Anchors, Context, Part, View
from engine.methods.text_alignment import Projection, Texts, first_of_each, match
from engine.part_settings import AlignSettings


class Align(Part):
    """One-way InfoNCE of h and of the target's embedding against their projected texts, in the pass that L_rec reads."""

    name = "align"
    sharded = "batch"
    needs = PARTS["align"].needs
    settings = AlignSettings
    scales = ("parts.align.temperature",)
    config: AlignSettings

    def __init__(self, settings: AlignSettings, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self._backbone = (context.backbone,)  # in a tuple: not a module of this one
        self._texts = Texts(context)
        with torch.no_grad():
            width = context.backbone.table().shape[1]  # that of h, which may be wider than the embeddings
        self.projection = Projection(self._texts.size, width)

    def views(self, batch: Anchors) -> Sequence[View]:
        return (batch.view(key=ANCHOR),)

    def loss(self, batch: Anchors, hidden: Sequence[Tensor]) -> Tensor:
        targets, temperature = batch.targets, self.config.temperature
        own, has_own = self._texts.of_prefixes(batch.ids)
        target, has_target = self._texts.of_items(targets)
        projected = self.projection(torch.cat([own, target]))  # (2B, D)
        users, items = projected.split(len(batch))
        embedded = self._backbone[0].table()[targets - 1]
        once = first_of_each(targets)
        return match(hidden[0], users, has_own, temperature=temperature, group_ids=batch.group_ids) + match(
            embedded, items, once & has_target, temperature=temperature
        )

    def metrics(self) -> Mapping[str, float]:
        """Training prefixes, and items of training sequences, that have no text and stay out of the loss."""
        return self._texts.metrics(self.name)
