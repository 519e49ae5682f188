"""The local executor: a run is a process of its own, in a session of its own, so it outlives whoever started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from engine.config_files import load_config
from engine.errors import ConfigError
from sracl_tui.runs import resume_check
from sracl_tui.runs.request import FILE, RunRequest, new_run_id
from store.home import VARIABLE, Home
from store.journal.journal import lock_held, segments

LOG = "launch.log"
SILENT_SECONDS = 2.0
LEGACY_SETTINGS = "settings.toml"
"""What version 0.1.0 wrote into the folder of a launched run, in place of its request."""


def launch(home: Home, request: RunRequest) -> tuple[str, int]:
    """Start a run; its id and the PID of its process. An equal finished run of its group is not reused.

    The request goes by a file in the run's folder, so neither its length nor its characters matter.

    Raises:
        StoreError: the folder cannot be made.
        OSError: the process cannot be started.
    """
    home.create()
    while True:
        folder = home.run_folder(request.run_id)
        try:
            folder.mkdir()
            break
        except FileExistsError:  # an id has a second and four digits
            request = replace(request, run_id=new_run_id())
    request.write(folder)
    return request.run_id, _start(home, request.run_id)


def launched_request(folder: Path) -> RunRequest | None:
    """The request of a run that was launched and has no journal yet; none for any other folder."""
    with suppress(ConfigError, OSError):
        if (folder / FILE).exists():
            return None if segments(folder) else RunRequest.read(folder)
        if (folder / LEGACY_SETTINGS).exists():
            config, preset = load_config(files=(folder / LEGACY_SETTINGS,))
            return RunRequest(run_id=folder.name, config=config, preset=preset)
    return None


def resume(home: Home, run_id: str) -> int:
    """Continue a run that was stopped or died; the PID of its process.

    Raises:
        ConfigError: it is running, cannot be read back, or has changed since it began.
        OSError: the process cannot be started.
    """
    folder = home.run_folder(run_id)
    if lock_held(folder):
        raise ConfigError(f"run {run_id} is running", where=run_id)
    if not (folder / FILE).exists():
        raise ConfigError(f"run {run_id} has no {FILE} in its folder", where=str(folder), hint="Clone it instead.")
    resume_check.check(folder, RunRequest.read(folder))
    return _start(home, run_id)


def _start(home: Home, run_id: str) -> int:
    return spawn(home, resume_words(run_id), home.run_folder(run_id) / LOG).pid


def resume_words(run_id: str) -> list[str]:
    """The command that executes a run whose folder has its request, from its last checkpoint where there is one."""
    return ["run", "--resume", run_id, "--headless"]


def spawn(home: Home, words: list[str], log: Path, variables: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `sracl` as a process of its own; its output is appended to a log.

    Args:
        words: the command, such as `["queue", "work", "cpu-0"]`.
        variables: of the environment, beside this process's own.

    Raises:
        OSError: the process cannot be started, or the log cannot be written.
    """
    command = [sys.executable, "-P", "-m", "sracl_tui.cli", *words]
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, VARIABLE: str(home.path), **(variables or {})},
        )
    _children.append(process)
    _children[:] = [child for child in _children if child.poll() is None]
    return process


def last_output(home: Home, run_id: str) -> str:
    """The last line of `launch.log`, once nothing was written for SILENT_SECONDS; empty before."""
    try:
        silent = time.time() - (home.run_folder(run_id) / LOG).stat().st_mtime
    except OSError:
        return ""
    output = launch_log(home, run_id).strip()
    return output.splitlines()[-1] if output and silent > SILENT_SECONDS else ""


def is_alive(pid: int) -> bool:
    """Whether a process that this one started still runs."""
    return any(child.pid == pid and child.poll() is None for child in _children)


_children: list[subprocess.Popen[bytes]] = []
"""Kept so that an ended child is reaped; none is ever waited for or killed."""


def launch_log(home: Home, run_id: str) -> str:
    """Output of the processes that ran it: the reason where one ended before it could write its journal."""
    try:
        return (home.run_folder(run_id) / LOG).read_text("utf-8", errors="replace")
    except OSError:
        return ""
