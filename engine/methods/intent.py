"""Contrast of a sequence with the intent that it belongs to: the centroid of its cluster (ICSRec, WSDM 2024; ICLRec, WWW 2022).

Legend: B anchors of a batch, N training anchors, C clusters, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.data.dataset import TRAIN
from engine.methods.augmented import Augmentation, augmentation, last_of
from engine.methods.base import ANCHOR, Anchors, Context, Encode, Part, States, View
from engine.methods.contrast import contrast
from engine.methods.kmeans import kmeans, nearest
from engine.methods.same_target import same_target_pairs
from engine.part_settings import IntentSettings

ITERATIONS = 20
"""Of k-means, as in the released codes."""


class Intent(Part):
    """InfoNCE of two views and the normalized centroids of their intents; centroids are those of h before the epoch.

    With the pair of `same_target` each view has the intent of its own h, and both terms are added (ICSRec). With that of
    `augmented` both views have the intent of the prefix itself, and the terms are averaged (ICLRec).
    """

    name = "intent"
    settings = IntentSettings
    scales = ("parts.intent.temperature",)
    config: IntentSettings
    centroids: Tensor
    """(C, D)"""
    sizes: Tensor
    """(C,) training prefixes in each cluster before the epoch."""

    def __init__(self, settings: IntentSettings, *, context: Context) -> None:
        super().__init__(settings, context=context)
        augmented = settings.pair == "augmented"
        # In a tuple: not a module of this one.
        self._augmentation: tuple[Augmentation, ...] = (augmentation(context),) if augmented else ()
        self._pairs = None if augmented else same_target_pairs(context)
        self._train_ids = torch.from_numpy(context.dataset.anchors.ids(TRAIN))
        self._seed = context.config.train.seed
        with torch.no_grad():
            width = context.backbone.table().shape[1]  # that of h, which may be wider than the embeddings
        self.register_buffer("centroids", torch.zeros(settings.clusters, width))
        self.register_buffer("sizes", torch.zeros(settings.clusters, dtype=torch.long))

    def before_epoch(self, epoch: int, encode: Encode) -> None:
        """Cluster h of all training prefixes."""
        for views in self._augmentation:
            views.before_epoch(epoch)
        generator = torch.Generator().manual_seed(
            self._seed * 1_000_003 - epoch
        )  # the order of the batches has + epoch
        hidden = encode(self._train_ids)  # (N, D)
        centroids, labels = kmeans(hidden, len(self.sizes), iterations=ITERATIONS, generator=generator)
        self.centroids.copy_(centroids)
        self.sizes.copy_(torch.bincount(labels, minlength=len(self.sizes)))

    def views(self, batch: Anchors) -> Sequence[View]:
        if self._pairs is not None:
            return self._pairs.views(batch)
        return (batch.view(key=ANCHOR), *self._augmentation[0].views(batch))

    def loss(self, batch: Anchors, hidden: Sequence[Tensor | States]) -> Tensor:
        rows = [last_of(view, len(batch)) for view in hidden]
        if self._pairs is not None:
            return torch.stack([self._term(batch, view, self.intents_of(view)) for view in rows]).sum()
        own, *views = rows
        intents = self.intents_of(own)
        return torch.stack([self._term(batch, view, intents) for view in views]).mean()

    def intents_of(self, hidden: Tensor) -> Tensor:
        """(B,) number of the cluster nearest to each h (B, D)."""
        return nearest(hidden.detach(), self.centroids)

    def _term(self, batch: Anchors, rows: Tensor, intents: Tensor) -> Tensor:
        centroids = F.normalize(self.centroids, dim=1)[intents]  # (B, D)
        return contrast(self.config, batch, rows, centroids, intents if self.config.kin else None)

    def metrics(self) -> Mapping[str, float]:
        """Share of clusters without a prefix, share of prefixes in the largest one, and how many clusters of equal size would
        have the same entropy.
        """
        shares = self.sizes.double() / self.sizes.sum().clamp(min=1)
        return {
            "intent_empty": float((self.sizes == 0).double().mean()),
            "intent_largest": float(shares.max()),
            "intent_effective": float(torch.exp(-torch.special.xlogy(shares, shares).sum())),
        }
