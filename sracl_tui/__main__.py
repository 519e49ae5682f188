"""`sracl-tui`: the terminal app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sracl_tui.cli import common
from sracl_tui.cli.common import Commands, DebugOption, HomeOption
from sracl_tui.version import __version__

cli = typer.Typer(name="sracl-tui", cls=Commands, pretty_exceptions_enable=False, add_completion=False)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"sracl-tui {__version__}")
        raise typer.Exit


@cli.callback(invoke_without_command=True)
def start(
    once: Annotated[bool, typer.Option("--once", help="Print the first screen as text and leave.")] = False,
    home: HomeOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Browse runs in the terminal. Closing it stops nothing.

    \b
    Examples:
      sracl-tui
      sracl-tui --once
      sracl-tui --home /data/sracl
    """
    place: Path = common.home_of(home).path
    if once:
        from sracl_tui.cli.runs import runs

        runs(group=None, tag=None, limit=None, home=place, json_=False, debug=debug)
        return
    from sracl_tui.app import SraclApp

    SraclApp(common.home_of(home)).run()


def main() -> None:
    """Entry point of `sracl-tui`."""
    cli()


if __name__ == "__main__":
    main()
