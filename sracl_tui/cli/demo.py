"""`sracl demo`: the backbone and SRA-CL side by side on the synthetic demo set."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import typer

from engine.config_files import load_config
from sracl_tui.cli import options_and_output
from sracl_tui.cli.foreground import run_all
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from sracl_tui.runs.request import RunRequest, new_run_id
from store.home import Home

GROUP = "demo"
PRESETS = {"backbone": "backbone", "SRA-CL": "default"}


def demo(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Train the plain backbone and SRA-CL on the synthetic demo set and compare their test metrics.

    A finished run of the demo is reused: its metrics are printed again.

    \b
    Examples:
      sracl demo
      sracl demo --home /tmp/try-sracl --json
    """
    resolved = options_and_output.home_of(home)
    requests: list[RunRequest] = []
    for preset in PRESETS.values():
        config, _ = load_config(preset=preset, settings={"dataset": "demo"})
        requests.append(
            RunRequest(run_id=new_run_id(), config=config, preset=preset, name=f"demo-{preset}", group=GROUP)
        )
    results = run_all(resolved, requests, headless=False, force=False)
    if json_:
        options_and_output.print_json({"runs": [result.document() for result in results]})
    elif all(result.test for result in results):
        rows = {name: result.test for name, result in zip(PRESETS, results, strict=True)}
        options_and_output.out().print(
            options_and_output.metric_table("Test metrics on the demo set (synthetic: generated, no real people)", rows)
        )
        _next(resolved, results[1].request.run_id)
    raise typer.Exit(max(result.exit_code for result in results))


def _next(home: Home, run_id: str) -> None:
    """Print three commands to try next, as they work in this shell: with the path of `sracl` and the home."""
    option = "" if home.path == Home.resolve().path else f" --home {_short(home.path)}"
    sracl = "sracl" if shutil.which("sracl") else _short(Path(sys.argv[0]).absolute())
    lines = (
        f"\nThe database: {home.database}",
        "What to try next:",
        f"  {sracl} inspect {run_id} 7{option}    one user's summary beside the learned neighbor weights",
        f"  {sracl} run --vary provider=offline,titles --seeds 3{option}    does a summary do better than raw titles?",
        f"  {sracl} data import FOLDER --name mine{option}    your own data; then: {sracl} run --dataset mine{option}",
    )
    for line in lines:
        options_and_output.out().print(line, markup=False, highlight=False)


def _short(path: Path) -> str:
    """The path relative to the current folder where it lies below it, else the absolute one."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
