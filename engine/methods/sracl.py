"""SRA-CL: the backbone, the synthesizer, and the contrasts between them (paper sections 3.3 to 3.5).

Legend: B anchors, K neighbors, T packed tokens, S semantic size, D width, V items, A anchors of the dataset.

All sequences of a step (the recommendation pass, the second dropout pass, the neighbors, the two views) go through the backbone
together. A neighbor whose weight is exactly 0 (dropped by weight dropout, or not picked) adds nothing to the sample and gets no
gradient, so it is not encoded: values and gradients are those of encoding every neighbor.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from engine.config import Config
from engine.data.batching.windows import Batch, Packed, Windows
from engine.models.losses import info_nce, recommendation_loss
from engine.models.registry import build_backbone
from engine.models.synthesizers import Synthesizer, build_synthesizer


@dataclass(frozen=True)
class Semantics:
    """Vectors and neighbor lists of the offline stages (paper sections 3.2.1 and 3.2.2), by id; row 0 stands for none."""

    user_vectors: Tensor
    """(R, S) semantic vectors of anchors."""
    user_rows: Tensor
    """(A + 1,) row of each anchor in `user_vectors`."""
    neighbors: Tensor
    """(A + 1, K) anchor ids of the neighbors, most similar first; 0 where there are fewer."""
    similarity: Tensor
    """(A + 1, K) their similarity."""
    item_vectors: Tensor
    """(V + 1, S) semantic vectors of items."""
    substitutes: Tensor
    """(V + 1, K') item ids of the substitutes, most similar first; 0 where there are fewer."""
    item_similarity: Tensor
    """(V + 1, K') their similarity."""

    def to(self, device: torch.device | str) -> Semantics:
        """The same on another device."""
        return Semantics(**{name: tensor.to(device) for name, tensor in vars(self).items()})


@dataclass(frozen=True)
class Losses:
    """L of one step and its terms, as scalars on the device; a term that is switched off is 0."""

    total: Tensor
    rec: Tensor
    """L_rec."""
    inter: Tensor
    """L_CS, the contrast between users."""
    intra: Tensor
    """L_IS, the contrast between two views of a user's sequence."""


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


class SRACL(nn.Module):
    """All trained parameters; recommending needs those of `backbone` alone."""

    def __init__(self, config: Config, *, items: int, semantics: Semantics | None) -> None:
        """A model of V items, initialized from torch's global generator.

        Raises:
            ValueError: a contrast is on and there are no semantics.
            ConfigError: the backbone cannot be built.
        """
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.model, items=items, max_length=config.data.max_length)
        self.semantics = semantics
        self.synthesizer = None
        self._has_isolated_anchors = False  # anchors without any neighbor: L_CS leaves them out
        if semantics is not None:
            size = semantics.user_vectors.shape[1]
            neighbors = semantics.neighbors[semantics.user_rows > 0]
            self._has_isolated_anchors = bool((neighbors == 0).all(1).any())
            self.synthesizer = build_synthesizer(config.synthesizer, size=size, width=config.model.width)
        elif config.contrasts:
            raise ValueError("alpha or beta is above 0, but there are no semantics")

    def neighbor_weights(self, anchor_ids: Tensor) -> Tensor:
        """p (B, K) for anchors (ids on the semantics' device); zeros where a neighbor is missing."""
        semantics, synthesizer = self._semantic_parts()
        neighbors = semantics.neighbors[anchor_ids]  # (B, K)
        rows = semantics.user_rows
        vectors = semantics.user_vectors[rows[neighbors]]  # (B, K, S)
        own = semantics.user_vectors[rows[anchor_ids]]  # (B, S)
        return synthesizer(own, vectors, semantics.similarity[anchor_ids], neighbors > 0)

    def item_weights(self, items: Tensor) -> Tensor:
        """p (M, K') of the substitutes of items (M,), by the same scorer."""
        semantics, synthesizer = self._semantic_parts()
        substitutes = semantics.substitutes[items]
        vectors = semantics.item_vectors[substitutes]  # (M, K', S)
        return synthesizer(semantics.item_vectors[items], vectors, semantics.item_similarity[items], substitutes > 0)

    def losses(self, anchor_ids: Tensor, windows: Windows) -> Losses:
        """L = L_rec + alpha L_CS + beta L_IS of a batch of training anchors (B,)."""
        loss = self.config.loss
        device = self.backbone.item_embedding.weight.device
        targets = windows.targets[anchor_ids].to(device)
        group_ids = windows.group_ids(anchor_ids)
        group_ids = None if group_ids is None else group_ids.to(device)
        neighbors = self._neighbors(anchor_ids.to(device), windows) if loss.alpha > 0 else None
        passes: dict[str, Tensor] = {}
        if not self.backbone.has_own_loss:
            passes["recommendation"] = anchor_ids
        if neighbors is not None:
            passes |= {"anchors": anchor_ids, "neighbors": neighbors.ids}
        views = {"view 1": anchor_ids, "view 2": anchor_ids} if loss.beta > 0 else {}
        hidden = self._encode(passes, views, windows)

        if self.backbone.has_own_loss:
            rec = self.backbone.loss(windows.pack(anchor_ids, device), targets)
        else:
            rec = recommendation_loss(self.backbone.scores(hidden["recommendation"]), targets)
        inter = intra = torch.zeros((), device=device, dtype=rec.dtype)
        if neighbors is not None:
            inter = self._inter(
                anchor_ids, hidden["anchors"], neighbors.synthesize(hidden["neighbors"]), group_ids, windows
            )
        if views:
            intra = self._contrast(hidden["view 1"], hidden["view 2"], group_ids)
        return Losses(total=rec + loss.alpha * inter + loss.beta * intra, rec=rec, inter=inter, intra=intra)

    @torch.no_grad()
    def samples(self, anchor_ids: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
        """h (B, D) and h+ (B, D) of anchors; call it in evaluation mode for values without dropout."""
        device = self.backbone.item_embedding.weight.device
        weights = self.neighbor_weights(anchor_ids.to(device))
        ids = self._semantic_parts()[0].neighbors[anchor_ids.to(device)]  # (B, K)
        neighbors = _some(ids, weights, ids > 0)
        hidden = self.backbone(windows.pack(torch.cat([anchor_ids, neighbors.ids]), device))
        return hidden[: len(anchor_ids)], neighbors.synthesize(hidden[len(anchor_ids) :])

    def _neighbors(self, ids: Tensor, windows: Windows) -> AllNeighbors | SomeNeighbors:
        """The neighbors of anchors (B,), on the device, that are encoded in a step."""
        weights = self.neighbor_weights(ids)  # (B, K)
        neighbors = self._semantic_parts()[0].neighbors[ids]
        if windows.static_shapes:
            return AllNeighbors(neighbors.flatten(), weights)
        return _some(neighbors, weights, weights.detach() != 0)

    def _inter(
        self, anchor_ids: Tensor, anchors: Tensor, samples: Tensor, group_ids: Tensor | None, windows: Windows
    ) -> Tensor:
        """L_CS of h and h+, each (B, D), of the anchors that have a neighbor."""
        if self._has_isolated_anchors or not windows.static_shapes:  # selecting rows makes a GPU wait
            neighbors = self._semantic_parts()[0].neighbors[anchor_ids.to(anchors.device)]
            kept = (neighbors > 0).any(1)
            anchors, samples = anchors[kept], samples[kept]
            group_ids = None if group_ids is None else group_ids[kept]
        return self._contrast(anchors, samples, group_ids)

    def _encode(self, passes: dict[str, Tensor], views: dict[str, Tensor], windows: Windows) -> dict[str, Tensor]:
        """h of each pass by name, all encoded together; in `views` items are swapped for substitutes."""
        groups = passes | views
        if not groups:
            return {}
        batch = windows.gather(list(groups.values()), self.backbone.item_embedding.weight.device)
        hidden = self._encode_with_views(batch, sum(batch.sequences[: len(passes)])) if views else self._hidden(batch)
        return dict(zip(groups, hidden.split([len(ids) for ids in groups.values()]), strict=True))

    def _encode_with_views(self, batch: Batch, first_view: int) -> Tensor:
        """h of a batch; in its sequences from number `first_view` on each item is swapped with probability `loss.swap`."""
        packed = batch.packed
        viewed = _tokens_of(packed, first_view)  # (T,)
        semantics, _ = self._semantic_parts()
        counts = (semantics.substitutes > 0).sum(1)[packed.items]  # (T,)
        swapped = viewed & (torch.rand(len(viewed), device=viewed.device) < self.config.loss.swap) & (counts > 0)
        if self.config.synthesizer.item_kind == "draw":
            draw = (torch.rand(len(viewed), device=viewed.device) * counts).long()
            items = torch.where(swapped, semantics.substitutes[packed.items, draw], packed.items)
            return self._hidden(replace(batch, packed=replace(packed, items=items)))
        old = packed.items[swapped]  # (M,)
        embedding = self.backbone.item_embedding
        synthesized = (self.item_weights(old)[:, :, None] * embedding(semantics.substitutes[old])).sum(1)  # (M, D)
        vectors = embedding(packed.items)  # (T, D)
        return self._hidden(batch, torch.index_put(vectors, (swapped.nonzero()[:, 0],), synthesized))

    def _hidden(self, batch: Batch, token_vectors: Tensor | None = None) -> Tensor:
        table = self.backbone.item_embedding.weight
        bfloat16 = self.config.train.precision == "bfloat16"
        with torch.autocast(table.device.type, torch.bfloat16) if bfloat16 else nullcontext():
            if batch.indices is None:
                hidden = self.backbone(batch.packed, token_vectors)
            else:
                hidden = self.backbone.encode_at(batch.packed, batch.indices, token_vectors)
        return hidden.to(table.dtype)  # the losses need more than a bfloat16's 8 bits

    def _contrast(self, anchors: Tensor, positives: Tensor, group_ids: Tensor | None) -> Tensor:
        loss = self.config.loss
        symmetric = loss.direction == "symmetric"
        return info_nce(anchors, positives, temperature=loss.temperature, symmetric=symmetric, group_ids=group_ids)

    def _semantic_parts(self) -> tuple[Semantics, Synthesizer]:
        if self.semantics is None or self.synthesizer is None:
            raise ValueError("this model was built without semantics")
        return self.semantics, self.synthesizer


def _some(neighbors: Tensor, weights: Tensor, mask: Tensor) -> SomeNeighbors:
    """The neighbors (B, K) with these weights where `mask` (B, K) is true."""
    rows, columns = mask.nonzero(as_tuple=True)
    return SomeNeighbors(neighbors[rows, columns].cpu(), weights, rows, columns)


def _tokens_of(packed: Packed, first: int) -> Tensor:
    """(T,) which tokens belong to sequence number `first` or a later one, in the requested order."""
    late = torch.zeros(len(packed.last), dtype=torch.bool, device=packed.last.device)
    late[packed.restore[first:]] = True  # by packed order
    if packed.padding_mask is not None:
        return late[:, None].expand_as(packed.padding_mask).flatten()
    return torch.repeat_interleave(
        late, packed.lengths, output_size=len(packed.items)
    )  # with the size given, no wait for the GPU
