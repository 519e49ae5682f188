"""Small p-values of the randomization test against enumeration and scipy, and families that resamples could not decide."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from engine.evaluation.significance import compare, holm
from engine.evaluation.tails import randomization_p


def tail(deltas, counts, seed: int = 1) -> float:
    return randomization_p(np.asarray(deltas, float), np.asarray(counts), rng=np.random.default_rng(seed))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-5, 9), min_size=1, max_size=11), st.integers(0, 99))
def test_the_tail_is_that_of_all_swaps(wholes, seed):
    deltas = np.array(wholes, float) / 7
    signs = np.array(list(itertools.product([-1, 1], repeat=len(deltas))))
    exact = float((np.abs(signs @ deltas) >= abs(deltas.sum()) - 1e-9).mean())
    assert tail(deltas, np.ones(len(deltas), int), seed) == pytest.approx(exact, rel=0.15)


@pytest.mark.parametrize(("up", "down"), [(12, 3), (40, 11), (300, 120), (900, 100)])
def test_of_the_hit_ratio_it_is_the_exact_sign_test(up, down):
    expected = stats.binomtest(up, up + down, 0.5).pvalue
    assert tail([1.0, -1.0, 0.0], [up, down, 5_000]) == pytest.approx(expected, rel=1e-9)


def test_far_out_it_agrees_with_the_normal_tail_and_with_itself():
    rng = np.random.default_rng(3)
    deltas = np.round(rng.normal(0.13, 1, 4_000), 2)
    expected = 2 * stats.norm.sf(abs(deltas.sum()) / np.sqrt((deltas**2).sum()))
    assert 1e-20 < expected < 1e-9
    found = [tail(deltas, np.ones(4_000, int), seed) for seed in range(5)]
    assert found == pytest.approx([expected] * 5, rel=0.5)
    assert np.std(found) < 0.1 * np.mean(found)


def test_all_the_same_way_is_one_swap_in_all_of_them():
    assert tail([0.5, 0.3], [9, 8]) == pytest.approx(2 / 2**17)
    assert tail([0.0, 0.0], [9, 8]) == 1
    assert tail([], []) == 1


def test_a_family_of_a_thousand_tests_can_be_decided():
    """10,000 resamples alone give at best p = .0001, which Holm would multiply by 1,000."""
    rng = np.random.default_rng(5)
    a = 1 + rng.exponential(30, 800).astype(np.int64)
    b = np.maximum(1, (a * rng.choice([0.4, 0.7, 1.0, 1.2], 800)).astype(np.int64))
    for found in compare([a], [b], ks=(5, 20)):
        assert found.difference > 0
        assert holm([found.p_value, *[1.0] * 999])[0] < 0.01
    hits = compare([np.full(500, 60)], [np.full(500, 3)], ks=(20,))
    assert all(0 <= one.p_value < 1e-100 for one in hits)


def test_the_two_ways_meet_where_one_takes_over_from_the_other():
    """About 20 of 10,000 resamples are as extreme: both ways say nearly the same."""
    rng = np.random.default_rng(2)
    a = 1 + rng.exponential(30, 600).astype(np.int64)
    b = np.maximum(1, (a * rng.choice([0.8, 1.0, 1.1], 600, p=[0.25, 0.6, 0.15])).astype(np.int64))
    by_tail = compare([a], [b], ks=(20,))
    by_resamples = compare([a], [b], ks=(20,), resamples=100_000)
    for short, long in zip(by_tail, by_resamples, strict=True):
        assert short.p_value == pytest.approx(long.p_value, rel=0.25)
