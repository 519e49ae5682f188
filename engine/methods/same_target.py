"""Contrast of a training prefix with another one that has the same target (DuoRec, WSDM 2022; ICSRec, WSDM 2024).

Legend: B anchors of a batch, N training anchors, A anchors of the dataset, V items, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.methods.base import Anchors, Context, Part, View
from engine.methods.contrast import contrast
from engine.part_settings import SameTargetSettings

PAIR = ("same_target.anchor", "same_target.positive")
"""Keys of the two passes: the prefix once more, and the prefix with the same target."""


class SameTargetIndex:
    """The training prefixes in order of their targets, those of one target by id: one is drawn in constant time."""

    def __init__(self, windows: Windows, train_ids: Tensor) -> None:
        """Of training anchors (N,), each once."""
        targets = windows.targets  # (A + 1,)
        ids = train_ids.to(targets.device).sort().values
        order = torch.argsort(targets[ids], stable=True)
        self._ids = ids[order]  # (N,)
        counts = torch.bincount(targets[ids])  # (V + 1,)
        firsts = counts.cumsum(0) - counts
        self._counts = torch.ones_like(targets)
        self._firsts, self._places = torch.zeros_like(targets), torch.zeros_like(targets)  # (A + 1,)
        sorted_targets = targets[self._ids]
        self._counts[self._ids] = counts[sorted_targets]
        self._firsts[self._ids] = firsts[sorted_targets]
        self._places[self._ids] = torch.arange(len(ids), device=ids.device) - firsts[sorted_targets]

    def draw(self, anchor_ids: Tensor) -> Tensor:
        """For training anchors (B,) another one with the same target (B,), each as likely; the anchor where there is none."""
        others = self._counts[anchor_ids] - 1
        drawn = (torch.rand(len(anchor_ids), device=anchor_ids.device) * others).long()
        drawn = torch.minimum(drawn, (others - 1).clamp(min=0))  # float32 can round up to `others`
        return self._other(anchor_ids, drawn)

    def last(self, anchor_ids: Tensor) -> Tensor:
        """For training anchors (B,) the last other one with the same target (B,) by id; the anchor where there is none."""
        return self._other(anchor_ids, (self._counts[anchor_ids] - 2).clamp(min=0))

    def _other(self, anchor_ids: Tensor, number: Tensor) -> Tensor:
        """The prefix with a number among the others of the anchor's target."""
        skipped = (number >= self._places[anchor_ids]) & (self._counts[anchor_ids] > 1)
        return self._ids[self._firsts[anchor_ids] + number + skipped]


class SameTargetPairs:
    """The two views of a batch, made once for all parts that read them."""

    def __init__(self, context: Context) -> None:
        train_ids = torch.from_numpy(context.dataset.anchors.ids(TRAIN))
        self._index = SameTargetIndex(context.windows, train_ids)
        settings = context.config.parts.same_target
        self._last = settings.positive == "last" and SameTarget.name in context.config.active

    def views(self, batch: Anchors) -> tuple[View, View]:
        """The batch again, and for each of its prefixes another one with the same target: a random one where the part that
        sets it is off.
        """
        if SameTarget.name not in batch.notes:
            positives = self._index.last(batch.ids) if self._last else self._index.draw(batch.ids)
            own, other = PAIR
            batch.notes[SameTarget.name] = batch.view(key=own), batch.view(positives, key=other)
        return batch.notes[SameTarget.name]


def same_target_pairs(context: Context) -> SameTargetPairs:
    """What the parts that read these views share."""
    return context.share("same_target_pairs", lambda: SameTargetPairs(context))


class SameTarget(Part):
    """InfoNCE of h of another dropout pass and h of a prefix with the same target (DuoRec's `us_x`)."""

    name = "same_target"
    sharded = "batch"
    settings = SameTargetSettings
    scales = ("parts.same_target.temperature",)

    def __init__(self, settings: SameTargetSettings, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self._pairs = same_target_pairs(context)

    def views(self, batch: Anchors) -> Sequence[View]:
        return self._pairs.views(batch)

    def loss(self, batch: Anchors, hidden: Sequence[Tensor]) -> Tensor:
        return contrast(self.config, batch, hidden[0], hidden[1], batch.targets if self.config.kin else None)
