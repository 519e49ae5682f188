"""Full ranking of Beauty: 22,363 users by 12,101 items, width 64. Ours counts; the plain way sorts every row.

Floor: 22,363 x 12,101 x 64 x 2 = 34.6 GFLOP for the scores, and the encoder's pass over 22,363 windows.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.config import EvaluateConfig
from engine.data.batching.windows import Windows
from engine.data.dataset import TEST
from engine.evaluation.ranking import rank_and_list, rank_targets
from engine.models.sasrec import SASRec


@pytest.fixture(scope="module")
def beauty(bench):
    dataset = bench("amazon-beauty-2014").dataset
    torch.manual_seed(1)
    settings = EvaluateConfig()
    return dataset, Windows(dataset, 20), dataset.anchors.ids(TEST), settings


def _model(config, dataset) -> SASRec:
    return SASRec(config().model, items=len(dataset.items), max_length=20).eval()


@torch.no_grad()
def _sorted_ranks(model: SASRec, windows: Windows, ids: np.ndarray) -> np.ndarray:
    """Every window padded to 20, every row of scores sorted, in batches of 256 users."""
    found = []
    for part in torch.from_numpy(ids).split(256):
        hidden = model(windows.pack(part, "cpu"))
        order = model.scores(hidden).argsort(dim=1, descending=True)
        target = windows.targets[part][:, None] - 1
        found.append((order == target).nonzero()[:, 1] + 1)
    return torch.cat(found).numpy()


@pytest.mark.benchmark(group="full ranking, Beauty, 22,363 users x 12,101 items")
@pytest.mark.parametrize("way", ["ours", "ours, with lists of 20", "plain"])
def test_ranking(benchmark, beauty, config, way):
    dataset, windows, ids, settings = beauty
    model = _model(config, dataset)
    if way == "ours":
        ranks = benchmark.pedantic(rank_targets, (model, windows, dataset, ids, settings), rounds=5, warmup_rounds=1)
    elif way == "ours, with lists of 20":
        wanted = {"k": 20}
        ranks, lists = benchmark.pedantic(
            rank_and_list, (model, windows, dataset, ids, settings), wanted, rounds=5, warmup_rounds=1
        )
        assert lists.shape == (len(ids), 20)
    else:
        ranks = benchmark.pedantic(_sorted_ranks, (model, windows, ids), rounds=1)
    assert len(ranks) == len(ids)
    assert 1 <= ranks.min() <= ranks.max() <= len(dataset.items)
