"""`sracl export --bundle` and `sracl import-bundle`: a run as one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.config import Config
from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from sracl_tui.runs import own_code
from sracl_tui.runs.request import RunRequest
from store.run_row import StoredRun
from store.run_states import OPEN

if TYPE_CHECKING:
    from store.database.database import Store


def bundled(store: Store, row: StoredRun, out: Path | None, *, patch: bool = True) -> dict[str, Any]:
    """Write a run into one file: settings, hash of the data, summaries, neighbor lists, metrics, ranks, environment.

    Raises:
        ConfigError: the run has not ended.
    """
    from store.transfer.bundle import export_bundle

    if row["state"] in OPEN:
        raise ConfigError(f"run {row['run_id']} is {row['state']}", where="export", hint="Wait until it has ended.")
    path = out or Path(f"{row['run_id']}.sracl.zip")
    changes = len((row["git_patch"] or "").splitlines())
    content = f"The bundle contains settings, hash of the data, summaries, neighbors, metrics, ranks, machine ({row['machine']}), note"
    if changes and patch:
        content += f", and the uncommitted changes of the code ({changes:,} lines; --without patch leaves them out)"
    options_and_output.talk().print(f"{content}.", highlight=False)
    rows = export_bundle(store, row["run_id"], path, patch=patch)
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

    code: list[str] = []

    def check(row: dict[str, Any], request: bytes) -> None:
        code.extend(own_code.named_code(_checked(row, request, file)))

    resolved = options_and_output.home_of(home)
    manifest = bundle.import_bundle(resolved, file, check=check)
    if code:
        told = [f"{name} ({own_code.standing(resolved, name)})" for name in dict.fromkeys(code)]
        text = f"Its settings name code: {', '.join(told)}. `--allow-code FILE` of the command that needs it allows it."
        options_and_output.talk().print(text, markup=False, highlight=False)
    if json_:
        document = {name: manifest[name] for name in ("run_id", "dataset_name", "dataset_sha256", "rows")}
        options_and_output.print_json(document | {"code": list(dict.fromkeys(code))})
    else:
        options_and_output.out().print(f"{manifest['run_id']} is here.", markup=False, highlight=False)


def _checked(row: dict[str, Any], request: bytes, file: Path) -> list[Any]:
    """The settings of a bundle's run as its row and its request have them.

    Raises:
        ConfigError: they are none that this version knows, or the request is not of this run.
    """
    try:
        config = Config.model_validate(row["config"])
    except ValueError as error:
        raise ConfigError(f"its settings are refused: {str(error).splitlines()[0]}", where=str(file)) from None
    asked = RunRequest.parse(request, where=str(file))
    if asked.run_id != row["run_id"] or asked.config != config:
        raise ConfigError(
            "its request is refused: it is of another run, or of other settings than its row", where=str(file)
        )
    return [config.model_dump(mode="json"), asked.config.model_dump(mode="json")]
