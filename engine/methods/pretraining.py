"""What the tasks of S3-Rec's pretraining share: their views, the vector of masked items, and the attributes of items.

Legend: B anchors of a batch, D width, V items, A attributes, M most attributes of an item, N training interactions.
"""

from __future__ import annotations

from collections import Counter
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from engine.config import Config
from engine.data.batching.windows import Runs
from engine.data.dataset import Dataset, Items
from engine.errors import ConfigError
from engine.methods.augmented import Masking
from engine.methods.base import Anchors, Context, View
from engine.methods.operators import Rows, mask_last, segments
from engine.models.backbone import init_weights, input_width

MASKED, SEGMENTS = "pretraining masked", "pretraining segments"
"""Under which the views of a batch stand in its notes."""
FIELDS = ("brand", "category", "categories", "subcategory", "genre", "genres")
"""Item texts whose values are attributes unless a run names others."""


class Pretraining(nn.Module):
    """The views of a batch, drawn once for all tasks."""

    segment_source: Tensor
    """(N,) items of the training interactions, user after user."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        dataset, self._settings = context.dataset, context.config.parts.mip
        self.mask = nn.Parameter(torch.empty(input_width(context.backbone)).normal_(std=0.02))
        source = torch.from_numpy(dataset.sequence[dataset.train_mask].astype("int64"))
        self.register_buffer("segment_source", source, persistent=False)

    def rows(self, batch: Anchors) -> Rows:
        """The prefixes of a batch, nothing hidden."""
        return Rows.of(*batch.windows.aligned(batch.ids))

    def masked(self, batch: Anchors) -> View:
        """Each prefix with some of its items masked, read at every one."""
        if MASKED not in batch.notes:
            rows = mask_last(self.rows(batch), self._settings.mask)
            (batch.notes[MASKED],) = self._views((rows,), read="every", key=MASKED)
        return batch.notes[MASKED]

    def segments(self, batch: Anchors) -> tuple[View, ...]:
        """What surrounds a segment of each prefix, the segment, and another one in its place, read at their last places."""
        if SEGMENTS not in batch.notes:
            batch.notes[SEGMENTS] = self._views(segments(self.rows(batch), self.segment_source))
        return batch.notes[SEGMENTS]

    def _views(self, views: tuple[Rows, ...], **options: Any) -> tuple[View, ...]:
        """Views of rows, one behind the other, with the vector of masked items where they hide one."""
        edit = Masking(reduce(Rows.joined, views), self.mask)
        return tuple(View(_runs(rows), edit=edit, causal=False, **options) for rows in views)


class Attributes(nn.Module):
    """The attributes of items, each with a vector."""

    ids: Tensor
    """(V + 1, M) numbers of the attributes of each item, A where it has no more."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        found = attributes_of(context.config, context.dataset)
        numbers = {attribute: number for number, attribute in enumerate(found)}
        held = [
            [],
            *(
                [numbers[one] for one in own if one in numbers]
                for own in _values(context.config, context.dataset.items)
            ),
        ]
        ids = torch.full((len(held), max(map(len, held))), len(found), dtype=torch.long)
        for item, own in enumerate(held):  # once, before the training
            ids[item, : len(own)] = torch.tensor(own, dtype=torch.long)
        self.register_buffer("ids", ids, persistent=False)
        with torch.no_grad():
            width = context.backbone.table().shape[1]  # that of h
        self.vectors = nn.Embedding(len(found), width)
        init_weights(self)

    def loss_of(self, found: Tensor, items: Tensor) -> Tensor:
        """(T,) binary cross-entropy of all attributes of items (T,), summed over the attributes, by found vectors (T, D)."""
        scores = found @ self.vectors.weight.T  # (T, A)
        padded = torch.cat([scores, scores.new_zeros(len(scores), 1)], 1)
        return nn.functional.softplus(scores).sum(1) - padded.gather(1, self.ids[items]).sum(1)


def _runs(rows: Rows) -> Runs:
    count, window = rows.items.shape
    starts = torch.arange(0, count * window, window, device=rows.items.device)
    return Runs(starts, rows.lengths, rows.items.flatten())


def pretraining(context: Context) -> Pretraining:
    """What all tasks share."""
    return context.share("pretraining", lambda: Pretraining(context))


def attributes(context: Context) -> Attributes:
    """What both tasks of attributes share."""
    return context.share("attributes", lambda: Attributes(context))


def attributes_of(config: Config, dataset: Dataset) -> list[tuple[str, str]]:
    """Field and value of the attributes that the tasks predict, in alphabetical order.

    Raises:
        ConfigError: a field is named that no item has.
    """
    has = {field for own in dataset.items.attributes for field, values in own.items() if values}
    if missing := [field for field in config.parts.aap.fields if field not in has]:
        raise ConfigError(
            f"dataset {dataset.name} has no item text {', '.join(missing)}",
            where="parts.aap.fields",
            hint=f"It has {', '.join(sorted(has))}." if has else "It has titles alone.",
        )
    counts = Counter(one for own in _values(config, dataset.items) for one in own)
    return sorted(one for one, count in counts.items() if config.parts.aap.floor <= count < len(dataset.items))


def _values(config: Config, items: Items) -> list[list[tuple[str, str]]]:
    """Field and value of each item's texts that may be attributes, each once."""
    fields = config.parts.aap.fields or FIELDS
    return [
        list(dict.fromkeys((field, value) for field in fields for value in own.get(field, ())))
        for own in items.attributes
    ]
