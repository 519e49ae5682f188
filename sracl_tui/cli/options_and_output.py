"""What every command shares: options, output, and the one place that turns an error into a message and an exit code.

stdout is for data, stderr for messages. Exit codes: 0 done; 1 the run failed, or what was to hold does not (`--fail-if-worse`,
`--require`); 2 bad usage, config or data; 3 the money cap stopped it; 4 the store cannot be used; 130 interrupted or stopped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from engine.errors import BudgetReached, ConfigError, DataError, EngineError
from sracl_tui.runs.execution.answers import with_executors
from store.errors import LookupFailed, NameRefused, QueryFailed, StoreError
from store.home import Home
from store.untrusted_text import json_text

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 4096
"""Columns of a table in a pipe, so that no cell is wrapped."""

_debug = False
_home: Home | None = None
"""The home of the command, whose log takes the traceback of a bug."""


def _set_debug(value: bool) -> bool:
    global _debug
    _debug = _debug or value
    return value


HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of the store and the runs. Default: $SRACL_HOME, else the user data folder."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]
DebugOption = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback of an error.", callback=_set_debug, rich_help_panel="Trouble"),
]
RunArgument = Annotated[str, typer.Argument(help="Run id, the beginning of one, a name, or `last`.", metavar="RUN")]


class Commands(TyperGroup):
    """A group of commands that report an error as a message and an exit code instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            Exit: with the code of the error.
        """
        try:
            return super().invoke(ctx)
        except (EngineError, StoreError) as error:
            if _debug:
                raise
            print_error(error)
            raise typer.Exit(exit_code(error)) from None
        except BrokenPipeError:
            raise
        except OSError as error:  # a full disk, a folder without permission
            if _debug:
                raise
            where = error.filename if isinstance(error.filename, str) else None
            hint = "Nothing that was written is lost. --debug shows the traceback."
            print_error(StoreError(error.strerror or str(error), where=where, hint=hint))
            raise typer.Exit(4) from None
        except Exception as error:  # a bug: a sentence here, the traceback in the log
            if _debug or isinstance(error, typer.Abort) or hasattr(error, "exit_code"):  # typer's own
                raise
            from sracl_tui.logs import crash

            message = crash(_home or Home.resolve(), error, "the command has ended by an error")
            talk().print(f"{message} --debug shows it here.", markup=False, highlight=False)
            raise typer.Exit(1) from None


def exit_code(error: BaseException) -> int:
    """The exit code of an error, as listed at the top of this module."""
    if isinstance(error, BudgetReached):
        return 3
    if isinstance(error, ConfigError | DataError | LookupFailed | NameRefused | QueryFailed):
        return 2
    return 4 if isinstance(error, StoreError) else 1


def print_error(error: EngineError | StoreError) -> None:
    """Print title, place, message and hint of an error to stderr."""
    console = talk()
    console.print(f"{error.title}:", style="bold red", end=" ", markup=False)
    console.print(f"{error.where}: {error.message}" if error.where else error.message, markup=False, highlight=False)
    if error.hint:
        console.print(error.hint, style="dim", markup=False, highlight=False)


def begin(app: Callable[[], object]) -> None:
    """Start a command so that ctrl+c is exit code 130 from the first moment, and stdout and stderr take every text.

    What their encoding lacks (ASCII on nodes of a cluster) becomes a question mark.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None


def talk() -> Console:
    """The console for messages, on stderr. Like `out`, it takes no markup and sends no character that a terminal obeys."""
    from sracl_tui.cli.console import SafeConsole

    return SafeConsole(stderr=True, soft_wrap=True)


def out() -> Console:
    """The console for data, on stdout; wide enough in a pipe that no cell is wrapped or cut."""
    from sracl_tui.cli.console import SafeConsole

    return SafeConsole(soft_wrap=False) if sys.stdout.isatty() else SafeConsole(width=WIDE)


def print_json(document: Any) -> None:
    """Print one JSON document to stdout, indented on a terminal; NaN becomes null."""
    sys.stdout.write(json_of(document) + "\n")


def json_of(document: Any) -> str:
    """The text that `print_json` prints, without the line break at its end."""
    indent = 2 if sys.stdout.isatty() else None  # indenting costs ten times as much
    plain = not (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    try:
        text = json.dumps(document, indent=indent, ensure_ascii=plain, default=_number, allow_nan=False)
    except (ValueError, TypeError):
        text = json.dumps(_plain(document), indent=indent, ensure_ascii=plain, default=str)
    return json_text(text)


def print_done(document: dict[str, Any], text: str, *, json_: bool) -> None:
    """The outcome of a command that changes something: its JSON document, or a sentence."""
    if json_:
        print_json(document)
    else:
        out().print(text, markup=False, highlight=False)


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return _number(value)
    return None if isinstance(value, float) and value != value else value


def home_of(path: Path | None) -> Home:
    """The home that `--home` or the environment names; a new one is created.

    Raises:
        StoreError: it cannot be created.
    """
    global _home
    _home = home = with_executors(Home.resolve(path))
    home.create()
    if trouble := _open_keys(home):
        talk().print(f"warning: {trouble}", style="yellow", markup=False, highlight=False)
    return home


def _open_keys(home: Home) -> str:
    """Why the permissions of the home's `.env` are unsafe; empty without such a file."""
    if not (home.path / ".env").exists():
        return ""
    from sracl_tui.redaction import permission_problem

    return permission_problem(home.path)


def open_store(home: Home, *, ingest: bool = True) -> Any:
    """Open the home's store for reading; a warning where the newest events are not in it yet."""
    from store.opening import open_store

    store = open_store(home, ingest=ingest)
    warn_behind(store.behind)
    return store


def find_run_id(home: Home, text: str) -> str:
    """The id of the run that a RUN argument names.

    Raises:
        LookupFailed: no run or several runs match.
    """
    from store.queries.runs import find_run

    with open_store(home) as store:
        return find_run(store, text)["run_id"]


def warn_behind(behind: StoreError | None) -> None:
    """Warn that journals are not published yet, and why."""
    if behind is not None:
        talk().print(f"warning: the newest events are not in the database yet: {behind.message}", style="yellow")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Any:
    """A table without borders; a head that ends in `:r` is aligned to the right. No cell is cut."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        name, _, side = head.partition(":")
        made.add_column(Text(name), justify="right" if side == "r" else "left", no_wrap=side == "r", overflow="fold")
    for cells in rows:
        made.add_row(*map(Text, cells))
    return made


def print_pairs(console: Console, pairs: dict[str, str]) -> None:
    """Print names and values, one pair per line."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, text in pairs.items():
        made.add_row(name, Text(str(text)))
    console.print(made)


def metric_table(title: str, rows: dict[str, dict[str, float]]) -> Any:
    """A table of all metrics that are measured, one line per name of `rows`; `n`, a number of users, is no metric."""
    from rich.table import Table

    from engine import metric_registry

    names = metric_registry.ordered(name for values in rows.values() for name in values if name != "n")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for name in names:
        table.add_column(metric_registry.title(name), justify="right", no_wrap=True)
    for label, values in rows.items():
        cells = [metric_registry.value_text(name, values.get(name)) for name in names]
        table.add_row(label, *cells)
    return table
