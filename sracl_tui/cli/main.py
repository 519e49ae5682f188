"""Puts the commands together."""

from __future__ import annotations

from typing import Annotated

import typer

from sracl_tui.cli import compare, data, demo, doctor, inspect, leaks, llm, run, runs, search, sql
from sracl_tui.cli.common import Commands
from sracl_tui.version import __version__

app = typer.Typer(
    name="sracl",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with [bold]sracl run[/bold]: it trains on a synthetic demo set. Then [bold]sracl-tui[/bold].",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"sracl {__version__}")
        raise typer.Exit


@app.callback()
def sracl(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """A workbench for semantic-retrieval contrastive learning in sequential recommendation."""


app.command("run")(run.run)
app.command("demo")(demo.demo)
app.command("stop")(run.stop)
app.add_typer(data.app, name="data")
app.command("runs")(runs.runs)
app.command("show")(runs.show)
app.command("inspect")(inspect.inspect)
app.command("search")(search.search)
app.command("summarize")(llm.summarize)
app.command("costs")(llm.costs)
app.add_typer(llm.prompts_app, name="prompts")
app.add_typer(llm.app, name="llm")
app.command("leaks")(leaks.leaks)
app.command("compare")(compare.compare)
app.command("tag")(runs.tag)
app.command("note")(runs.note)
app.command("rename")(runs.rename)
# A query may begin with a comment, which looks like an option.
app.command("sql", context_settings={"ignore_unknown_options": True})(sql.sql)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Entry point of `sracl`."""
    app()
