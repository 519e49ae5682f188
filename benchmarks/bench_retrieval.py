"""Exact top-100 of Beauty's 131,413 training prefixes in the pool `others`, for 4,096 of them; times 32 for all.

Floor: 131,413 x 131,413 x 384 x 2 = 13.3 TFLOP for all, 0.41 TFLOP for 4,096 queries.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.events import ignore
from engine.retrieval import topk
from engine.retrieval.neighbors import user_neighbors
from engine.retrieval.topk import ExactSearch, normalized

QUERIES, K = 4096, 100


@pytest.fixture(scope="module")
def beauty(bench):
    made = bench("amazon-beauty-2014")
    queries = np.sort(np.random.default_rng(1).choice(made.anchor_ids, QUERIES, replace=False))
    return made, queries


def _whole_rows(made, queries) -> torch.Tensor:
    """Every row of scores whole, the user's own masked, `topk` over it; 256 queries at a time."""
    vectors = torch.nn.functional.normalize(torch.from_numpy(made.anchors), dim=1)
    users = torch.from_numpy(made.dataset.anchors.user_ids[made.anchor_ids - 1])
    rows = torch.from_numpy(np.searchsorted(made.anchor_ids, queries))
    found = []
    for part in rows.split(256):
        scores = vectors[part] @ vectors.T
        scores.masked_fill_(users[part][:, None] == users[None], -torch.inf)
        found.append(scores.topk(K, dim=1).indices)
    return torch.cat(found)


@pytest.mark.benchmark(group="exact top-100, Beauty, 4,096 of 131,413 prefixes")
@pytest.mark.parametrize("way", ["ours", "plain"])
def test_search(benchmark, beauty, config, way):
    made, queries = beauty
    retrieval = config(k=K).retrieval

    def ours() -> np.ndarray:
        found = user_neighbors(made.anchors, made.anchor_ids, made.dataset, retrieval, queries=queries, report=ignore)
        return found.ids

    found = benchmark.pedantic(
        ours if way == "ours" else _whole_rows, () if way == "ours" else (made, queries), rounds=2
    )
    assert found.shape == (QUERIES, K)


@pytest.mark.benchmark(group="exact search of 4,096 prefixes, built beforehand")
@pytest.mark.parametrize("k", [10, 100])
@pytest.mark.parametrize(
    ("name", "count"), [("amazon-beauty-2014", 20_000), ("amazon-office-2014", 38_543), ("amazon-beauty-2014", 131_413)]
)
@pytest.mark.parametrize("way", ["ours", "float32", "plain"])
def test_search_among_some(benchmark, bench, monkeypatch, name, count, k, way):
    """`float32`: as ours on a processor without bfloat16."""
    if way == "float32":
        monkeypatch.setattr(topk, "pays", lambda *_, **__: False)
    vectors = normalized(np.ascontiguousarray(bench(name).anchors[:count]))
    queries = vectors[:QUERIES]
    search, own = ExactSearch(vectors, k=k), np.arange(QUERIES)
    skip = np.stack([own, own + 1], axis=1)

    def ours() -> int:
        return search(queries, skip)[0].shape[1]

    def plain() -> int:
        parts = torch.from_numpy(queries).split(256)
        return torch.cat([(part @ torch.from_numpy(vectors).T).topk(k, dim=1).indices for part in parts]).shape[1]

    assert benchmark.pedantic(plain if way == "plain" else ours, rounds=3, warmup_rounds=1) == k
