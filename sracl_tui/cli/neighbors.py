"""`sracl neighbors`: neighbor lists alone, in one job or in several of the queue."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.config_files import load_config
from sracl_tui.cli import options_and_output, shards
from sracl_tui.cli.foreground import check_dataset, watched
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from sracl_tui.runs.request import RunRequest, new_run_id


def neighbors(
    dataset: Annotated[str, typer.Option(help="Dataset by name.")] = "demo",
    preset: Annotated[str | None, typer.Option(help="Preset of settings: `sracl run --presets`.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as k=20; repeatable.")
    ] = None,
    shards_: Annotated[
        int | None,
        typer.Option("--shards", min=2, max=1000, help="Share the search between N jobs of the queue (backend=exact)."),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Lines instead of bars.")] = False,
    json_: JsonOption = False,
    home: HomeOption = None,
    debug: DebugOption = False,
) -> None:
    """Search neighbors only; a later `sracl run` with the same settings reuses the lists. A search that was stopped or killed goes
    on where it was.

    \b
    Examples:
      sracl neighbors --dataset office --set vector=item-mean
      sracl neighbors --dataset office --shards 3
      sracl queue start --workers 3
    """
    from sracl_tui.runs.execute import execute

    config, named = load_config(preset=preset, assignments=tuple(assignments or ()), settings={"dataset": dataset})
    resolved = options_and_output.home_of(home)
    check_dataset(resolved, config.data.dataset)
    if shards_ is not None:
        shards.share_neighbors(resolved, config, named, shards_, json_=json_)
        return
    request = RunRequest(run_id=new_run_id(), config=config, kind="neighbors", preset=named)
    result = watched(request, lambda listener: execute(resolved, request, listener=listener), headless)
    if json_:
        options_and_output.print_json(result.document())
    raise typer.Exit(result.exit_code)
