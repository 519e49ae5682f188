"""Exact top-k against brute force: ties, short lists, chunks, degenerate vectors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.retrieval import topk
from engine.retrieval.topk import ExactSearch, normalized


def brute_force(
    queries: NDArray[np.float32], candidates: NDArray[np.float32], skip: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """One query after the other, in double precision rounded to float32; equal scores by column."""
    best, similarity = np.full((len(queries), k), -1), np.zeros((len(queries), k), np.float32)
    for row, (query, (low, high)) in enumerate(zip(queries, skip, strict=True)):
        columns = [c for c in range(len(candidates)) if not low <= c < high]
        scores = {c: np.float32((query.astype(np.float64) * candidates[c]).sum()) for c in columns}
        first = sorted(columns, key=lambda c: (-scores[c], c))[:k]
        best[row, : len(first)] = first
        similarity[row, : len(first)] = [scores[c] for c in first]
    return best, similarity


@pytest.fixture(autouse=True, params=[False, True], ids=["float32", "bfloat16"])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways of picking who may be among the first, wherever they would be used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "pays", lambda *_, **__: request.param)
        yield


def check(queries: NDArray[np.float32], candidates: NDArray[np.float32], skip: NDArray[np.int64], k: int) -> None:
    best, similarity = ExactSearch(candidates, k=k)(queries, skip)
    want, scores = brute_force(queries, candidates, skip, k)
    np.testing.assert_array_equal(best, want)
    np.testing.assert_array_equal(similarity, scores)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 40),
    size=st.integers(1, 9),
    k=st.integers(1, 12),
    kinds=st.integers(1, 12),
)
def test_small_searches_with_many_ties(seed: int, count: int, size: int, k: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    kind = normalized(rng.normal(size=(kinds, size)).astype(np.float32))
    candidates, queries = kind[rng.integers(0, kinds, count)], kind[rng.integers(0, kinds, 7)]
    skip = np.sort(rng.integers(0, count + 1, (7, 2)), axis=1)
    check(queries, candidates, skip, k)


@pytest.mark.parametrize("k", [1, 3])
def test_grouped_search_with_ties_at_the_boundary(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topk, "CHUNK", 16)
    monkeypatch.setattr(topk, "ENTRIES_AT_ONCE", 50)
    monkeypatch.setattr(topk, "NUMBERS_AT_ONCE", 70)
    rng = np.random.default_rng(3)
    kind = normalized(rng.normal(size=(90, 7)).astype(np.float32))
    candidates = kind[np.sort(rng.integers(0, 90, 1000))]
    assert ExactSearch(candidates, k=k)._width > 1, "the bound by groups is in use"
    low = rng.integers(0, 990, 60)
    check(kind[rng.integers(0, 90, 60)], candidates, np.stack([low, low + rng.integers(0, 10, 60)], axis=1), k)


def test_scores_nearer_than_float32_sums_are_told_apart() -> None:
    rng = np.random.default_rng(4)
    base = rng.normal(size=64).astype(np.float32)
    candidates = normalized((base + rng.normal(size=(2000, 64)) * 3e-4).astype(np.float32))
    check(candidates[:20], candidates, np.stack([np.arange(20), np.arange(1, 21)], axis=1), 10)


def test_dot_products_of_long_vectors() -> None:
    rng = np.random.default_rng(5)
    candidates = (rng.normal(size=(500, 16)) * rng.uniform(0.1, 1000, (500, 1))).astype(np.float32)
    check(candidates[:9] * 50, candidates, np.zeros((9, 2), np.int64), 5)


def test_all_candidates_equal_gives_the_lowest_columns() -> None:
    candidates = np.tile(normalized(np.array([[1.0, 2.0, 3.0]], np.float32)), (5000, 1))
    skip = np.stack([np.arange(50), np.arange(50) + 1], axis=1)
    best, similarity = ExactSearch(candidates, k=3)(candidates[:50], skip)
    assert best[0].tolist() == [1, 2, 3]
    assert best[1].tolist() == [0, 2, 3]
    assert best[49].tolist() == [0, 1, 2]
    assert (similarity == similarity[0, 0]).all()


def test_the_result_does_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    candidates = normalized(rng.normal(size=(700, 33)).astype(np.float32))
    skip = np.stack([np.arange(700), np.arange(1, 701)], axis=1)
    whole = ExactSearch(candidates, k=4)(candidates, skip)
    monkeypatch.setattr(topk, "CHUNK", 7)
    steps: list[int] = []
    parts = ExactSearch(candidates, k=4)(candidates, skip, step=steps.append)
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_array_equal(whole[1], parts[1])
    assert steps == [*range(7, 700, 7), 700]


def test_normalized_keeps_zeros_and_equal_rows() -> None:
    rng = np.random.default_rng(7)
    rows = np.repeat(rng.normal(size=(1, 101)).astype(np.float32), 50, axis=0)
    rows[7] = 0
    got = normalized(rows)
    assert not got[7].any()
    kept = np.delete(got, 7, axis=0)
    assert (kept == kept[0]).all()
    assert np.linalg.norm(kept[0]) == pytest.approx(1, abs=1e-6)
