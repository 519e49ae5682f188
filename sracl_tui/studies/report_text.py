"""The report of a study as Markdown, and its tables as LaTeX."""

from __future__ import annotations

from sracl_tui.services.table_formats import escape_latex, render
from sracl_tui.studies.report import LEAK_HEADS, RUN_HEADS, Report, leak_command
from sracl_tui.studies.show import seeds_text
from sracl_tui.studies.tables import (
    NUMBER_HEADS,
    POWER_HEADS,
    SETTING_HEADS,
    VERDICT_HEADS,
    conclusion,
    power_cells,
    verdict_cells,
)


def heads(names: tuple[str, ...]) -> list[str]:
    """Heads without the mark of the side to which they are aligned."""
    return [name.partition(":")[0] for name in names]


def markdown(made: Report) -> str:
    """The whole report."""
    study, several = made.study, made.several
    parts = [f"# {study.title}\n", f"Study `{study.name}` on {', '.join(made.plan.datasets)}: {made.counts_text}.\n"]
    parts += [f"{study.about}\n"] if study.about else []
    parts += ["## Verdicts\n", f"`{made.command}`; made {made.made_at}. {seeds_text(study)}\n"]
    for title, some in (
        (
            f"Claims in {study.metric.upper()}, corrected together (Holm):",
            [one for one in made.judgements if one.primary],
        ),
        ("Other claims, each by itself:", [one for one in made.judgements if not one.primary]),
    ):
        if some:
            rows = [verdict_cells(one, several=several) for one in some]
            parts += [f"{title}\n", render(heads(VERDICT_HEADS), rows, format_="md")]
    parts += [
        f"- **{one.planned.name if several else one.claim.name}**: {conclusion(one)}"
        + (f" {one.declaration[0].upper()}{one.declaration[1:]}." if one.declaration and not one.changed else "")
        + (f" `{one.command}`" if one.command else "")
        for one in made.judgements
    ]
    parts += ["\n## Numbers\n", "Seconds and dollars are means of a run's training and calls.\n"]
    parts.append(
        render(
            [*heads(NUMBER_HEADS), "command"],
            [(*row.cells(), f"`{row.command}`") for row in made.numbers],
            format_="md",
        )
    )
    parts += ["## Settings that differ\n", render(SETTING_HEADS, made.settings, format_="md")]
    if made.power:
        rows = [power_cells(one, study, several=several) for one in made.power]
        parts += [
            "## What so many users and seeds can show\n",
            "The smallest difference that is shown with a probability of .8.\n",
            render(heads(POWER_HEADS), rows, format_="md"),
        ]
    parts += [
        "## What each candidate pool leaks\n",
        f"`{leak_command(made)}`{'' if made.leaks else ': not measured yet'}\n",
    ]
    parts += [render(heads(LEAK_HEADS), made.leaks, format_="md")] if made.leaks else []
    parts += ["## Runs\n", render(heads(RUN_HEADS), made.runs, format_="md")]
    parts += ["## Versions and hashes\n", *(f"- {name}: {value}" for name, value in made.versions.items())]
    return "\n".join(parts) + "\n"


def latex(made: Report) -> str:
    """The table of verdicts and that of numbers, for booktabs; sentences and hashes as comments."""
    several = made.several
    comments = [
        f"{made.study.name}: {made.study.title}",
        made.command,
        f"made {made.made_at} by sracl {made.versions['sracl']}",
    ]
    comments += [f"SHA-256 of the study's file: {made.study.sha256}"]
    comments += [conclusion(one) for one in made.judgements]
    verdicts = [tuple(verdict_cells(one, several=several)[1:]) for one in made.judgements]
    numbers = [row.cells() for row in made.numbers]
    return (
        "".join(f"% {line}\n" for comment in comments for line in comment.splitlines())
        + render(heads(VERDICT_HEADS)[1:], verdicts, format_="latex")
        + "\n"
        + "".join(f"% {row.variant}, {row.title}: {row.command}\n" for row in made.numbers)
        + render(heads(NUMBER_HEADS), numbers, format_="latex")
        + f"% {escape_latex(made.counts_text)}\n"
    )
