"""Packed batches against lists: which items stand where, and how to get back to the order asked for."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.batching.windows import Windows


def sequences_of(packed):
    """What a packed batch holds, as (items, positions) per sequence in the order asked for."""
    starts = [0, *(packed.last + 1).tolist()]
    rows = [slice(start, stop) for start, stop in pairwise(starts)]
    return [
        (packed.items[rows[place]].tolist(), packed.positions[rows[place]].tolist())
        for place in packed.restore.tolist()
    ]


def test_by_hand(dataset_of):
    windows = Windows(dataset_of([[1, 2, 3, 4, 5], [6, 7, 8]]), 3)
    packed = windows.pack(torch.tensor([4, 5, 2, 6, 1]))
    assert packed.blocks == ((2, 1), (2, 2), (1, 3))
    assert packed.items.tolist() == [6, 1, 1, 2, 6, 7, 2, 3, 4]
    assert packed.positions.tolist() == [2, 2, 1, 2, 1, 2, 0, 1, 2]
    assert packed.last.tolist() == [0, 1, 3, 5, 8]
    assert packed.restore.tolist() == [4, 0, 2, 3, 1]
    assert windows.targets.tolist() == [0, 2, 3, 4, 5, 7, 8]
    assert windows.lengths(torch.tensor([4, 1])).tolist() == [3, 1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), n=st.integers(1, 8))
def test_packing_loses_nothing(make_dataset, data, n):
    dataset = make_dataset()
    ids = data.draw(st.lists(st.integers(1, len(dataset.anchors)), min_size=1, max_size=25))
    packed = Windows(dataset, n).pack(torch.tensor(ids))
    histories = [dataset.history(anchor, n).tolist() for anchor in ids]
    assert sequences_of(packed) == [(h, list(range(n - len(h), n))) for h in histories]
    assert sorted(packed.restore.tolist()) == list(range(len(ids)))
    lengths = [length for count, length in packed.blocks for _ in range(count)]
    assert lengths == sorted(map(len, histories))
    assert len({length for _, length in packed.blocks}) == len(packed.blocks)


def test_sequences_of_one_length_keep_the_order_asked_for(make_dataset):
    windows = Windows(make_dataset(), 1)
    ids = torch.tensor([9, 2, 7, 2])
    assert torch.equal(windows.pack(ids).restore, torch.arange(4))


def test_no_sequences(make_dataset):
    packed = Windows(make_dataset(), 4).pack(torch.zeros(0, dtype=torch.long))
    assert packed.blocks == ()
    assert packed.items.shape == packed.last.shape == packed.restore.shape == (0,)


def test_targets_and_lengths_of_every_anchor(make_dataset):
    dataset = make_dataset()
    windows = Windows(dataset, 5)
    ids = torch.arange(1, len(dataset.anchors) + 1)
    assert windows.targets[ids].tolist() == dataset.anchors.targets.tolist()
    assert windows.lengths(ids).tolist() == [min(5, position) for position in dataset.anchors.positions.tolist()]
