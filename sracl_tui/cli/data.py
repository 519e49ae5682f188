"""`sracl data`: import, fetch, list, show and remove datasets."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.status import Status
from rich.text import Text

from engine.events import Event, StageProgress
from sracl_tui.cli import options_and_output
from sracl_tui.cli.fetch import fetch
from sracl_tui.cli.options_and_output import Commands, DebugOption, HomeOption, JsonOption
from sracl_tui.services.dataset_import import BY_KEY, ROWS, first_rows

app = typer.Typer(cls=Commands, no_args_is_help=True, help="Import, fetch, list, show and remove datasets.")
NameArgument = Annotated[str, typer.Argument(help="Name or id of a dataset.", metavar="NAME")]


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A file, or a folder that has one.", metavar="PATH")],
    name: Annotated[str, typer.Option("--name", "-n", help=BY_KEY["name"].help)],
    format_: Annotated[str | None, typer.Option("--format", help=BY_KEY["format"].help)] = None,
    items: Annotated[Path | None, typer.Option(help=BY_KEY["items"].help)] = None,
    user_column: Annotated[str | None, typer.Option(help=BY_KEY["user_column"].help)] = None,
    item_column: Annotated[str | None, typer.Option(help=BY_KEY["item_column"].help)] = None,
    time_column: Annotated[str | None, typer.Option(help=BY_KEY["time_column"].help)] = None,
    title_column: Annotated[str | None, typer.Option(help=BY_KEY["title_column"].help)] = None,
    k_core: Annotated[int, typer.Option(min=0, help=BY_KEY["k_core"].help)] = 0,
    min_length: Annotated[int, typer.Option(min=0, help=BY_KEY["min_length"].help)] = 0,
    max_length: Annotated[int | None, typer.Option(min=1, help=BY_KEY["max_length"].help)] = None,
    duplicates: Annotated[Literal["keep", "first", "last"], typer.Option(help=BY_KEY["duplicates"].help)] = "keep",
    ties: Annotated[Literal["source", "item", "random"], typer.Option(help=BY_KEY["ties"].help)] = "source",
    tie_seed: Annotated[int, typer.Option(min=0, help=BY_KEY["tie_seed"].help)] = 0,
    only: Annotated[list[str] | None, typer.Option(metavar="COLUMN=VALUE", help=BY_KEY["only"].help)] = None,
    min_rating: Annotated[float | None, typer.Option(help=BY_KEY["min_rating"].help)] = None,
    bad_rows: Annotated[Literal["refuse", "drop"], typer.Option(help=BY_KEY["bad_rows"].help)] = "refuse",
    time_format: Annotated[str | None, typer.Option(help=BY_KEY["time_format"].help)] = None,
    delimiter: Annotated[str | None, typer.Option(help=BY_KEY["delimiter"].help)] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            help="Read all of it, print what would be kept and the first rows as they are read; store nothing."
        ),
    ] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Import a dataset, all of it or nothing. The number of dropped interactions is stored with it.

    Reads Amazon reviews (2014, 2018, 2023), MovieLens and Yelp as published, RecBole atomic files (.inter, .item), CSV, TSV,
    Parquet and JSON lines with named columns, and plain `user item` lines.

    \b
    Examples:
      sracl data import data/amazon-office-2014 --name office
      sracl data import reviews_Beauty_5.json.gz --name beauty
      sracl data import ml-1m --name ml --k-core 5
      sracl data import ratings.csv --name ml --k-core 10 --dry-run
      sracl data import Beauty.txt --name beauty --format sequences
      sracl data import events.csv --name shop --only event=buy --bad-rows drop
      sracl data import ratings.csv --name ml --min-rating 4 --delimiter ";"
      sracl data import ratings.csv --name ml --time-format "%d/%m/%Y %H:%M"
      sracl data import log.parquet --name shop --user-column customer \\
        --item-column sku --time-column bought_at
    """
    from engine.data.importing import ImportOptions
    from sracl_tui.services.dataset_import import import_into
    from store.queries import datasets

    resolved = None if dry_run else options_and_output.home_of(home)
    options = ImportOptions(
        format=format_,
        items=items,
        user_column=user_column,
        item_column=item_column,
        time_column=time_column,
        title_column=title_column,
        k_core=k_core,
        min_length=min_length,
        max_length=max_length,
        duplicates=duplicates,
        ties=ties,
        tie_seed=tie_seed,
        only=tuple(only or ()),
        min_rating=min_rating,
        bad_rows=bad_rows,
        time_format=time_format,
        delimiter=delimiter,
    )
    talk = options_and_output.talk()
    with talk.status("importing") as status:
        dataset, report = import_into(
            resolved, path, name=name, options=options, report=lambda event: _show_step(status, event)
        )
    if json_ and resolved is not None:
        with options_and_output.open_store(resolved) as store:
            options_and_output.print_json(datasets.get(store, dataset.dataset_id))
        return
    if json_:
        counts = {"users": dataset.users, "items": len(dataset.items), "interactions": len(dataset.sequence)}
        head = {"name": name, "dataset_id": dataset.dataset_id, **counts, "rows": first_rows(dataset, ROWS)}
        options_and_output.print_json(head | asdict(report))
        return
    for warning in report.warnings:
        talk.print(f"warning: {warning}", markup=False, highlight=False)
    for reason, count in report.dropped.items():
        talk.print(f"dropped: {count:,} {reason}", markup=False, highlight=False)
    options_and_output.out().print(
        f"{name}: {dataset.users:,} users, {len(dataset.items):,} items, {len(dataset.sequence):,} interactions "
        f"({report.format}, {report.seconds:.1f} s{'; nothing is stored' if dry_run else ''})",
        markup=False,
        highlight=False,
    )
    if dry_run:
        cells = [tuple("" if cell is None else str(cell) for cell in row.values()) for row in first_rows(dataset, ROWS)]
        options_and_output.out().print(options_and_output.table(("user", "item", "time (UTC)", "title"), cells))


