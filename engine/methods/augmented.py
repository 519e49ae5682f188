"""Contrast of two views of a training prefix that operators have changed (CL4SRec, ICDE 2022; CoSeRec, 2021).

Legend: B anchors of a batch, C = 2B views, T tokens, n the window, D width, V items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from engine.data.batching.windows import Runs
from engine.methods import operators
from engine.methods.base import Anchors, Context, Encode, Part, States, Tokens, View
from engine.methods.contrast import contrast
from engine.methods.item_similarity import ItemSimilarity
from engine.methods.operators import Rows
from engine.models.backbone import Backbone, input_width, item_rows
from engine.part_settings import AugmentedSettings, Operator

PAIR = ("augmented 1", "augmented 2")
"""Keys of the two views."""


@dataclass(frozen=True, eq=False)
class Masking:
    """Puts a vector in place of the masked items of the views of a batch, which are asked for in order."""

    rows: Rows
    """The C views."""
    vector: Tensor
    """(D,)"""

    def of_sequences(self, numbers: Tensor) -> Masking:
        """That of some of the views."""
        return replace(self, rows=self.rows.at(numbers))

    def __call__(self, tokens: Tokens) -> Tokens:
        packed = tokens.packed
        requested = torch.empty_like(packed.restore)
        requested[packed.restore] = torch.arange(len(requested), device=requested.device)
        sequences = requested[packed.sequences]  # (T,) of each token, in the requested order
        # Which of the views: the n-th sequence that is edited is view n.
        mine = torch.zeros_like(requested).scatter_reduce(0, sequences, tokens.mine.long(), "amax")
        views = (mine.cumsum(0) - 1)[sequences].clamp(min=0)
        masked, lengths = self.rows.masked.to(views.device), self.rows.lengths.to(views.device)
        places = lengths[views] + packed.positions - masked.shape[1]  # the last item is at position n - 1
        hidden = tokens.mine & masked[views, places.clamp(min=0)]
        return replace(tokens, vectors=torch.where(hidden[:, None], self.vector, tokens.embedded()))


class Augmentation(nn.Module):
    """The two views of a batch, drawn once for all parts that read them and for all updates by it."""

    updated_with_encoder = True
    """The vector of masked items is an input of the encoder, not of a loss."""
    tally: Tensor
    """(2,) views of this epoch that are as their prefix, and all views."""

    similar: Tensor
    """(V + 1,) the item most similar to each, for insert and substitute."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._settings = context.config.parts.augmented
        self._operators = self._settings.every_operator
        self._epoch = 0
        self._every = self._settings.representation == "states"
        self.register_buffer("tally", torch.zeros(2, dtype=torch.long))
        self._similarity: ItemSimilarity | None = None
        if {"insert", "substitute"} & set(self._operators):
            self._similarity = ItemSimilarity(context.dataset)
            self._seed, self._backbone = context.config.train.seed, (context.backbone,)
            self.register_buffer("similar", torch.zeros(len(context.dataset.items) + 1, dtype=torch.long))
        if "mask" in self._operators:
            self.mask = nn.Parameter(torch.empty(input_width(context.backbone)).normal_(std=0.02))

    def read_every(self) -> None:
        """Let the views give the states at all items; what stands at the last one is `last_of` then."""
        self._every = True

    @torch.no_grad()
    def before_epoch(self, epoch: int) -> None:
        """Find the items that are similar in an epoch, from 1."""
        if self._similarity is not None and epoch != self._epoch:  # not again for each part that reads the views
            self._epoch = epoch
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 - epoch)
            embeddings = item_rows(self._backbone[0]) if epoch > self._settings.warmup else None
            self.similar.copy_(self._similarity.table(embeddings, generator))

    def views(self, batch: Anchors) -> tuple[View, View]:
        """Two views of each prefix of a batch, both changed; they are in its notes under `augmented`."""
        if "augmented" not in batch.notes:
            batch.notes["augmented"] = self._made(batch)
        return batch.notes["augmented"]

    def unchanged_share(self) -> float:
        """Share of the views since the last call that are as their prefix is: what tells them apart is dropout alone."""
        same, count = self.tally.tolist()
        self.tally.zero_()
        return same / max(count, 1)

    @torch.no_grad()
    def _drawn(self, prefixes: Rows) -> Rows:
        """Both views of prefixes (B rows), first those of one kind, then those of the other."""
        settings, short = self._settings, self._settings.short_operators if self._settings.short_length else ()
        allowed = operators.allowed_operators(
            prefixes.lengths,
            [[self._operators.index(name) for name in names] for names in (settings.operators, short)],
            short_length=settings.short_length,
            total=len(self._operators),
        )
        different = settings.choice == "different"
        first, second = (operators.choose_different if different else operators.choose_independent)(allowed)
        numbers, before = torch.cat([first, second]), Rows.joined(prefixes, prefixes)
        after = before
        for number, operator in enumerate(self._operators):
            least = 2 if operator in ("crop", "mask", "reorder") else 1
            after = self._changed(before, operator).where((numbers == number) & (before.lengths >= least), after)
        return after

    def _changed(self, rows: Rows, operator: Operator) -> Rows:
        """All rows changed by an operator."""
        least = 0 if operator in ("mask", "reorder") else 1
        ratio: float = getattr(self._settings, operator)
        count = operators.amounts(ratio, rows.lengths, window=rows.items.shape[1], least=least)
        if operator in ("insert", "substitute"):
            change = operators.insert if operator == "insert" else operators.substitute
            return change(rows, count, self.similar.to(rows.items.device))
        return {"crop": operators.crop, "mask": operators.mask, "reorder": operators.reorder}[operator](rows, count)

    def _made(self, batch: Anchors) -> tuple[View, View]:
        prefixes = Rows.of(*batch.windows.aligned(batch.ids))
        rows = self._drawn(prefixes)
        same = rows.equals(Rows.joined(prefixes, prefixes)).sum()
        self.tally += torch.stack([same, torch.full_like(same, len(rows.lengths))]).to(self.tally.device)
        count, window = rows.items.shape
        runs = Runs(
            torch.arange(0, count * window, window, device=rows.items.device), rows.lengths, rows.items.flatten()
        )
        edit = Masking(rows, self.mask) if "mask" in self._operators else None
        read = "every" if self._every else "last"
        first, second = (
            View(Runs(runs.starts[half], runs.lengths[half], runs.source), edit=edit, read=read, key=key)
            for half, key in zip((slice(len(batch)), slice(len(batch), None)), PAIR, strict=True)
        )
        return first, second


