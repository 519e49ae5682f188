"""`sracl export --bundle` and `sracl import-bundle`: a run as one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from store.run_row import StoredRun
from store.run_states import OPEN

if TYPE_CHECKING:
    from store.database.database import Store


def bundled(store: Store, row: StoredRun, out: Path | None) -> dict[str, Any]:
    """Write a run into one file: settings, hash of the data, summaries, neighbor lists, metrics, ranks, environment.

    Raises:
        ConfigError: the run has not ended.
    """
    from store.transfer.bundle import export_bundle

    if row["state"] in OPEN:
        raise ConfigError(f"run {row['run_id']} is {row['state']}", where="export", hint="Wait until it has ended.")
    path = out or Path(f"{row['run_id']}.sracl.zip")
    rows = export_bundle(store, row["run_id"], path)
    return {"run_id": row["run_id"], "path": str(path), "bytes": path.stat().st_size, "rows": rows}


def import_bundle(
    file: Annotated[Path, typer.Argument(help="A file that `sracl export --bundle` wrote.")],
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Import a run from another home, for lists, comparison and SQL. The file has the hash of the dataset, not the dataset.

    \b
    Examples:
      sracl import-bundle night.zip
    """
    from store.transfer import bundle

    manifest = bundle.import_bundle(options_and_output.home_of(home), file)
    if json_:
        options_and_output.print_json(
            {name: manifest[name] for name in ("run_id", "dataset_name", "dataset_sha256", "rows")}
        )
    else:
        options_and_output.out().print(f"{manifest['run_id']} is here.", markup=False, highlight=False)