def _show_step(status: Status, event: Event) -> None:
    if isinstance(event, StageProgress):
        status.update(Text(f"{event.done + 1}/{event.total} {event.detail}"))


app.command("fetch")(fetch)


@app.command("list")
def list_(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """List the datasets.

    \b
    Examples:
      sracl data list
      sracl data list --json
    """
    from sracl_tui.services.dataset_facts import kind_of
    from store.queries import datasets

    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        rows = datasets.listed(store)
    if json_:
        options_and_output.print_json(rows)
    elif not rows:
        options_and_output.talk().print(
            "No datasets yet. `sracl data import PATH --name NAME` adds one; `sracl run` makes the demo set."
        )
    else:
        cells = [
            (
                r["name"],
                f"{r['users']:,}",
                f"{r['items']:,}",
                f"{r['interactions']:,}",
                f"{r['train_prefixes']:,}",
                kind_of(r),
            )
            for r in rows
        ]
        options_and_output.out().print(
            options_and_output.table(("name", "users:r", "items:r", "interactions:r", "prefixes:r", "source"), cells)
        )


@app.command("show")
def show(name: NameArgument, home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Show a dataset: sizes, times, ties, text, dropped interactions, and the distributions of lengths, popularity and times.

    \b
    Examples:
      sracl data show office
      sracl data show office --json
    """
    from sracl_tui.services.dataset_facts import facts_of
    from sracl_tui.services.text_charts import bars, columns, period
    from store.queries import datasets
    from store.queries.dataset_statistics import statistics

    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        row = datasets.get(store, name)
        found = statistics(store, row)
        runs = datasets.used_by(store, row["dataset_id"])
    if json_:
        options_and_output.print_json(row | found | {"runs": runs})
        return
    console = options_and_output.out()
    options_and_output.print_pairs(console, facts_of(row, found, runs))
    wide = min(console.width, 100)
    for title, key in (
        ("users by interactions", "lengths"),
        ("items by interactions", "popularity"),
        ("timestamps by interactions of one user at one time", "ties"),
    ):
        if found[key]:
            _print_chart(console, title, [f"{bar.label} {bar.count} {bar.bar}" for bar in bars(found[key], width=wide)])
    chart = columns(found["times"], found["unit"], width=wide, height=9)
    if chart is not None:
        lines = [f"{scale}{line}" for scale, line in zip(chart.scale, chart.lines, strict=True)]
        _print_chart(console, f"interactions by {period(found['unit'], chart.each)}", [*lines, chart.below])


def _print_chart(console: Any, title: str, lines: list[str]) -> None:
    console.print(f"\n{title}", style="bold")
    for line in lines:
        console.print(line, markup=False, highlight=False)


@app.command("remove")
def remove(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Remove a dataset from the store. A dataset that runs have used cannot be removed.

    \b
    Examples:
      sracl data remove office
      sracl data remove office --yes
    """
    from store.queries import datasets

    resolved = options_and_output.home_of(home)
    with options_and_output.open_store(resolved) as store:
        row = datasets.get(store, name)
        if not yes:
            typer.confirm(f"Remove {row['name']} ({row['interactions']:,} interactions)?", abort=True, err=True)
        datasets.remove(resolved, store, name)
    if json_:
        options_and_output.print_json({"removed": row["name"], "dataset_id": row["dataset_id"]})
    else:
        options_and_output.talk().print(f"{row['name']} is removed.", markup=False, highlight=False)
