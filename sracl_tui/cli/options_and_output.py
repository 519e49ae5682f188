"""What every command shares: options, output, and the one place that turns an error into a message and an exit code.

stdout is for data, stderr for messages. Exit codes: 0 done; 1 the run failed, or what was to hold does not (`--fail-if-worse`,
`--require`); 2 bad usage, config or data; 3 the money cap stopped it; 4 the store cannot be used; 130 interrupted or stopped.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from engine.errors import BudgetReached, ConfigError, DataError, EngineError, ScratchFull
from sracl_tui.runs import own_code
from sracl_tui.runs.execution.answers import with_executors
from store.errors import LookupFailed, NameRefused, QueryFailed, RunsOpen, StoreError
from store.home import Home
from store.untrusted_text import json_text

if TYPE_CHECKING:
    from rich.console import Console

NARROWEST, WIDEST = 20, 10_000
"""Columns of a terminal that are believed where COLUMNS names them."""
WIDE = 4096
"""Columns of a table in a pipe, so that no cell is wrapped."""

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_debug = False
_home: Home | None = None
"""The home of the command, whose log takes the traceback of a bug."""


_words: list[str] = []
"""The words of the command line."""
_allow: list[Path] = []
"""The files of `--allow-code` that no home was told of yet."""


def _set_debug(value: bool) -> bool:
    global _debug
    _debug = _debug or value
    return value


def _set_allowed(value: list[Path] | None) -> list[Path] | None:
    _allow[:] = value or []
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
AllowCodeOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow-code",
        metavar="FILE",
        help="Allow this file of code, as it is now, in this home; repeatable.",
        callback=_set_allowed,
    ),
]
"""Of commands that import what stored settings, or those of a file, name; `home_of` tells the home."""
RunArgument = Annotated[str, typer.Argument(help="Run id, the beginning of one, a name, or `last`.", metavar="RUN")]


class Commands(TyperGroup):
    """A group of commands that report an error as a message and an exit code instead of a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words of the command line, which may name code."""
        if ctx.parent is None:
            _words[:] = args
            _allow.clear()
        return super().parse_args(ctx, args)

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
            rights = "`ls -ld` shows whose it is, and who may read it. " if isinstance(error, PermissionError) else ""
            hint = f"{rights}Nothing that was written is lost. --debug shows the traceback."
            print_error(StoreError(error.strerror or str(error), where=where, hint=hint))
            raise typer.Exit(4) from None
        except Exception as error:  # a bug: a sentence here, the traceback in the log
            if _debug or isinstance(error, typer.Abort) or hasattr(error, "exit_code"):  # typer's own
                raise
            if _of_the_system(error):
                hint = "Nothing that was written is lost. --debug shows the traceback."
                print_error(StoreError(str(error).splitlines()[0], hint=hint))
                raise typer.Exit(4) from None
            talk().print(f"{_logged(error)} --debug shows it here.", markup=False, highlight=False)
            raise typer.Exit(1) from None


def _of_the_system(error: Exception) -> bool:
    """Whether the database says so of a file, outside what expects it; told without importing it."""
    kind = type(error)
    return kind.__name__ == "IOException" and kind.__module__.lstrip("_").startswith("duckdb")


def _logged(error: Exception) -> str:
    what = "the command has ended by an error"
    try:
        from sracl_tui.logs import crash

        return crash(_home or Home.resolve(), error, what)
    except (OSError, ImportError) as second:
        return f"{what}: {error!r}, and its log cannot be written: {second}."


def exit_code(error: BaseException) -> int:
    """The exit code of an error, as listed at the top of this module."""
    if isinstance(error, BudgetReached):
        return 3
    if isinstance(error, ConfigError | DataError | LookupFailed | NameRefused | QueryFailed | RunsOpen):
        return 2
    return 4 if isinstance(error, StoreError | ScratchFull) else 1


def print_error(error: EngineError | StoreError) -> None:
    """Print title, place, message and hint of an error to stderr."""
    console = talk()
    console.print(f"{error.title}:", style="bold red", end=" ", markup=False)
    console.print(f"{error.where}: {error.message}" if error.where else error.message, markup=False, highlight=False)
    if error.hint:
        console.print(error.hint, style="dim", markup=False, highlight=False)


def begin(app: Callable[[], object]) -> None:
    """Start a command so that ctrl+c is exit code 130 from the first moment, and stdout and stderr take every text.

    What their encoding lacks (ASCII on nodes of a cluster) becomes a question mark. One that is closed is the null device, also
    by its number: the next file that is opened, such as the database, would take that.
    """
    try:
        while (number := os.open(os.devnull, os.O_RDWR)) < 3:
            os.set_inheritable(number, True)
        os.close(number)
    except OSError:  # there is no null device, which is needed in place of a closed one only
        if None in (sys.stdin, sys.stdout, sys.stderr):
            raise SystemExit(4) from None
    width = os.environ.get("COLUMNS")
    if width is not None and not (width.isdecimal() and NARROWEST <= int(width[:9]) <= WIDEST):
        del os.environ["COLUMNS"]  # nothing can be laid out in it, or no memory holds it
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    from sracl_tui.cli.completion import ASKED

    try:
        if not _folder_is_there() and ASKED not in os.environ:
            sys.stderr.write("the current folder was removed: change to one that exists, such as `cd ~`\n")
            raise SystemExit(2)
        app()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None


def _folder_is_there() -> bool:
    """Whether the current folder exists: without it no path can be named, and libraries end the process in riddles."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


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
    try:
        text = json.dumps(document, indent=indent, ensure_ascii=False, default=_number, allow_nan=False)
    except (ValueError, TypeError):
        text = json.dumps(_plain(document), indent=indent, ensure_ascii=False, default=str)
    return printable_json(text)


def printable_json(text: str) -> str:
    """A JSON document as stdout can be given it: what a terminal obeys, or its encoding may lack, is escaped."""
    text = json_text(text)
    if text.isascii() or (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf"):
        return text
    return _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)


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
    return None if isinstance(value, float) and not math.isfinite(value) else value


def home_of(path: Path | None) -> Home:
    """The home that `--home` or the environment names; a new one is created. It allows the code that the command line names.

    Raises:
        StoreError: it cannot be created.
        ConfigError: a file of `--allow-code` cannot be read.
    """
    global _home
    _home = home = with_executors(Home.resolve(path))
    home.create()
    own_code.guard(home)
    own_code.allow_words(home, _words)
    while _allow:
        own_code.allow(home, _allow.pop(0), by=own_code.OPTION)
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
    """A table without borders; a head that ends in `:r` is aligned to the right, `:l` to the left as others. No cell is cut."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        name, _, side = head.rpartition(":") if head.endswith((":r", ":l")) else (head, "", "")
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
