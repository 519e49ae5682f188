"""`sracl export` and `sracl import-bundle`: a run as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from sracl_tui.cli import common
from sracl_tui.cli.common import DebugOption, HomeOption, JsonOption, RunArgument
from store.runs import OPEN


def export(
    run: RunArgument,
    bundle: Annotated[bool, typer.Option("--bundle", help="As one file for another home.")] = False,
    out: Annotated[Path | None, typer.Option(help="The file; by default RUN.sracl.zip in the current folder.")] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a run into one file: settings, hash of the data, summaries, neighbor lists, metrics, ranks, environment.

    \b
    Examples:
      sracl export last --bundle
      sracl export night --bundle --out night.zip
    """
    from store.bundles import export as exported
    from store.runs import find_run

    if not bundle:
        raise ConfigError("say what to export", where="export", hint="--bundle makes one file for another home.")
    with common.open_store(common.home_of(home)) as store:
        row = find_run(store, run)
        if row["state"] in OPEN:
            raise ConfigError(f"run {row['run_id']} is {row['state']}", where="export", hint="Wait until it has ended.")
        path = out or Path(f"{row['run_id']}.sracl.zip")
        rows = exported(store, row["run_id"], path)
    if json_:
        common.print_json({"run_id": row["run_id"], "path": str(path), "bytes": path.stat().st_size, "rows": rows})
    else:
        common.out().print(str(path), markup=False, highlight=False)


def import_bundle(
    file: Annotated[Path, typer.Argument(help="A file that `sracl export --bundle` wrote.")],
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Take a run from another home: for lists, comparison and SQL. Its data set is not in it, only the hash.

    \b
    Examples:
      sracl import-bundle night.zip
    """
    from store.bundles import bring_in

    manifest = bring_in(common.home_of(home), file)
    if json_:
        common.print_json({name: manifest[name] for name in ("run_id", "dataset_name", "dataset_sha256", "rows")})
    else:
        common.out().print(f"{manifest['run_id']} is here.", markup=False, highlight=False)
