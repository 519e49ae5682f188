"""Power against closed forms, against experiments from scratch, and what it promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from engine.evaluation.estimates import Spread, estimate
from engine.evaluation.power import seeds_to_decide, simulate, smallest_difference, smallest_margin

OFFICE = Spread(users=4_905, user_sd=0.25, noise_sd=0.13, seed_sds=(0.007, 0.007))


def test_with_users_alone_it_is_the_normal_closed_form():
    spread = Spread(users=4_905, user_sd=0.31, seed_sds=(0.007, 0.007))
    expected = (stats.norm.isf(0.025) + stats.norm.isf(0.2)) * 0.31 / math.sqrt(4_905)
    assert smallest_difference(spread, (1, 1), draws=100_000) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("count", [3, 5, 10])
def test_with_seeds_alone_it_is_the_noncentral_t(count):
    spread = Spread(users=0, seed_sds=(0.0, 2.0))
    found = smallest_difference(spread, (0, count), draws=100_000)
    critical = stats.t.isf(0.025, count - 1)
    assert stats.nct.sf(critical, count - 1, found * math.sqrt(count) / 2) == pytest.approx(0.8, abs=0.01)


def test_experiments_from_scratch_find_the_smallest_difference_as_often_as_promised():
    users, sds = 80, (0.05, 0.08)
    spread = Spread(users=users, user_sd=0.3, noise_sd=0.2, seed_sds=(0.05, 0.08))
    difference = smallest_difference(spread, (3, 5))
    rng, shown, trials = np.random.default_rng(1), 0, 1_000
    for _ in range(trials):
        user = rng.normal(0, 0.3, users)  # of the difference
        sides = []
        for count, sd, shift in zip((3, 5), sds, (0.0, difference), strict=True):
            effects = rng.normal(0, math.sqrt(sd**2 - 0.2**2 / users), (count, 1))  # noise of users moves a mean, too
            sides.append(shift + effects + rng.normal(0, 0.2, (count, users)) + (user if shift else 0))
        shown += estimate(*sides).interval()[0] > 0
    assert shown / trials == pytest.approx(0.8, abs=0.06)


def test_more_users_seeds_and_a_looser_level_show_smaller_differences():
    base = smallest_difference(OFFICE, (3, 3))
    assert smallest_difference(OFFICE, (5, 5)) < base
    assert smallest_difference(OFFICE, (3, 3), alpha=0.05 / 20) > base
    larger = Spread(users=50_000, user_sd=0.25, noise_sd=0.13, seed_sds=(0.007, 0.007))
    assert smallest_difference(larger, (10, 10)) < smallest_difference(OFFICE, (10, 10))
    assert smallest_difference(OFFICE, (1, 5)) > smallest_difference(OFFICE, (5, 5))


def test_the_smallest_margin_is_one_that_equality_passes():
    margin = smallest_margin(OFFICE, (5, 5))
    assert simulate(OFFICE, (5, 5), seed=9).equivalent(0.0, margin, 0.05) == pytest.approx(0.8, abs=0.02)


def test_the_seeds_that_decide_are_the_fewest_that_have_the_power():
    needed = seeds_to_decide(OFFICE, 0.02)
    assert needed is not None
    assert simulate(OFFICE, (needed,) * 2, seed=5).shown(0.02, 0.05) > 0.77
    assert simulate(OFFICE, (needed - 1,) * 2, seed=5).shown(0.02, 0.05) < 0.83
    assert seeds_to_decide(OFFICE, 0.02, alpha=0.05 / 30) > needed


def test_users_that_are_too_few_are_not_mended_by_seeds():
    spread = Spread(users=100, user_sd=0.3, seed_sds=(0.001, 0.001))
    assert seeds_to_decide(spread, 0.01) is None
    assert seeds_to_decide(spread, 0.2) == 2


def test_a_margin_can_decide_where_a_difference_cannot():
    spread = Spread(users=5_000, user_sd=0.1, seed_sds=(0.004, 0.004))
    assert seeds_to_decide(spread, 0.0) is None
    assert 2 < seeds_to_decide(spread, 0.0, 0.01) < 20


def test_a_prior_is_stated_in_shares_of_the_metric():
    prior = Spread.prior(0.16, 4_905)
    assert prior.seed_sds == pytest.approx((0.0048, 0.0048))
    assert prior.user_sd == pytest.approx(math.sqrt(0.7 * 0.16 * 0.84))
    assert 0.005 < smallest_difference(prior, (5, 5)) < 0.02


def test_nothing_to_vary_is_refused():
    with pytest.raises(ValueError, match="standard error"):
        simulate(Spread(users=0, seed_sds=(1.0, 1.0)), (1, 1))