def augmentation(context: Context) -> Augmentation:
    """What the parts that read these views share."""
    return context.share("augmentation", lambda: Augmentation(context))


class Augmented(Part):
    """InfoNCE of the two views of each prefix."""

    name = "augmented"
    sharded = "batch"
    settings = AugmentedSettings
    scales = ("parts.augmented.temperature",)
    config: AugmentedSettings

    def __init__(self, settings: AugmentedSettings, *, context: Context) -> None:
        super().__init__(settings, context=context)
        self._augmentation = (augmentation(context),)  # in a tuple: not a module of this one

    @classmethod
    def problem_with(cls, backbone: type[Backbone], settings: AugmentedSettings) -> str:
        if settings.representation == "states" and not backbone.causal:
            return "cannot give the states at every item that parts.augmented.representation = states contrasts"
        return ""

    def before_epoch(self, epoch: int, encode: Encode) -> None:
        self._augmentation[0].before_epoch(epoch)

    def views(self, batch: Anchors) -> Sequence[View]:
        return self._augmentation[0].views(batch)

    def loss(self, batch: Anchors, hidden: Sequence[Tensor | States]) -> Tensor:
        if self.config.representation == "states":
            rows = [states_of(view, len(batch), batch.windows.max_length) for view in hidden]
        else:
            rows = [last_of(view, len(batch)) for view in hidden]
        return contrast(self.config, batch, rows[0], rows[1], None)

    def metrics(self) -> Mapping[str, float]:
        """Share of the views that are as their prefix is."""
        return {"unchanged_share": self._augmentation[0].unchanged_share()}


def last_of(hidden: Tensor | States, count: int) -> Tensor:
    """h (C, D) at the last item of each of `count` views, also where they were read at every item."""
    return hidden if isinstance(hidden, Tensor) else hidden.last(count)


def states_of(hidden: Tensor | States, count: int, window: int) -> Tensor:
    """States (C, n * D) at all items of each of `count` views one behind the other, the last at the end, 0 where there is none."""
    assert isinstance(hidden, States)
    behind = hidden.last_tokens(count)[hidden.rows] - torch.arange(len(hidden.rows), device=hidden.rows.device)  # (T,)
    places = (hidden.rows + 1) * window - 1 - behind
    width = hidden.hidden.shape[1]
    return hidden.hidden.new_zeros(count * window, width).index_copy(0, places, hidden.hidden).view(count, -1)


def mean_of(hidden: Tensor | States, count: int, window: int) -> Tensor:
    """(C, D) mean of the states at all items of each of `count` views."""
    assert isinstance(hidden, States)
    lengths = torch.bincount(hidden.rows, minlength=count)[:, None]
    return states_of(hidden, count, window).view(count, window, -1).sum(1) / lengths
