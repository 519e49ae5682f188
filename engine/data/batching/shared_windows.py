"""One pass per user: a window is encoded once and read at the last item of every prefix that ends in it.

SASRec was first trained so (Kang and McAuley 2018). A prefix is encoded otherwise than on its own: its last item has its
position within the window, not the last one, and prefixes of one window share their dropout masks.

Legend: B prefixes, W windows, T tokens, n the window, A anchors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from engine.data.batching.windows import Batch, Runs, Windows
from engine.data.dataset import TRAIN, Dataset


class SharedWindows(Windows):
    """The windows that training prefixes share; a validation or test prefix has one of its own.

    The training prefixes of a user with at most n items fall into one window. A longer history has several: they end n / 2
    items apart, and a prefix is read where it has most of its items before it: at least n / 2.
    """

    shared = True

    def __init__(self, dataset: Dataset, max_length: int) -> None:
        super().__init__(dataset, max_length)
        self._own_starts, self._own_lengths = self._starts, self._lengths  # those of the prefixes, not of the windows
        anchors = dataset.anchors
        self._users = torch.from_numpy(np.concatenate([[0], anchors.user_ids]).astype(np.int64))
        train = anchors.roles == TRAIN
        positions = anchors.positions.astype(np.int64)
        longest = np.zeros(int(anchors.user_ids.max(initial=0)) + 1, np.int64)
        np.maximum.at(longest, anchors.user_ids[train], positions[train])
        last = longest[anchors.user_ids]
        stride = max(1, max_length // 2)
        most = -(-(last - max_length).clip(min=0) // stride)
        stops = np.where(train, last - np.minimum((last - positions) // stride, most) * stride, positions)
        begins = anchors.ends - anchors.positions  # where each anchor's user begins
        keys = np.stack([begins + stops, ~train], axis=1)
        ends, inverse = np.unique(keys, axis=0, return_inverse=True)
        inverse = inverse.reshape(-1)
        first = np.zeros(len(ends), np.int64)
        first[inverse] = begins
        lengths = np.minimum(ends[:, 0] - first, max_length)
        self._lengths, self._starts = torch.from_numpy(lengths), torch.from_numpy(ends[:, 0] - lengths)
        self.numbers = torch.from_numpy(np.concatenate([[-1], inverse]))
        """(A + 1,) number of the window in which each prefix ends."""
        depths = anchors.ends - 1 - (ends[:, 0] - lengths)[inverse]
        self._depths = torch.from_numpy(np.concatenate([[-1], depths]))  # index of the prefix's last item in its window

    def gather(self, groups: Sequence[Tensor | Runs], device: torch.device | str = "cpu") -> Batch:
        """Each group's windows once, and the token at which each of its prefixes is read; runs are read at their last token."""
        kept: list[Tensor | Runs] = []
        windows: list[Tensor] = []
        depths: list[Tensor] = []
        before = 0
        for group in groups:
            if isinstance(group, Tensor):
                numbers, inverse = self.numbers[group].unique(return_inverse=True)
                kept.append(numbers)
                windows.append(inverse + before)
                depths.append(self._depths[group])
            else:
                kept.append(group)
                windows.append(torch.arange(before, before + len(group)))
                depths.append(group.lengths - 1)
            before += len(kept[-1])
        packed = self._pack_groups(kept)
        firsts = (packed.last - packed.lengths + 1)[
            packed.restore
        ]  # (W,) first token of each window, in the requested order
        tokens = firsts[torch.cat(windows)] + torch.cat(depths)
        return Batch(packed.to(device), tuple(map(len, kept)), tokens.to(device))

    def anchor_runs(self, anchor_ids: Tensor) -> Runs:
        """The windows of prefixes on their own, as runs."""
        return Runs(self._own_starts[anchor_ids], self._own_lengths[anchor_ids])

    def group_ids(self, anchor_ids: Tensor) -> Tensor:
        """(B,) the user of each prefix: a batch holds many prefixes of one user, which are false negatives of each other."""
        return self._users[anchor_ids]

    def batches(self, ids: Tensor, size: int, generator: torch.Generator) -> list[Tensor]:
        """All prefixes once, those of a window together, about `size` in each batch."""
        order = torch.randperm(len(self._lengths), generator=generator)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order))
        ids = ids[torch.argsort(rank[self.numbers[ids]], stable=True)]
        _, counts = torch.unique_consecutive(self.numbers[ids], return_counts=True)
        parts = (torch.cumsum(counts, 0) - counts) // size
        return [
            part for part in ids.split(torch.bincount(torch.repeat_interleave(parts, counts)).tolist()) if len(part)
        ]
