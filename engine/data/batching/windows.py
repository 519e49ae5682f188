"""Prefixes as packed batches: no padding, sequences of one length side by side.

Legend: B sequences, T tokens of all of them together, n the window, A anchors, N interactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.data.dataset import Dataset


@dataclass(frozen=True)
class Packed:
    """B sequences, shortest first, laid end to end; the tokens of one length form a (count, length) block."""

    items: Tensor
    """(T,) item ids."""
    positions: Tensor
    """(T,) position in the window, n - length .. n - 1: the last item is always at n - 1 (left padding)."""
    last: Tensor
    """(B,) index of each sequence's last token, shortest sequence first."""
    restore: Tensor
    """(B,) index that brings rows in packed order back to the requested order."""
    blocks: tuple[tuple[int, int], ...]
    """(count, length) of each block, in order of the tokens."""
    padding_mask: Tensor | None = None
    """(B, n) true at padding, where the sequences are padded to one block (engine/data/batching/padded_windows.py)."""
    causal: bool = True
    """False where every token sees its whole sequence, whatever the backbone does otherwise (a pretraining)."""

    @property
    def hidden(self) -> Tensor | None:
        """Former name of `padding_mask`, which backbones of older runs read."""
        return self.padding_mask

    @property
    def lengths(self) -> Tensor:
        """(B,) tokens of each sequence, in packed order."""
        return torch.diff(self.last, prepend=self.last.new_full((1,), -1))

    @property
    def sequences(self) -> Tensor:
        """(T,) which sequence each token belongs to, by packed order."""
        numbers = torch.arange(len(self.last), device=self.last.device)
        return torch.repeat_interleave(numbers, self.lengths, output_size=len(self.items))

    def to(self, device: torch.device | str) -> Packed:
        """The same on another device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True)
class Runs:
    """C sequences, each a run of one long row of items: windows cut short, or sequences that no data set holds."""

    starts: Tensor
    """(C,) index of the first item in `source`."""
    lengths: Tensor
    """(C,) items, from 1 to the window n."""
    source: Tensor | None = None
    """(N,) the row; none for the interactions of the data set."""

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class Batch:
    """Groups of sequences, packed together."""

    packed: Packed
    sequences: tuple[int, ...]
    """Number of sequences of each group, in the requested order."""
    indices: Tensor | None = None
    """(B,) token at which each prefix is read, in the requested order; none where each is read at its last token."""


class Windows:
    """The last n items of every anchor of a dataset, by anchor id."""

    static_shapes: ClassVar[bool] = False
    """Whether a batch holds neighbors of weight 0 too: its shape is then known without waiting for a GPU's weights."""
    shared: ClassVar[bool] = False
    """Whether several prefixes are read in one window."""

    def __init__(self, dataset: Dataset, max_length: int) -> None:
        anchors = dataset.anchors
        lengths = np.minimum(anchors.positions, max_length).astype(np.int64)
        self.max_length = max_length
        self._sequence = torch.from_numpy(dataset.sequence.astype(np.int64))  # (N,)
        self._sequence_there = self._sequence  # where the windows are
        self._lengths = _by_id(lengths)  # (A + 1,)
        self._starts = _by_id(anchors.ends - lengths)  # (A + 1,)
        self.targets = _by_id(anchors.targets.astype(np.int64))  # (A + 1,)

    def lengths(self, anchor_ids: Tensor) -> Tensor:
        """(B,) items in each window."""
        return self._lengths[anchor_ids]

    def pack(self, anchor_ids: Tensor, device: torch.device | str = "cpu") -> Packed:
        """The windows of B anchors (ids, on the CPU), packed and moved to a device."""
        return lay_out(self._sequence, self._starts[anchor_ids], self._lengths[anchor_ids], self.max_length).to(device)

    def gather(self, groups: Sequence[Tensor | Runs], device: torch.device | str = "cpu") -> Batch:
        """Groups of anchors (ids, on the CPU) or of runs, each a sequence of its own, packed into one batch on a device."""
        return Batch(self._pack_groups(groups).to(device), tuple(map(len, groups)))

    def anchor_runs(self, anchor_ids: Tensor) -> Runs:
        """The windows of anchors as runs of the data set's interactions."""
        return Runs(self._starts[anchor_ids], self._lengths[anchor_ids])

    def aligned(self, anchor_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Items (B, n) of the windows of anchors on their own, the oldest first, and their lengths (B,), where the windows are.

        Behind the last item of a window stand items of others.
        """
        runs = self.anchor_runs(anchor_ids)
        places = torch.arange(self.max_length, device=runs.starts.device)
        index = (runs.starts[:, None] + places).clamp(max=len(self._sequence) - 1)
        return self._sequence_there[index], runs.lengths

    def _runs(self, ids: Tensor) -> Runs:
        """What `pack` packs for ids, as runs."""
        return Runs(self._starts[ids], self._lengths[ids])

    def _pack_groups(self, groups: Sequence[Tensor | Runs]) -> Packed:
        """Groups of ids as `pack` takes them, and of runs, on the CPU."""
        ids = [group for group in groups if isinstance(group, Tensor)]
        if len(ids) == len(groups):
            return self.pack(torch.cat(ids))
        runs = [self._runs(group) if isinstance(group, Tensor) else group for group in groups]
        lengths = torch.cat([run.lengths for run in runs])
        if all(run.source is None for run in runs):
            return lay_out(self._sequence, torch.cat([run.starts for run in runs]), lengths, self.max_length)
        items = torch.cat([items_of(self._sequence if run.source is None else run.source, run) for run in runs])
        return lay_out(items, torch.cumsum(lengths, 0) - lengths, lengths, self.max_length)

    def group_ids(self, anchor_ids: Tensor) -> Tensor | None:
        """(B,) equal numbers for prefixes that are no negatives of each other in InfoNCE; none where all are."""
        return None

    def batches(self, ids: Tensor, size: int, generator: torch.Generator) -> list[Tensor]:
        """All prefixes once, in random order, `size` in each batch; a last one of one prefix is left out."""
        order = ids[torch.randperm(len(ids), generator=generator)]
        return [part for part in order.split(size) if len(part) > 1] or [order]


def prefixes_at(packed: Packed, indices: Tensor) -> tuple[Packed, Tensor]:
    """The sequences that end at tokens (C,) of a batch without padding, each with its earlier tokens, as a batch of their own, and
    where each of its tokens is in the batch (T',).
    """
    sequences = packed.sequences[indices]
    starts = packed.last[sequences] - packed.lengths[sequences] + 1
    window = packed.blocks[-1][1]  # positions are not read: the tokens have been through layers
    prefixes = lay_out(torch.arange(len(packed.items)), starts, indices - starts + 1, window)
    index = prefixes.items
    return replace(prefixes, items=packed.items[index], positions=packed.positions[index]), index


def items_of(source: Tensor, runs: Runs) -> Tensor:
    """The items of runs of a row (N,), one run behind the other: the row, which may be long, is not copied."""
    befores = torch.cumsum(runs.lengths, 0) - runs.lengths  # (C,)
    index = torch.repeat_interleave(runs.starts - befores, runs.lengths)
    return source[index + torch.arange(len(index))]


def lay_out(sequence: Tensor, starts: Tensor, lengths: Tensor, max_length: int) -> Packed:
    """Pack B windows: `lengths` (B,) items of `sequence` (N,) from index `starts` (B,), each at most `max_length` long."""
    lengths, order = torch.sort(lengths, stable=True)  # (B,)
    stops = torch.cumsum(lengths, 0)
    index = torch.arange(int(stops[-1]) if len(stops) else 0)  # (T,)
    offsets = index - torch.repeat_interleave(stops - lengths, lengths)
    items = sequence[torch.repeat_interleave(starts[order], lengths) + offsets]
    positions = offsets + torch.repeat_interleave(max_length - lengths, lengths)
    restore = torch.empty_like(order)
    restore[order] = torch.arange(len(order))
    counts = torch.bincount(lengths).tolist()
    blocks = tuple((count, length) for length, count in enumerate(counts) if count)
    return Packed(items, positions, stops - 1, restore, blocks)


def pack_histories(histories: Sequence[NDArray[np.integer]], max_length: int) -> Packed:
    """The last `max_length` items of B histories, each with at least one."""
    lengths = torch.tensor([min(len(history), max_length) for history in histories], dtype=torch.long)
    flat = np.concatenate([history[-max_length:] for history in histories]).astype(np.int64)
    return lay_out(torch.from_numpy(flat), torch.cumsum(lengths, 0) - lengths, lengths, max_length)


def _by_id(values: np.ndarray) -> Tensor:
    """Values by anchor id, with a row 0 for none."""
    return torch.from_numpy(np.concatenate([np.zeros(1, values.dtype), values]))
