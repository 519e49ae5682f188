"""`sracl sql`: run SQL on the database, and print or save the rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from engine.errors import ConfigError
from sracl_tui import formatting
from sracl_tui.cli import options_and_output
from sracl_tui.cli.interruptible import interruptible
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from store.home import Home

if TYPE_CHECKING:
    from store.database.person_sql import Cancel
    from store.database.result_texts import Form


def sql(
    query: Annotated[
        str | None, typer.Argument(help="SQL. Default: read from standard input.", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the SQL from a file.")] = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Allow changes: made on a copy, which is published if all statements succeed."),
    ] = False,
    allow_files: Annotated[
        bool, typer.Option("--allow-files", help="With --write: statements may read and write files of this machine.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, metavar="SECONDS", help="Cancel what takes longer; the exit code is 2.")
    ] = None,
    format_: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", help="Output format of the rows.")
    ] = "table",
    out: Annotated[Path | None, typer.Option(help="Write all rows to a .csv, .parquet or .json file.")] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Query the database, also while runs write to it. docs/schema.md lists tables and columns.

    Rows are printed as they come; ctrl+c ends any query. A query reaches no file and takes at most half of the memory.

    \b
    Examples:
      sracl sql "SELECT run_id, test_ndcg_20, seconds FROM run_results"
      sracl sql "SHOW TABLES"
      sracl sql -f examples/queries.sql --format csv
      sracl sql "FROM neighbor_weights" --out weights.parquet
      sracl sql --write "DELETE FROM metrics WHERE run_id = 'bad'"
      sracl sql --timeout 10 "FROM neighbors" --format csv
      sracl sql --write --allow-files "CREATE TABLE mine AS FROM 'mine.csv'"
    """
    if write and out is not None:
        raise ConfigError("--write and --out cannot be combined", where="--out")
    if allow_files and not write:
        raise ConfigError("this option needs --write", where="--allow-files")
    text = file.read_text("utf-8") if file is not None else query if query is not None else sys.stdin.read()
    text = text.encode("utf-8", "surrogateescape").decode(
        "utf-8", "replace"
    )  # bytes that the locale has no letters for
    resolved = options_and_output.home_of(home)
    shown = "json" if json_ else format_
    form: Form = "json" if shown == "json" else "texts"

    def work(started: Callable[[Cancel], None]) -> None:
        if out is not None:
            _save(resolved, text, out, started, json_=json_)
        elif write:
            from store.publishing.publish import write_sql

            table = write_sql(resolved, text, files=allow_files, started=started, form=form)
            options_and_output.talk().print("published", highlight=False)
            _print([] if table is None else [table], shown)
        else:
            with options_and_output.open_store(resolved) as store:
                _print(store.stream_sql(text, started=started, form=form), shown)

    interruptible(work, timeout=timeout)


def _save(home: Home, text: str, out: Path, started: Callable[[Cancel], None], *, json_: bool) -> None:
    with options_and_output.open_store(home) as store:
        rows = store.save_sql(text, out, started=started)
    if json_:
        options_and_output.print_json({"rows": rows, "path": str(out)})
    else:
        options_and_output.talk().print(f"{formatting.count(rows, 'row')} written to {out}", highlight=False)


def _print(tables: Iterable[Any], format_: str) -> None:
    """Print rows as they come; a JSON document is an empty list for a statement without rows."""
    from store.database.result_texts import csv_head, csv_lines, json_objects, kind_of

    write, number, count = sys.stdout.write, -1, 0
    for number, table in enumerate(tables):
        if format_ == "json" and table.num_rows:
            write(",\n" if count else "[")
            write(",\n".join(options_and_output.printable_json(one) for one in json_objects(table)))
        elif format_ == "csv":
            if number == 0:
                write(csv_head(table.schema))
            sys.stdout.writelines(csv_lines(table))
        elif format_ == "table":
            heads = [f"{field.name}:{'r' if kind_of(field) == 'number' else 'l'}" for field in table.schema]
            columns = [["NULL" if text is None else text for text in column.to_pylist()] for column in table.columns]
            options_and_output.out().print(options_and_output.table(heads, zip(*columns, strict=True)))
        count += table.num_rows
    if format_ == "json":
        write("]\n" if count else "[]\n")
    elif format_ == "table" and number >= 0:
        options_and_output.talk().print(formatting.count(count, "row"), highlight=False)
