"""Checks that a run is resumed with the settings, code and data that it started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.config import Config
from engine.errors import ConfigError
from sracl_tui.runs import environment
from sracl_tui.runs.request import RunRequest
from store.journal.journal import read_events

HINT = "Restore the original state, or start a new run with the current one: sracl run --resume {} --force"


def check(folder: Path, request: RunRequest) -> None:
    """Check settings and code before the run is resumed.

    Raises:
        ConfigError: settings or code have changed since the run started; lists each difference.
    """
    changes = differences(folder, request)
    if changes:
        raise ConfigError(
            "the run cannot be resumed, as this has changed since it started:\n"
            + "\n".join(f"  {line}" for line in changes),
            where=request.run_id,
            hint=HINT.format(request.run_id),
        )


def check_data(folder: Path, used: dict[str, Any], run_id: str) -> None:
    """Check the data once they are loaded; `used` are the fields of `dataset_used`.

    Raises:
        ConfigError: the data have changed since the run started.
    """
    for _, line in read_events(folder):
        if line.event == "dataset_used" and line.fields["dataset_sha256"] != used["dataset_sha256"]:
            original, current = line.fields["dataset_sha256"][:16], used["dataset_sha256"][:16]
            raise ConfigError(
                f"the run cannot be resumed: dataset {used['dataset_name']} was {original} when it started and is {current} now",
                where=run_id,
                hint=HINT.format(run_id),
            )


def differences(folder: Path, request: RunRequest) -> list[str]:
    """Differences in settings and code since the run started, one a line; empty for a run that has not started."""
    created, started = _recorded_start(folder)
    changes = []
    if created is not None and started is not None:
        changes += _setting_differences(created, request)
        changes += _code_differences(started)
    return changes


def _recorded_start(folder: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Fields of `run_created`, and of the first `run_started`."""
    created = None
    for _, line in read_events(folder):
        if line.event == "run_created":
            created = line.fields
        if line.event == "run_started":
            return created, line.fields
    return created, None


def _setting_differences(created: dict[str, Any], request: RunRequest) -> list[str]:
    now, seed = request.config, request.config.train.seed
    changes = [] if created["seed"] == seed else [f"seed: {created['seed']} then, {seed} now"]
    if created["config_hash"] == now.config_hash():
        return changes
    try:
        changed = now.differences(Config.model_validate(created["config"]))
    except ValueError:  # unknown settings, from another version
        return [*changes, f"config: {created['config_hash']} then, {now.config_hash()} now"]
    names = [f"{path}: {then} then, {value} now" for path, (then, value) in changed.items() if path != "train.seed"]
    return changes + (names or [f"config: {created['config_hash']} then, {now.config_hash()} now"])


def _code_differences(started: dict[str, Any]) -> list[str]:
    now = environment.describe()
    changes = [
        f"{label}: {_short(started.get(name))} then, {_short(now[name])} now"
        for name, label in (("code_version", "version of sracl"), ("git_sha", "commit"))
        if started.get(name) != now[name]
    ]
    if started.get("git_patch") != now["git_patch"]:
        changes.append("uncommitted code changes: different from those at the start")
    return changes


def _short(value: Any) -> str:
    return "none" if value is None else str(value)[:12]
