"""`sracl reproduce`: a finished run once more, held against what was recorded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption, RunArgument
from store.home import Home
from store.run_row import StoredRun

if TYPE_CHECKING:
    from sracl_tui.runs.request import RunRequest
    from sracl_tui.runs.result import RunResult
    from sracl_tui.services.reproduction import Check, Reproduction

SCRATCH = "reproduce"


def reproduce(
    run: RunArgument,
    keep: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Use this new folder as the second run's home, and keep it.")
    ] = None,
    encode: Annotated[
        bool, typer.Option("--encode", help="Encode all texts again; without it some of them, as a check.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: that of the first time.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: those of the first time.")] = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Largest difference of a metric; default: what the device allows.")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="ProgressLines instead of bars.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run a finished run again in a scratch home, and say PASS or FAIL for every metric.

    Data are the same by their hash, summaries are the stored ones (nothing is paid for), the seed is the same. Where
    device (a CPU), threads, processor and libraries are the same, every bit must be equal; where only these differ,
    a metric may be off by 0.001 or by what three users make of it; between a CPU and a GPU, which draw other random
    numbers, by 0.002 or a tenth. What differs, such as the commit, is named. Exit code 0: all pass; 1: one does not.

    \b
    Examples:
      sracl reproduce last
      sracl reproduce night --keep /tmp/again       look at the second run: sracl runs --home /tmp/again
      sracl reproduce night --threads 1             on other threads: passes within a tolerance
      sracl reproduce night --encode --json
    """
    from sracl_tui.services import reproduction

    resolved = options_and_output.home_of(home)
    with options_and_output.open_store(resolved) as store:
        row = reproduction.chosen(store, run)
        request = reproduction.request_of(row, device=device, threads=threads)
        with _scratch(resolved, row["run_id"], keep) as scratch:
            console = options_and_output.talk()
            console.print(f"{row['run_id']}: once more in {scratch.path}", markup=False, highlight=False)
            checks = reproduction.prepare(store, row, request, scratch, encode=encode)
            result = _run(scratch, request, threads=request.config.train.threads, headless=headless)
            if result.state != "finished":
                raise typer.Exit(_unfinished(result))
            found = reproduction.compare(store, row, scratch, checks=checks, tolerance=tolerance)
    if json_:
        options_and_output.print_json(_document(found, keep))
    else:
        _print(found, row)
        if keep is not None:
            console.print(f"the second run is in {keep}", markup=False, highlight=False)
    raise typer.Exit(0 if found.passed else 1)


@contextmanager
def _scratch(home: Home, run_id: str, keep: Path | None) -> Iterator[Home]:
    """A new home: the folder that is named, or one in the cache that is removed in the end.

    Raises:
        ConfigError: the folder that is named holds something.
    """
    if keep is not None:
        keep = keep.expanduser().absolute()
        if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
            raise ConfigError("it is not empty", where=str(keep), hint="Name a new folder with --keep.")
        yield Home(keep)
        return
    folder = home.cache / SCRATCH
    _clear(folder)
    mine = folder / f"{run_id}.{os.getpid()}"
    try:
        yield Home(mine)
    finally:
        shutil.rmtree(mine, ignore_errors=True)


def _clear(folder: Path) -> None:
    """Remove what killed processes left."""
    for left in folder.glob("*.*"):
        pid = left.name.rpartition(".")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)


def _run(scratch: Home, request: RunRequest, *, threads: int | None, headless: bool) -> RunResult:
    """The second run, with lines or bars."""
    import torch

    from sracl_tui.cli.progress import ProgressBars, ProgressLines
    from sracl_tui.runs.execute import execute

    if threads:
        torch.set_num_threads(threads)  # the search for neighbors too
    console = options_and_output.talk()
    bars = not headless and console.is_terminal
    epochs = request.config.train.epochs
    with ProgressBars(console, epochs=epochs) if bars else nullcontext(ProgressLines(console)) as listener:
        return execute(scratch, request, listener=listener)


def _unfinished(result: RunResult) -> int:
    """Say why the second run did not come to its end; the exit code."""
    error = result.error
    if isinstance(error, options_and_output.EngineError | options_and_output.StoreError):
        options_and_output.print_error(error)
    options_and_output.talk().print(f"the second run is {result.state}: {result.reason}", markup=False, highlight=False)
    return result.exit_code or 1


def _document(found: Reproduction, keep: Path | None) -> dict[str, Any]:
    return {
        "run_id": found.run_id,
        "pass": found.passed,
        "exact": found.exact,
        "expects": found.expects,
        "differences": found.differences,
        "notes": found.notes,
        "checks": [check.document() for check in found.checks],
        "home": None if keep is None else str(keep),
    }


def _print(found: Reproduction, row: StoredRun) -> None:
    """The checks of all users, every one that failed, and the verdict; what differs on stderr."""
    console = options_and_output.talk()
    for line in found.differences or ["code, packages, device and threads: the same"]:
        console.print(line, markup=False, highlight=False)
    if any(line.startswith("commit:") for line in found.differences) and row["git_sha"]:
        console.print(f"the same code: git checkout {row['git_sha']}, and run this again", style="dim", highlight=False)
    shown = [
        check for check in found.checks if check.what[1] == "all" or not check.passed or check.what[0] == "vectors"
    ]
    heads = ("split", "of", "metric", "then:r", "now:r", "difference:r", "allowed:r", "")
    options_and_output.out().print(options_and_output.table(heads, [_cells(check) for check in shown]))
    for note in found.notes:
        console.print(note, markup=False, highlight=False)
    failed = sum(not check.passed for check in found.checks)
    word = "bit by bit" if found.exact else "within the tolerance"
    verdict = f"FAIL: {failed} of {len(found.checks)} differ" if failed else f"PASS: all {len(found.checks)}, {word}"
    options_and_output.out().print(verdict, markup=False, highlight=False)


def _cells(check: Check) -> tuple[str, ...]:
    verdict = "PASS" if check.passed else "FAIL"
    return (*check.what, *map(_number, (check.then, check.now, check.difference, check.tolerance)), verdict)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
