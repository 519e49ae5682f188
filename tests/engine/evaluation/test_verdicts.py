"""Verdicts by hand, their order of precedence, and laws that hold for every study."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.evaluation.estimates import estimate, estimate_measure
from engine.evaluation.significance import holm
from engine.evaluation.verdicts import Claim, holm_levels, judge

HIGHER = Claim("gain", "higher", 0.02)


def sides(shift: float, sd: float = 0.01, seeds: tuple[int, int] = (5, 5), users: int = 4_000, seed: int = 1):
    """Two sides whose seeds' means have exactly this difference and standard deviation."""
    rng = np.random.default_rng(seed)
    user = rng.random(users)
    found = []
    for count, mean in zip(seeds, (0.0, shift), strict=True):
        effects = np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
        effects = effects / effects.std(ddof=1) if count > 1 else effects
        found.append(user + mean + sd * effects[:, None])
    return estimate(*found)


def verdict(claim: Claim, shift: float, sd: float = 0.01, seeds: tuple[int, int] = (5, 5), **options):
    return judge([claim], [sides(shift, sd, seeds)], **options)[0]


def test_the_four_outcomes_and_their_words():
    assert verdict(HIGHER, 0.05).text == "supported"
    assert verdict(HIGHER, 0.015, 0.002).text == "supported, but negligible"
    assert verdict(HIGHER, -0.05).text == "contradicted"
    assert verdict(HIGHER, -0.01, 0.002).text == "contradicted, but negligible"
    assert verdict(HIGHER, 0.004).text == "equivalent"
    assert verdict(HIGHER, 0.012).text == "undecided"
    assert verdict(Claim("cost", "lower", 0.02), -0.05).text == "supported"
    assert verdict(Claim("cost", "lower", 0.02), 0.05).text == "contradicted"


def test_a_claim_of_equality_takes_equivalence_first():
    claim = Claim("same", "equal", 0.02)
    assert verdict(claim, 0.005, 0.002).text == "supported"  # a difference is shown, and it does not matter
    assert verdict(claim, 0.05).text == "contradicted"
    assert verdict(claim, 0.013).text == "undecided"
    with pytest.raises(ValueError, match="margin"):
        Claim("same", "equal")
    with pytest.raises(ValueError, match="margin"):
        Claim("gain", "higher", -1)


@pytest.mark.parametrize("seeds", [(1, 1), (1, 5), (5, 1)])
def test_a_side_with_one_seed_is_undecided_whatever_the_difference(seeds):
    found = verdict(HIGHER, 0.3, seeds=seeds)
    assert found.outcome == "undecided"
    assert "trained models only" in found.reason
    assert found.p_holm is None
    assert (found.difference, found.seeds) == (pytest.approx(0.3), seeds)
    assert (found.seeds_needed is None) == (seeds == (1, 1))


def test_an_undecided_claim_says_how_many_seeds_would_decide_it():
    found = verdict(HIGHER, 0.012)
    assert found.seeds_needed is not None
    assert 5 < found.seeds_needed < 30
    assert f"{found.seeds_needed} seeds" in found.reason
    hopeless = judge([Claim("gain")], [sides(0.0001)])[0]
    assert hopeless.seeds_needed is None
    assert "not even 50 seeds" in hopeless.reason


def test_the_family_is_every_declared_claim_with_runs_or_without():
    alone = judge([HIGHER], [sides(0.021)])[0]
    assert alone.outcome == "supported"
    many = judge([HIGHER, *[Claim(f"later {n}") for n in range(19)]], [sides(0.021), *[None] * 19])
    assert many[0].outcome == "undecided"
    assert many[0].level == pytest.approx(1 - 0.05 / 20)
    assert many[0].p_holm == pytest.approx(min(1.0, 20 * many[0].p_value))
    assert {(one.outcome, one.reason) for one in many[1:]} == {("undecided", "there are no runs yet")}


def test_looks_share_the_five_percent():
    found = verdict(HIGHER, 0.021, looks=4)
    assert found.level == pytest.approx(1 - 0.05 / 4)
    assert found.equivalence_level == pytest.approx(1 - 0.1 / 4)
    assert found.p_holm == pytest.approx(4 * found.p_value)


def test_measures_of_runs_and_constants_are_judged_too():
    seconds = estimate_measure([10.0, 10.2, 9.9], [10.1, 10.0, 10.2])
    assert judge([Claim("cost", "equal", 1.0)], [seconds])[0].text == "supported"
    share = estimate_measure(0.9, [0.985, 0.99, 0.992])
    found = judge([Claim("differs", "higher")], [share])[0]
    assert (found.text, found.seeds) == ("supported", (0, 3))
    single = judge([Claim("differs", "higher")], [estimate_measure(0.9, [0.99])])[0]
    assert (single.outcome, single.ci_low, single.p_value) == ("undecided", None, None)


@given(st.lists(st.integers(0, 1000).map(lambda whole: whole / 1000), max_size=12))
def test_levels_decide_as_adjusted_p_values_do(p_values):
    levels, adjusted = holm_levels(p_values)
    assert adjusted == pytest.approx(holm(p_values))
    for p, level, corrected in zip(p_values, levels, adjusted, strict=True):
        if abs(corrected - 0.05) > 1e-9:
            assert (p <= level) == (corrected <= 0.05)


claims = st.tuples(st.sampled_from(["higher", "lower", "equal"]), st.sampled_from([0.01, 0.03, 0.1]))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(claims, st.integers(-80, 80).map(lambda whole: whole / 1000), st.sampled_from([0.002, 0.01])),
        min_size=1,
        max_size=4,
    )
)
def test_laws_of_verdicts(study):
    declared = [Claim(str(n), *claim) for n, (claim, _, _) in enumerate(study)]
    found = judge(declared, [sides(shift, sd, users=50) for _, shift, sd in study], cap=8)
    opposite = {"higher": "lower", "lower": "higher", "equal": "equal"}
    mirrored = [Claim(one.name, opposite[one.direction], one.margin) for one in declared]
    back = judge(mirrored, [sides(-shift, sd, users=50) for _, shift, sd in study], cap=8)
    for one, other in zip(found, back, strict=True):
        assert (one.text, one.seeds_needed) == (other.text, other.seeds_needed)  # the names of the sides do not matter
        assert one.ci_low <= one.difference <= one.ci_high
        beyond = one.ci_low > 0 or one.ci_high < 0
        within = -one.claim.margin < one.equivalence_low and one.equivalence_high < one.claim.margin
        if one.claim.direction != "equal":
            assert beyond == (one.outcome in ("supported", "contradicted"))
            assert beyond == (one.p_holm <= 0.05)
        else:
            assert within == (one.outcome == "supported") == (one.p_holm <= 0.05)
        assert (one.outcome == "undecided") == (not beyond and not within)
        if one.negligible:
            assert -one.claim.margin < one.ci_low
            assert one.ci_high < one.claim.margin
