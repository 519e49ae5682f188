"""SRA-CL: contrasts between a user and the synthesized sample of its neighbors, and between two views of its sequence
(paper sections 3.3 to 3.5).

Legend: B anchors, K neighbors, T packed tokens, S semantic size, D width, V items, A anchors of the dataset.

A neighbor whose weight is exactly 0 (dropped by weight dropout, or not picked) adds nothing to the sample and gets no
gradient, so it is not encoded: values and gradients are those of encoding every neighbor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.config import LossConfig
from engine.data.batching.windows import Windows
from engine.data.dataset import Dataset
from engine.evaluation.geometry import entropy_spread
from engine.events import Event, WeightsSampled, WeightsSeen
from engine.method_table import PARTS
from engine.methods.base import Anchors, Context, Part, Tokens, View
from engine.methods.semantics import Semantics
from engine.models.backbone import Backbone, weight_of
from engine.models.cpu import gathered
from engine.models.losses import info_nce
from engine.models.synthesizers import Synthesizer, build_synthesizer

AT_ONCE = 2048
"""Owners whose weights are computed together."""
PROBE_ANCHORS = 256
"""Anchors, at most, whose synthesizer weights are measured after every epoch."""
SYNTHESIZER = "synthesizer"
"""Name of the synthesizer among what parts share, and of its tensors in checkpoints."""


@dataclass(frozen=True)
class AllNeighbors:
    """Every neighbor of B anchors, those of weight 0 too, so that the number of sequences is always B x K."""

    ids: Tensor
    """(B * K,) anchor ids; 0 where an anchor has fewer neighbors."""
    weights: Tensor
    """(B, K)"""

    def synthesize(self, encoded: Tensor) -> Tensor:
        """h+ (B, D) from h of the neighbors (B * K, D)."""
        return (self.weights[:, :, None] * encoded.view(*self.weights.shape, -1)).sum(1)


@dataclass(frozen=True)
class SomeNeighbors:
    """M of the neighbors of B anchors: those that count."""

    ids: Tensor
    """(M,) anchor ids, on the CPU."""
    weights: Tensor
    """(B, K)"""
    rows: Tensor
    columns: Tensor
    """(M,) each: where in `weights` a neighbor stands."""

    def synthesize(self, encoded: Tensor) -> Tensor:
        """h+ (B, D) from h of the neighbors (M, D)."""
        weighted = self.weights[self.rows, self.columns][:, None] * encoded
        return weighted.new_zeros(len(self.weights), weighted.shape[1]).index_add(0, self.rows, weighted)


class Synthesis:
    """Semantics and the synthesizer that weighs them: what both contrasts read, and what the Inspector shows."""

    def __init__(self, semantics: Semantics, synthesizer: Synthesizer, dataset: Dataset) -> None:
        self.semantics, self.synthesizer, self.dataset = semantics, synthesizer, dataset

    def neighbor_weights(self, anchor_ids: Tensor) -> Tensor:
        """p (B, K) for anchors (ids on the semantics' device); zeros where a neighbor is missing."""
        semantics = self.semantics
        neighbors = semantics.neighbors[anchor_ids].long()  # (B, K)
        rows = semantics.user_rows
        vectors = semantics.user_vectors[rows[neighbors]]  # (B, K, S)
        own = semantics.user_vectors[rows[anchor_ids]]  # (B, S)
        return self.synthesizer(own, vectors, semantics.similarity[anchor_ids], neighbors > 0)

    def item_weights(self, items: Tensor) -> Tensor:
        """p (M, K') of the substitutes of items (M,), by the same scorer."""
        semantics = self.semantics
        substitutes = semantics.substitutes[items]
        vectors = semantics.item_vectors[substitutes]  # (M, K', S)
        return self.synthesizer(
            semantics.item_vectors[items], vectors, semantics.item_similarity[items], substitutes > 0
        )

    @torch.no_grad()
    def user_table(self, anchor_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Neighbor ids (B, K) of anchors (B,), 0 where there are fewer, and their weights (B, K) without dropout."""
        self.synthesizer.eval()
        ids = torch.from_numpy(anchor_ids).to(self.semantics.neighbors.device)
        weights = gathered(map(self.neighbor_weights, ids.split(AT_ONCE)), len(ids))
        return self.semantics.neighbors[ids].cpu().numpy().astype(np.int64), weights.cpu().numpy()

    @torch.no_grad()
    def item_table(self, item_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids of the substitutes (M, K') of items (M,), 0 where there are fewer, and their weights (M, K') without dropout."""
        self.synthesizer.eval()
        ids = torch.from_numpy(item_ids).to(self.semantics.substitutes.device)
        weights = gathered(map(self.item_weights, ids.split(AT_ONCE)), len(ids))
        return self.semantics.substitutes[ids].cpu().numpy().astype(np.int64), weights.cpu().numpy()

    def similarity(self, anchor_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Similarity (B, K) of anchors (B,) to their neighbors."""
        ids = torch.from_numpy(anchor_ids).to(self.semantics.similarity.device)
        return self.semantics.similarity[ids].cpu().numpy()

    @torch.no_grad()
    def samples(self, backbone: Backbone, anchor_ids: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
        """h (B, D) and h+ (B, D) of anchors, without dropout."""
        self.synthesizer.eval()
        backbone.eval()
        device = weight_of(backbone).device
        weights = self.neighbor_weights(anchor_ids.to(device))
        ids = self.semantics.neighbors[anchor_ids.to(device)].long()  # (B, K)
        neighbors = _some(ids, weights, ids > 0)
        hidden = backbone(windows.pack(torch.cat([anchor_ids, neighbors.ids]), device))
        return hidden[: len(anchor_ids)], neighbors.synthesize(hidden[len(anchor_ids) :])


def _synthesis(context: Context) -> Synthesis:
    """What the parts share, built by the first of them."""
    semantics = context.semantics
    if semantics is None:
        raise ValueError("alpha or beta is above 0, but there are no semantics")

    def make() -> Synthesizer:
        size = semantics.user_vectors.shape[1]
        return build_synthesizer(context.config.synthesizer, size=size, width=context.config.model.width)

    synthesizer = context.share(SYNTHESIZER, make)
    return context.share("synthesis", lambda: Synthesis(semantics, synthesizer, context.dataset))


def _contrast(loss: LossConfig, anchors: Tensor, positives: Tensor, group_ids: Tensor | None) -> Tensor:
    symmetric = loss.direction == "symmetric"
    return info_nce(anchors, positives, temperature=loss.temperature, symmetric=symmetric, group_ids=group_ids)


class Inter(Part):
    """L_CS: h of another dropout pass against h+, the weighted sum of its neighbors' h (paper section 3.3)."""

    name = "inter"
    sharded = "batch"
    needs = PARTS["inter"].needs
    scales = ("loss.temperature",)

    def __init__(self, settings: Any, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self._loss = context.config.loss
        self._synthesis = _synthesis(context)
        semantics = self._synthesis.semantics
        alone = (semantics.neighbors[:, 0] == 0) & (semantics.user_rows > 0)
        self._has_isolated_anchors = bool(alone.any())  # L_CS leaves anchors without any neighbor out

    def views(self, batch: Anchors) -> Sequence[View]:
        synthesis = self._synthesis
        ids = batch.ids.to(synthesis.semantics.neighbors.device)
        weights = synthesis.neighbor_weights(ids)  # (B, K)
        neighbors = synthesis.semantics.neighbors[ids].long()
        if batch.windows.static_shapes:
            chosen: AllNeighbors | SomeNeighbors = AllNeighbors(neighbors.flatten(), weights)
        else:
            chosen = _some(neighbors, weights, weights.detach() != 0)
        batch.notes[self.name] = chosen, neighbors
        return batch.view(), batch.view(chosen.ids)

    def loss(self, batch: Anchors, hidden: Sequence[Tensor]) -> Tensor:
        chosen, neighbors = batch.notes[self.name]
        anchors, samples, group_ids = hidden[0], chosen.synthesize(hidden[1]), batch.group_ids
        if self._has_isolated_anchors or not batch.windows.static_shapes:  # selecting rows makes a GPU wait
            kept = (neighbors > 0).any(1)
            anchors, samples = anchors[kept], samples[kept]
            group_ids = None if group_ids is None else group_ids[kept]
        return _contrast(self._loss, anchors, samples, group_ids)

    def seen(self, phase: str, *, epoch: int, step: int) -> Iterable[Event]:
        """The weights of the anchors that represent users; after an epoch their entropy, of a sample of these anchors."""
        ids = self._synthesis.dataset.anchors.representing
        if phase == "epoch":
            neighbors, weights = self._synthesis.user_table(ids[:: -(-len(ids) // PROBE_ANCHORS)])
            spread = entropy_spread(weights, neighbors > 0)
            if spread is not None:
                entropy, low, high = spread
                yield WeightsSeen(epoch=epoch, step=step, entropy=entropy, low=low, high=high)
            return
        neighbors, weights = self._synthesis.user_table(ids)
        rows, columns = np.nonzero(neighbors)
        yield WeightsSampled(
            phase=phase,
            epoch=epoch,
            step=step,
            columns={
                "anchor_id": ids[rows],
                "neighbor_id": neighbors[rows, columns],
                "weight": weights[rows, columns],
            },
        )


class Intra(Part):
    """L_IS: two views of a sequence in which items are swapped for substitutes (paper section 3.4)."""

    name = "intra"
    sharded = "batch"
    needs = PARTS["intra"].needs
    scales = ("loss.temperature",)

    def __init__(self, settings: Any, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self._loss = context.config.loss
        self._drawn = context.config.synthesizer.item_kind == "draw"
        self._synthesis = _synthesis(context)

    def views(self, batch: Anchors) -> Sequence[View]:
        return batch.view(edit=self._swap), batch.view(edit=self._swap)

    def loss(self, batch: Anchors, hidden: Sequence[Tensor]) -> Tensor:
        return _contrast(self._loss, hidden[0], hidden[1], batch.group_ids)

    def _swap(self, tokens: Tokens) -> Tokens:
        """Each item of the views is swapped with probability `loss.swap`."""
        semantics = self._synthesis.semantics
        counts = (semantics.substitutes > 0).sum(1)[tokens.items]  # (T,)
        count, device = len(tokens.items), tokens.items.device
        swapped = tokens.mine & (torch.rand(count, device=device) < self._loss.swap) & (counts > 0)
        if self._drawn:
            draw = (torch.rand(count, device=device) * counts).long()
            items = torch.where(swapped, semantics.substitutes[tokens.items, draw], tokens.items)
            return replace(tokens, items=items)
        old = tokens.items[swapped]  # (M,)
        substitutes = tokens.embedding(semantics.substitutes[old])  # (M, K', D)
        synthesized = (self._synthesis.item_weights(old)[:, :, None] * substitutes).sum(1)  # (M, D)
        vectors = torch.index_put(tokens.embedded(), (swapped.nonzero()[:, 0],), synthesized)
        return replace(tokens, vectors=vectors)


def _some(neighbors: Tensor, weights: Tensor, mask: Tensor) -> SomeNeighbors:
    """The neighbors (B, K) with these weights where `mask` (B, K) is true."""
    rows, columns = mask.nonzero(as_tuple=True)
    return SomeNeighbors(neighbors[rows, columns].cpu(), weights, rows, columns)
