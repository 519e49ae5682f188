"""`sracl slices`: whom a method helps, as differences from a baseline in slices of the users."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from engine.metric_registry import title
from sracl_tui import formatting
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption

if TYPE_CHECKING:
    from sracl_tui.services.slices import SliceReport


def slices(
    run: Annotated[
        str,
        typer.Argument(
            help="A run, or its seeds: a group of one configuration, or runs with commas between them.", metavar="RUN"
        ),
    ],
    baseline: Annotated[str, typer.Argument(help="What it is compared with, likewise.", metavar="BASELINE")],
    metric: Annotated[
        str | None, typer.Option(help="A metric that users have values of, such as hr@10. Default: ndcg@20.")
    ] = None,
    split: Annotated[
        Literal["valid", "test"], typer.Option(help="Ranks to compare: validation while you tune, test once.")
    ] = "test",
    format_: Annotated[
        Literal["text", "csv", "md", "latex"], typer.Option("--format", help="How it is printed.")
    ] = "text",
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Whom does it help? The difference from a baseline in slices of the users.

    Users are sliced by the length of their history, the popularity of the target, whether their last two items have the same time, and
    by their neighbors: similarity, whether the target follows one of them, and in how many lists they are. Each slice has its number of
    users and a 95 % interval, paired by user. Conclusions are corrected for the number of slices (Holm); the intervals are not.

    \b
    Examples:
      sracl slices sracl-run backbone-run
      sracl slices office-sracl office-backbone --metric hr@10
      sracl slices sracl-1,sracl-2,sracl-3 backbone-1,backbone-2,backbone-3
      sracl slices sracl-run backbone-run --format csv > slices.csv
    """
    from sracl_tui.services.slices import slice_users

    sides = [[name for name in side.split(",") if name] or [side] for side in (run, baseline)]
    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        found = slice_users(store, *sides, metric=metric, split=split)
    if json_:
        options_and_output.print_json(found.document())
    elif format_ == "text":
        _print(found)
    else:
        from sracl_tui.services.slice_table import HEADS, missing, rows
        from sracl_tui.services.table_formats import render

        sys.stdout.write(render(HEADS, rows(found), format_=format_))
        for note in [_sides(found), *missing(found), *found.notes]:
            options_and_output.talk().print(note, markup=False, highlight=False)


def _sides(found: SliceReport) -> str:
    return f"{title(found.metric)} on {formatting.SPLITS[found.split]} of {found.b} (run) minus {found.a} (baseline)"


def _print(found: SliceReport) -> None:
    from sracl_tui.services.slice_table import HEADS, axis_title, missing, plot_line, reach_of, rows

    console = options_and_output.out()
    head = f"{found.dataset}, {found.everyone.users:,} users: {_sides(found)}"
    console.print(head, style="bold", highlight=False, markup=False)
    console.print()
    reach = reach_of(found)
    every = [found.everyone, *(one for by in found.by for one in by.slices)]
    plots = [plot_line(one, reach) for one in every]
    heads = [*HEADS[:2], *(f"{name}:r" for name in HEADS[2:7]), "", *(f"{name}:r" for name in HEADS[7:9]), HEADS[9]]
    cells: list[list[str]] = []
    before = ""
    for (what, *row), plot in zip(rows(found, pad=" "), plots, strict=True):
        cells.append(["" if what == before else what, *row[:6], plot, *row[6:]])
        before = what
    console.print(options_and_output.table(heads, cells))
    for note in [f"in the plot: {axis_title(found)}; | is no difference", *missing(found), *found.notes]:
        console.print(note, style="dim", markup=False, highlight=False)
