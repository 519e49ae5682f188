"""Differences over users and seeds against scipy's tests and plain formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.evaluation.estimates import Spread, estimate, estimate_measure, estimate_ranks, estimates
from engine.evaluation.significance import BORROWED, compare, gain_matrix

numbers = st.lists(st.integers(-5000, 5000).map(lambda whole: whole / 1000), min_size=2, max_size=6)


def values(seeds: int, users: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    effects = rng.normal(shift, 0.05, (seeds, 1))
    return np.random.default_rng(0).random(users) + effects + rng.normal(0, 0.2, (seeds, users))


@given(numbers, numbers)
def test_a_measure_is_tested_by_welch(a, b):
    found = estimate_measure(a, b)
    if found.se < 1e-9:
        return
    welch = stats.ttest_ind(b, a, equal_var=False)
    assert found.p_value() == pytest.approx(welch.pvalue, rel=1e-9)
    assert found.degrees == pytest.approx(welch.df)
    assert found.interval(0.9) == pytest.approx(tuple(welch.confidence_interval(0.9)), abs=1e-9)
    above = stats.ttest_ind(np.add(b, 1.5), a, equal_var=False, alternative="greater").pvalue
    below = stats.ttest_ind(np.subtract(b, 1.5), a, equal_var=False, alternative="less").pvalue
    assert found.equivalence_p(1.5) == pytest.approx(max(above, below), rel=1e-9)


@given(numbers)
def test_a_constant_is_tested_by_one_sample(values):
    found = estimate_measure(0.7, values)
    if found.se < 1e-9:
        return
    expected = stats.ttest_1samp(values, 0.7)
    assert found.p_value() == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.seeds == (0, len(values))


def test_one_run_each_is_the_paired_t_test_over_users():
    a, b = values(1, 300, 1), values(1, 300, 2, 0.02)
    found = estimate(a, b)
    expected = stats.ttest_rel(b[0], a[0])
    assert found.p_value() == pytest.approx(expected.pvalue)
    assert found.interval() == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert (found.borrowed, found.seeds) == ("", (1, 1))


def test_users_and_seeds_by_the_formula():
    a, b = values(3, 200, 1), values(5, 200, 2)
    found = estimate(a, b)
    terms = [
        ((b.mean(0) - a.mean(0)).var(ddof=1) / 200, 199),
        (a.mean(1).var(ddof=1) / 3, 2),
        (b.mean(1).var(ddof=1) / 5, 4),
    ]
    total = sum(term for term, _ in terms)
    assert found.se == pytest.approx(math.sqrt(total))
    assert found.degrees == pytest.approx(total**2 / sum(term**2 / df for term, df in terms))


@pytest.mark.parametrize("side", ["a", "b"])
def test_one_seed_borrows_the_variance_of_the_other_side(side):
    one, five = values(1, 200, 1), values(5, 200, 2)
    found = estimate(one, five) if side == "a" else estimate(five, one)
    assert found.borrowed == side
    users = (five.mean(0) - one.mean(0)).var(ddof=1) / 200
    seeds = five.mean(1).var(ddof=1) * (1 / 5 + 1)
    assert found.se == pytest.approx(math.sqrt(users + seeds))
    quantile = (users * stats.t.isf(0.025, 199) + seeds * stats.t.isf(0.025, 4)) / (users + seeds)
    low, high = found.interval()
    assert (high - low) / 2 == pytest.approx(found.se * quantile)
    for level in (0.5, 0.95, 0.999):  # the p-value and the interval say the same
        shifted = replace(found, difference=(lambda ends: (ends[1] - ends[0]) / 2)(found.interval(level)))
        assert shifted.p_value() == pytest.approx(1 - level)
        assert shifted.equivalence_p(2 * shifted.difference) == pytest.approx((1 - level) / 2)
        assert shifted.equivalence_p(shifted.difference / 2) > 0.5


def test_comparisons_take_the_same_estimate_and_name_what_was_borrowed():
    rng = np.random.default_rng(4)
    ranks = [1 + rng.exponential(30, 150).astype(np.int64) for _ in range(6)]
    single = compare(ranks[:1], ranks[1:], ks=(20,))
    several = compare(ranks[:3], ranks[3:], ks=(20,))
    assert {one.method for one in single} == {BORROWED}
    assert {one.method for one in several} == {"users and seeds"}
    for found in single:
        expected = estimate_ranks(ranks[:1], ranks[1:], found.metric)
        assert found.p_value == pytest.approx(expected.p_value())
        assert (found.ci_low, found.ci_high) == pytest.approx(expected.interval())


def test_ranks_are_turned_into_the_metric():
    a, b = [np.array([1, 30, 4])], [np.array([2, 3, 40])]
    found = estimate_ranks(a, b, "mrr@20")
    delta = gain_matrix(b[0], (20,), ("mrr",)) - gain_matrix(a[0], (20,), ("mrr",))
    assert found.difference == pytest.approx(delta.mean())
    with pytest.raises(ValueError, match="coverage"):
        estimate_ranks(a, b, "coverage@20")
    with pytest.raises(ValueError, match="same users"):
        estimate_ranks(a, [np.array([1])], "hr@20")


def test_the_spread_predicts_the_standard_error_of_more_seeds():
    """From 4 seeds per side to 16: both parts of the variance over users are told apart."""
    few = estimate(values(4, 3_000, 1), values(4, 3_000, 2))
    many = estimate(values(16, 3_000, 3), values(16, 3_000, 4))
    spread = few.spread()
    assert spread.noise_sd == pytest.approx(0.2, rel=0.05)
    assert spread.user_sd < 0.03  # the sides differ by noise alone
    assert spread.user_variance((16, 16)) == pytest.approx(many.user_variance, rel=0.2)
    assert spread.user_variance((4, 4)) == pytest.approx(few.user_variance)


def test_without_a_second_seed_there_is_nothing_to_tell_a_measure_by():
    found = estimate_measure([1.0], [2.0])
    assert (found.p_value(), found.interval()) == (1.0, (-math.inf, math.inf))
    assert found.spread() == Spread(users=0, seed_sds=(0.0, 0.0))


def test_equal_sides_do_not_differ():
    a = values(3, 50, 1)
    found = estimate(a, a)
    assert found.difference == 0
    assert found.p_value() == 1
    constant = estimate_measure([2.0, 2.0], [2.0, 2.0])
    assert (constant.p_value(), constant.equivalence_p(0.1), constant.interval()) == (1, 0, (0, 0))
    assert estimate_measure([1.0, 1.0], [2.0, 2.0]).p_value() == 0


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="same users"):
        estimates(np.zeros((2, 5, 1)), np.zeros((2, 6, 1)))
    with pytest.raises(ValueError, match="same users"):
        estimates(np.zeros((0, 5, 1)), np.zeros((2, 5, 1)))
    with pytest.raises(ValueError, match="value"):
        estimate_measure([], [1.0])
