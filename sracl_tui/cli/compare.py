"""`sracl compare`: runs and groups beside each other, with paired tests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sracl_tui.cli import common
from sracl_tui.cli.common import DebugOption, HomeOption, JsonOption

if TYPE_CHECKING:
    from sracl_tui.comparing import Comparison, SeedSet


TEST_HEADS = ("", "metric", "difference:r", "relative:r", "95 % interval:r", "p:r", "p Holm:r", "difference is")


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
        str | None, typer.Option(help="Hold the others against this one. Default: preset backbone, else the first.")
    ] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Test every pair, not only against the baseline.")
    ] = False,
    format_: Annotated[
        Literal["text", "csv", "md", "latex"], typer.Option("--format", help="How it is printed.")
    ] = "text",
    force: Annotated[bool, typer.Option("--force", help="Mix data, protocols or repeated seeds all the same.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """What differs between runs, in settings and in metrics, and whether the difference is real.

    One seed each: bootstrap interval and randomization test over users. Several seeds: t over users and seeds. p-values are
    corrected for the number of tests (Holm).

    \b
    Examples:
      sracl compare backbone-run sracl-run
      sracl compare office-ablations --split test
      sracl compare office-backbone office-sracl --split test --subgroup untied
      sracl compare office-ablations --split test --format latex > table.tex
    """
    from sracl_tui.comparing import compare_runs

    with common.open_store(common.home_of(home)) as store:
        found = compare_runs(
            store, names, split=split, subgroup=subgroup, baseline=baseline, all_pairs=all_pairs, force=force
        )
    if json_:
        common.print_json(found.document())
    elif format_ == "text":
        _print(found)
    else:
        from sracl_tui.cli.tables import render

        heads, rows = metric_rows(found, signs=True)
        sys.stdout.write(render(heads, rows, format_=format_))
        for note in [*found.notes, _legend(found)]:
            common.talk().print(note, markup=False, highlight=False)


def _print(found: Comparison) -> None:
    console = common.out()
    which = "" if found.subgroup == "all" else f", {found.subgroup} users"
    console.print(
        f"{found.dataset}, {found.split} ranks of {found.users:,} users{which}", style="bold", highlight=False
    )
    if found.settings:
        heads = ("setting", *(s.label for s in found.sets))
        rows = [(path, *map(setting_text, values)) for path, values in found.settings.items()]
        console.print("\nSettings that differ", style="bold")
        console.print(common.table(heads, rows))
    console.print("\nMetrics, mean ± standard deviation over seeds", style="bold")
    heads, rows = metric_rows(found, signs=False)
    console.print(common.table([heads[0], *(f"{head}:r" for head in heads[1:])], rows))
    if found.tests:
        console.print("\nTests", style="bold")
        heads = TEST_HEADS
        console.print(common.table(heads, [test_cells(test, found) for test in found.tests]))
    for note in found.notes:
        console.print(note, style="dim", markup=False, highlight=False)


def metric_rows(found: Comparison, *, signs: bool) -> tuple[list[str], list[list[str]]]:
    """Titles, and a row per seed set: mean ± standard deviation; `signs` marks what differs from the baseline."""
    names = [f"{metric}@{k}" for metric in ("hr", "ndcg", "mrr") for k in found.ks]
    sure = {(test.b, test.metric) for test in found.tests if test.verdict != "not shown"} if signs else set()
    rows = [
        [s.label, str(s.size), *(_measured(s, name) + ("*" if (s.label, name) in sure else "") for name in names)]
        for s in found.sets
    ]
    return ["", "n", *(name.upper() for name in names)], rows


def _measured(seed_set: SeedSet, metric: str) -> str:
    deviation = seed_set.deviation(metric)
    return f"{seed_set.mean(metric):.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def test_cells(test: Any, found: Comparison) -> tuple[str, ...]:
    """A test as cells: sets, metric, difference, relative, interval, p, p after Holm, verdict."""
    base = next(s for s in found.sets if s.label == test.a).mean(test.metric)
    return (
        f"{test.b} - {test.a}",
        test.metric.upper(),
        f"{test.difference:+.4f}",
        f"{100 * test.difference / base:+.1f} %" if base else "-",
        f"{test.ci_low:+.4f} to {test.ci_high:+.4f}",
        _p(test.p_value),
        _p(test.p_holm),
        {"better": "▲ better", "worse": "▼ worse", "not shown": "= not shown"}[test.verdict],
    )


def _p(value: float) -> str:
    return "<.0001" if value < 0.0001 else f"{value:.4f}"


def setting_text(value: Any) -> str:
    """A setting as a cell."""
    return "-" if value is None else str(value)


def _legend(found: Comparison) -> str:
    base = found.tests[0].a if found.tests else found.sets[0].label
    return f"{found.split} ranks of {found.users:,} users; * differs from {base}, p < .05 after Holm's correction"
