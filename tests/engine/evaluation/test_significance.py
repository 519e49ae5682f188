"""Paired tests against slow references, and their error rates where there is no difference."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from engine.evaluation.significance import compare, gain_matrix, holm, metric_names

KS = (5, 10, 20)


def ranks(users: int, seed: int, *, scale: float = 30.0) -> np.ndarray:
    return 1 + np.random.default_rng(seed).exponential(scale, users).astype(np.int64)


def test_gains_by_hand():
    matrix = gain_matrix(np.array([1, 7, 50]), (5, 10))
    assert metric_names((5, 10)) == ["hr@5", "ndcg@5", "mrr@5", "hr@10", "ndcg@10", "mrr@10"]
    assert matrix.tolist() == [[1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1 / 3, 1 / 7], [0, 0, 0, 0, 0, 0]]


def test_the_bootstrap_over_cells_is_the_bootstrap_over_users():
    a, b = ranks(400, 1), ranks(400, 2, scale=25.0)
    found = compare([a], [b], ks=KS, resamples=20_000)
    delta = gain_matrix(b, KS) - gain_matrix(a, KS)
    dice = np.random.default_rng(9)
    slow = np.stack([delta[dice.integers(0, 400, 400)].mean(0) for _ in range(20_000)])
    for i, result in enumerate(found):
        assert result.difference == pytest.approx(delta[:, i].mean(), abs=1e-12)
        low, high = np.quantile(slow[:, i], [0.025, 0.975])
        width = high - low
        assert result.ci_low == pytest.approx(low, abs=0.06 * width)
        assert result.ci_high == pytest.approx(high, abs=0.06 * width)


def test_the_randomization_over_cells_is_the_one_over_users():
    a, b = ranks(300, 3), ranks(300, 4, scale=26.0)
    found = compare([a], [b], ks=KS, resamples=20_000)
    delta = gain_matrix(b, KS) - gain_matrix(a, KS)
    dice = np.random.default_rng(5)
    signs = dice.choice([-1.0, 1.0], size=(20_000, 300))
    slow = np.abs(signs @ delta / 300)
    for i, result in enumerate(found):
        p = (1 + (slow[:, i] >= abs(delta[:, i].mean()) - 1e-12).sum()) / 20_001
        assert result.p_value == pytest.approx(p, abs=0.02)


def test_equal_systems_do_not_differ():
    a = ranks(200, 1)
    for result in compare([a], [a], ks=KS):
        assert (result.difference, result.ci_low, result.ci_high, result.p_value) == (0, 0, 0, 1)
    for result in compare([a, a], [a, a], ks=KS):
        assert (result.difference, result.p_value) == (0, 1)


def test_a_difference_changes_its_sign_with_the_order():
    a, b = [ranks(200, 1), ranks(200, 2)], [ranks(200, 3, scale=15), ranks(200, 4, scale=15)]
    for one, other in zip(compare(a, b, ks=KS), compare(b, a, ks=KS), strict=True):
        assert one.difference == pytest.approx(-other.difference)
        assert one.ci_low == pytest.approx(-other.ci_high)
        assert one.p_value == pytest.approx(other.p_value)


def test_without_a_difference_five_percent_are_called_significant():
    """One run each: users exchangeable. Several seeds: each seed has an effect of its own on top of the users'."""
    trials, alarms = 400, {"users": 0, "users and seeds": 0}
    for trial in range(trials):
        dice = np.random.default_rng(trial)
        user = dice.exponential(20, 150)

        def draw(effect: float, user: np.ndarray = user, dice: np.random.Generator = dice) -> np.ndarray:
            return 1 + (user * np.exp(effect + dice.normal(0, 0.5, 150))).astype(np.int64)

        single = compare([draw(0.0)], [draw(0.0)], ks=(10,), resamples=1000, seed=trial)
        alarms["users"] += single[1].p_value <= 0.05
        a, b = ([draw(effect) for effect in dice.normal(0, 0.15, 4)] for _ in range(2))
        several = compare(a, b, ks=(10,))
        alarms["users and seeds"] += several[1].p_value <= 0.05
    for method, count in alarms.items():
        low, high = stats.binom.ppf([0.001, 0.999], trials, 0.05)
        assert low - 4 <= count <= high, (method, count)


def test_the_randomization_test_raises_five_percent_false_alarms():
    """1,000 pairs of systems that differ by luck alone; 5 % +- 1.5 of them may be called different at 5 %."""
    alarms = 0
    for trial in range(1000):
        dice = np.random.default_rng(10_000 + trial)
        user = dice.exponential(20, 200)
        a, b = (1 + (user * np.exp(dice.normal(0, 0.6, 200))).astype(np.int64) for _ in range(2))
        alarms += compare([a], [b], ks=(20,), resamples=500, seed=trial)[1].p_value <= 0.05
    assert 35 <= alarms <= 65


def test_thirty_six_thousand_users_take_seconds():
    a, b = ranks(36_000, 1), ranks(36_000, 2)
    started = time.perf_counter()
    compare([a], [b], ks=KS, resamples=10_000)
    assert time.perf_counter() - started < 20


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_sides_of_different_users_are_refused():
    with pytest.raises(ValueError, match="same users"):
        compare([ranks(10, 1)], [ranks(9, 1)], ks=KS)
    with pytest.raises(ValueError, match="same users"):
        compare([], [ranks(9, 1)], ks=KS)
