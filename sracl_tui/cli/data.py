"""`sracl data`: import, list, show and remove datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sracl_tui.cli import common
from sracl_tui.cli.common import Commands, DebugOption, HomeOption, JsonOption

app = typer.Typer(cls=Commands, no_args_is_help=True, help="Import, list, show and remove datasets.")
NameArgument = Annotated[str, typer.Argument(help="Name or id of a dataset.", metavar="NAME")]


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A file, or a folder that has one.", metavar="PATH")],
    name: Annotated[str, typer.Option("--name", "-n", help="Name to call the dataset by.")],
    format_: Annotated[
        str | None, typer.Option("--format", help="Reader, where it is not recognized by itself.")
    ] = None,
    items: Annotated[Path | None, typer.Option(help="File with the items' texts, for tables.")] = None,
    user_column: Annotated[str | None, typer.Option(help="Column of the users, for tables.")] = None,
    item_column: Annotated[str | None, typer.Option(help="Column of the items.")] = None,
    time_column: Annotated[str | None, typer.Option(help="Column of the times.")] = None,
    title_column: Annotated[str | None, typer.Option(help="Column of the items' titles.")] = None,
    k_core: Annotated[
        int, typer.Option(min=0, help="Keep users and items with so many interactions, again and again.")
    ] = 0,
    min_length: Annotated[int, typer.Option(min=0, help="Keep users with at least so many interactions.")] = 0,
    max_length: Annotated[int | None, typer.Option(min=1, help="Keep a user's newest interactions.")] = None,
    duplicates: Annotated[
        Literal["keep", "first", "last"], typer.Option(help="The same user and item again.")
    ] = "keep",
    ties: Annotated[
        Literal["source", "item", "random"], typer.Option(help="Order of a user's interactions at the same time.")
    ] = "source",
    tie_seed: Annotated[int, typer.Option(min=0, help="Seed of --ties random.")] = 0,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Read a dataset into the store: all of it or nothing. What is dropped is counted and kept with it.

    Reads RecBole atomic files (.inter, .item), CSV, TSV and Parquet with named columns, and plain `user item` lines.

    \b
    Examples:
      sracl data import data/amazon-office-2014 --name office
      sracl data import ratings.csv --items movies.csv --name ml --k-core 5
      sracl data import Beauty.txt --name beauty --format sequences
      sracl data import log.parquet --name shop --user-column customer --item-column sku --time-column bought_at
    """
    from engine.data.importing import ImportOptions, import_dataset
    from sracl_tui.runner.datasets import to_record
    from store import datasets

    place = common.home_of(home)
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
    )
    dataset, report = import_dataset(path, name=name, options=options)
    record = to_record(dataset, report)
    datasets.add(place, record)
    if json_:
        with common.open_store(place) as store:
            common.print_json(datasets.get(store, dataset.dataset_id))
        return
    talk = common.talk()
    for warning in report.warnings:
        talk.print(f"warning: {warning}", markup=False, highlight=False)
    for reason, count in report.dropped.items():
        talk.print(f"dropped: {count:,} {reason}", markup=False, highlight=False)
    common.out().print(
        f"{name}: {dataset.users:,} users, {len(dataset.items):,} items, {len(dataset.sequence):,} interactions "
        f"({report.format}, {report.seconds:.1f} s)",
        markup=False,
        highlight=False,
    )


@app.command("list")
def list_(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """All datasets.

    \b
    Examples:
      sracl data list
      sracl data list --json
    """
    from store import datasets

    with common.open_store(common.home_of(home)) as store:
        rows = datasets.listed(store)
    if json_:
        common.print_json(rows)
    elif not rows:
        common.talk().print(
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
                _kind(r),
            )
            for r in rows
        ]
        common.out().print(
            common.table(("name", "users:r", "items:r", "interactions:r", "prefixes:r", "source"), cells)
        )


@app.command("show")
def show(name: NameArgument, home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """A dataset: sizes, times, ties, text, what the import dropped, and how lengths and popularity are spread.

    \b
    Examples:
      sracl data show office
      sracl data show office --json
    """
    from store import datasets

    with common.open_store(common.home_of(home)) as store:
        row = datasets.get(store, name)
        spread = datasets.histogram(store, row["dataset_id"])
    if json_:
        common.print_json(row | spread)
        return
    console = common.out()
    shown = {
        "dataset": f"{row['name']} ({row['dataset_id']})",
        "source": _kind(row),
        "users": f"{row['users']:,}, of them {row['tied_users']:,} with validation and test at the same time",
        "items": f"{row['items']:,}, of them {row['items_with_text']:,} with text",
        "interactions": f"{row['interactions']:,}; training prefixes {row['train_prefixes']:,}",
        "time": f"{row['first_ts']} to {row['last_ts']} (UTC)" if row["first_ts"] else "the source has none",
        "options": ", ".join(f"{key} {value}" for key, value in row["options"].items()) or "none",
        "read": f"{row['rows_read']:,} rows",
        "dropped": ", ".join(f"{count:,} {reason}" for reason, count in row["dropped"].items()) or "nothing",
        "warnings": "; ".join(row["warnings"]) or "none",
    }
    common.print_pairs(console, shown)
    for title, key in (("users by interactions", "lengths"), ("items by interactions", "popularity")):
        console.print(f"\n{title}", style="bold")
        for line in common.bars(spread[key]):
            console.print(line, markup=False, highlight=False)


@app.command("remove")
def remove(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Take a dataset out of the store. One that runs were made with stays.

    \b
    Examples:
      sracl data remove office
      sracl data remove office --yes
    """
    from store import datasets

    place = common.home_of(home)
    with common.open_store(place) as store:
        row = datasets.get(store, name)
        if not yes:
            typer.confirm(f"Remove {row['name']} ({row['interactions']:,} interactions)?", abort=True, err=True)
        datasets.remove(place, store, name)
    if json_:
        common.print_json({"removed": row["name"], "dataset_id": row["dataset_id"]})
    else:
        common.talk().print(f"{row['name']} is removed.", markup=False, highlight=False)


def _kind(row: dict[str, Any]) -> str:
    return f"{row['source']} ({row['format']})" if not row["synthetic"] else "synthetic: generated, no real people"
