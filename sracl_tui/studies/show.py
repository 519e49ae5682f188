"""What `sracl study show` says: every claim with its question and the runs that answer it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sracl_tui.studies.definition import Study
from sracl_tui.studies.planning import Plan, PlannedClaim


def seeds_text(study: Study) -> str:
    """The rule of seeds in a sentence."""
    rule = study.seeds
    if rule.looks == 1:
        return f"Seeds 1 to {rule.first} of each variant; claims are judged once."
    return (
        f"Seeds 1 to {rule.first} of each variant. --until-decided adds {rule.add} at a time to undecided claims, up to {rule.cap}: claims may "
        f"be judged {rule.looks} times, so each time takes {rule.looks} times less than the 5 % (Bonferroni)."
    )


def show_document(plan: Plan) -> dict[str, Any]:
    """A study as JSON values."""
    study = plan.study
    return {
        "study": study.name, "title": study.title, "about": study.about, "path": str(study.path),
        "sha256": study.sha256, "datasets": list(plan.datasets), "metric": study.metric,
        "seeds": {"first": study.seeds.first, "add": study.seeds.add, "cap": study.seeds.cap},
        "seeds_text": seeds_text(study),
        "variants": [
            {"variant": v.name, "about": v.about, "preset": v.preset, "settings": study.settings | v.settings, "runs": v.runs}
            for v in study.variants.values()
        ],
        "claims": [_claim(plan, planned) for planned in plan.claims],
    }  # fmt: skip


def _claim(plan: Plan, planned: PlannedClaim) -> dict[str, Any]:
    claim, study = planned.claim, plan.study
    keys = [(name, planned.dataset) for name in claim.variants]
    finished = [len(plan.finished(*key)) for key in keys] if not planned.reason else []
    needed = [plan.seeds.get(key, 0) for key in keys]
    removed = Counter((run.variant, run.dataset) for run in plan.runs if run.removed is not None)
    runs = ", ".join(
        f"{name} on {planned.dataset}, {done} of {count} seeds finished"
        + (f" ({removed[name, planned.dataset]} removed)" if removed[name, planned.dataset] else "")
        for (name, _), done, count in zip(keys, finished, needed, strict=False)
    )
    return {
        "claim": claim.name, "dataset": planned.dataset, "sentence": claim.sentence, "question": claim.question,
        "source": claim.source, "metric": claim.metric, "users": claim.users, "direction": claim.direction,
        "margin": claim.margin_text, "expects": claim.expectation, "primary": study.is_primary(claim),
        "not_run": planned.reason, "runs": runs, "fingerprint": study.fingerprint(claim),
        "command": f"sracl study run {study.reference} --dataset {planned.dataset} --claim {claim.name}",
    }  # fmt: skip
