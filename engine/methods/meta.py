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
from engine.models.losses import paired_loss
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
    sharded = "batch"
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
        return torch.stack([self._loss_of(batch, *pair) for pair in pairs]).sum()

    def _loss_of(self, batch: Anchors, rows: Tensor, partners: Tensor) -> Tensor:
        """InfoNCE of a pair and its margin, by the same logits; 0 for fewer than two rows."""
        if len(rows) < 2 or self.config.margin == 0:
            return contrast(self.config, batch, rows, partners, None)
        if self.config.similarity == "cosine":
            rows, partners = F.normalize(rows, dim=1), F.normalize(partners, dim=1)
        temperature, kin = self.config.temperature, batch.group_ids
        found, log_shares, partner = paired_loss(rows, partners, temperature=temperature, group_ids=kin)
        both, theirs = torch.cat([rows, partners]), torch.cat([partners, rows])
        margin = _margin(both, theirs, log_shares, partner, temperature, every=kin is None)
        return found + self.config.margin * margin


def _margin(
    rows: Tensor, partners: Tensor, log_shares: Tensor, partner: Tensor, temperature: float, *, every: bool
) -> Tensor:
    """How far each row's similarity to its partner is above the largest to a negative, and how far the larger of the two is
    above those to all negatives, each on average.

    Its gradient goes through the rows alone, as the largest of a row is one product and the sum over negatives needs no single one.

    Args:
        rows: (2B, D)
        partners: (2B, D), that of row b the row `partner[b]`.
        log_shares: (2B, 2B) as of `paired_loss`, which are in a row's order of similarity.
        every: whether all rows but itself and its partner are negatives of a row.
    """
    negatives = log_shares.scatter(1, partner[:, None], -torch.inf)
    largest, which = negatives.max(1)
    has_one = largest.isfinite()  # (2B,)
    positive = (rows * partners).sum(1) / temperature  # (2B,)
    largest = torch.where(has_one, (rows * rows.index_select(0, which)).sum(1) / temperature, positive)
    above = (positive - largest).clamp(min=0).sum() / has_one.sum().clamp(min=1)
    if every:
        sums, counts = rows.sum(0) - rows - partners, rows.new_full((len(rows),), len(rows) - 2)
    else:
        negative = negatives.isfinite().to(rows.dtype)
        sums, counts = negative @ rows, negative.sum(1)  # (2B, D), (2B,)
    others = (rows * sums).sum() / temperature  # all similarities to negatives
    return above + ((torch.maximum(positive, largest) * counts).sum() - others) / counts.sum().clamp(min=1)
