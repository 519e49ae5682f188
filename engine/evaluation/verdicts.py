"""Verdicts on the claims of a study, all of them together, from differences over users and seeds.

In this order: *undecided* where a side has fewer than two seeds; *supported*, the interval lies beyond 0 in the claimed direction;
*contradicted*, beyond 0 the other way; *equivalent*, the interval of two one-sided tests lies within the margin; else *undecided*.
The interval's level is that of Holm's step-down correction over all claims of the study, also those without runs yet; with planned looks at
growing numbers of seeds, each look takes an equal part of the 5 %. docs/statistics.md has the error rates, by simulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.evaluation.estimates import Estimate
from engine.evaluation.power import CAP, seeds_to_decide

Direction = Literal["higher", "lower", "equal"]
Outcome = Literal["supported", "contradicted", "equivalent", "undecided"]
ALPHA = 0.05


@dataclass(frozen=True)
class Claim:
    """What is claimed of b minus a."""

    name: str
    direction: Direction = "higher"
    margin: float = 0.0
    """Differences up to this, in units of the metric, do not matter; 0: every difference does."""

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.inf:
            raise ValueError(f"the margin of {self.name!r} has to be at least 0, not {self.margin}")
        if self.direction == "equal" and not self.margin:
            raise ValueError(f"{self.name!r} claims that two sides are equal, which takes a margin above 0")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the runs so far say about a claim. Numbers are None where there is no standard error, or nothing to compare."""

    claim: Claim
    outcome: Outcome
    negligible: bool = False
    """A difference that is shown, and shown to be within the margin."""
    seeds: tuple[int, int] = (0, 0)
    difference: float | None = None
    level: float
    """Confidence of the interval, corrected for the number of claims and looks."""
    ci_low: float | None = None
    ci_high: float | None = None
    equivalence_level: float
    """Confidence of the interval that has to lie within the margin: .90, with looks more."""
    equivalence_low: float | None = None
    equivalence_high: float | None = None
    p_value: float | None = None
    """Two-sided test of no difference, uncorrected."""
    p_equivalence: float | None = None
    """Two one-sided tests of a difference beyond the margin, uncorrected; None without a margin."""
    p_holm: float | None = None
    """Corrected p-value of what is claimed: a difference, or of `equal`, equivalence."""
    seeds_needed: int | None = None
    """Seeds per side that would decide it with probability .8 if the difference is as it is seen; None where more seeds would not, or where it is decided."""
    reason: str = ""

    @property
    def text(self) -> str:
        """The outcome, with `but negligible` where it is."""
        return f"{self.outcome}, but negligible" if self.negligible else self.outcome


def judge(
    claims: Sequence[Claim],
    estimates: Sequence[Estimate | None],
    *,
    alpha: float = ALPHA,
    looks: int = 1,
    cap: int = CAP,
) -> list[Verdict]:
    """A verdict on each claim of a study.

    Args:
        claims: all that were declared: their number is what is corrected for.
        estimates: b minus a for each; None where there are no runs yet.
        looks: how often the study is judged at most while seeds are added, as declared before the first run.
        cap: most seeds per side that `seeds_needed` may name.

    Raises:
        ValueError: the numbers of claims and estimates differ, or `looks` is below 1.
    """
    if len(claims) != len(estimates) or looks < 1:
        raise ValueError(f"{len(claims)} claims, {len(estimates)} estimates, {looks} looks")
    alpha = alpha / looks
    pairs = list(zip(claims, estimates, strict=True))
    primary = [_primary_p(claim, one) if one is not None and _testable(one) else 1.0 for claim, one in pairs]
    levels, adjusted = holm_levels(primary, alpha=alpha)
    return [
        _verdict(claim, one, step=step, p_holm=min(1.0, p * looks), alpha=alpha, family=len(claims), cap=cap)
        for (claim, one), step, p in zip(pairs, levels, adjusted, strict=True)
    ]


