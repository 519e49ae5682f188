"""Vectors that are read in parts: whatever is read together, each is the same to the bit."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data import vector_rows
from engine.data.dataset import TRAIN, Dataset
from engine.data.vector_rows import HeldRows, held_if_small, id_type
from engine.events import Evaluated
from engine.methods.semantics import PartedVectors
from engine.retrieval import topk, topk_in_parts
from engine.retrieval.neighbors import NeighborTable
from engine.retrieval.topk import ExactSearch, normalized
from engine.retrieval.topk_in_parts import ExactSearchInParts
from engine.semantics.encoders.item_means import ItemMeans


def test_means_of_items_are_the_same_however_they_are_read(
    make_dataset: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset()
    items = np.random.default_rng(1).normal(size=(len(dataset.items) + 1, 5)).astype(np.float32)
    items[[0, 3]] = 0
    means = ItemMeans(items, dataset, dataset.anchors.ids(TRAIN), 4)
    whole = means.whole()
    rows = np.random.default_rng(2).integers(0, len(means), 50)
    np.testing.assert_array_equal(means.take(rows), whole[rows])
    monkeypatch.setattr(vector_rows, "NUMBERS_AT_ONCE", 15)
    np.testing.assert_array_equal(means.whole(), whole)
    np.testing.assert_array_equal(means.filled(), whole.any(axis=1))
    assert isinstance(held_if_small(means), HeldRows)
    monkeypatch.setattr(vector_rows, "HELD_BYTES", whole.nbytes - 1)
    assert held_if_small(means) is means


def test_vectors_in_parts_stand_for_a_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_rows, "NUMBERS_AT_ONCE", 7)
    vectors = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    vectors[4] = 0
    tensor = torch.from_numpy(np.concatenate([np.zeros((1, 3), np.float32), vectors]))
    parted = PartedVectors(HeldRows(vectors))
    index = torch.tensor([[0, 6, 2], [2, 5, 0]])
    assert torch.equal(parted[index], tensor[index])
    assert torch.equal(parted[index.T], tensor[index.T])
    assert torch.equal(parted.any(1), tensor.any(1))
    assert torch.equal(pickle.loads(pickle.dumps(parted))[index], tensor[index]), "as another process gets it"
    assert parted.shape == tensor.shape
    assert PartedVectors(HeldRows(vectors[:0]))[torch.zeros(2, dtype=torch.long)].tolist() == [[0] * 3] * 2
    moved = parted.to("meta")
    assert isinstance(moved, torch.Tensor)
    assert moved.shape == tensor.shape


@pytest.mark.parametrize("method", ["sracl", "rlmrec-con"])
def test_a_training_is_the_same_to_the_bit(run: Any, world: Any, method: str) -> None:
    vectors = world.semantics.user_vectors.clone()
    vectors[0] = 0
    ends = []
    for given_ in (vectors, PartedVectors(HeldRows(vectors[1:].numpy()))):
        semantics = replace(world.semantics, user_vectors=given_, neighbors=world.semantics.neighbors.int())
        made = run(semantics=semantics, method=method)
        ends.append(
            (made.result.valid, made.result.test, [event.columns["rank"].tolist() for event in made.of(Evaluated)])
        )
    assert ends[0] == ends[1]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 40),
    held=st.integers(1, 50),
    k=st.integers(1, 8),
    kinds=st.integers(1, 12),
)
def test_a_search_in_parts_finds_the_same(seed: int, count: int, held: int, k: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    kind = normalized(rng.normal(size=(kinds, 3)).astype(np.float32))
    candidates, queries = kind[rng.integers(0, kinds, count)], kind[rng.integers(0, kinds, 9)]
    skip = np.sort(rng.integers(0, count + 1, (9, 2)), axis=1)
    steps: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk_in_parts, "HELD_NUMBERS", 3 * held)
        patch.setattr(topk, "CHUNK", 4)
        found = ExactSearchInParts(HeldRows(candidates), k=k)(HeldRows(queries), skip, step=steps.append)
    for ours, whole in zip(found, ExactSearch(candidates, k=k)(queries, skip), strict=True):
        np.testing.assert_array_equal(ours, whole)
    assert steps == sorted(steps)
    assert steps[-1:] == ([9] if count else [])


def test_ids_that_32_bits_do_not_hold() -> None:
    assert [id_type(largest) for largest in (0, 2**31 - 1, 2**31)] == [np.int32, np.int32, np.int64]
    large = 3 * 2**31
    ids = np.array([[5, large], [large, 0]])
    table = NeighborTable(np.array([1, large]), ids, np.ones((2, 2), np.float32))
    columns = table.columns()
    assert columns["anchor_id"].tolist() == [1, 1, large]
    assert columns["neighbor_id"].tolist() == [5, large, large]
