"""The commands by name. A command's module is imported when the command is called, or when all are listed."""

from __future__ import annotations

import gc
import inspect
import os
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command, get_group

from sracl_tui.cli.completion import offer
from sracl_tui.cli.id_arguments import WithIds
from sracl_tui.cli.options_and_output import Commands, begin
from sracl_tui.version import __version__

COMMANDS = {
    "run": "run.run",
    "demo": "demo.demo",
    "stop": "run.stop",
    "queue": "queue.app",
    "data": "data.app",
    "runs": "runs.runs",
    "show": "runs.show",
    "inspect": "inspect.inspect",
    "search": "search.search",
    "summarize": "llm.summarize",
    "neighbors": "neighbors.neighbors",
    "costs": "costs.costs",
    "prompts": "llm.prompts_app",
    "llm": "llm.app",
    "methods": "methods.methods",
    "study": "study.app",
    "leaks": "leaks.leaks",
    "compare": "compare.compare",
    "slices": "slices.slices",
    "import-ranks": "import_ranks.import_ranks",
    "reproduce": "reproduce.reproduce",
    "export": "export.export",
    "recommend": "recommend.recommend",
    "tag": "runs.tag",
    "note": "runs.note",
    "rename": "runs.rename",
    "findings": "findings.app",
    "remove": "remove.remove",
    "restore": "remove.restore",
    "sql": "sql.sql",
    "import-bundle": "bundle.import_bundle",
    "db": "db.app",
    "alerts": "alerts.app",
    "doctor": "doctor.doctor",
}
"""Module and attribute in this folder: a function, or a Typer with subcommands."""
SETTINGS: dict[str, dict[str, Any]] = {"sql": {"ignore_unknown_options": True}}
"""A query may begin with a comment, which looks like an option."""
OF_IDS = ("inspect", "recommend", "export")
"""Commands that name users by ids, which may begin with a dash."""


def reflowed(text: str) -> str:
    """A help text whose paragraphs are one line each, to be wrapped at the terminal's width; examples keep their lines."""
    parts = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(part if part.startswith("\b") else " ".join(part.split()) for part in parts)


class LazyCommands(Commands):
    """Commands by name."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every name, in order."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; none where there is no such name."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = COMMANDS[cmd_name].partition(".")
        found = getattr(import_module(f"{__package__}.{module}"), attribute)
        offer(cmd_name, found)
        if isinstance(found, typer.Typer):
            command = get_group(found)
        else:
            alone = typer.Typer(rich_markup_mode="rich", add_completion=False)
            kind = WithIds if cmd_name in OF_IDS else None
            alone.command(cmd_name, cls=kind, context_settings=SETTINGS.get(cmd_name))(found)
            command = get_command(alone)
        command.name = cmd_name
        for one in (command, *getattr(command, "commands", {}).values()):
            one.help = reflowed(one.help or "")
        return command


app = typer.Typer(
    name="sracl",
    cls=LazyCommands,
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


def main() -> None:
    """Entry point of `sracl`."""
    gc.set_threshold(50_000, 20, 50)  # commands create few cycles and thousands of rows; scanning the rows takes time
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _under_torchrun()
    else:
        begin(app)


def _under_torchrun() -> None:
    """torchrun starts the command N times: process 0 executes it, and the others take part in its trainings."""
    from engine.training import workers

    if os.environ["RANK"] != "0":
        workers.serve_torchrun()
        return
    try:
        begin(app)
    finally:
        workers.end_torchrun()
