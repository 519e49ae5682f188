"""Runs in the foreground of `sracl run`: one after the other, with progress on stderr."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.data.synthetic import GENERATED
from sracl_tui.cli import options_and_output
from sracl_tui.runs.request import RunRequest, new_run_id
from store.errors import LookupFailed

if TYPE_CHECKING:
    from sracl_tui.runs.result import RunResult
    from store.home import Home


def check_dataset(home: Home, name: str) -> None:
    """Refuse a misspelled dataset before the run has a folder.

    Raises:
        LookupFailed: there is no such dataset.
    """
    from store.queries import datasets

    if name not in GENERATED:
        with options_and_output.open_store(home) as store:
            datasets.get(store, name)


def run_all(home: Home, requests: list[RunRequest], *, headless: bool, force: bool) -> list[RunResult]:
    """Run requests one after the other until one is stopped; an equal finished run of the group stands in for one."""
    from sracl_tui.runs.execute import execute
    from sracl_tui.runs.result import finished_equal

    results: list[RunResult] = []
    for request in requests:
        earlier = None if force else finished_equal(home, request)
        if earlier is not None:
            options_and_output.talk().print(
                f"{earlier.request.run_id}: seed {request.config.train.seed} is already in group {request.group}; reused "
                "(--force runs it again).",
                markup=False,
                highlight=False,
            )
        results.append(
            earlier or watched(request, lambda listener, r=request: execute(home, r, listener=listener), headless)
        )
        if results[-1].exit_code == 130:
            break
    return results


def resume_run(home: Home, text: str, *, headless: bool, budget: float | None, force: bool) -> RunResult:
    """Resume a run; a finished one gives its result, and with `force` the same settings run as a new run.

    Raises:
        LookupFailed: there is no such run, or its dataset is gone.
        ConfigError: settings, code or data have changed since it began.
    """
    from sracl_tui.runs.execute import execute
    from sracl_tui.runs.execution.queue import restart_workers

    request = resumed_request(home, text, budget=budget, force=force)
    if isinstance(request, str):
        from sracl_tui.runs.result import read_result

        options_and_output.talk().print(f"{request} is finished: this is its result.", markup=False, highlight=False)
        with options_and_output.open_store(home) as store:
            return read_result(store, request)
    try:
        return watched(request, lambda listener: execute(home, request, listener=listener, resume=not force), headless)
    finally:
        restart_workers(home)


def resumed_request(home: Home, text: str, *, budget: float | None, force: bool) -> RunRequest | str:
    """The request that `--resume` executes, or the id of a run that is finished and not forced; nothing is changed.

    A run whose folder has a request and no journal was launched and did not begin: it begins.

    Raises:
        LookupFailed: there is no such run, or its dataset is gone.
        ConfigError: settings or code have changed since it began.
    """
    from sracl_tui.runs import own_code, resume_check

    request = _launched(home, text)
    if request is not None:
        check_dataset(home, request.config.data.dataset)
    else:
        found = _recorded(home, text, force=force)
        if isinstance(found, str):
            return found
        request = found
    own_code.require(request.config)
    if budget is not None:
        semantics = request.config.semantics.model_copy(update={"budget": budget})
        request = replace(request, config=request.config.model_copy(update={"semantics": semantics}))
    if force:
        return replace(request, run_id=new_run_id(), note=request.note or f"{request.run_id} anew")
    resume_check.check(home.run_folder(request.run_id), request)
    return request


def _launched(home: Home, text: str) -> RunRequest | None:
    """The request of a run that the app launched, where `text` is the whole id of one that has not begun."""
    from sracl_tui.runs.execution.launch import launched_request

    try:
        return launched_request(home.run_folder(text))
    except LookupFailed:  # a name that cannot be an id
        return None


def _recorded(home: Home, text: str, *, force: bool) -> RunRequest | str:
    """The request of a run in the database, or its id where it is finished and not forced."""
    from store.opening import open_store
    from store.queries.runs import find_run

    with open_store(home) as store:
        row = find_run(store, text)
    if row["state"] == "finished" and not force:
        return row["run_id"]
    return RunRequest.read(home.run_folder(row["run_id"]))


def watched(request: RunRequest, work: Any, headless: bool) -> RunResult:
    """Run with lines or bars on stderr, and print how the run ended.

    Args:
        work: executes the request; it is given the listener of its events.
    """
    from sracl_tui.cli.progress import ProgressBars, ProgressLines

    console = options_and_output.talk()
    config = request.config
    console.print(
        f"{request.run_id}: {request.preset} on {config.data.dataset}, seed {config.train.seed}",
        markup=False,
        highlight=False,
    )
    bars = not headless and console.is_terminal
    select = config.train.select
    lines = ProgressBars(console, epochs=config.train.epochs, select=select) if bars else None
    with lines or nullcontext(ProgressLines(console, select=select)) as listener:
        result = work(listener)
    for warning in result.warnings:
        console.print(f"warning: the database was not updated: {warning}", markup=False, highlight=False)
    if result.error is not None:
        if isinstance(result.error, options_and_output.EngineError | options_and_output.StoreError):
            options_and_output.print_error(result.error)
        else:
            console.print(str(result.reason), style="red", highlight=False)
    elif result.state == "stopped":
        console.print(
            f"stopped ({result.reason}); resume it with: sracl run --resume {request.run_id}", highlight=False
        )
    return result
