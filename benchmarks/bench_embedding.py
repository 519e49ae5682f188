"""Offline summaries of Office's users through all-MiniLM-L6-v2: ours, and sentence-transformers' `encode` as it comes."""

from __future__ import annotations

import numpy as np
import pytest

from engine.semantics.encoders.local import SentenceEncoder

TEXTS = 1000


@pytest.fixture(scope="module")
def texts(bench):
    items = bench("amazon-office-2014").dataset.items.texts
    random = np.random.default_rng(1)
    return [
        " ".join(items[place] for place in random.integers(len(items), size=random.integers(1, 8)))
        for _ in range(TEXTS)
    ]


@pytest.mark.benchmark(group=f"embedding, all-MiniLM-L6-v2, {TEXTS} texts of 1 to 7 titles")
@pytest.mark.parametrize("way", ["ours", "plain"])
def test_encode(benchmark, texts, way):
    encoder = SentenceEncoder("minilm", source=None)
    encoder.encode(texts[:8])
    encode = encoder.encode if way == "ours" else encoder._model.encode  # the library's own default arguments
    vectors = benchmark.pedantic(encode, (texts,), rounds=2)
    benchmark.extra_info["texts per second"] = round(TEXTS / benchmark.stats.stats.min, 1)
    assert vectors.shape == (TEXTS, 384)
