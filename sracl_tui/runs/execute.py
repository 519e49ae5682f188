"""One run from request to result: its folder, its journal, its job, its end. Heavy imports wait until folder and journal exist."""

from __future__ import annotations

import logging
import time
import traceback
from pathlib import Path

from engine.errors import BatchPending, BudgetReached, ConfigError, DataError, EngineError, StopRequested
from engine.events import Report, ignore
from sracl_tui.runs import environment, failure_messages, own_code
from sracl_tui.runs.jobs.base import JobContext
from sracl_tui.runs.jobs.registry import find_job
from sracl_tui.runs.recorder import Recorder, StopSwitch
from sracl_tui.runs.request import RunRequest, check_new
from sracl_tui.runs.result import RunResult
from store.errors import LookupFailed, StoreError
from store.home import Home
from store.journal.journal import read_events, segments


def execute(
    home: Home, request: RunRequest, *, listener: Report = ignore, resume: bool = False, quiet: bool = False
) -> RunResult:
    """Execute a request until it is finished, stopped or failed; the result's state says which.

    Args:
        listener: receives the events of the engine, after the journal.
        resume: continue in the run's own folder, from its last checkpoint; a run that was launched begins there.
        quiet: send no alerts: the run is a part of another one.

    Raises:
        ConfigError: the run id is taken, or its settings name code that is not allowed.
        LookupFailed: the run to continue has been removed meanwhile.
        StoreError: another process executes this run, or the folder cannot be written.
    """
    folder = home.run_folder(request.run_id)
    own_code.require(request.config)
    home.create()
    if not resume:
        request.check_words()
        check_new(home, request.run_id)
        folder.mkdir(exist_ok=True)
    elif not folder.is_dir():
        raise LookupFailed(
            f"run {request.run_id} was removed", hint=f"`sracl restore {request.run_id}` brings it back."
        )
    begins = not resume or not segments(folder)
    recorder = Recorder(home, request, listener=listener, quiet=quiet)
    result = RunResult(request)
    if begins:
        request.write(folder)
        recorder.write("run_created", **request.created())
    recorder.started()
    recorder.start()
    try:
        with StopSwitch(lambda name: recorder.write("stopping", reason=name)).installed() as switch:
            context = JobContext(
                home=home,
                request=request,
                recorder=recorder,
                result=result,
                stop=switch,
                resume=resume,
                run_nested=lambda other: execute(home, other, quiet=True),
            )
            _guarded(context, switch)
    finally:
        recorder.end(
            state=result.state,
            reason=result.reason,
            timings=result.seconds,
            peak_memory_bytes=environment.peak_memory(),
            best_epoch=result.best_epoch,
            epochs=result.epochs,
            exit_code=result.exit_code,
        )
        recorder.close()
        result.warnings += recorder.publisher.warnings
    return result


def _guarded(context: JobContext, switch: StopSwitch) -> None:
    """Run the job; every way to end becomes a state, a reason and an exit code."""
    result = context.result
    try:
        _run_job(context)
        result.state = "finished"
    except BatchPending as error:
        result.state, result.reason = "stopped", str(error)
    except (KeyboardInterrupt, StopRequested):
        result.state, result.exit_code = "stopped", 130
        result.reason = f"asked to stop ({switch.signal_name or 'SIGINT'})"
    except BudgetReached as error:
        result.state, result.error, result.exit_code, result.reason = "stopped", error, 3, "budget"
    except BaseException as error:
        usage = isinstance(error, ConfigError | DataError | LookupFailed)
        result.state, result.error, result.exit_code = "failed", error, 2 if usage else 1
        result.reason = failure_messages.known(error, context.request.run_id, context.recorder.folder)
        if result.reason is not None:
            return
        if isinstance(error, EngineError | StoreError):
            result.reason = str(error)
            return
        result.reason = _unexpected(context.recorder, error)
        if not isinstance(error, Exception):
            raise


def _unexpected(recorder: Recorder, error: BaseException) -> str:
    """Keep the traceback of a bug in the run's folder and log; the reason that names both."""
    recorder.log.write("it failed", level=logging.ERROR, error=error)
    path = recorder.folder / "traceback.txt"
    path.write_text(traceback.format_exc(), "utf-8")
    return f"{type(error).__name__}: {error} (traceback in {path})"


def _run_job(context: JobContext) -> None:
    started = time.perf_counter()
    seconds = context.result.seconds
    earlier = _earlier_seconds(context.recorder.folder, seconds) if context.resume else 0.0
    try:
        find_job(context.request.kind)(context)
    finally:
        seconds["total"] = earlier + time.perf_counter() - started


def _earlier_seconds(folder: Path, seconds: dict[str, float]) -> float:
    """Add what earlier starts spent on stages and on epochs that count, by stage; their total duration."""
    total, last = 0.0, 0.0
    segment, first = 0, 0.0
    epochs: dict[int, tuple[float, float]] = {}
    for number, line in read_events(folder):
        if number != segment:
            total, segment, first = total + last - first, number, line.at
        last = line.at
        if line.event == "stage_finished" and line.fields["stage"] in seconds:
            seconds[line.fields["stage"]] += line.fields["seconds"]
        if line.event == "epoch_finished":
            epochs[line.fields["epoch"]] = line.fields["seconds"], line.fields["evaluate_seconds"]
    seconds["train"] += sum(train for train, _ in epochs.values())
    seconds["evaluate"] += sum(evaluate for _, evaluate in epochs.values())
    return total
