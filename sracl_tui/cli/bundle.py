"""`sracl export --bundle` and `sracl import-bundle`: a run as one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.config import Config
from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from sracl_tui.runs import own_code
from sracl_tui.runs.request import RunRequest
from store.errors import LookupFailed
from store.home import Home
from store.run_row import StoredRun
from store.run_states import OPEN

if TYPE_CHECKING:
    from store.database.database import Store


def bundled(store: Store, row: StoredRun, out: Path | None, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """Write a run into one file: settings, hash of the data, summaries, neighbor lists, metrics, ranks, environment.

    Args:
        out: the file, or a folder for it.
        without: parts that are left out (`store.transfer.bundle.PARTS`).

    Raises:
        ConfigError: the run has not ended.
    """
    from store.transfer.bundle import export_bundle

    if row["state"] in OPEN:
        raise ConfigError(f"run {row['run_id']} is {row['state']}", where="export", hint="Wait until it has ended.")
    path = out or Path()
    if path.is_dir():
        path /= f"{row['run_id']}.sracl.zip"
    content = ["settings", "hash of the data", "metrics", "ranks", "note"]
    parts = {"texts": "summaries", "neighbors": "neighbors", "machine": f"machine ({row['machine']})"}
    content += [words for part, words in parts.items() if part not in without]
    changes = len((row["git_patch"] or "").splitlines())
    if changes and "patch" not in without:
        content.append(f"the uncommitted changes of the code ({changes:,} lines; --without patch leaves them out)")
    told = f"The bundle contains {', '.join(content[:-1])} and {content[-1]}."
    options_and_output.talk().print(told, markup=False, highlight=False)
    rows = export_bundle(store, row["run_id"], path, without=without)
    return {"run_id": row["run_id"], "path": str(path), "bytes": path.stat().st_size, "rows": rows}


def import_bundle(
    files: Annotated[
        list[Path],
        typer.Argument(help="Files that `sracl export --bundle` wrote.", metavar="FILE...", show_default=False),
    ],
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Import runs from another home, for lists, comparison, studies and SQL. A file has the hash of its dataset, not the dataset.

    Of several files those whose run is here already are passed over.

    \b
    Examples:
      sracl import-bundle night.zip
      sracl import-bundle results/*.sracl.zip
    """
    resolved = options_and_output.home_of(home)
    documents: list[dict[str, Any]] = []
    for file in files:
        try:
            documents.append(_imported(resolved, file, json_=json_))
        except LookupFailed as error:
            if len(files) == 1:
                raise
            options_and_output.talk().print(f"{file.name}: {error.message}", markup=False, highlight=False)
    if json_:
        options_and_output.print_json(documents[0] if len(files) == 1 else documents)


def _imported(home: Home, file: Path, *, json_: bool) -> dict[str, Any]:
    from store.transfer import bundle

    code: list[str] = []

    def check(row: dict[str, Any], request: bytes) -> None:
        code.extend(own_code.named_code(_checked(row, request, file)))

    manifest = bundle.import_bundle(home, file, check=check)
    named = list(dict.fromkeys(code))
    if named:
        told = ", ".join(f"{name} ({own_code.standing(home, name)})" for name in named)
        text = f"Its settings name code: {told}. `--allow-code FILE` of the command that needs it allows it."
        options_and_output.talk().print(text, markup=False, highlight=False)
    if not json_:
        options_and_output.out().print(f"{manifest['run_id']} is here.", markup=False, highlight=False)
    return {name: manifest[name] for name in ("run_id", "dataset_name", "dataset_sha256", "rows")} | {"code": named}


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
