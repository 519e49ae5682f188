"""Verdicts on the claims of a study from the runs that are finished, and what so many users and seeds can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.evaluation import verdicts
from engine.evaluation.estimates import Estimate, Spread, estimate_measure, estimate_ranks
from engine.evaluation.power import POWER, smallest_difference, smallest_margin
from engine.evaluation.verdicts import Verdict, judge
from engine.metric_registry import split_name
from sracl_tui import formatting
from sracl_tui.studies.definition import Claim, Study
from sracl_tui.studies.measures import PACE, Numbers, Side, command, rows_document
from sracl_tui.studies.planning import Plan, PlannedClaim, code_of
from store.database.database import Store
from store.queries import studies
from store.queries.studies import DeclaredClaim

NOT_RUN = "not run"
PRIOR_MEANS = {"hr": 0.1, "ndcg": 0.05, "mrr": 0.04}
"""Means of metrics that are assumed before any run is finished, of the size that HR@20, NDCG@20 and MRR@20 have on review data."""
UNSEEN_MARGIN = 1e-12
"""Margin of a share of a mean that is not known yet: no difference is within it."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim on a data set with its verdict and the numbers that it rests on."""

    planned: PlannedClaim
    primary: bool
    side: Side
    other: Side
    margin: float | None
    """In units of the metric; None where it is a share of a mean that is not known yet."""
    verdict: Verdict | None
    """None for a claim that cannot be run."""
    seeds_declared: int
    notes: tuple[str, ...] = ()
    declaration: str = ""
    """Since when it is declared, and whether it was changed after that."""
    changed: bool = False

    @property
    def claim(self) -> Claim:
        """The claim as the file has it."""
        return self.planned.claim

    @property
    def outcome(self) -> str:
        """`supported`, `contradicted`, `equivalent`, `undecided` or `not run`."""
        return self.verdict.outcome if self.verdict is not None else NOT_RUN

    @property
    def text(self) -> str:
        """The outcome, with `but negligible` where it is, and `so far` while declared seeds are missing."""
        if self.verdict is None:
            return NOT_RUN
        return f"{self.verdict.text} so far" if self.preliminary else self.verdict.text

    @property
    def preliminary(self) -> bool:
        """Whether something is shown by fewer seeds than were declared: it may change."""
        sides = [self.side] + ([self.other] if self.claim.against is not None else [])
        return self.outcome not in (NOT_RUN, "undecided") and any(len(s.run_ids) < self.seeds_declared for s in sides)

    @property
    def reason(self) -> str:
        """Why it is so, in a sentence without its full stop."""
        return self.planned.reason if self.verdict is None else self.verdict.reason

    @property
    def users(self) -> int | None:
        """Number of users that were compared; None for a measure of runs."""
        return len(self.side.users) if self.side.users is not None else None

    @property
    def command(self) -> str:
        """What prints its numbers again; empty without runs."""
        ids = [*self.other.run_ids, *self.side.run_ids]
        return command(self.claim.metric, ids, self.claim.users, of_ranks=self.claim.of_ranks) if ids else ""

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        claim, found = self.claim, self.verdict
        numbers = {
            name: getattr(found, name) if found is not None else None
            for name in (
                "difference", "level", "ci_low", "ci_high", "equivalence_level", "equivalence_low", "equivalence_high",
                "p_value", "p_equivalence", "p_holm", "seeds_needed",
            )
        }  # fmt: skip
        if not self.primary:
            numbers["p_holm"] = None
        return {
            "claim": claim.name, "dataset": self.planned.dataset, "sentence": claim.sentence,
            "question": claim.question, "source": claim.source, "verdict": self.text, "outcome": self.outcome,
            "reason": self.reason, "preliminary": self.preliminary, "primary": self.primary, "metric": claim.metric, "users": claim.users,
            "users_counted": self.users, "direction": claim.direction, "margin": self.margin,
            "expects": claim.expectation, **numbers, "seeds_declared": self.seeds_declared,
            "variant": rows_document(self.side), "against": rows_document(self.other), "notes": list(self.notes),
            "declaration": self.declaration, "changed": self.changed, "command": self.command,
        }  # fmt: skip

    def row(self, study: Study) -> dict[str, Any]:
        """As a row of `study_verdicts`."""
        found = self.verdict
        return {
            "dataset": self.planned.dataset, "claim": self.claim.name, "verdict": found.text if found else NOT_RUN,
            "fingerprint": study.fingerprint(self.claim), "metric": self.claim.metric, "margin": self.margin,
            "subgroup": self.claim.users if self.claim.of_ranks else None, "users": self.users,
            "difference": found.difference if found else None, "ci_low": found.ci_low if found else None,
            "ci_high": found.ci_high if found else None, "p_value": found.p_value if found else None,
            "p_holm": found.p_holm if found and self.primary else None, "runs": list(self.side.run_ids),
            "runs_against": list(self.other.run_ids), "note": "; ".join([self.reason, *self.notes]).strip("; "),
        }  # fmt: skip


