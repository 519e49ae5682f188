"""Starts a run as a process of its own, in a session of its own: whoever started it may go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engine.config import Config, flatten
from engine.config_files import load_config
from engine.errors import ConfigError
from sracl_tui.runs import resume_check
from sracl_tui.runs.request import FILE, RunRequest, new_run_id
from store.home import VARIABLE, Home
from store.journal.journal import lock_held

LOG = "launch.log"
SILENT_SECONDS = 2.0
SETTINGS = "settings.toml"


def launch(
    home: Home,
    config: Config,
    *,
    preset: str = "default",
    name: str | None = None,
    group: str | None = None,
    tags: tuple[str, ...] = (),
    note: str = "",
) -> tuple[str, int]:
    """Start a run with these settings; its id and the PID of its process.

    Settings go by a file in the run's folder, so that neither their length nor their characters matter.

    Raises:
        StoreError: the folder cannot be made.
        OSError: the process cannot be started.
    """
    home.create()
    run_id = new_run_id()
    folder = home.run_folder(run_id)
    folder.mkdir()
    (folder / SETTINGS).write_text(as_toml(config, preset), "utf-8")
    words = ["run", str(folder / SETTINGS), "--headless", "--run-id", run_id]
    for option, value in (("--name", name), ("--group", group), ("--note", note)):
        words += [f"{option}={value}"] if value else []
    words += [f"--tag={tag}" for tag in tags]
    base = load_config(preset=preset)[0]
    words += [f"--set={path}=none" for path, (_, value) in config.differences(base).items() if value is None]
    if group is not None:
        words.append("--force")  # asked for by hand: an equal finished run of the group does not stand in for it
    return run_id, _start(home, words, folder)


def resume(home: Home, run_id: str) -> int:
    """Go on with a run that was stopped or died; the PID of its process.

    Raises:
        ConfigError: it is at work, cannot be read back, or has changed since it began.
        OSError: the process cannot be started.
    """
    folder = home.run_folder(run_id)
    if lock_held(folder):
        raise ConfigError(f"run {run_id} is at work", where=run_id)
    if not (folder / FILE).exists():
        raise ConfigError(f"run {run_id} has no {FILE} in its folder", where=str(folder), hint="Clone it instead.")
    resume_check.check(folder, RunRequest.read(folder))
    return _start(home, ["run", "--resume", run_id, "--headless"], folder)


def _start(home: Home, words: list[str], folder: Path) -> int:
    return spawn(home, words, folder / LOG).pid


def spawn(home: Home, words: list[str], log: Path, variables: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `sracl` as a process of its own, whose words are added to a log."""
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


def last_words(home: Home, run_id: str) -> str:
    """The last line that the process said, once it has been silent for a moment; empty before."""
    try:
        silent = time.time() - (home.run_folder(run_id) / LOG).stat().st_mtime
    except OSError:
        return ""
    said = launch_log(home, run_id).strip()
    return said.splitlines()[-1] if said and silent > SILENT_SECONDS else ""


def is_alive(pid: int) -> bool:
    """Whether a process that was started here is still there."""
    return any(child.pid == pid and child.poll() is None for child in _children)


_children: list[subprocess.Popen[bytes]] = []
"""Kept so that an ended child is reaped; none is ever waited for or killed."""


def as_toml(config: Config, preset: str) -> str:
    """Every setting by its path, but for those that are none: TOML has no word for it."""
    lines = [f"preset = {_value(preset)}"]
    section = ""
    for path, value in flatten(config.model_dump(mode="json")).items():
        head, leaf = path.split(".")
        if head != section:
            section = head
            lines.append(f"\n[{head}]")
        if value is not None:
            lines.append(f"{leaf} = {_value(value)}")
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """A TOML value: JSON writes strings, numbers, booleans and lists as TOML reads them."""
    return json.dumps(value, ensure_ascii=False)


def launch_log(home: Home, run_id: str) -> str:
    """What the process said before it wrote its journal: the reason when it did not get that far."""
    try:
        return (home.run_folder(run_id) / LOG).read_text("utf-8", errors="replace")
    except OSError:
        return ""
