"""Starts runs at an executor: a new one, one that continues; and says why one did not begin."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from engine.config import DataConfig
from engine.config_files import load_config
from engine.errors import ConfigError
from sracl_tui.runs import own_code, resume_check
from sracl_tui.runs.dataset_access import is_stored, open_dataset
from sracl_tui.runs.execution import registry
from sracl_tui.runs.execution.base import LOG, Executor, Exited, Handle
from sracl_tui.runs.request import FILE, RunRequest, new_run_id
from store.errors import LookupFailed
from store.home import Home
from store.journal.journal import segments
from store.journal.submission import write_handle
from store.opening import open_store
from store.process_state import ProcessState
from store.publishing.liveness import lives
from store.regular_file import read_regular

SILENT_SECONDS = 2.0
LEGACY_SETTINGS = "settings.toml"
"""What version 0.1.0 wrote into the folder of a launched run, in place of its request."""


def submit(home: Home, executor: Executor, request: RunRequest, *, slot: str | None = None) -> Handle:
    """Give a run, whose folder has its request, to an executor, and record that in the folder.

    Args:
        slot: of the executor, where the queue starts the run.

    Raises:
        EngineError: it was not accepted.
        StoreError: its data set cannot be stored.
        OSError: it cannot be started, or recorded.
    """
    folder = home.run_folder(request.run_id)
    if executor.waits_only:
        _provide_dataset(home, request.config.data)
    write_handle(
        folder, Handle(run_id=request.run_id, executor=executor.name)
    )  # its process may be quicker than `submit`
    try:
        handle = replace(executor.submit(request.run_id, request, slot=slot), executor=executor.name)
    except BaseException:
        write_handle(folder, Handle(run_id=request.run_id))
        raise
    write_handle(folder, handle)
    return handle


def _provide_dataset(home: Home, data: DataConfig) -> None:
    """Store what a run makes of a data set, as the machine that executes it does not write the database."""
    with open_store(home) as store, suppress(LookupFailed):  # of an unknown data set the run itself tells
        if not is_stored(store, data.dataset, max_users=data.max_users):
            open_dataset(store, data.dataset, max_users=data.max_users)


def launch(home: Home, request: RunRequest) -> Handle:
    """Start a run with an id that may differ from the request's. An equal finished run of its group is not reused.

    The request goes by a file in the run's folder, so neither its length nor its characters matter.

    Raises:
        ConfigError: its settings name code that is not allowed.
        StoreError: the folder cannot be made.
        EngineError: there is no such executor, or it does not accept the run.
        OSError: the process cannot be started.
    """
    request.check_words()
    own_code.require(request.config)
    executor = registry.default(home)
    home.create()
    while True:
        folder = home.run_folder(request.run_id)
        try:
            folder.mkdir()
            break
        except FileExistsError:  # an id has a second and four digits
            request = replace(request, run_id=new_run_id())
    try:
        request.write(folder)
        return submit(home, executor, request)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # nothing has happened that a list could show
        raise


def launched_request(folder: Path) -> RunRequest | None:
    """The request of a run that was launched and has no journal yet; none for any other folder."""
    with suppress(ConfigError, OSError):
        if (folder / FILE).exists():
            return None if segments(folder) else RunRequest.read(folder)
        if (folder / LEGACY_SETTINGS).exists():
            config, preset = load_config(files=(folder / LEGACY_SETTINGS,))
            return RunRequest(run_id=folder.name, config=config, preset=preset)
    return None


def resume(home: Home, run_id: str) -> Handle:
    """Continue a run that was stopped or died.

    Raises:
        ConfigError: it is running, cannot be read back, or has changed since it began.
        EngineError: there is no such executor, or it does not accept the run.
        OSError: the process cannot be started.
    """
    folder = home.run_folder(run_id)
    if lives(home, run_id):
        raise ConfigError(f"run {run_id} is running", where=run_id)
    if not (folder / FILE).exists():
        raise ConfigError(f"run {run_id} has no {FILE} in its folder", where=str(folder), hint="Clone it instead.")
    request = RunRequest.read(folder)
    own_code.require(request.config)
    resume_check.check(folder, request)
    return submit(home, registry.default(home), request)


def why_not_begun(home: Home, run_id: str, state: ProcessState) -> str:
    """Why a run without a line in its journal never began; empty while it may begin.

    Args:
        state: the executor's answer; of a process that is just starting it may be `Exited`, without a reason.
    """
    if isinstance(state, Exited) and state.reason:
        return state.reason
    return last_output(home, run_id)


def last_output(home: Home, run_id: str) -> str:
    """The last line of `launch.log`, once nothing was written for SILENT_SECONDS; empty before."""
    try:
        silent = time.time() - (home.run_folder(run_id) / LOG).stat().st_mtime
    except OSError:
        return ""
    output = launch_log(home, run_id).strip()
    return output.splitlines()[-1] if output and silent > SILENT_SECONDS else ""


def launch_log(home: Home, run_id: str) -> str:
    """Output of the processes that ran it: the reason where one ended before it could write its journal."""
    try:
        return read_regular(home.run_folder(run_id) / LOG).decode(errors="replace")
    except OSError:
        return ""
