"""`sracl demo`: the backbone, SRA-CL, and SRA-CL with swapped texts, on the synthetic demo set."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from engine.config_files import load_config
from engine.errors import DataError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.foreground import run_all
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from sracl_tui.runs.request import RunRequest, new_run_id
from store.home import Home

if TYPE_CHECKING:
    from sracl_tui.runs.result import RunResult

GROUP = "demo"
SHOWN = ("hr@10", "ndcg@10", "hr@20", "ndcg@20")
"""Metrics of the table, which fits into 80 columns."""
TEXTS = {"provider": "titles", "vector": "item-mean"}
"""Raw titles, encoded once for each item: no text of a prefix has to be encoded."""
RUNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "backbone": ("backbone", "backbone", {}),
    "SRA-CL": ("sracl", "default", TEXTS),
    "SRA-CL, texts swapped": ("swapped", "default", TEXTS | {"swap_titles": True}),
}
"""By title: name, preset and settings."""


def demo(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Train the plain backbone, SRA-CL, and SRA-CL with the texts swapped between items, one seed each, on the synthetic
    demo set, and say what these three trained models show.

    The set is made for the method, so that a gain can be seen to come and to go with the texts. A finished run of the demo
    is reused.

    \b
    Examples:
      sracl demo
      sracl demo --home /tmp/try-sracl --json
    """
    resolved = options_and_output.home_of(home)
    _check(resolved)
    requests: list[RunRequest] = []
    for name, preset, settings in RUNS.values():
        config, _ = load_config(preset=preset, settings={"dataset": "demo", **settings})
        requests.append(RunRequest(run_id=new_run_id(), config=config, preset=preset, name=f"demo-{name}", group=GROUP))
    results = run_all(resolved, requests, headless=False, force=False)
    complete = len(results) == len(RUNS) and all(result.test for result in results)
    told = _findings(resolved, results) if complete else []
    if json_:
        options_and_output.print_json({"runs": [result.document() for result in results], "findings": told})
    elif complete:
        rows = {title: {name: result.test[name] for name in SHOWN} for title, result in zip(RUNS, results, strict=True)}
        options_and_output.out().print(
            options_and_output.metric_table("Test metrics on the demo set (synthetic: generated, no real people)", rows)
        )
        for sentence in told:
            options_and_output.out().print(f"\n{sentence}", markup=False, highlight=False)
        _next(resolved, results[1].request.run_id)
    raise typer.Exit(max(result.exit_code for result in results))


def _check(home: Home) -> None:
    """Refuse a home in which `demo` is the demo set of an earlier version.

    Raises:
        DataError: it is.
    """
    from engine.data.demo import make_demo
    from store.queries import datasets

    with options_and_output.open_store(home) as store:
        found = datasets.find(store, "demo")
    if found is not None and found["dataset_id"] != make_demo().dataset_id:
        raise DataError(
            "this home has the demo set of an earlier version under the name demo; its runs stay as they are",
            where=str(home.path),
            hint="Use another home: sracl demo --home FOLDER.",
        )


def _findings(home: Home, results: list[RunResult]) -> list[str]:
    from sracl_tui.services.demo_findings import findings

    backbone, sracl, swapped = (result.request.run_id for result in results)
    with options_and_output.open_store(home) as store:
        return findings(store, backbone=backbone, sracl=sracl, swapped=swapped)


def _next(home: Home, run_id: str) -> None:
    """Print commands to try next, as they work in this shell: with the path of `sracl` and the home."""
    option = "" if home.path == Home.resolve().path else f" --home {_short(home.path)}"
    sracl = "sracl" if shutil.which("sracl") else _short(Path(sys.argv[0]).absolute())
    lines = (
        f"\nThe database: {home.database}",
        "What to try next:",
        f"  {sracl} study run quick{option}    the same with five seeds each, and verdicts on the methods",
        f"  {sracl} inspect {run_id} 7{option}    one user's texts beside the learned neighbor weights",
        f"  {sracl} data import FOLDER --name mine{option}    your own data; then: {sracl} run --dataset mine{option}",
    )
    for line in lines:
        options_and_output.out().print(line, markup=False, highlight=False)


def _short(path: Path) -> str:
    """The path relative to the current folder where it lies below it, else the absolute one."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
