"""Ranks against a loop over items, with ties, with seen items left out, and in chunks of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.config import EvaluateConfig
from engine.data.batching.windows import Windows
from engine.data.dataset import TEST, VALID
from engine.errors import TrainingError
from engine.evaluation import ranking
from engine.evaluation.ranking import encode, rank_targets
from engine.models.registry import build_backbone
from tests.support.largest_tensor import Largest

N = 4


def evaluation(**settings):
    return EvaluateConfig.model_validate(settings)


@pytest.fixture
def parts(make_dataset, small_config):
    dataset = make_dataset()
    torch.manual_seed(0)
    backbone = build_backbone(small_config().model, items=len(dataset.items), max_length=N)
    with torch.no_grad():
        backbone.item_embedding.weight.mul_(20)
        for item in range(2, 25, 2):  # pairs of equal items, so that there are ties
            backbone.item_embedding.weight[item] = backbone.item_embedding.weight[item - 1]
    return backbone, Windows(dataset, N), dataset


def slow_ranks(backbone, windows, dataset, anchors, config):
    ranks = []
    backbone.eval()
    for anchor in anchors.tolist():
        with torch.no_grad():
            hidden = backbone(windows.pack(torch.tensor([anchor])))
            scores = {
                item: float(hidden[0] @ backbone.item_embedding.weight[item])
                for item in range(1, len(dataset.items) + 1)
            }
        target = int(dataset.anchors.targets[anchor - 1])
        seen = set(dataset.history(anchor).tolist()) if config.mask_seen else set()
        rivals = [score for item, score in scores.items() if item != target and item not in seen]
        # Equal items have equal scores, up to the last bit of another order of sums.
        higher = sum(score > scores[target] + 1e-6 for score in rivals)
        equal = sum(abs(score - scores[target]) <= 1e-6 for score in rivals)
        ranks.append(1 + higher + (equal if config.ties == "worst" else 0))
    return ranks


@pytest.mark.parametrize("role", [VALID, TEST])
@pytest.mark.parametrize("mask_seen", [False, True])
@pytest.mark.parametrize("ties", ["worst", "best"])
def test_ranks_equal_the_loop(parts, role, mask_seen, ties):
    ids = parts[2].anchors.ids(role)
    config = evaluation(mask_seen=mask_seen, ties=ties)
    ranks = rank_targets(*parts, anchor_ids=ids, config=config)
    assert ranks.dtype == np.int32
    assert ranks.tolist() == slow_ranks(*parts, anchors=ids, config=config)


def test_ties_by_hand(dataset_of, small_config):
    dataset = dataset_of([[1, 2, 3]], items=5)
    backbone = build_backbone(small_config().model, items=5, max_length=N)
    with torch.no_grad():
        backbone.item_embedding.weight.zero_()
    ranks = {
        (ties, mask): int(
            rank_targets(backbone, Windows(dataset, N), dataset, np.array([2]), evaluation(ties=ties, mask_seen=mask))[
                0
            ]
        )
        for ties in ("worst", "best")
        for mask in (False, True)
    }
    assert ranks == {("worst", False): 5, ("best", False): 1, ("worst", True): 3, ("best", True): 1}


def test_seen_items_beyond_the_window_are_masked_too(dataset_of, small_config):
    dataset = dataset_of([[1, 2, 3, 4, 5, 6]], items=8)
    backbone = build_backbone(small_config().model, items=8, max_length=2)
    with torch.no_grad():
        backbone.item_embedding.weight.zero_()
    ids = dataset.anchors.ids(TEST)
    assert rank_targets(backbone, Windows(dataset, 2), dataset, ids, evaluation(mask_seen=True)).tolist() == [3]


def test_a_target_that_was_seen_is_never_masked(dataset_of, small_config):
    dataset = dataset_of([[1, 2, 3, 1]], items=4)
    torch.manual_seed(0)
    backbone = build_backbone(small_config().model, items=4, max_length=N)
    ids = dataset.anchors.ids(TEST)
    (rank,) = rank_targets(backbone, Windows(dataset, N), dataset, ids, evaluation(mask_seen=True)).tolist()
    assert rank in (1, 2), "only items 1 and 4 are left"


@pytest.mark.parametrize("at_once", [1, 24, 60, 24 * 7])
@pytest.mark.parametrize("mask_seen", [False, True])
def test_chunks_change_nothing(parts, monkeypatch, at_once, mask_seen):
    ids = np.random.default_rng(0).permutation(parts[2].anchors.ids(TEST))
    config = evaluation(mask_seen=mask_seen)
    whole = rank_targets(*parts, anchor_ids=ids, config=config)
    monkeypatch.setattr(ranking, "SCORES_AT_ONCE", at_once)
    assert rank_targets(*parts, anchor_ids=ids, config=config).tolist() == whole.tolist()


def test_the_scores_of_all_users_for_all_items_are_never_in_memory(parts, monkeypatch):
    ids = parts[2].anchors.ids(TEST)
    monkeypatch.setattr(ranking, "SCORES_AT_ONCE", 60)
    hidden = encode(*parts[:2], ids)
    monkeypatch.setattr(ranking, "encode", lambda *_: hidden)
    with Largest() as seen:
        rank_targets(*parts, anchor_ids=ids, config=evaluation())
    most = max(60, hidden.numel(), parts[0].item_embedding.weight.numel())
    assert seen.numbers <= most < len(ids) * len(parts[2].items)


def test_encoding_is_without_dropout_and_leaves_the_mode_alone(parts):
    backbone, windows, dataset = parts
    ids = dataset.anchors.ids(VALID)
    for training in (True, False):
        backbone.train(training)
        hidden = encode(backbone, windows, ids)
        assert backbone.training is training
        assert not hidden.requires_grad
        assert torch.equal(hidden, encode(backbone, windows, ids))
        torch.testing.assert_close(encode(backbone, windows, ids, batch=3), hidden)
    assert hidden.shape == (len(ids), 8)


@pytest.mark.parametrize("which", ["target", "other"])
def test_scores_that_are_no_numbers_are_refused(parts, which):
    backbone, windows, dataset = parts
    ids = dataset.anchors.ids(TEST)[:1]
    target = int(dataset.anchors.targets[ids[0] - 1])
    outside = next(item for item in range(1, 25) if item != target and item not in dataset.history(int(ids[0])))
    with torch.no_grad():
        backbone.item_embedding.weight[target if which == "target" else outside] = float("nan")
    with pytest.raises(TrainingError, match="not a number") as caught:
        rank_targets(backbone, windows, dataset, ids, evaluation())
    assert caught.value.hint is not None
