"""What `sracl study` prints: plans, progress and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sracl_tui.cli import options_and_output

if TYPE_CHECKING:
    from sracl_tui.studies.judging import Judgement
    from sracl_tui.studies.planning import Plan
    from sracl_tui.studies.running import StudyOutcome


def print_plan(made: Plan, estimated: Any, power: list[Any], most: dict[str, Any] | None) -> None:
    """Print what a plan takes, and what so many seeds can show."""
    from sracl_tui.runs.stages.cost_estimate import cost_line
    from sracl_tui.studies.planning import plan_document, removed_text
    from sracl_tui.studies.show import seeds_text
    from sracl_tui.studies.tables import POWER_HEADS, power_cells

    out, several = options_and_output.out(), len(made.datasets) > 1
    counts = plan_document(made)["counts"]
    out.print(f"{made.study.name} on {', '.join(made.datasets)}: {made.study.title}", style="bold", markup=False)
    rows = [
        (each.variant, each.dataset, str(each.runs), f"{each.seconds / 60:.1f}", each.basis)
        for each in estimated.variants
    ]
    if rows:
        out.print(options_and_output.table(("variant", "data", "runs:r", "minutes each:r", "estimated"), rows))
    text = (
        f"runs: {len(made.runs)}, of them {counts['finished']} finished, {counts['open']} running or queued, "
        f"{counts['interrupted']} to be continued, {counts['missing']} to be run"
    )
    out.print(text, markup=False, highlight=False)
    if text := removed_text(made):
        out.print(text, markup=False, highlight=False)
    workers = f"{estimated.wall_hours:.1f} with {estimated.workers} workers" if estimated.workers > 1 else "one worker"
    out.print(f"time: about {estimated.hours:.1f} hours, {workers}", markup=False, highlight=False)
    if most is not None:
        text = f"with --until-decided: at most {most['runs']} runs, about {most['hours']:.1f} hours"
        out.print(text, markup=False, highlight=False)
    usd = cost_line({"low": estimated.usd_low, "high": estimated.usd_high})
    asked = "no endpoint is asked" if estimated.usd_high == 0 else f"{usd}, {estimated.prompts:,} prompts to ask"
    out.print(f"cost: {asked}", markup=False, highlight=False)
    if power:
        out.print("\nThe smallest difference that is shown with a probability of .8", style="bold")
        cells = [power_cells(one, made.study, several=several) for one in power]
        out.print(options_and_output.table(POWER_HEADS, cells))
    _print_not_run(made)
    out.print(seeds_text(made.study), markup=False, highlight=False)


def _print_not_run(made: Plan) -> None:
    for planned in made.claims:
        if planned.reason and planned.claim.name in made.selected:
            options_and_output.out().print(f"not run: {planned.name}: {planned.reason}", markup=False, highlight=False)


@contextmanager
def progress(headless: bool) -> Iterator[Callable[[str], None]]:
    """Prints lines of progress on stderr; on a terminal a spinner below them shows the newest one."""
    console = options_and_output.talk()

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    if headless or not console.is_terminal:
        yield line
        return
    with console.status("study") as status:

        def report(text: str) -> None:
            line(text)
            status.update(text)

        yield report


def outcome_document(outcome: StudyOutcome, unmet: list[str]) -> dict[str, Any]:
    """What `sracl study run --json` prints."""
    from sracl_tui.studies.planning import plan_document

    return {
        "study": outcome.study.name,
        "sha256": outcome.study.sha256,
        "datasets": list(outcome.plan.datasets),
        "looks": outcome.looks,
        **plan_document(outcome.plan),
        "verdicts": [one.document() for one in outcome.judgements if one.claim.name in outcome.plan.selected],
        "failed": [run.run_id for run in outcome.failed],
        "unmet": unmet,
    }


def print_verdicts(made: Plan, judgements: list[Judgement]) -> None:
    """Print the verdict table of a study and a sentence on each claim."""
    from sracl_tui.studies.tables import VERDICT_HEADS, conclusion, counts_text, verdict_cells

    out, several = options_and_output.out(), len(made.datasets) > 1
    shown = [one for one in judgements if one.claim.name in made.selected]
    for title, part in (
        (f"Claims in {made.study.metric.upper()}, corrected together (Holm)", [one for one in shown if one.primary]),
        ("Other claims, each by itself", [one for one in shown if not one.primary]),
    ):
        if part:
            out.print(title, style="bold", markup=False, highlight=False)
            out.print(options_and_output.table(VERDICT_HEADS, [verdict_cells(one, several=several) for one in part]))
    for one in shown:
        out.print(
            f"{one.planned.name if several else one.claim.name}: {conclusion(one)}", markup=False, highlight=False
        )
    out.print(f"{made.study.name}: {counts_text(shown)}", style="bold", markup=False, highlight=False)
