"""Every window padded to n and kept on the device, for a GPU.

A GPU computes padding in less time than the host needs to lay out a batch without it, and every batch has the same shape, known
without waiting for the GPU.

Legend: B sequences, n the window, A anchors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.data.batching.windows import Packed, Windows
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
        self.targets = self.targets.to(device)

    def pack(self, anchor_ids: Tensor, device: torch.device | str = "cpu") -> Packed:
        """The windows of B anchors in one block, on the device of this object."""
        ids = anchor_ids.to(self._items.device)
        count, length = len(ids), self.max_length
        return Packed(
            items=self._items[ids].flatten(),
            positions=self._positions.repeat(count),
            last=torch.arange(length - 1, count * length, length, device=ids.device),
            restore=torch.arange(count, device=ids.device),
            blocks=((count, length),),
            padding_mask=self._padding_mask[ids],
        )

    def batches(self, ids: Tensor, size: int, generator: torch.Generator) -> list[Tensor]:
        """The batches of `Windows.batches`, moved to the device in one copy."""
        parts = super().batches(ids, size, generator)
        return list(torch.cat(parts).to(self._items.device).split([len(part) for part in parts]))
