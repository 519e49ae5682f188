"""Metrics against fractions computed by hand, and the subgroups of a set made by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.dataset import TEST, VALID
from engine.evaluation.metrics import gains, grouped_metrics, head_items, ranking_metrics, subgroups

LOG2_3, LOG2_5, LOG2_6, LOG2_7 = 1.584962500721156, 2.321928094887362, 2.584962500721156, 2.807354922057604
INTS = (np.int32, np.int64)


@pytest.mark.parametrize("kind", INTS)
def test_metrics_by_hand(kind):
    metrics = ranking_metrics(np.array([1, 2, 5, 6, 100], kind), (1, 5, 10))
    expected = {
        "hr@1": Fraction(1, 5),
        "hr@5": Fraction(3, 5),
        "hr@10": Fraction(4, 5),
        "mrr@1": Fraction(1, 5),
        "mrr@5": (1 + Fraction(1, 2) + Fraction(1, 5)) / 5,
        "mrr@10": (1 + Fraction(1, 2) + Fraction(1, 5) + Fraction(1, 6)) / 5,
        "ndcg@1": Fraction(1, 5),
        "ndcg@5": (1 + 1 / LOG2_3 + 1 / LOG2_6) / 5,
        "ndcg@10": (1 + 1 / LOG2_3 + 1 / LOG2_6 + 1 / LOG2_7) / 5,
    }
    assert set(metrics) == set(expected)
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(float(value), rel=1e-14), name


def test_a_rank_at_the_cutoff_counts_and_the_next_does_not():
    assert ranking_metrics(np.array([4]), (4,)) == pytest.approx({"hr@4": 1, "ndcg@4": 1 / LOG2_5, "mrr@4": 0.25})
    assert ranking_metrics(np.array([5]), (4,)) == {"hr@4": 0, "ndcg@4": 0, "mrr@4": 0}


def test_perfect_ranks_give_one_and_no_ranks_give_nothing():
    assert set(ranking_metrics(np.ones(7, np.int32), (5, 20)).values()) == {1.0}
    assert ranking_metrics(np.zeros(0, np.int32), (5, 20)) == {}
    assert ranking_metrics(np.array([1]), ()) == {}


@pytest.mark.parametrize("rank", [0, -3])
def test_ranks_below_one_are_refused(rank):
    with pytest.raises(ValueError, match=f"ranks count from 1, not {rank}"):
        ranking_metrics(np.array([2, rank, 1]), (5,))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(1, 50))
def test_metrics_are_the_mean_of_the_gains_of_each_user(ranks, k):
    metrics, each = ranking_metrics(np.array(ranks), (k,)), gains(np.array(ranks), (k,))
    assert set(metrics) == set(each) == {f"hr@{k}", f"ndcg@{k}", f"mrr@{k}"}
    for name, values in each.items():
        assert len(values) == len(ranks)
        assert metrics[name] == pytest.approx(sum(values) / len(ranks))
    assert metrics[f"hr@{k}"] == sum(rank <= k for rank in ranks) / len(ranks)
    assert 0 <= metrics[f"mrr@{k}"] <= metrics[f"ndcg@{k}"] <= metrics[f"hr@{k}"] <= 1


@pytest.fixture
def hand_made(dataset_of):
    """Users of 3, 6, 7, 11, 12 and 2 items; the second and the last but one are tied."""
    lengths = [3, 6, 7, 11, 12, 2]
    times = [list(range(length)) for length in lengths]
    for tied in (1, 4):
        times[tied][-2] = times[tied][-1]
    times[2][0] = times[2][1]  # a tie in training alone says nothing
    times[5] = [0, 0]  # nor does one of a user who only trains
    sequences = [[1] * (length - 2) + [2, 3] for length in lengths]
    return dataset_of(sequences, items=12, times=[time for part in times for time in part])


def test_subgroups_by_hand(hand_made):
    for role, extra in ((VALID, 0), (TEST, 1)):
        masks = subgroups(hand_made, hand_made.anchors.ids(role))
        lengths = [length - 2 + extra for length in (3, 6, 7, 11, 12)]  # of the prefix; the last user has none
        assert masks["all"].tolist() == [True] * 5
        assert masks["tied"].tolist() == [False, True, False, False, True]
        assert masks["untied"].tolist() == [True, False, True, True, False]
        assert masks["short"].tolist() == [length <= 5 for length in lengths]
        assert masks["medium"].tolist() == [5 < length <= 10 for length in lengths]
        assert masks["long"].tolist() == [length > 10 for length in lengths]
    assert subgroups(hand_made, hand_made.anchors.ids(VALID))["long"].tolist() == [False] * 5
    assert subgroups(hand_made, hand_made.anchors.ids(TEST))["long"].tolist() == [False, False, False, False, True]
    assert subgroups(hand_made, hand_made.anchors.ids(TEST))["short"].tolist() == [True, True, False, False, False]


def test_head_items_are_the_most_popular_fifth_in_training(dataset_of):
    # Training counts: item 1 four times, 2 and 3 twice, 4 .. 6 once; 7 and 8 are only ever validation or test items.
    dataset = dataset_of([[1, 1, 2, 7, 8], [1, 2, 3, 7, 8], [1, 3, 4, 7, 8], [5, 6, 1, 1]], items=9)
    assert dataset.train_counts.tolist() == [0, 4, 2, 2, 1, 1, 1, 0, 0, 0]
    assert np.flatnonzero(head_items(dataset)).tolist() == [1, 2]  # a fifth of six, rounded up; of a tie the lower id
    assert not head_items(dataset)[0]


def test_head_and_tail_follow_the_target(dataset_of):
    dataset = dataset_of([[1, 1, 2, 1], [1, 3, 1, 4], [1, 4, 2, 1], [3, 4, 4, 1], [2, 4, 1, 2]], items=5)
    head = set(np.flatnonzero(head_items(dataset)).tolist())
    assert head == {1}
    masks = subgroups(dataset, dataset.anchors.ids(TEST))
    assert masks["head"].tolist() == [True, False, True, True, False]
    assert masks["tail"].tolist() == [False, True, False, False, True]


def test_groups_cover_everyone_once(make_dataset):
    dataset = make_dataset()
    for role in (VALID, TEST):
        masks = subgroups(dataset, dataset.anchors.ids(role))
        for parts in (("tied", "untied"), ("short", "medium", "long"), ("head", "tail")):
            assert np.sum([masks[part] for part in parts], axis=0).tolist() == [1] * len(masks["all"])


def test_without_times_nobody_is_tied(dataset_of):
    dataset = dataset_of([[1, 2, 3], [2, 3, 1]])
    masks = subgroups(dataset, dataset.anchors.ids(TEST))
    assert not masks["tied"].any()
    assert masks["untied"].all()


def test_grouped_metrics_measure_each_group_alone():
    ranks = np.array([1, 2, 4], np.int32)
    masks = {
        "all": np.array([True] * 3),
        "tied": np.array([False, True, True]),
        "none": np.array([False] * 3),
    }
    measured = {(m.subgroup, m.name): m.value for m in grouped_metrics(ranks, masks, split="test", ks=(2,))}
    assert measured == pytest.approx(
        {
            ("all", "hr@2"): 2 / 3,
            ("all", "ndcg@2"): (1 + 1 / LOG2_3) / 3,
            ("all", "mrr@2"): 0.5,
            ("all", "n"): 3,
            ("tied", "hr@2"): 1 / 2,
            ("tied", "ndcg@2"): 1 / LOG2_3 / 2,
            ("tied", "mrr@2"): 1 / 4,
            ("tied", "n"): 2,
        }
    )
    assert {m.split for m in grouped_metrics(ranks, masks, split="test", ks=(2,))} == {"test"}
