"""A study as table rows and text: claims with their verdicts and a forest plot of characters."""

from __future__ import annotations

from collections.abc import Sequence

from sracl_tui import formatting
from sracl_tui.services.text_charts import interval_line
from sracl_tui.studies.forest import reach_of, scaled
from sracl_tui.studies.judging import Judgement
from sracl_tui.studies.measures import text
from sracl_tui.studies.planning import Plan
from sracl_tui.studies.tables import MARKS, interval_text, p_text, seeds_text, signed
from sracl_tui.tui.widgets.table import Column, Row

STYLES = {
    "supported": "good", "contradicted": "bad", "equivalent": "accent", "undecided": "warn", "not run": "dim",
}  # fmt: skip
PLOT = 21
"""Characters of a row of the forest plot; odd, so that 0 is in the middle of one."""
COLUMNS = (
    Column("verdict", "verdict", most=34),
    Column("claim", "claim", most=28),
    Column("seeds", "seeds", right=True),
    Column("plot", "   against|as claimed"),
    Column("difference", "difference", right=True),
    Column("p", "p, Holm", right=True),
    Column("sentence", "what is claimed", flex=True, least=20),
)


def rows_of(judgements: Sequence[Judgement], *, several: bool) -> list[Row]:
    """A row for each claim; its key is the claim's place."""
    drawn = [one for one in judgements if has_difference(one)]
    reach = reach_of(drawn) if drawn else 1.0
    return [_row(place, one, reach, several=several) for place, one in enumerate(judgements)]


def has_difference(one: Judgement) -> bool:
    """Whether there is something to draw."""
    return one.verdict is not None and one.verdict.difference is not None and one.margin is not None


def _row(place: int, one: Judgement, reach: float, *, several: bool) -> Row:
    found = one.verdict
    style = STYLES[one.outcome]
    cells = (
        f"{MARKS[one.outcome]} {one.text}",
        formatting.line(one.planned.name if several else one.claim.name),
        seeds_text(one),
        plot_line(one, reach) if has_difference(one) else "",
        signed(one.claim.metric, found.difference) if found is not None else "",
        p_text(found.p_holm) if found is not None and one.primary else "",
        formatting.line(one.claim.sentence),
    )
    return Row(place, cells, (style, "strong", "", style, "", "dim", ""))


def plot_line(one: Judgement, reach: float) -> str:
    """A row of the forest plot, in margins: `:` where the margins are."""
    middle, low, high = scaled(one)
    return interval_line(middle, (low, high), reach=reach, width=PLOT, marks=(-1.0, 1.0))


def facts(plan: Plan) -> str:
    """Title, data, and how far the runs are."""
    counts = dict.fromkeys(("finished", "running", "queued", "interrupted", "missing"), 0)
    for run in plan.runs:
        state = run.row["state"] if run.row is not None else ""
        counts[
            "running"
            if run.status == "open" and state != "queued"
            else "queued"
            if run.status == "open"
            else run.status
        ] += 1
    words = {"interrupted": "to be continued", "missing": "to be run"}
    parts = [f"{count} {words.get(name, name)}" for name, count in counts.items() if count]
    parts += [f"{gone} were removed"] if (gone := sum(run.removed is not None for run in plan.runs)) else []
    bar = formatting.bar(counts["finished"] / len(plan.runs), 20) if plan.runs else ""
    runs = f"{len(plan.runs)} runs: {', '.join(parts)}  {bar}" if plan.runs else "none of its claims can be run here"
    return f"{plan.study.title}\n{plan.study.name} on {', '.join(plan.datasets)}; {runs}"


def details(one: Judgement) -> str:
    """The claim under the cursor in full."""
    claim, lines = one.claim, [one.claim.sentence]
    if claim.question:
        lines.append(f"question: {claim.question}")
    lines.append(f"{one.text}: {'; '.join(filter(None, [one.reason, *one.notes, one.declaration]))}")
    if has_difference(one):
        sides = [
            f"{side.name} {text(claim.metric, side.mean)}"
            + (f" ± {text(claim.metric, side.sd)}" if side.sd is not None else "")
            for side in (one.side, one.other)
        ]
        users = f", {one.users:,} users" if one.users else ""
        lines.append(f"{sides[0]} against {sides[1]}{users}; interval {interval_text(one)}; margin {claim.margin_text}")
    elif claim.expectation:
        lines.append(f"expects {claim.expectation}")
    return "\n".join(map(formatting.line, lines))
