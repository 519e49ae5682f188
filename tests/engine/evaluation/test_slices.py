"""Slices of users: their bounds, the neighbors of their users, and the difference in each."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.evaluation.metrics import most_popular
from engine.evaluation.slices import (
    HEAD,
    MIDDLE,
    TAIL,
    NeighborList,
    neighbor_profile,
    popularity_codes,
    quartile_codes,
    slice_estimates,
    user_values,
)


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 1, 1, 2, 2, 3, 3]),
        ([8, 1, 7, 2, 6, 3, 5, 4], [3, 0, 3, 0, 2, 1, 2, 1]),
        ([3, 3, 3, 3, 3, 3, 9, 9], [0, 0, 0, 0, 0, 0, 1, 1]),
        ([5, 5, 5], [0, 0, 0]),
        ([np.nan, 2, 1, np.nan], [-1, 1, 0, -1]),
        ([np.nan], [-1]),
        ([], []),
    ],
)
def test_quartiles_of_known_values(values, codes):
    assert quartile_codes(np.array(values, float)).tolist() == codes


@given(st.lists(st.one_of(st.integers(-5, 30).map(float), st.just(float("nan"))), max_size=60))
def test_quartiles_are_ranges_that_part_no_equal_values(values):
    given_values = np.array(values, float)
    codes = quartile_codes(given_values)
    assert (codes == -1).tolist() == np.isnan(given_values).tolist()
    slices = [given_values[codes == code] for code in range(int(codes.max(initial=-1)) + 1)]
    assert len(slices) <= 4
    assert all(len(one) for one in slices)
    assert all(low.max() < high.min() for low, high in itertools.pairwise(slices))


def test_popularity_is_a_fifth_a_half_and_the_rest():
    counts = np.array([0, 9, 1, 8, 1, 7, 6, 5, 4, 3, 2, 0])  # ten items with interactions, one without
    codes = popularity_codes(counts)
    assert np.flatnonzero(codes == HEAD).tolist() == [1, 3]
    assert np.flatnonzero(codes == MIDDLE).tolist() == [5, 6, 7]
    assert np.flatnonzero(codes == TAIL).tolist() == [0, 2, 4, 8, 9, 10, 11]
    assert np.array_equal(codes == HEAD, most_popular(counts, 0.2))


def test_the_profile_of_neighbors_is_that_of_a_count_by_hand():
    rng = np.random.default_rng(4)
    anchors, users = 40, 12
    represented = np.zeros(anchors + 1, np.int64)
    represented[1 : users + 1] = rng.permutation(users) + 1
    next_items = rng.integers(1, 6, anchors + 1)
    targets = np.append(0, rng.integers(1, 6, users))
    pairs = [
        (anchor, int(neighbor), float(rng.uniform()))
        for anchor in range(2, anchors + 1)  # anchor 1 has none
        for neighbor in rng.choice(np.arange(1, anchors + 1), 4, replace=False)
    ]
    order = rng.permutation(len(pairs))
    columns = [np.array(column)[order] for column in zip(*pairs, strict=True)]
    found = neighbor_profile(NeighborList(columns[0], columns[1], columns[2], represented, next_items), targets)
    lists = Counter(neighbor for _, neighbor, _ in pairs)
    for user in range(1, users + 1):
        anchor = int(np.flatnonzero(represented == user)[0])
        own = [(neighbor, similarity) for owner, neighbor, similarity in pairs if owner == anchor]
        if not own:
            assert anchor == 1
            assert np.isnan([found.similarity[user], found.occurrence[user], found.has_target[user]]).all()
            continue
        assert found.similarity[user] == pytest.approx(np.mean([similarity for _, similarity in own]), abs=1e-6)
        assert found.occurrence[user] == pytest.approx(np.mean([lists[neighbor] for neighbor, _ in own]))
        assert found.has_target[user] == any(next_items[neighbor] == targets[user] for neighbor, _ in own)
    assert 0 < np.nansum(found.has_target) < users - 1


def test_each_slice_is_a_paired_t_test_of_its_users():
    rng = np.random.default_rng(7)
    ranks = [rng.integers(1, 40, 90) for _ in range(2)]
    a, b = (user_values([one], "ndcg@20") for one in ranks)
    expected = [np.where(one <= 20, 1 / np.log2(one + 1), 0) for one in ranks]
    assert np.allclose(a[0], expected[0])
    codes = rng.integers(-1, 3, 90)
    found = slice_estimates(a, b, codes)
    assert len(found) == 3
    for code, one in enumerate(found):
        test = stats.ttest_rel(expected[1][codes == code], expected[0][codes == code])
        interval = test.confidence_interval()
        assert one.users == (codes == code).sum()
        assert one.p_value() == pytest.approx(test.pvalue)
        assert one.interval() == pytest.approx((interval.low, interval.high))
    assert slice_estimates(a, b, np.full(90, -1)) == []


def test_one_user_has_no_interval():
    (one,) = slice_estimates(np.array([[0.2]]), np.array([[0.5]]), np.zeros(1, np.int64))
    assert one.interval() == (-np.inf, np.inf)
    assert one.p_value() == 1
