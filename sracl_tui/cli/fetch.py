"""`sracl data fetch`: download a known data set from its publisher and import it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption

if TYPE_CHECKING:
    from engine.data.download import Known


def fetch(
    name: Annotated[str | None, typer.Argument(help="Name of a known data set; none lists them.")] = None,
    as_: Annotated[str | None, typer.Option("--as", help="Name to call the dataset by. Default: its own.")] = None,
    k_core: Annotated[int, typer.Option(min=0, help="k-core: minimum interactions of users and items.")] = 0,
    download_only: Annotated[bool, typer.Option("--download-only", help="Do not import it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Download a known data set from its publisher and import it. Size, licence and checksum are shown first.

    An interrupted download is resumed. `datasets.toml` in the home adds data sets of your own.

    \b
    Examples:
      sracl data fetch
      sracl data fetch ml-1m
      sracl data fetch amazon-beauty-2014 --as beauty --yes
    """
    from engine.data.download import OWN, known

    resolved = options_and_output.home_of(home)
    entries = known(resolved.path / OWN)
    if name is None:
        _list(entries, json_=json_)
        return
    entry = entries.get(name)
    if entry is None:
        raise ConfigError(f"there is no known data set {name!r}", where="NAME", hint=f"Known: {', '.join(entries)}.")
    folder = resolved.cache / "data" / name
    facts = _facts(entry, folder)
    talk = options_and_output.talk()
    options_and_output.print_pairs(
        talk, {"data set": f"{entry.name}: {entry.what}", "licence": entry.licence, "page": entry.page}
    )
    for fact in facts:
        size = "size unknown" if fact["bytes"] is None else f"{fact['bytes']:,} bytes"
        talk.print(
            f"  {fact['url']}\n    {size}, checksum {fact['checksum'] or 'unknown'}", markup=False, highlight=False
        )
    if not entry.files:
        raise ConfigError(
            "it cannot be downloaded directly",
            where=name,
            hint=f"Get it from {entry.page}, then: sracl data import PATH --name {name}",
        )
    if not yes:
        typer.confirm("Download it?", abort=True, err=True)
    path = _fetched(entry, folder)
    document: dict[str, Any] = {"name": name, "path": str(path), "files": _facts(entry, folder)}
    if not download_only:
        document["dataset"] = _imported(resolved, path, as_ or name, k_core)
    if json_:
        options_and_output.print_json(document)
        return
    for fact in document["files"]:
        talk.print(f"  {Path(fact['url']).name}: {fact['checksum']}", markup=False, highlight=False)
    options_and_output.out().print(
        f"{name}: {document.get('dataset', {}).get('text', path)}", markup=False, highlight=False
    )


def _facts(entry: Known, folder: Path) -> list[dict[str, Any]]:
    """URL, size and checksum of each file: of the downloaded file where there is one, else as published."""
    from engine.data.download import checksum_of

    return [
        {
            "url": file.url,
            "bytes": (folder / file.name).stat().st_size if (folder / file.name).exists() else file.bytes,
            "checksum": checksum_of(file, folder),
        }
        for file in entry.files
    ]


def _fetched(entry: Known, folder: Path) -> Path:
    from engine.data.download import fetch

    talk = options_and_output.talk()
    if not sys.stderr.isatty():
        return fetch(entry, folder)
    with talk.status("downloading") as status:

        def progress(name: str, done: int, total: int | None) -> None:
            status.update(
                Text(f"{name}: {done / 2**20:,.1f} of {'?' if total is None else f'{total / 2**20:,.1f}'} MiB")
            )

        return fetch(entry, folder, progress=progress)


def _imported(home: Any, path: Path, name: str, k_core: int) -> dict[str, Any]:
    from engine.data.importing import ImportOptions
    from sracl_tui.services.dataset_import import import_into

    dataset, report = import_into(home, path, name=name, options=ImportOptions(k_core=k_core))
    for warning in report.warnings:
        options_and_output.talk().print(f"warning: {warning}", markup=False, highlight=False)
    for reason, count in report.dropped.items():
        options_and_output.talk().print(f"dropped: {count:,} {reason}", markup=False, highlight=False)
    text = f"{dataset.users:,} users, {len(dataset.items):,} items, {len(dataset.sequence):,} interactions ({report.format})"
    return {"name": name, "dataset_id": dataset.dataset_id, "format": report.format, "text": text}


def _list(entries: dict[str, Known], *, json_: bool) -> None:
    if json_:
        options_and_output.print_json(
            [{"name": e.name, "what": e.what, "licence": e.licence, "page": e.page} for e in entries.values()]
        )
        return
    cells = [(e.name, e.what, e.licence) for e in entries.values()]
    options_and_output.out().print(options_and_output.table(("name", "what it is", "licence"), cells))
