"""The tables of a study as heads and cells: for the terminal, the report and files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.config import Config
from sracl_tui.studies.definition import Claim, Study
from sracl_tui.studies.judging import Judgement, Power
from sracl_tui.studies.measures import Numbers, Side, command, text
from sracl_tui.studies.planning import Plan
from store.database.database import Store

MARKS = {"supported": "+", "contradicted": "-", "equivalent": "=", "undecided": "?", "not run": "."}
"""A glyph beside the word of each verdict."""
VERDICT_HEADS = ("", "claim", "verdict", "difference:r", "interval", "p, Holm:r", "seeds:r", "expects")
NUMBER_HEADS = ("variant", "data", "measure", "n:r", "mean:r", "sd:r", "95 % interval", "s:r", "$:r")


def p_text(p: float | None) -> str:
    """`.0123`, `<.0001`; empty for none."""
    if p is None:
        return ""
    return "<.0001" if p < 0.0001 else f"{p:.4f}".lstrip("0") if p < 1 else "1"


def signed(metric: str, value: float | None) -> str:
    """A difference with its sign, as the metric is displayed."""
    if value is None or not math.isfinite(value):
        return ""
    return f"+{text(metric, value)}" if value >= 0 else f"-{text(metric, -value)}"


def interval_text(one: Judgement) -> str:
    """`+.0012 to +.0210 (99.2 %)`; empty where there is none."""
    found = one.verdict
    if found is None or found.ci_low is None or found.ci_high is None:
        return ""
    low, high = (signed(one.claim.metric, value) for value in (found.ci_low, found.ci_high))
    return f"{low} to {high} ({100 * found.level:.3g} %)"


def seeds_text(one: Judgement) -> str:
    """`5`, `5 v 3` where the two sides differ; empty where nothing was run."""
    counts = [len(side.run_ids) for side in (one.side, one.other)]
    if not any(counts):
        return ""
    return str(counts[0]) if one.claim.against is None or counts[0] == counts[1] else f"{counts[0]} v {counts[1]}"


def verdict_cells(one: Judgement, *, several: bool) -> tuple[str, ...]:
    """A claim as a row. Args: several: whether there are several data sets, so that names need theirs."""
    found, metric = one.verdict, one.claim.metric
    return (
        MARKS[one.outcome],
        one.planned.name if several else one.claim.name,
        one.text,
        signed(metric, found.difference) if found else "",
        interval_text(one),
        p_text(found.p_holm) if found and one.primary else "",
        seeds_text(one),
        one.claim.expectation,
    )


def conclusion(one: Judgement) -> str:
    """What is said below a table about a claim: its sentence, the verdict, the reason and what else is to be known."""
    more = "; ".join(part for part in (one.reason, *one.notes, one.declaration if one.changed else "") if part)
    return f"{one.claim.sentence} {one.text.capitalize()}{f': {more}' if more else ''}."


@dataclass(frozen=True)
class NumberRow:
    """A variant in one measure, with the command that prints it again."""

    variant: str
    label: str
    dataset: str
    measure: str
    title: str
    side: Side
    low: float | None
    high: float | None
    """Ends of the 95 % interval of the mean over seeds; None for fewer than two."""
    seconds: float | None
    usd: float | None
    command: str

    def cells(self) -> tuple[str, ...]:
        """As a row of NUMBER_HEADS."""
        interval = "" if self.low is None else f"{text(self.measure, self.low)} to {text(self.measure, self.high)}"
        return (
            self.variant, self.dataset, self.title, str(len(self.side.values)), text(self.measure, self.side.mean),
            text(self.measure, self.side.sd), interval, "" if self.seconds is None else f"{self.seconds:.1f}",
            "" if self.usd is None else f"{self.usd:.2f}",
        )  # fmt: skip

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "variant": self.variant, "about": self.label, "dataset": self.dataset, "measure": self.measure,
            "n": len(self.side.values), "mean": self.side.mean, "sd": self.side.sd, "ci_low": self.low,
            "ci_high": self.high, "values": list(self.side.values), "seeds": list(self.side.seeds),
            "runs": list(self.side.run_ids), "seconds": self.seconds, "usd": self.usd, "command": self.command,
        }  # fmt: skip


def number_rows(plan: Plan, store: Store) -> list[NumberRow]:
    """Every variant with finished runs in the primary metric and in what claims measure of it."""
    study, numbers = plan.study, Numbers(store)
    rows: list[NumberRow] = []
    for variant, dataset in plan.seeds:
        finished = plan.finished(variant, dataset)
        wanted = dict.fromkeys([(study.metric, "all")])
        for planned in plan.claims:
            if not planned.reason and planned.dataset == dataset and variant in planned.claim.variants:
                wanted.setdefault((planned.claim.metric, planned.claim.users))
        costs = numbers.costs(finished) if finished else {}
        for metric, users in wanted:
            claim = Claim(name="", sentence="", metric=metric, users=users)
            side = numbers.side(variant, finished, claim)
            if not side.values:
                continue
            low, high = _interval(side)
            rows.append(
                NumberRow(
                    variant, study.variants[variant].label, dataset, metric,
                    claim.metric_title + ("" if users == "all" else f", {users} users"), side, low, high,
                    costs.get("seconds_train"), costs.get("usd"),
                    command(metric, side.run_ids, users, of_ranks=claim.of_ranks),
                )
            )  # fmt: skip
    return rows


def _interval(side: Side) -> tuple[float | None, float | None]:
    """t over seeds."""
    if side.sd is None:
        return None, None
    from scipy.stats import t

    count = len(side.values)
    half = float(t.ppf(0.975, count - 1)) * side.sd / math.sqrt(count)
    return side.mean - half, side.mean + half


SETTING_HEADS = ("variant", "what it is", "settings")
UNTOLD = ("data.dataset", "train.seed")


def settings_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Each variant with the settings in which it differs from the first one; of the first one, those that are no defaults."""
    study, dataset = plan.study, plan.datasets[0]
    names = list(dict.fromkeys(variant for variant, _ in plan.seeds))
    own = [name for name in study.variants if name in names and study.variants[name].runs is None]
    first = study.config(own[0], dataset)[0] if own else Config()
    rows: list[tuple[str, ...]] = []
    for name in names:
        variant = study.variants[name]
        if variant.runs is not None:
            text = f"runs of {variant.runs}"
        else:
            base = Config() if name == own[0] else first
            changes = study.config(name, dataset)[0].differences(base)
            told = [f"{path} = {value}" for path, (_, value) in changes.items() if path not in UNTOLD]
            text = ", ".join(told) if name == own[0] else f"{own[0]}, but {', '.join(told)}"
        rows.append((name, variant.about, text))
    return rows


def power_cells(one: Power, study: Study, *, several: bool) -> tuple[str, ...]:
    """What a claim's users and seeds can show, as a row: claim, margin, smallest difference, seeds, basis."""
    claim = study.claims[one.claim]
    shown = "" if one.smallest is None else text(claim.metric, one.smallest)
    name = f"{one.claim}@{one.dataset}" if several else one.claim
    return (name, claim.margin_text, shown, str(one.seeds), one.basis)


POWER_HEADS = ("claim", "margin:r", "smallest shown:r", "seeds:r", "basis")


def counts_text(judgements: Sequence[Judgement]) -> str:
    """`3 supported, 1 undecided`."""
    counts: dict[str, int] = {}
    for one in judgements:
        counts[one.text] = counts.get(one.text, 0) + 1
    return ", ".join(f"{count} {word}" for word, count in counts.items())
