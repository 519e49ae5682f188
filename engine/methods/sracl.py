"""SRA-CL: the backbone, the synthesizer, and the contrasts between them (paper sections 3.3 to 3.5).

Legend: B anchors, K neighbors, T packed tokens, S semantic size, D width, V items, A anchors of the dataset.

All sequences of a step (the recommendation pass, the second dropout pass, the neighbors, the two views) go through
the backbone together. A neighbor whose weight is exactly 0 - dropped by weight dropout, or not picked - adds nothing to the
sample and gets no gradient, so it is not encoded: the values and gradients are those of encoding all of them.
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
from engine.models.synthesizers import build_synthesizer


@dataclass(frozen=True)
class Semantics:
    """What the offline stages found, as tensors by id; row 0 stands for none."""

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
    """One step's loss and its parts, as scalars on the device; parts that are off are 0."""

    total: Tensor
    rec: Tensor
    cs: Tensor
    is_: Tensor


class SRACL(nn.Module):
    """Everything that is trained. Only `backbone` is needed to recommend."""

    def __init__(self, config: Config, *, items: int, semantics: Semantics | None) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.model, items=items, max_length=config.data.max_length)
        self.semantics = semantics
        self.synthesizer = None
        self._lonely = False  # whether there are prefixes without any neighbor, which no contrast takes in
        if semantics is not None:
            size = semantics.user_vectors.shape[1]
            asked = semantics.neighbors[semantics.user_rows > 0]
            self._lonely = bool((asked == 0).all(1).any())
            self.synthesizer = build_synthesizer(config.synthesizer, size=size, width=config.model.width)
        elif config.contrasts:
            raise ValueError("alpha or beta is above 0, but there are no semantics")

    def neighbor_weights(self, anchor_ids: Tensor) -> Tensor:
        """p (B, K) for anchors (ids on the semantics' device); zeros where a neighbor is missing."""
        semantics, synthesizer = self._parts()
        neighbors = semantics.neighbors[anchor_ids]  # (B, K)
        rows = semantics.user_rows
        vectors = semantics.user_vectors[rows[neighbors]]  # (B, K, S)
        own = semantics.user_vectors[rows[anchor_ids]]  # (B, S)
        return synthesizer(own, vectors, semantics.similarity[anchor_ids], neighbors > 0)

    def item_weights(self, items: Tensor) -> Tensor:
        """p (M, K') of the substitutes of items (M,), by the same scorer."""
        semantics, synthesizer = self._parts()
        substitutes = semantics.substitutes[items]
        vectors = semantics.item_vectors[substitutes]  # (M, K', S)
        return synthesizer(semantics.item_vectors[items], vectors, semantics.item_similarity[items], substitutes > 0)

    def losses(self, anchor_ids: Tensor, windows: Windows) -> Losses:
        """L = L_rec + alpha L_CS + beta L_IS of a batch of training anchors (B,)."""
        loss = self.config.loss
        device = self.backbone.item_embedding.weight.device
        ids = anchor_ids.to(device)
        targets = windows.targets[anchor_ids].to(device)
        groups = [] if self.backbone.own_loss else [anchor_ids]
        weights = chosen = None
        if loss.alpha > 0:
            weights = self.neighbor_weights(ids)  # (B, K)
            neighbors = self._parts()[0].neighbors[ids]
            if not windows.whole:
                chosen = weights.detach().nonzero(as_tuple=True)  # rows and columns of the neighbors that count
                neighbors = neighbors[chosen].cpu()
            groups += [anchor_ids, neighbors.flatten()]
        plain = len(groups)
        if loss.beta > 0:
            groups += [anchor_ids, anchor_ids]
        hidden = iter(self._encode(groups, windows, plain=plain))

        if self.backbone.own_loss:
            rec = self.backbone.loss(windows.pack(anchor_ids, device), targets)
        else:
            rec = recommendation_loss(self.backbone.scores(next(hidden)), targets)
        cs = is_ = torch.zeros((), device=device, dtype=rec.dtype)
        kin = windows.kin(anchor_ids)
        kin = None if kin is None else kin.to(device)
        if weights is not None:
            again, samples, own = next(hidden), _mix(weights, chosen, next(hidden)), kin  # h, h+ (B, D)
            if self._lonely or not windows.whole:  # on a GPU a look would be a wait
                some = (self._parts()[0].neighbors[ids] > 0).any(1)
                again, samples, own = again[some], samples[some], None if kin is None else kin[some]
            cs = self._contrast(again, samples, own)
        if loss.beta > 0:
            is_ = self._contrast(next(hidden), next(hidden), kin)
        return Losses(total=rec + loss.alpha * cs + loss.beta * is_, rec=rec, cs=cs, is_=is_)

    @torch.no_grad()
    def samples(self, anchor_ids: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
        """h (B, D) and h+ (B, D) of anchors; call it in evaluation mode for values without dropout."""
        device = self.backbone.item_embedding.weight.device
        weights = self.neighbor_weights(anchor_ids.to(device))
        neighbors = self._parts()[0].neighbors[anchor_ids.to(device)]  # (B, K)
        chosen = (neighbors > 0).nonzero(as_tuple=True)
        ids = torch.cat([anchor_ids, neighbors[chosen].cpu()])
        hidden = self.backbone(windows.pack(ids, device))
        return hidden[: len(anchor_ids)], _mix(weights, chosen, hidden[len(anchor_ids) :])

    def _encode(self, groups: list[Tensor], windows: Windows, *, plain: int) -> list[Tensor]:
        """h of each group, all in one pass; the groups from number `plain` on are views, in which items are swapped."""
        if not groups:
            return []
        batch = windows.gather(groups, self.backbone.item_embedding.weight.device)
        hidden = self._hidden(batch) if plain == len(groups) else self._views(batch, sum(batch.sequences[:plain]))
        return list(hidden.split([len(ids) for ids in groups]))

    def _views(self, batch: Batch, plain: int) -> Tensor:
        packed = batch.packed
        viewed = _tokens_of(packed, plain)  # (T,)
        semantics, _ = self._parts()
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
        narrow = self.config.train.precision == "bfloat16"
        with torch.autocast(table.device.type, torch.bfloat16) if narrow else nullcontext():
            if batch.read is None:
                hidden = self.backbone(batch.packed, token_vectors)
            else:
                hidden = self.backbone.at(batch.packed, batch.read, token_vectors)
        return hidden.to(table.dtype)  # losses tell apart what 8 bits of a bfloat16 do not

    def _contrast(self, anchors: Tensor, positives: Tensor, kin: Tensor | None) -> Tensor:
        loss = self.config.loss
        symmetric = loss.direction == "symmetric"
        return info_nce(anchors, positives, temperature=loss.temperature, symmetric=symmetric, kin=kin)

    def _parts(self):
        if self.semantics is None or self.synthesizer is None:
            raise ValueError("this model was built without semantics")
        return self.semantics, self.synthesizer


def _mix(weights: Tensor, chosen: tuple[Tensor, ...] | None, encoded: Tensor) -> Tensor:
    """h+ (B, D): h of neighbors (M, D), by their weights (B, K); `chosen` has their rows and columns, none: all of them."""
    if chosen is None:
        return (weights[:, :, None] * encoded.view(*weights.shape, -1)).sum(1)
    weighted = weights[chosen][:, None] * encoded
    return weighted.new_zeros(len(weights), weighted.shape[1]).index_add(0, chosen[0], weighted)


def _tokens_of(packed: Packed, first: int) -> Tensor:
    """(T,) which tokens belong to the sequences asked for as number `first` or later."""
    late = torch.zeros(len(packed.last), dtype=torch.bool, device=packed.last.device)
    late[packed.restore[first:]] = True  # by packed order
    if packed.hidden is not None:
        return late[:, None].expand_as(packed.hidden).flatten()
    return torch.repeat_interleave(late, packed.lengths, output_size=len(packed.items))  # told, a GPU need not be asked
