"""Self-distillation from semantic neighbors (LLM-ESR, NeurIPS 2024).

Legend: B anchors of a batch, K neighbors, M neighbors of a batch, D width of a hidden state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from engine.method_table import PARTS
from engine.methods.base import ANCHOR, Anchors, Context, Part, View
from engine.part_settings import DistillSettings


class Distill(Part):
    """Mean squared distance of h, as L_rec reads it, from the mean h of the anchor's neighbors, which get no gradient."""

    name = "distill"
    sharded = "batch"
    needs = PARTS["distill"].needs
    settings = DistillSettings

    def __init__(self, settings: Any, *, context: Context) -> None:
        super().__init__(settings, context=context)
        if context.semantics is None:
            raise ValueError("there are no neighbors to distill from")
        self._neighbors = (context.semantics.neighbors,)  # (A + 1, K); in a tuple: no state of this module

    def views(self, batch: Anchors) -> Sequence[View]:
        neighbors = self._neighbors[0]
        ids = neighbors[batch.ids.to(neighbors.device)].long()  # (B, K)
        exists = ids > 0
        # On a GPU all B x K are encoded, those that do not exist too, as picking rows makes it wait.
        rows = None if batch.windows.static_shapes else exists.nonzero()[:, 0]  # (M,)
        chosen = ids.flatten() if rows is None else ids[exists].cpu()
        batch.notes[self.name] = exists, rows
        views = batch.view(key=ANCHOR), batch.view(chosen, grad=False)
        return views if len(chosen) else views[:1]

    def loss(self, batch: Anchors, hidden: Sequence[Tensor]) -> Tensor:
        own, others = hidden[0], hidden[1] if len(hidden) > 1 else hidden[0][:0]
        exists, rows = batch.notes[self.name]
        if rows is None:
            sums = (others.view(*exists.shape, -1) * exists[:, :, None]).sum(1)  # (B, D)
        else:
            sums = others.new_zeros(own.shape).index_add(0, rows.to(own.device), others)
        counts = exists.sum(1).to(own.device)[:, None]  # (B, 1)
        distances = (own - sums / counts.clamp(min=1)).square() * (counts > 0)
        return distances.sum() / ((counts > 0).sum().clamp(min=1) * own.shape[1])
