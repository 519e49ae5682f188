"""`sracl sql`: run SQL on the database, and print or save the rows."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.interruptible import interruptible
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from store.home import Home
from store.untrusted_text import csv_cell

if TYPE_CHECKING:
    from store.database.person_sql import Cancel


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
      sracl sql "SELECT run_id, preset, test_ndcg_20, seconds FROM run_results ORDER BY test_ndcg_20 DESC"
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
    resolved = options_and_output.home_of(home)
    shown = "json" if json_ else format_

    def work(started: Callable[[Cancel], None]) -> None:
        if out is not None:
            _save(resolved, text, out, started, json_=json_)
        elif write:
            from store.publishing.publish import write_sql

            table = write_sql(resolved, text, files=allow_files, started=started)
            options_and_output.talk().print("published", highlight=False)
            _print([] if table is None else [table], shown)
        else:
            with options_and_output.open_store(resolved) as store:
                _print(store.stream_sql(text, started=started), shown)

    interruptible(work, timeout=timeout)


def _save(home: Home, text: str, out: Path, started: Callable[[Cancel], None], *, json_: bool) -> None:
    with options_and_output.open_store(home) as store:
        rows = store.save_sql(text, out, started=started)
    if json_:
        options_and_output.print_json({"rows": rows, "path": str(out)})
    else:
        options_and_output.talk().print(f"{rows:,} rows are in {out}", highlight=False)


def _print(tables: Iterable[Any], format_: str) -> None:
    """Print rows as they come; a JSON document is an empty list for a statement without rows."""
    from store.database.person_sql import python_values
    from store.database.result_files import unique_names

    objects, writer, number, count = _Objects(), csv.writer(sys.stdout), -1, 0
    for number, table in enumerate(tables):
        columns = [python_values(column) for column in table.columns]
        rows = list(zip(*columns, strict=True)) if columns else []  # by position: two columns may have one name
        count += len(rows)
        if format_ == "json":
            names = unique_names(table.column_names)
            objects.write([dict(zip(names, row, strict=True)) for row in rows])
        elif format_ == "csv":
            if number == 0:
                writer.writerow(map(csv_cell, table.column_names))
            for row in rows:
                writer.writerow([csv_cell(value) if isinstance(value, str) else value for value in row])
        else:
            heads = [f"{field.name}:r" if _is_number(field.type) else field.name for field in table.schema]
            options_and_output.out().print(options_and_output.table(heads, [[*map(_cell, row)] for row in rows]))
    if format_ == "json":
        objects.end()
    elif format_ == "table" and number >= 0:
        options_and_output.talk().print(f"{count:,} rows", highlight=False)


class _Objects:
    """One JSON list on stdout, written some objects at a time, as `print_json` would write all of them."""

    def __init__(self) -> None:
        self._first = True
        self._edge, self._between = ("\n", ",\n") if sys.stdout.isatty() else ("", ", ")

    def write(self, objects: list[dict[str, Any]]) -> None:
        if objects:
            text = options_and_output.json_of(objects)
            around = 1 + len(self._edge)
            sys.stdout.write(("[" + self._edge if self._first else self._between) + text[around:-around])
            self._first = False

    def end(self) -> None:
        sys.stdout.write("[]\n" if self._first else f"{self._edge}]\n")


def _is_number(kind: Any) -> bool:
    import pyarrow.types as types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
