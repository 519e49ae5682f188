"""`sracl compare`: settings and metrics of runs and groups side by side, with paired tests."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from engine.errors import ConfigError
from engine.metric_registry import title
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from sracl_tui.services.comparison_table import (
    TEST_HEADS,
    metric_rows,
    resource_rows,
    setting_text,
    test_cells,
    training_rows,
)

if TYPE_CHECKING:
    from sracl_tui.services.comparison import Comparison
    from sracl_tui.services.paired_tests import TestResult


def compare(
    names: Annotated[
        list[str], typer.Argument(help="Runs or groups; a group is folded by config.", metavar="RUN|GROUP")
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
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Test this metric, too, such as mrr@20; repeatable. By default HR and NDCG are tested: each further test widens Holm's correction."
        ),
    ] = None,
    fail_if_worse: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if-worse",
            metavar="METRIC",
            help="Exit with 1 if the conclusion on METRIC is `worse` for any run that is tested against the baseline: the "
            "difference is in the worse direction and p < .05 after Holm's correction over all tests that are printed. Repeatable. "
            "Of one seed each this is about the two trained models. Equal ranks pass; runs of different users exit with 2.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compare even across datasets, protocols or repeated seeds.")
    ] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Differences between runs in settings and metrics, with tests of significance.

    One seed each: bootstrap interval and randomization test over users, a conclusion about these two models. Several seeds: t over users and
    seeds; one seed against several borrows their seed variance. p-values are corrected for the number of tests (Holm).
    Exit code 1: a metric of --fail-if-worse is worse.

    \b
    Examples:
      sracl compare backbone-run sracl-run
      sracl compare office-ablations --split test
      sracl compare office-backbone office-sracl --split test --subgroup untied
      sracl compare office-ablations --split test --format latex > table.tex
      sracl compare released candidate --fail-if-worse ndcg@20
    """
    from sracl_tui.services.comparison import compare_runs

    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        found = compare_runs(
            store,
            names,
            split=split,
            subgroup=subgroup,
            baseline=baseline,
            all_pairs=all_pairs,
            force=force,
            also=[*(metric or ()), *(fail_if_worse or ())],
        )
    failed = _worse(found, fail_if_worse or ())
    if json_:
        options_and_output.print_json(found.document() | {"failed": [asdict(test) for test in failed]})
    elif format_ == "text":
        _print(found)
    else:
        from sracl_tui.services.table_formats import render

        heads, rows = metric_rows(found, signs=True)
        sys.stdout.write(render(heads, rows, format_=format_))
        for note in [*found.notes, _legend(found)]:
            options_and_output.talk().print(note, markup=False, highlight=False)
    for test in failed:
        text = f"{test.b} is worse than {test.a}: {title(test.metric)} {test.difference:+.4f}, p {test.p_holm:.2g} after Holm's correction"
        options_and_output.talk().print(text, style="bold red", markup=False, highlight=False)
    if failed:
        raise typer.Exit(1)


def _worse(found: Comparison, metrics: Sequence[str]) -> list[TestResult]:
    """The tests that fail a comparison in these metrics.

    Raises:
        ConfigError: a pair could not be tested, so that nothing is known.
    """
    if metrics and found.untested:
        raise ConfigError(
            f"not tested, as their users differ: {', '.join(found.untested)}",
            where="--fail-if-worse",
            hint="Compare runs on one data set.",
        )
    if metrics and not (found.tests or found.equal):
        raise ConfigError(
            "nothing could be tested",
            where="--fail-if-worse",
            hint="It takes two configs with ranks of the same users.",
        )
    return [test for test in found.tests if test.metric in metrics and test.verdict == "worse"]


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
    heads, rows = resource_rows(found)
    if heads[2:]:
        console.print("\nTime, memory and dollars, mean ± standard deviation over seeds", style="bold")
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
