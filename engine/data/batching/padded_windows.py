"""Every window padded to n and kept on the device, for a GPU.

A GPU computes padding in less time than the host needs to lay out a batch without it, and every batch has the same shape, known
without waiting for the GPU.

Legend: B sequences, n the window, A anchors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.data.batching.windows import Packed, Runs, Windows
from engine.data.dataset import Dataset


class PaddedWindows(Windows):
    """The last n items of every anchor, left-padded, on a device; anchor ids may lie on the CPU or there."""

    static_shapes = True

    def __init__(self, dataset: Dataset, max_length: int, device: torch.device | str) -> None:
        super().__init__(dataset, max_length)
        positions = torch.arange(max_length)
        lengths = self._lengths[:, None]  # (A + 1, 1)
        real = positions >= max_length - lengths  # (A + 1, n)
        index = (self._starts[:, None] + lengths - max_length + positions).clamp(min=0)
        self._items = torch.where(real, self._sequence[index], 0).to(device)
        real[:, -1] = True  # an empty window has an unmasked last token too: attention over no token is undefined
        self._padding_mask = (~real).to(device)
        self._positions = positions.to(device)
        self._sequence_there = self._sequence.to(device)  # (N,)
        self._starts_there, self._lengths_there = self._starts.to(device), self._lengths.to(device)
        self.targets = self.targets.to(device)

    def pack(self, anchor_ids: Tensor, device: torch.device | str = "cpu") -> Packed:
        """The windows of B anchors in one block, on the device of this object."""
        ids = anchor_ids.to(self._items.device)
        return self._block(self._items[ids], self._padding_mask[ids])

    def anchor_runs(self, anchor_ids: Tensor) -> Runs:
        """The windows of anchors as runs of the data set's interactions, on the device of this object."""
        ids = anchor_ids.to(self._items.device)
        return Runs(self._starts_there[ids], self._lengths_there[ids])

    def _pack_groups(self, groups: Sequence[Tensor | Runs]) -> Packed:
        ids = [group for group in groups if isinstance(group, Tensor)]
        if len(ids) == len(groups):
            return self.pack(torch.cat(ids))
        parts = [self._rows(group) for group in groups]
        return self._block(torch.cat([items for items, _ in parts]), torch.cat([mask for _, mask in parts]))

    def _rows(self, group: Tensor | Runs) -> tuple[Tensor, Tensor]:
        """Items (C, n) and padding mask (C, n) of a group."""
        device, length = self._items.device, self.max_length
        if isinstance(group, Tensor):
            ids = group.to(device)
            return self._items[ids], self._padding_mask[ids]
        source = self._sequence_there if group.source is None else group.source.to(device)
        lengths = group.lengths.to(device)[:, None]  # (C, 1)
        mask = self._positions < length - lengths  # (C, n)
        index = (group.starts.to(device)[:, None] + lengths - length + self._positions).clamp(min=0)
        return torch.where(mask, 0, source[index]), mask

    def _block(self, items: Tensor, padding_mask: Tensor) -> Packed:
        """Rows (C, n) as one block."""
        count, length = items.shape
        return Packed(
            items=items.flatten(),
            positions=self._positions.repeat(count),
            last=torch.arange(length - 1, count * length, length, device=items.device),
            restore=torch.arange(count, device=items.device),
            blocks=((count, length),),
            padding_mask=padding_mask,
        )

    def batches(self, ids: Tensor, size: int, generator: torch.Generator) -> list[Tensor]:
        """The batches of `Windows.batches`, moved to the device in one copy."""
        parts = super().batches(ids, size, generator)
        return list(torch.cat(parts).to(self._items.device).split([len(part) for part in parts]))
