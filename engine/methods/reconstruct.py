"""Texts reconstructed from masked sequences (RLMRec-Gen, WWW 2024, carried over to sequences).

Legend: B anchors of a batch, n the window, M masked items of them, S semantic size, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from engine.method_table import PARTS
from engine.methods.augmented import Masking
from engine.methods.base import ANCHOR, Anchors, Context, Part, States, View
from engine.methods.operators import Rows
from engine.methods.text_alignment import Projection, Texts, match
from engine.models.backbone import Backbone, input_width
from engine.part_settings import ReconstructSettings


class Reconstruct(Part):
    """Masks items of the pass that L_rec reads; one-way InfoNCE of projected h, and of projected states at masked items, and texts."""

    name = "reconstruct"
    sharded = "batch"
    needs = PARTS["reconstruct"].needs
    settings = ReconstructSettings
    scales = ("parts.reconstruct.temperature",)
    every = True
    sequence_mode = (
        "it masks items of a prefix, and prefixes that share a window would share the masks and the states there"
    )
    config: ReconstructSettings

    def __init__(self, settings: ReconstructSettings, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self._texts = Texts(context)
        with torch.no_grad():
            width = context.backbone.table().shape[1]  # that of h, which may be wider than the embeddings
        self.projection = Projection(width, self._texts.size)
        self.mask = nn.Parameter(torch.zeros(input_width(context.backbone)))

    @classmethod
    def problem_with(cls, backbone: type[Backbone], settings: ReconstructSettings) -> str:
        return "has a loss of its own, which reads no items that are masked here" if backbone.has_own_loss else ""

    def views(self, batch: Anchors) -> Sequence[View]:
        if self.name not in batch.notes:
            rows = Rows.of(*batch.windows.aligned(batch.ids))
            masked = torch.rand(rows.items.shape, device=rows.items.device) < self.config.mask  # (B, n)
            batch.notes[self.name] = batch.view(
                key=ANCHOR, read="edited", edit=Masking(replace(rows, masked=masked), self.mask)
            )
        return (batch.notes[self.name],)

    def loss(self, batch: Anchors, hidden: Sequence[States]) -> Tensor:
        (states,) = hidden
        edited = states.edited.nonzero()[:, 0]  # (M,)
        items = states.items[edited]
        projected = self.projection(states.hidden)  # (R, S): of a last item that is masked, once
        last, masked = (projected.index_select(0, tokens) for tokens in (states.last_tokens(len(batch)), edited))
        own, has_own = self._texts.of_prefixes(batch.ids)
        texts, has_text = self._texts.of_items(items)
        temperature = self.config.temperature
        return match(last, own, has_own, temperature=temperature) + match(
            masked, texts, has_text, temperature=temperature, group_ids=items
        )

    def metrics(self) -> Mapping[str, float]:
        """Training prefixes, and items of training sequences, that have no text and stay out of the loss."""
        return self._texts.metrics(self.name)
