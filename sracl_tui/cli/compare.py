"""`sracl compare`: settings and metrics of runs and groups side by side, with paired tests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from sracl_tui.services.comparison_table import TEST_HEADS, metric_rows, setting_text, test_cells, training_rows

if TYPE_CHECKING:
    from sracl_tui.services.comparison import Comparison


def compare(
    names: Annotated[
        list[str], typer.Argument(help="Runs or groups; a group is folded by config.", metavar="RUN|GROUP...")
    ],
    split: Annotated[
        Literal["valid", "test"],
        typer.Option(help="Ranks to compare: validation while you tune, test once, at the end."),
    ] = "valid",
    subgroup: Annotated[str, typer.Option(help="Users: all, tied, untied, short, medium, long, head, tail.")] = "all",
    baseline: Annotated[
        str | None, typer.Option(help="Compare the others with this one. Default: preset backbone, else the first.")
    ] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Test every pair, not only against the baseline.")
    ] = False,
    format_: Annotated[
        Literal["text", "csv", "md", "latex"], typer.Option("--format", help="How it is printed.")
    ] = "text",
    force: Annotated[
        bool, typer.Option("--force", help="Compare even across datasets, protocols or repeated seeds.")
    ] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Differences between runs in settings and metrics, with tests of significance.

    One seed each: bootstrap interval and randomization test over users. Several seeds: t over users and seeds. p-values are
    corrected for the number of tests (Holm).

    \b
    Examples:
      sracl compare backbone-run sracl-run
      sracl compare office-ablations --split test
      sracl compare office-backbone office-sracl --split test --subgroup untied
      sracl compare office-ablations --split test --format latex > table.tex
    """
    from sracl_tui.services.comparison import compare_runs

    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        found = compare_runs(
            store, names, split=split, subgroup=subgroup, baseline=baseline, all_pairs=all_pairs, force=force
        )
    if json_:
        options_and_output.print_json(found.document())
    elif format_ == "text":
        _print(found)
    else:
        from sracl_tui.services.table_formats import render

        heads, rows = metric_rows(found, signs=True)
        sys.stdout.write(render(heads, rows, format_=format_))
        for note in [*found.notes, _legend(found)]:
            options_and_output.talk().print(note, markup=False, highlight=False)


def _print(found: Comparison) -> None:
    console = options_and_output.out()
    which = "" if found.subgroup == "all" else f", {found.subgroup} users"
    console.print(
        f"{found.dataset}, {found.split} ranks of {found.users:,} users{which}", style="bold", highlight=False
    )
    if found.settings:
        heads = ("setting", *(s.label for s in found.sets))
        rows = [(path, *map(setting_text, values)) for path, values in found.settings.items()]
        console.print("\nSettings that differ", style="bold")
        console.print(options_and_output.table(heads, rows))
    console.print("\nMetrics, mean ± standard deviation over seeds", style="bold")
    heads, rows = metric_rows(found, signs=False)
    console.print(options_and_output.table([heads[0], *(f"{head}:r" for head in heads[1:])], rows))
    heads, rows = training_rows(found)
    if heads[2:]:
        console.print("\nTraining, at the best epoch", style="bold")
        console.print(options_and_output.table([heads[0], *(f"{head}:r" for head in heads[1:])], rows))
    if found.tests:
        console.print("\nTests", style="bold")
        heads = TEST_HEADS
        console.print(options_and_output.table(heads, [test_cells(test, found) for test in found.tests]))
    for note in found.notes:
        console.print(note, style="dim", markup=False, highlight=False)


def _legend(found: Comparison) -> str:
    base = found.tests[0].a if found.tests else found.sets[0].label
    return f"{found.split} ranks of {found.users:,} users; * differs from {base}, p < .05 after Holm's correction"
