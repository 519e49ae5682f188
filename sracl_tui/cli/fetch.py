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
    name: Annotated[str | None, typer.Argument(help="Name of a known data set. Default: list all.")] = None,
    as_: Annotated[str | None, typer.Option("--as", help="Name of the imported dataset. Default: NAME.")] = None,
    k_core: Annotated[int, typer.Option(min=0, help="k-core: minimum interactions of users and items.")] = 0,
    download_only: Annotated[bool, typer.Option("--download-only", help="Do not import the files.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Download a known data set from its publisher and import it. Size, licence and checksum are shown first.

    An interrupted download is resumed. Add your own data sets in `datasets.toml` in the home.

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
        _print_known(entries, json_=json_)
        return
    entry = entries.get(name)
    if entry is None:
        raise ConfigError(f"there is no known data set {name!r}", where="NAME", hint=f"Known: {', '.join(entries)}.")
    folder = resolved.cache / "data" / name
    file_facts = _file_facts(entry, folder)
    console = options_and_output.talk()
    options_and_output.print_pairs(
        console, {"data set": f"{entry.name}: {entry.what}", "licence": entry.licence, "page": entry.page}
    )
    for file_fact in file_facts:
        size = "size unknown" if file_fact["bytes"] is None else f"{file_fact['bytes']:,} bytes"
        console.print(
            f"  {file_fact['url']}\n    {size}, checksum {file_fact['checksum'] or 'unknown'}",
            markup=False,
            highlight=False,
        )
    if not entry.files:
        raise ConfigError(
            "this data set cannot be downloaded directly",
            where=name,
            hint=f"Get it from {entry.page}, then: sracl data import PATH --name {name}",
        )
    if not yes:
        typer.confirm("Download it?", abort=True, err=True)
    path = _download(entry, folder)
    document: dict[str, Any] = {"name": name, "path": str(path), "files": _file_facts(entry, folder)}
    if not download_only:
        document["dataset"] = _import(resolved, path, as_ or name, k_core)
    if json_:
        options_and_output.print_json(document)
        return
    for file_fact in document["files"]:
        console.print(f"  {Path(file_fact['url']).name}: {file_fact['checksum']}", markup=False, highlight=False)
    options_and_output.out().print(
        f"{name}: {document.get('dataset', {}).get('text', path)}", markup=False, highlight=False
    )


def _file_facts(entry: Known, folder: Path) -> list[dict[str, Any]]:
    """URL, size and checksum of each file: as measured if the file is downloaded, else as published."""
    from engine.data.download import checksum_of

    return [
        {
            "url": file.url,
            "bytes": (folder / file.name).stat().st_size if (folder / file.name).exists() else file.bytes,
            "checksum": checksum_of(file, folder),
        }
        for file in entry.files
    ]


def _download(entry: Known, folder: Path) -> Path:
    from engine.data.download import fetch

    console = options_and_output.talk()
    if not sys.stderr.isatty():
        return fetch(entry, folder)
    with console.status("downloading") as status:

        def progress(name: str, done: int, total: int | None) -> None:
            status.update(
                Text(f"{name}: {done / 2**20:,.1f} of {'?' if total is None else f'{total / 2**20:,.1f}'} MiB")
            )

        return fetch(entry, folder, progress=progress)


def _import(home: Any, path: Path, name: str, k_core: int) -> dict[str, Any]:
    from engine.data.importing import ImportOptions
    from sracl_tui.services.dataset_import import import_into

    dataset, report = import_into(home, path, name=name, options=ImportOptions(k_core=k_core))
    for warning in report.warnings:
        options_and_output.talk().print(f"warning: {warning}", markup=False, highlight=False)
    for reason, count in report.dropped.items():
        options_and_output.talk().print(f"dropped: {count:,} {reason}", markup=False, highlight=False)
    text = f"{dataset.users:,} users, {len(dataset.items):,} items, {len(dataset.sequence):,} interactions ({report.format})"
    return {"name": name, "dataset_id": dataset.dataset_id, "format": report.format, "text": text}


def _print_known(entries: dict[str, Known], *, json_: bool) -> None:
    if json_:
        options_and_output.print_json(
            [{"name": e.name, "what": e.what, "licence": e.licence, "page": e.page} for e in entries.values()]
        )
        return
    cells = [(e.name, e.what, e.licence) for e in entries.values()]
    options_and_output.out().print(options_and_output.table(("name", "description", "licence"), cells))
