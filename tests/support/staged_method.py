"""A method with everything that SRA-CL has not: a pretraining, three updates of a batch by two optimizers, states at every item.

Pretraining recovers masked items from both sides. Then a small network learns to undo dropout between two passes, in updates
of its own between two of the encoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from engine.events import Event, WeightsSeen
from engine.methods.base import Anchors, Context, Method, Part, PartSettings, Stage, States, Step, Tokens, View
from engine.models.backbone import Backbone


class RecoverSettings(PartSettings):
    """Of the pretraining."""

    epochs: int = Field(default=2, ge=0)
    """How many it has."""
    share: float = Field(default=0.3, gt=0, le=1)
    """Share of the items that are masked."""


class Recover(Part):
    """Cross-entropy of masked items among all items, from states that see both sides."""

    name = "recover"
    settings = RecoverSettings
    every = True

    def __init__(self, settings: Any, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self._items = (context.backbone.item_embedding,)  # in a tuple: no module of this one
        width = context.config.model.width
        self.mask = nn.Parameter(torch.randn(width) * 0.02)
        self.output = nn.Linear(width, width)
        self.seen_items: Tensor
        self.register_buffer("seen_items", torch.zeros(2))

    def start(self, backbone: Backbone) -> None:
        with torch.no_grad():
            backbone.item_embedding.weight[1:] += 0.01

    def views(self, batch: Anchors) -> Sequence[View]:
        return (batch.view(edit=self._masked, read="every", causal=False),)

    def _masked(self, tokens: Tokens) -> Tokens:
        drawn = tokens.mine & (torch.rand(len(tokens.items), device=tokens.items.device) < self.config.share)
        return replace(tokens, vectors=torch.where(drawn[:, None], self.mask, tokens.embedded()))

    def loss(self, batch: Anchors, hidden: Sequence[Any]) -> Tensor:
        states: States = hidden[0]
        found = self.output(states.hidden[states.edited])  # (M, D)
        targets = states.items[states.edited]
        self.seen_items += torch.tensor([len(states.items), len(targets)], device=self.seen_items.device)
        if len(targets) == 0:
            return found.sum() * 0.0
        return nn.functional.cross_entropy(found @ self._items[0].weight[1:].T, targets - 1)

    def metrics(self) -> Mapping[str, float]:
        every, masked = self.seen_items.tolist()
        self.seen_items.zero_()
        return {"masked_share": masked / every if every else 0.0}

    def seen(self, phase: str, *, epoch: int, step: int) -> Iterable[Event]:
        if phase == "epoch":
            yield WeightsSeen(epoch=epoch, step=step, entropy=0.5, low=0.0, high=1.0)


class UndoSettings(PartSettings):
    """Of the network."""

    inner: int = Field(default=6, ge=1)
    """Its width."""


class Undo(Part):
    """Squared distance of a network's output for one pass from another pass; its target moves with the epoch."""

    name = "undo"
    settings = UndoSettings

    def __init__(self, settings: Any, *, context: Context) -> None:
        super().__init__(settings, context=context)
        width = context.config.model.width
        self.network = nn.Sequential(nn.Linear(width, settings.inner), nn.ReLU(), nn.Linear(settings.inner, width))
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self._ids = torch.from_numpy(context.dataset.anchors.representing[:20])

    def before_epoch(self, epoch: int, encode: Any) -> None:
        self.mean.copy_(encode(self._ids).mean(0) * epoch)

    def views(self, batch: Anchors) -> Sequence[View]:
        return batch.view(), batch.view(grad=False)

    def loss(self, batch: Anchors, hidden: Sequence[Tensor]) -> Tensor:
        return (self.network(hidden[0]) - hidden[1] - 0.01 * self.mean).square().mean()


METHOD = Method(
    parts=("rec", Undo),
    defaults={"parts.undo.weight": 0.5},
    steps=(Step(("rec", "undo"), "encoder"), Step(("undo",), "own"), Step(("rec",), "encoder")),
    stages=(Stage("recovery", (Recover,), "parts.recover.epochs"),),
    description="For tests",
)
