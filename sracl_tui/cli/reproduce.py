"""`sracl reproduce`: repeat a finished run and compare its metrics with the recorded ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import AllowCodeOption, DebugOption, HomeOption, JsonOption, RunArgument
from store.home import Home
from store.journal.processes import is_abandoned, owned_name
from store.run_row import StoredRun

if TYPE_CHECKING:
    from sracl_tui.runs.request import RunRequest
    from sracl_tui.runs.result import RunResult
    from sracl_tui.services.reproduction import Check, Reproduction

SCRATCH = "reproduce"


def reproduce(
    run: RunArgument,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Use this new folder as the home of the second run, and keep it."),
    ] = None,
    encode: Annotated[
        bool, typer.Option("--encode", help="Encode all texts again. Default: only a sample, as a check.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Default: as in the original run.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: as in the original run.")] = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Maximum difference of a metric. Default: depends on the device.")
    ] = None,
    allow_code: AllowCodeOption = None,
    headless: Annotated[bool, typer.Option("--headless", help="Lines instead of bars.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Repeat a finished run in a temporary home, and print PASS or FAIL for every metric.

    The data (checked by hash), the stored summaries (so there are no paid calls) and the seed are the same. If device
    (a CPU), threads, processor and libraries are the same too, the results must be bit-identical. If these differ, the
    tolerance of a metric is 0.001 or the effect of three users, whichever is larger; between CPU and GPU, which draw
    different random numbers, 0.002 or 10 %. Differences, such as the commit, are listed. Exit code 0: all pass; 1: not all.

    \b
    Examples:
      sracl reproduce last
      sracl reproduce night --keep again   # then: sracl runs --home again
      sracl reproduce night --threads 1    # passes within a tolerance
      sracl reproduce night --encode --json
    """
    from sracl_tui.services import reproduction

    resolved = options_and_output.home_of(home)
    with options_and_output.open_store(resolved) as store:
        row = reproduction.chosen(store, run)
        request = reproduction.request_of(row, resolved.run_folder(str(row["run_id"])), device=device, threads=threads)
        with _scratch_home(resolved, row["run_id"], keep) as scratch:
            console = options_and_output.talk()
            console.print(f"{row['run_id']}: repeating in {scratch.path}", markup=False, highlight=False)
            checks = reproduction.prepare(store, row, request, scratch, encode=encode)
            result = _execute(scratch, request, threads=request.config.train.threads, headless=headless)
            if result.state != "finished":
                raise typer.Exit(_report_unfinished(result))
            report = reproduction.compare(store, row, scratch, checks=checks, tolerance=tolerance)
    if json_:
        options_and_output.print_json(_document(report, keep))
    else:
        _print(report, row)
        if keep is not None:
            console.print(f"the second run is in {keep}", markup=False, highlight=False)
    raise typer.Exit(0 if report.passed else 1)


@contextmanager
def _scratch_home(home: Home, run_id: str, keep: Path | None) -> Iterator[Home]:
    """A new home: the folder `keep`, or a temporary one in the cache that is deleted on exit.

    Raises:
        ConfigError: `keep` is not an empty folder.
    """
    if keep is not None:
        keep = keep.expanduser().absolute()
        if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
            raise ConfigError("the folder is not empty", where=str(keep), hint="Name a new folder with --keep.")
        yield Home(keep)
        return
    folder = home.cache / SCRATCH
    _remove_stale_homes(folder)
    own_folder = folder / owned_name(run_id)
    try:
        yield Home(own_folder)
    finally:
        shutil.rmtree(own_folder, ignore_errors=True)


def _remove_stale_homes(folder: Path) -> None:
    """Delete the temporary homes of processes that were killed."""
    for leftover in folder.glob("*.*"):
        if is_abandoned(leftover.name):
            shutil.rmtree(leftover, ignore_errors=True)


def _execute(scratch: Home, request: RunRequest, *, threads: int | None, headless: bool) -> RunResult:
    """Execute the second run in the foreground, with progress as lines or bars."""
    import torch

    from sracl_tui.cli.progress import ProgressBars, ProgressLines
    from sracl_tui.runs.execute import execute

    if threads:
        torch.set_num_threads(threads)  # also for the neighbor search
    console = options_and_output.talk()
    bars = not headless and console.is_terminal
    epochs = request.config.train.epochs
    with ProgressBars(console, epochs=epochs) if bars else nullcontext(ProgressLines(console)) as listener:
        return execute(scratch, request, listener=listener)


def _report_unfinished(result: RunResult) -> int:
    """Print why the second run did not finish; returns the exit code."""
    error = result.error
    if isinstance(error, options_and_output.EngineError | options_and_output.StoreError):
        options_and_output.print_error(error)
    options_and_output.talk().print(f"the second run is {result.state}: {result.reason}", markup=False, highlight=False)
    return result.exit_code or 1


def _document(report: Reproduction, keep: Path | None) -> dict[str, Any]:
    return {
        "run_id": report.run_id,
        "pass": report.passed,
        "exact": report.exact,
        "expects": report.expects,
        "differences": report.differences,
        "notes": report.notes,
        "checks": [check.document() for check in report.checks],
        "home": None if keep is None else str(keep),
    }


def _print(report: Reproduction, row: StoredRun) -> None:
    """Print the checks over all users, every failed check and the verdict on stdout; differences and notes on stderr."""
    console = options_and_output.talk()
    for line in report.differences or ["code, packages, device and threads are the same"]:
        console.print(line, markup=False, highlight=False)
    if any(line.startswith("commit:") for line in report.differences) and row["git_sha"]:
        console.print(
            f"to use the same code: git checkout {row['git_sha']}, then repeat this command",
            style="dim",
            highlight=False,
        )
    printed_checks = [
        check for check in report.checks if check.what[1] == "all" or not check.passed or check.what[0] == "vectors"
    ]
    heads = ("split", "of", "metric", "then:r", "now:r", "difference:r", "allowed:r", "")
    options_and_output.out().print(options_and_output.table(heads, [_cells(check) for check in printed_checks]))
    for note in report.notes:
        console.print(note, markup=False, highlight=False)
    failed = sum(not check.passed for check in report.checks)
    agreement = "bit-identical" if report.exact else "within the tolerance"
    verdict = (
        f"FAIL: {failed} of {len(report.checks)} differ" if failed else f"PASS: all {len(report.checks)}, {agreement}"
    )
    options_and_output.out().print(verdict, markup=False, highlight=False)


def _cells(check: Check) -> tuple[str, ...]:
    verdict = "PASS" if check.passed else "FAIL"
    return (*check.what, *map(_number, (check.then, check.now, check.difference, check.tolerance)), verdict)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