def judge_study(plan: Plan, store: Store) -> list[Judgement]:
    """A verdict on each claim of a plan, in the order of the file, from the test ranks of finished runs.

    Claims in the primary metric are corrected together, those that have no runs yet counted; each other claim stands alone.
    """
    study, numbers = plan.study, Numbers(store)
    declared = studies.first_declarations(store, study.name)
    sides = [_sides(plan, planned, numbers) for planned in plan.claims]
    margins = [_margin(planned.claim, other) for planned, (_, other) in zip(plan.claims, sides, strict=True)]
    estimates = [_estimate(planned, *both) for planned, both in zip(plan.claims, sides, strict=True)]
    claims = [
        verdicts.Claim(planned.name, planned.claim.direction, margin)
        for planned, margin in zip(plan.claims, margins, strict=True)
    ]
    looks, cap = study.seeds.looks, max(study.seeds.cap, study.seeds.first, 2)
    family = [
        i for i, planned in enumerate(plan.claims) if study.is_primary(planned.claim) and not planned.claim.not_run
    ]
    found: dict[int, Verdict] = {}
    judged = judge([claims[i] for i in family], [estimates[i] for i in family], looks=looks)
    found |= dict(zip(family, judged, strict=True))
    for i in set(range(len(claims))) - set(family):
        found[i] = judge([claims[i]], [estimates[i]], looks=looks)[0]
    return [
        Judgement(
            planned=planned, primary=study.is_primary(planned.claim), side=sides[i][0], other=sides[i][1],
            margin=margins[i] if margins[i] > UNSEEN_MARGIN else None, verdict=None if planned.reason else found[i], seeds_declared=study.seeds.first,
            notes=(*_notes(study, planned, *sides[i], cap), *_differing_conditions(plan, planned)),
            **_declaration(study, planned, declared.get((planned.claim.name, planned.dataset))),
        )
        for i, planned in enumerate(plan.claims)
    ]  # fmt: skip


def _sides(plan: Plan, planned: PlannedClaim, numbers: Numbers) -> tuple[Side, Side]:
    claim = planned.claim
    empty = Side(claim.against or "", (), (), ())
    if planned.reason:
        return Side(claim.variant, (), (), ()), empty
    side = numbers.side(claim.variant, plan.finished(claim.variant, planned.dataset), claim)
    if claim.against is None:
        return side, Side(f"{claim.value:g}", (), (), (float(claim.value or 0),))
    return side, numbers.side(claim.against, plan.finished(claim.against, planned.dataset), claim)


def _margin(claim: Claim, other: Side) -> float:
    if not claim.relative:
        return claim.margin or UNSEEN_MARGIN
    return claim.margin * abs(other.mean) if other.values and other.mean else UNSEEN_MARGIN


def _estimate(planned: PlannedClaim, side: Side, other: Side) -> Estimate | None:
    """The variant minus the other one; none without runs, or where they ranked different users."""
    claim = planned.claim
    if planned.reason or not side.values or not other.values:
        return None
    if claim.of_ranks and claim.against is not None:
        if side.users is None or other.users is None or not np.array_equal(side.users, other.users):
            return None
        return estimate_ranks(other.ranks, side.ranks, claim.metric)
    return estimate_measure(float(claim.value) if claim.value is not None else other.values, side.values)


def _notes(study: Study, planned: PlannedClaim, side: Side, other: Side, cap: int) -> list[str]:
    if planned.reason:
        return []
    notes: list[str] = []
    claim, first = planned.claim, study.seeds.first
    counts = [len(one.values) for one in (side, other) if one.run_ids or one.name in study.variants]
    if any(count < first for count in counts):
        notes.append(f"{min(counts)} of {first} declared seeds")
    if any(count > cap for count in counts):
        notes.append(f"more than the {cap} declared seeds")
    if claim.of_ranks and side.users is not None and other.users is not None:
        if not np.array_equal(side.users, other.users):
            notes.append("the two sides ranked different users: not compared")
        elif len(side.ranks) == len(other.ranks) and all(map(np.array_equal, side.ranks, other.ranks)):
            notes.append("the ranks of all users are equal on both sides: the two settings make no difference")
    return notes


