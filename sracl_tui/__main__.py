"""`sracl-tui`: options and entry point of the terminal app."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import Commands, DebugOption, HomeOption
from sracl_tui.tui.screens import DEEPER, PAGES
from sracl_tui.version import __version__

cli = typer.Typer(name="sracl-tui", cls=Commands, pretty_exceptions_enable=False, add_completion=False)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"sracl-tui {__version__}")
        raise typer.Exit


@cli.callback(invoke_without_command=True)
def start(
    once: Annotated[
        bool, typer.Option("--once", help="Print one frame of the first screen as text, in the given --size, and exit.")
    ] = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="Print a keys.toml with every action and its keys, and exit.")
    ] = False,
    screenshot: Annotated[
        str | None,
        typer.Option(metavar="SCREEN", help=f"Save a screen ({', '.join(PAGES | DEEPER)}) as SVG and exit."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Path of the SVG file.")] = Path("sracl.svg"),
    size: Annotated[
        str, typer.Option(metavar="COLUMNSxLINES", help="Terminal size for --once and --screenshot.")
    ] = "120x40",
    run: Annotated[str | None, typer.Option(help="ID of the run shown in the screenshot. Default: the newest.")] = None,
    theme: Annotated[str | None, typer.Option(help="sracl-dark, sracl-light, or any Textual theme.")] = None,
    home: HomeOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Browse runs in the terminal. Closing the app does not stop any run.

    \b
    Examples:
      sracl-tui
      sracl-tui --once
      sracl-tui --keys > keys.toml
      sracl-tui --home /data/sracl
      sracl-tui --screenshot inspector --out inspector.svg --size 100x30 --theme sracl-light
    """
    resolved = options_and_output.home_of(home)
    from sracl_tui.logs import log
    from sracl_tui.tui.app import SraclApp

    if keys:
        from sracl_tui.tui.keymap import template

        typer.echo(template(resolved), nl=False)
        return
    app = SraclApp(resolved)
    app.shows_tracebacks = debug
    if theme is not None:
        if theme not in app.available_themes:
            raise ConfigError(
                f"there is no theme {theme!r}",
                where="--theme",
                hint=f"Themes: {', '.join(sorted(app.available_themes))}.",
            )
        app.theme = theme
    if once:
        from sracl_tui.tui.screenshot import frame

        typer.echo(frame(app, size))
        return
    if screenshot is not None:
        from sracl_tui.tui.screenshot import draw

        app.run_id = run
        out.write_text(draw(app, screenshot, size), "utf-8")
        typer.echo(f"{out}", err=True)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError(
            "the app needs a terminal, and this is none",
            where="sracl-tui",
            hint="Start it in a terminal. --once prints the first screen as text; `sracl runs` lists the runs.",
        )
    log(resolved, "the app starts", version=__version__)
    app.run()
    log(resolved, "the app ends", code=app.return_code)
    raise typer.Exit(app.return_code or 0)


def main() -> None:
    """Entry point of `sracl-tui`."""
    options_and_output.begin(cli)


if __name__ == "__main__":
    main()
