"""Contrast of augmented views with views that two networks learn to make of them (MCLRec, SIGIR 2023).

Legend: B anchors of a batch, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.methods.augmented import augmentation, last_of
from engine.methods.base import Anchors, Context, Encode, Part, States, View
from engine.methods.contrast import contrast
from engine.part_settings import MetaSettings


class Augmenter(nn.Module):
    """A view in the space of hidden states: (B, D) of length 1 from h (B, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half, quarter = max(width // 2, 1), max(width // 4, 1)
        self.layers = nn.Sequential(
            nn.Linear(width, half), nn.GELU(), nn.Linear(half, quarter), nn.GELU(), nn.Linear(quarter, width)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        return F.normalize(self.layers(hidden), dim=1)


class Meta(Part):
    """InfoNCE of each view with the other's learned view and of both learned views, and a margin that keeps the pairs apart."""

    name = "meta"
    settings = MetaSettings
    scales = ("parts.meta.temperature",)
    config: MetaSettings

    def __init__(self, settings: MetaSettings, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self._augmentation = (augmentation(context),)  # in a tuple: not a module of this one
        with torch.no_grad():
            width = context.backbone.table().shape[1]  # that of h, which may be wider than the embeddings
        self.first, self.second = Augmenter(width), Augmenter(width)

    def before_epoch(self, epoch: int, encode: Encode) -> None:
        self._augmentation[0].before_epoch(epoch)

    def views(self, batch: Anchors) -> Sequence[View]:
        return self._augmentation[0].views(batch)

    def loss(self, batch: Anchors, hidden: Sequence[Tensor | States]) -> Tensor:
        z1, z2 = (last_of(view, len(batch)) for view in hidden)
        y1, y2 = self.first(z1), self.second(z2)
        pairs = ((z1, y2), (z2, y1), (y1, y2))
        found = torch.stack([contrast(self.config, batch, *pair, None) for pair in pairs]).sum()
        if self.config.margin == 0:
            return found
        return found + self.config.margin * torch.stack([self._margin(batch, *pair) for pair in pairs]).sum()

    def _margin(self, batch: Anchors, rows: Tensor, partners: Tensor) -> Tensor:
        """How far each row's similarity to its partner is above the largest to a negative, and how far the larger of the two is
        above those to all negatives, each on average; 0 for fewer than two pairs.
        """
        count = len(rows)
        if count < 2:
            return (rows.sum() + partners.sum()) * 0.0
        if self.config.similarity == "cosine":
            rows, partners = F.normalize(rows, dim=1), F.normalize(partners, dim=1)
        both = torch.cat([rows, partners])  # (2B, D)
        logits = both @ both.T / self.config.temperature
        groups = torch.arange(count, device=logits.device) if batch.group_ids is None else batch.group_ids
        negative = (groups[:, None] != groups[None]).repeat(2, 2)
        has_one = negative.any(1)
        positive = (rows * partners).sum(1).repeat(2) / self.config.temperature  # (2B,)
        largest = logits.masked_fill(~negative, -torch.inf).max(1).values
        largest = torch.where(has_one, largest, positive)
        above = (positive - largest).clamp(min=0).sum() / has_one.sum().clamp(min=1)
        spread = torch.where(negative, torch.maximum(positive, largest)[:, None] - logits, 0.0)
        return above + spread.sum() / negative.sum().clamp(min=1)
