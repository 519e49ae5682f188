"""`sracl sql`: run SQL on the database, and print or save the rows."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from store.untrusted_text import csv_cell


def sql(
    query: Annotated[
        str | None, typer.Argument(help="SQL. Default: read from standard input.", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the SQL from a file.")] = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Allow changes: made on a copy, which is published if all statements succeed."),
    ] = False,
    format_: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", help="Output format of the rows.")
    ] = "table",
    out: Annotated[Path | None, typer.Option(help="Write all rows to a .csv, .parquet or .json file.")] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Query the database, also while runs write to it. docs/schema.md lists tables and columns.

    \b
    Examples:
      sracl sql "SELECT run_id, preset, test_ndcg_20, seconds FROM run_results ORDER BY test_ndcg_20 DESC"
      sracl sql "SHOW TABLES"
      sracl sql -f examples/queries.sql --format csv
      sracl sql "FROM neighbor_weights" --out weights.parquet
      sracl sql --write "DELETE FROM metrics WHERE run_id = 'bad'"
    """
    text = file.read_text("utf-8") if file is not None else query if query is not None else sys.stdin.read()
    resolved = options_and_output.home_of(home)
    if write and out is not None:
        raise ConfigError("--write and --out cannot be combined", where="--out")
    if out is not None:
        with options_and_output.open_store(resolved) as store:
            rows = store.save_sql(text, out)
        if json_:
            options_and_output.print_json({"rows": rows, "path": str(out)})
        else:
            options_and_output.talk().print(f"{rows:,} rows are in {out}", markup=False, highlight=False)
        return
    if write:
        from store.publishing.publish import write_sql

        table = write_sql(resolved, text)
        options_and_output.talk().print("published", highlight=False)
    else:
        with options_and_output.open_store(resolved) as store:
            table = store.user_sql(text)
    if table is None:
        if json_ or format_ == "json":
            options_and_output.print_json([])
        return
    _print(table, "json" if json_ else format_)


def _print(table: Any, format_: str) -> None:
    from store.database.result_files import unique_names

    columns = [column.to_pylist() for column in table.columns]
    rows = list(zip(*columns, strict=True)) if columns else []  # by position: two columns may have one name
    if format_ == "json":
        names = unique_names(table.column_names)
        options_and_output.print_json([dict(zip(names, row, strict=True)) for row in rows])
    elif format_ == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(map(csv_cell, table.column_names))
        for row in rows:
            writer.writerow([csv_cell(value) if isinstance(value, str) else value for value in row])
    else:
        heads = [f"{field.name}:r" if _is_number(field.type) else field.name for field in table.schema]
        options_and_output.out().print(options_and_output.table(heads, [[*map(_cell, row)] for row in rows]))
        options_and_output.talk().print(f"{len(rows):,} rows", highlight=False)


def _is_number(kind: Any) -> bool:
    import pyarrow.types as types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
