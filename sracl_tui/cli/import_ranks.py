"""`sracl import-ranks`: take in the ranks of a model that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from engine.config import flatten
from engine.config_files import load_config
from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.foreground import check_dataset, watched
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from sracl_tui.runs.request import RunRequest, new_run_id
from store.home import Home

SECTIONS = ("data", "evaluate")
"""Settings that say how a model was tested; others say how one is trained here."""


def import_ranks(
    file: Annotated[Path, typer.Argument(help="A table: CSV, TSV, Parquet, or RecBole's name:type.", metavar="FILE")],
    dataset: Annotated[str, typer.Option(help="Dataset by name: users, items and split are checked against it.")],
    name: Annotated[str, typer.Option("--name", "-n", help="Name of the model; runs of one name are its seeds.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed with which it was trained.")] = 1,
    split: Annotated[Literal["valid", "test"], typer.Option(help="Whose targets are ranked.")] = "test",
    user_column: Annotated[str | None, typer.Option(help="Column of user ids. Default: usual names.")] = None,
    item_column: Annotated[str | None, typer.Option(help="Column of items: the scored ones, or the targets.")] = None,
    rank_column: Annotated[str | None, typer.Option(help="Column of ranks, from 1. Default: rank.")] = None,
    score_column: Annotated[str | None, typer.Option(help="Column of scores. Default: score.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="How it was tested: mask_seen=true, ties=best, max_length=50."),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Group of the run.")] = None,
    note: Annotated[str, typer.Option(help="A note, such as the library and its version.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Also where this name has this seed already.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Make a run from the ranks of a model trained elsewhere, for `compare` and studies.

    The file has a row for each user: user and rank of the target (a column with the target item is checked). Or it has scored
    items: user, item, score, of which the rank is made; lists shorter than the largest cutoff are refused. Ids are those of the source.

    \b
    Examples:
      sracl import-ranks ranks.csv --dataset office --name recbole --seed 2020
      sracl import-ranks top.tsv --dataset office --name gru --set max_length=50
      sracl import-ranks r.parquet --dataset office --name ours --rank-column r
      sracl compare office-backbone recbole-sasrec --split test
    """
    from sracl_tui.runs.execute import execute

    resolved = options_and_output.home_of(home)
    check_dataset(resolved, dataset)
    about = {"dataset": dataset, "seed": seed}
    config, _ = load_config(preset="backbone", assignments=tuple(assignments or ()), settings=about)
    usual = flatten(load_config(preset="backbone", settings=about)[0].model_dump())
    changed = [path for path, value in flatten(config.model_dump()).items() if usual.get(path) != value]
    if others := [path for path in changed if path.partition(".")[0] not in SECTIONS]:
        raise ConfigError(
            f"{others[0]} says how a model is trained, which is not known of this one",
            where="--set",
            hint="Set how it was tested: mask_seen, ties, ks, max_length.",
        )
    columns = {"user": user_column, "item": item_column, "rank": rank_column, "score": score_column}
    request = RunRequest(
        run_id=new_run_id(),
        config=config,
        kind="ranks",
        preset="elsewhere",
        name=f"{name}-{seed}",
        group=group,
        note=note,
        job={"model": name, "file": str(file.expanduser().resolve()), "split": split, "columns": columns},
    )
    if not force:
        _refuse_known(resolved, request)
    result = watched(request, lambda listener: execute(resolved, request, listener=listener), headless=False)
    if json_:
        options_and_output.print_json(result.document())
    raise typer.Exit(result.exit_code)


def _refuse_known(home: Home, request: RunRequest) -> None:
    """Two runs of one seed are no two seeds.

    Raises:
        ConfigError: a finished run has this name, these settings and this seed.
    """
    from store.queries.runs import finished_with

    with options_and_output.open_store(home) as store:
        known = finished_with(
            store, config_hash=request.config_hash, seed=request.config.train.seed, split=request.job["split"]
        )
    if known is not None:
        raise ConfigError(
            f"{request.name} is there already: run {known}",
            where="--name",
            hint="Say the --seed of this one, or import it once more with --force.",
        )