def _differing_conditions(plan: Plan, planned: PlannedClaim) -> list[str]:
    """What differs between the two sides' runs beside their settings, and may be the reason of a difference."""
    if planned.reason or planned.claim.against is None:
        return []
    sides = [plan.finished(name, planned.dataset) for name in planned.claim.variants]
    if not all(sides):
        return []
    codes = [{code_of(row) for row in side} for side in sides]
    if codes[0] == codes[1]:
        notes = []
    elif {""} in codes:
        notes = ["ranks of one side were imported: the code that made them is not known"]
    else:
        notes = ["the two sides were run by different versions of the code"]
    machines = [{row["machine"] for row in side} for side in sides]
    if planned.claim.metric in PACE and None in machines[0] | machines[1]:
        notes.append("the machine of some runs is not known")
    elif planned.claim.metric in PACE and machines[0] != machines[1]:
        notes.append("the two sides were measured on different machines")
    return notes


def _declaration(study: Study, planned: PlannedClaim, first: DeclaredClaim | None) -> dict[str, Any]:
    if first is None:
        return {"declaration": "", "changed": False}
    when = formatting.moment(first["declared_at"])
    if first["fingerprint"] != study.fingerprint(planned.claim):
        return {"declaration": f"changed after it was declared on {when}", "changed": True}
    after = f", when {first['seeds']} of its runs were finished" if first["seeds"] else ""
    return {"declaration": f"declared on {when}{after}", "changed": False}


@dataclass(frozen=True)
class Power:
    """What a claim's users and seeds can show."""

    claim: str
    dataset: str
    seeds: int
    smallest: float | None
    """Smallest difference (of `equal`: smallest margin) that is shown with a probability of .8; None where nothing tells it."""
    basis: str

    @property
    def enough(self) -> float:
        """The probability that `smallest` is about."""
        return POWER


def power_of(plan: Plan, judgements: Sequence[Judgement], store: Store) -> list[Power]:
    """Of each claim that can be run, at the number of seeds that is planned and at Holm's first, strictest level."""
    study = plan.study
    family = sum(one.primary and not one.claim.not_run for one in judgements)
    numbers = Numbers(store)
    found: list[Power] = []
    for one in judgements:
        if one.planned.reason:
            continue
        claim, dataset = one.claim, one.planned.dataset
        seeds = min((plan.seeds.get((name, dataset), study.seeds.first) for name in claim.variants), default=1)
        alpha = verdicts.ALPHA / study.seeds.looks / (family if one.primary else 1)
        spread, basis = _spread(one, plan, numbers)
        smallest: float | None = None
        if spread is not None and (seeds > 1 or spread.users > 1):
            counts = (seeds if claim.against is not None else 0, seeds)
            shown = smallest_margin if claim.direction == "equal" else smallest_difference
            smallest = shown(spread, counts, alpha=alpha, draws=4_000)
        found.append(Power(claim.name, dataset, seeds, smallest, basis))
    return found


def _spread(one: Judgement, plan: Plan, numbers: Numbers) -> tuple[Spread | None, str]:
    """The spread of the runs that exist, else a prior; none of a measure of runs that no run has."""
    known = _estimate(one.planned, one.side, one.other)
    if known is not None and known.terms and max(known.seeds) > 1:
        return known.spread(), f"from {len(one.side.run_ids)} and {len(one.other.run_ids)} finished runs"
    sides = [side for side in (one.side, one.other) if side.run_ids]
    counted = next((len(side.users) for side in sides if side.users is not None), 0)
    if one.claim.of_ranks and counted:
        mean = next(side.mean for side in sides)
        return Spread.prior(mean, counted), f"a prior for {counted:,} users with this mean: too few runs are finished"
    users = 0
    if one.claim.of_ranks:
        config = plan.study.config(one.claim.variant, one.planned.dataset)[0]
        users = numbers.count_users(one.planned.dataset, one.claim.users, at_most=config.data.max_users)
    if users:
        mean = PRIOR_MEANS.get(split_name(one.claim.metric)[0], 0.05)
        return Spread.prior(mean, users), f"a prior for {users:,} users and a mean of {mean:g}: no run is finished yet"
    return None, "no run is finished yet"
