"""The recommendation loss L_rec, the first part of every method."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from engine.methods.base import ANCHOR, Anchors, Context, Part, View
from engine.models.losses import recommendation_loss
from engine.part_settings import RecSettings


class Rec(Part):
    """Cross-entropy of the target among all items, or the backbone's own loss where it has one (BERT4Rec)."""

    name = "rec"
    settings = RecSettings

    def __init__(self, settings: RecSettings, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self._backbone = (context.backbone,)  # in a tuple: not a module of this one

    def views(self, batch: Anchors) -> Sequence[View]:
        return () if self._backbone[0].has_own_loss else (batch.view(key=ANCHOR),)

    def loss(self, batch: Anchors, hidden: Sequence[Tensor]) -> Tensor:
        backbone = self._backbone[0]
        if backbone.has_own_loss:
            return backbone.loss(batch.windows.pack(batch.ids, batch.targets.device), batch.targets)
        return recommendation_loss(backbone.scores(hidden[0]), batch.targets)