def holm_levels(p_values: Sequence[float], *, alpha: float = ALPHA) -> tuple[list[float], list[float]]:
    """The level at which Holm's procedure tests each hypothesis, and the adjusted p-values.

    A rejected hypothesis was tested at alpha / (m - number rejected before it), the others at that of the step where the
    procedure stopped: so a p-value is at most its level exactly where the adjusted one is at most alpha, and the interval of
    confidence 1 - level decides as Holm does. Holm 1979.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    ordered = np.asarray(p_values, float)[order]
    steps = alpha / (count - np.arange(count)) if count else np.zeros(0)
    stopped = int(np.argmax(ordered > steps)) if (ordered > steps).any() else count
    levels, adjusted = np.empty(count), np.empty(count)
    levels[order] = np.minimum(steps, steps[stopped]) if stopped < count else steps
    adjusted[order] = np.minimum(np.maximum.accumulate(ordered * (count - np.arange(count))), 1.0)
    return levels.tolist(), adjusted.tolist()


def _primary_p(claim: Claim, found: Estimate) -> float:
    return found.equivalence_p(claim.margin) if claim.direction == "equal" else found.p_value()


def _testable(found: Estimate) -> bool:
    return 1 not in found.seeds


def _verdict(
    claim: Claim, found: Estimate | None, *, step: float, p_holm: float, alpha: float, family: int, cap: int
) -> Verdict:
    equal = claim.direction == "equal"
    level = 1 - (alpha / family if equal else step)
    equivalence_level = 1 - 2 * (step if equal else alpha)
    if found is None:
        return Verdict(
            claim=claim,
            outcome="undecided",
            level=level,
            equivalence_level=equivalence_level,
            reason="there are no runs yet",
        )
    low, high = found.interval(level)
    inner_low, inner_high = found.interval(equivalence_level)
    within = bool(claim.margin) and -claim.margin < inner_low and inner_high < claim.margin
    outcome, reason = _outcome(claim, found, low, high, within)
    needed = None
    if outcome == "undecided" and found.terms and max(found.seeds) > 1:
        needed = _seeds_needed(claim, found, alpha=1 - level, equivalence_alpha=(1 - equivalence_level) / 2, cap=cap)
    shown = outcome in ("supported", "contradicted") and not (equal and outcome == "supported")
    return Verdict(
        claim=claim,
        outcome=outcome,
        negligible=shown and bool(claim.margin) and -claim.margin < low and high < claim.margin,
        seeds=found.seeds,
        difference=found.difference,
        level=level,
        ci_low=_finite(low),
        ci_high=_finite(high),
        equivalence_level=equivalence_level,
        equivalence_low=_finite(inner_low),
        equivalence_high=_finite(inner_high),
        p_value=found.p_value() if found.terms else None,
        p_equivalence=found.equivalence_p(claim.margin) if found.terms and claim.margin else None,
        p_holm=p_holm if found.terms and _testable(found) else None,
        seeds_needed=needed,
        reason=reason or _why_undecided(claim, found, needed, cap),
    )


def _outcome(claim: Claim, found: Estimate, low: float, high: float, within: bool) -> tuple[Outcome, str]:
    """The first outcome that applies, and a reason; none where it is undecided for want of more."""
    if not _testable(found):
        one = "one seed each" if max(found.seeds) == 1 and 0 not in found.seeds else "one seed on a side"
        return "undecided", f"{one}: this is about these trained models only, not about the methods"
    beyond = 1 if low > 0 else -1 if high < 0 else 0
    if claim.direction == "equal":
        if within:
            return "supported", f"equivalent: within {claim.margin:g} of each other"
        return ("contradicted", "there is a difference") if beyond else ("undecided", "")
    wanted = 1 if claim.direction == "higher" else -1
    if beyond:
        return (
            ("supported", f"{claim.direction}, as claimed")
            if beyond == wanted
            else ("contradicted", f"{_other(claim)}")
        )
    return ("equivalent", f"within {claim.margin:g} of each other") if within else ("undecided", "")


def _other(claim: Claim) -> str:
    return "lower, not higher" if claim.direction == "higher" else "higher, not lower"


def _seeds_needed(claim: Claim, found: Estimate, *, alpha: float, equivalence_alpha: float, cap: int) -> int | None:
    needed = seeds_to_decide(
        found.spread(),
        found.difference,
        claim.margin,
        alpha=alpha,
        equivalence_alpha=equivalence_alpha,
        sides=(found.seeds[0] > 0, found.seeds[1] > 0),
        cap=cap,
    )
    more = max(found.seeds) + 1
    return None if needed is None else max(needed, more) if 1 not in found.seeds else needed


def _why_undecided(claim: Claim, found: Estimate, needed: int | None, cap: int) -> str:
    if needed is not None:
        return f"about {needed} seeds per side would decide it, if the difference is as it is seen"
    users = f" of {found.users:,} users" if found.users else ""
    return f"not even {cap} seeds per side would decide a difference as small as this{users}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
