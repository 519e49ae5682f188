"""`sracl leaks`: share of neighbors that leak targets or held-out interactions, per candidate pool."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.config_files import load_config
from sracl_tui.cli import options_and_output
from sracl_tui.cli.foreground import watched
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from sracl_tui.runs.request import RunRequest, new_run_id


def leaks(
    dataset: Annotated[str, typer.Option(help="Dataset by name.")] = "demo",
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as k=20; repeatable.")
    ] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Retrieve neighbors from every candidate pool and measure leakage: own prefixes, own targets, held-out prefixes.

    \b
    Examples:
      sracl leaks --dataset office --set provider=titles --set vector=item-mean
      sracl leaks --json
    """
    from sracl_tui.runs.execute import execute

    config, preset = load_config(assignments=tuple(assignments or ()), settings={"dataset": dataset})
    request = RunRequest(run_id=new_run_id(), config=config, kind="leaks", preset=preset)
    resolved = options_and_output.home_of(home)
    result = watched(request, lambda listener: execute(resolved, request, listener=listener), headless=False)
    if json_:
        options_and_output.print_json(result.document())
    elif result.leaks:
        heads = ("pool", "own prefixes:r", "own target:r", "held-out prefixes:r", "neighbors:r", "anchors:r")
        rows = [
            (
                pool,
                *(f"{100 * shares[name]:.1f} %" for name in ("own_share", "target_share", "heldout_share")),
                f"{shares['entries']:,}",
                f"{shares['anchors']:,}",
            )
            for pool, shares in result.leaks.items()
        ]
        console = options_and_output.out()
        console.print(options_and_output.table(heads, rows))
        console.print(
            "own prefixes: neighbors of the anchor's own user. own target: anchors with a neighbor that contains their target. "
            "held-out prefixes: neighbors that are not training prefixes.",
            style="dim",
            highlight=False,
        )
    raise typer.Exit(result.exit_code)
