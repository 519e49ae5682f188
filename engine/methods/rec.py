"""The recommendation loss L_rec, the first part of every method. Legend: B anchors, K negatives, V items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from engine.errors import ConfigError
from engine.methods.base import ANCHOR, Anchors, Context, Part, View
from engine.models.backbone import Backbone
from engine.models.chunked_loss import items_at_once
from engine.models.losses import (
    binary_cross_entropy,
    corrected_softmax,
    draw_negatives,
    draw_popular,
    generalized_bce,
    sampled_softmax,
)
from engine.part_settings import RecSettings


class Rec(Part):
    """Scores of the target against all items or sampled ones, or the backbone's own loss where it has one (bert4rec, alpharec)."""

    name = "rec"
    sharded = "rows"
    settings = RecSettings
    config: RecSettings
    _sums: Tensor
    """(V + 1,) running sums of training interactions + 1 of items 0..V, without item 0."""

    def __init__(self, settings: RecSettings, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self._backbone = (context.backbone,)  # in a tuple: not a module of this one
        self._items = len(context.dataset.items)
        if settings.loss != "ce" and self._items < 2:
            raise ConfigError("there is no item beside the target to sample", where="parts.rec.loss")
        context.backbone.items_at_once = items_at_once(settings.chunk, self._items)
        if settings.loss == "ss-logq":
            sums = np.cumsum(np.append(0, context.dataset.train_counts[1:] + 1))  # (V + 1,)
            self.register_buffer("_sums", torch.from_numpy(sums), persistent=False)

    @classmethod
    def problem_with(cls, backbone: type[Backbone], settings: RecSettings) -> str:
        own_scores = backbone.scores is not Backbone.scores
        if settings.loss == "ce":
            if settings.chunk and (own_scores or (backbone.has_own_loss and not backbone.own_loss_over_items)):
                return "has no loss over all items that parts.rec.chunk can cut; leave it at 0"
            return ""
        if backbone.has_own_loss:
            return f"has a loss of its own, which parts.rec.loss = {settings.loss} cannot replace; leave it at ce"
        if own_scores and backbone.scores_of is Backbone.scores_of:
            return f"has scores of its own and no scores_of beside them, which parts.rec.loss = {settings.loss} reads"
        return ""

    def views(self, batch: Anchors) -> Sequence[View]:
        return () if self._backbone[0].has_own_loss else (batch.view(key=ANCHOR),)

    def loss(self, batch: Anchors, hidden: Sequence[Tensor]) -> Tensor:
        backbone = self._backbone[0]
        if backbone.has_own_loss:
            packed = batch.windows.pack(batch.ids, batch.targets.device)
            return backbone.loss_of_anchors(packed, batch.targets, batch.ids)
        if self.config.loss == "ce":
            return backbone.cross_entropy(hidden[0], batch.targets)
        count, log_q = self.config.negatives, None
        if self.config.loss == "ss-logq":
            drawn, log_q = draw_popular(batch.targets, count, sums=self._sums)  # (B, K)
        else:
            drawn = draw_negatives(batch.targets, count, items=self._items)  # (B, K)
        scores = backbone.scores_of(hidden[0], torch.cat([batch.targets[:, None], drawn], 1))
        positive, negatives = scores[:, 0], scores[:, 1:]
        if log_q is not None:
            return corrected_softmax(positive, negatives, log_q)
        if self.config.loss == "bce":
            return binary_cross_entropy(positive, negatives)
        if self.config.loss == "ss":
            return sampled_softmax(positive, negatives)
        return generalized_bce(positive, negatives, items=self._items, t=self.config.gbce_t)
