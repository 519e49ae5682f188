"""The backend `faiss`: its lists keep to the pools, are the same whenever they are made, and their recall is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import RetrievalConfig
from engine.data.vector_rows import HeldRows
from engine.errors import ConfigError
from engine.retrieval import backends, faiss_search
from engine.retrieval.backend import Found
from engine.retrieval.backends import build_backend
from engine.retrieval.topk import ExactSearch, normalized

without = pytest.mark.skipif(backends.find_spec("faiss") is None, reason="faiss-cpu, an extra, is not installed")


def find(vectors: Any, skip: Any, *, k: int, search_k: int) -> Found:
    backend = build_backend(RetrievalConfig(backend="faiss", search_k=search_k))
    steps: list[int] = []
    rows = HeldRows(vectors[: len(skip)])
    found = backend.find(HeldRows(vectors), rows, skip, k=k, step=steps.append)
    assert steps[-1:] == ([len(skip)] if len(vectors) else [])
    return found


@without
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 300), k=st.integers(1, 12), kinds=st.integers(1, 40))
def test_few_lists_find_what_an_exact_search_finds(seed: int, count: int, k: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = normalized(rng.normal(size=(kinds, 5)).astype(np.float32))[rng.integers(0, kinds, count)]
    skip = np.sort(rng.integers(0, count + 1, (min(count, 9), 2)), axis=1)
    found = find(vectors, skip, k=k, search_k=count + 1)
    exact, similarity = ExactSearch(vectors, k=k)(vectors[: len(skip)], skip)
    assert found.recall in (None, 1.0)
    np.testing.assert_array_equal((found.columns >= 0).sum(1), (exact >= 0).sum(1))
    np.testing.assert_allclose(found.similarity, similarity, atol=0.02)  # 8 bits a number choose among equals


@without
def test_lists_are_repeated_and_their_recall_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_search, "CHUNK", 64)
    vectors = normalized(np.random.default_rng(1).normal(size=(4000, 16)).astype(np.float32))
    skip = np.stack([np.arange(300) // 3 * 3, np.arange(300) // 3 * 3 + 3], axis=1)
    few, same, many = (find(vectors, skip, k=10, search_k=search_k) for search_k in (100, 100, 4000))
    np.testing.assert_array_equal(few.columns, same.columns)
    assert few.recall is not None
    assert many.recall is not None
    assert few.recall < 0.9 < 0.99 <= many.recall


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs the package faiss-cpu") as caught:
        build_backend(RetrievalConfig(backend="faiss"))
    assert "pip install faiss-cpu" in str(caught.value.hint)
