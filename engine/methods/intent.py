"""Contrast of a sequence with the intent that it belongs to: the centroid of its cluster (ICSRec, WSDM 2024; ICLRec, WWW 2022).

Legend: B anchors of a batch, N training anchors, C clusters, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.data.dataset import TRAIN
from engine.methods.augmented import Augmentation, augmentation, last_of, mean_of
from engine.methods.base import ANCHOR, Anchors, Context, Encode, Part, States, View
from engine.methods.contrast import contrast
from engine.methods.encoding import encode_views
from engine.methods.kmeans import kmeans, nearest
from engine.methods.same_target import same_target_pairs
from engine.models.backbone import Backbone
from engine.part_settings import IntentSettings

AT_ONCE = 2048
"""Prefixes that are encoded together for their means."""
ITERATIONS = 20
"""Of k-means, as in the released codes."""


class Intent(Part):
    """InfoNCE of two views and the normalized centroids of their intents; centroids are those of h before the epoch.

    With the pair of `same_target` each view has the intent of its own h, and both terms are added (ICSRec). With that of
    `augmented` both views have the intent of the prefix itself, and the terms are averaged (ICLRec); there the mean of the states
    at all items may stand in for h throughout.
    """

    name = "intent"
    sharded = "batch"
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
        self._mean = settings.representation == "mean"
        for views in self._augmentation if self._mean else ():
            views.read_every()
        self._backbone, self._windows = (context.backbone,), context.windows
        self._train_ids = torch.from_numpy(context.dataset.anchors.ids(TRAIN))
        self._seed = context.config.train.seed
        with torch.no_grad():
            width = context.backbone.table().shape[1]  # that of h, which may be wider than the embeddings
        self.register_buffer("centroids", torch.zeros(settings.clusters, width))
        self.register_buffer("sizes", torch.zeros(settings.clusters, dtype=torch.long))

    @classmethod
    def problem_with(cls, backbone: type[Backbone], settings: IntentSettings) -> str:
        if settings.representation == "mean" and not backbone.causal:
            return "cannot give the states at every item that parts.intent.representation = mean averages"
        return ""

    def before_epoch(self, epoch: int, encode: Encode) -> None:
        """Cluster h, or the means, of all training prefixes."""
        for views in self._augmentation:
            views.before_epoch(epoch)
        generator = torch.Generator().manual_seed(
            self._seed * 1_000_003 - epoch
        )  # the order of the batches has + epoch
        hidden = self._means(self._train_ids) if self._mean else encode(self._train_ids)  # (N, D)
        centroids, labels = kmeans(hidden, len(self.sizes), iterations=ITERATIONS, generator=generator)
        self.centroids.copy_(centroids)
        self.sizes.copy_(torch.bincount(labels, minlength=len(self.sizes)))

    def views(self, batch: Anchors) -> Sequence[View]:
        if self._pairs is not None:
            return self._pairs.views(batch)
        if not self._mean:
            own = batch.view(key=ANCHOR)
        elif batch.windows.shared:  # whose pass shows more than the prefix
            own = batch.view(read="every", grad=False)
        else:
            own = batch.view(read="every", key=ANCHOR)
        return (own, *self._augmentation[0].views(batch))

    def loss(self, batch: Anchors, hidden: Sequence[Tensor | States]) -> Tensor:
        count, window = len(batch), batch.windows.max_length
        rows = [mean_of(view, count, window) if self._mean else last_of(view, count) for view in hidden]
        if self._pairs is not None:
            return torch.stack([self._term(batch, view, self.intents_of(view)) for view in rows]).sum()
        own, *views = rows
        intents = self.intents_of(own)
        return torch.stack([self._term(batch, view, intents) for view in views]).mean()

    def _means(self, ids: Tensor) -> Tensor:
        """(N, D) means of the states at all items of anchors (N,), without dropout and gradient."""
        backbone, windows = self._backbone[0], self._windows
        training = backbone.training
        backbone.eval()
        found: list[Tensor] = []
        for part in ids.split(AT_ONCE):
            (states,) = encode_views(backbone, [View(part, read="every")], windows, grad=False)
            found.append(mean_of(states, len(part), windows.max_length))
        backbone.train(training)
        return torch.cat(found)

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
