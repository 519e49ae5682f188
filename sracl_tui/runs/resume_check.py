"""Whether a run may go on: with the settings, the code and the data that it began with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.config import Config
from engine.errors import ConfigError
from sracl_tui.runs import environment
from sracl_tui.runs.request import RunRequest
from store.journal.journal import read_events

HINT = "Put it back as it was, or start it anew with these: sracl run --resume {} --force"


def check(folder: Path, request: RunRequest) -> None:
    """Refuse to go on with a run that would not be the same one any more.

    Raises:
        ConfigError: settings or code have changed since it began; names each difference.
    """
    found = differences(folder, request)
    if found:
        raise ConfigError(
            "it cannot go on, for this has changed since it began:\n" + "\n".join(f"  {line}" for line in found),
            where=request.run_id,
            hint=HINT.format(request.run_id),
        )


def check_data(folder: Path, used: dict[str, Any], run_id: str) -> None:
    """The same for the data, when they are known.

    Raises:
        ConfigError: they are others than those it began with.
    """
    for _, line in read_events(folder):
        if line.event == "dataset_used" and line.fields["dataset_sha256"] != used["dataset_sha256"]:
            theirs, ours = line.fields["dataset_sha256"][:16], used["dataset_sha256"][:16]
            raise ConfigError(
                f"it cannot go on: dataset {used['dataset_name']} was {theirs} when it began and is {ours} now",
                where=run_id,
                hint=HINT.format(run_id),
            )


def differences(folder: Path, request: RunRequest) -> list[str]:
    """What differs between how a run began and how it would go on; nothing for one that never began."""
    created, started = _beginnings(folder)
    found = []
    if created is not None and started is not None:
        found += _settings(created, request)
        found += _code(started)
    return found


def _beginnings(folder: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Fields of `run_created`, and of the first `run_started`."""
    created = None
    for _, line in read_events(folder):
        if line.event == "run_created":
            created = line.fields
        if line.event == "run_started":
            return created, line.fields
    return created, None


def _settings(created: dict[str, Any], request: RunRequest) -> list[str]:
    now, seed = request.config, request.config.train.seed
    found = [] if created["seed"] == seed else [f"seed: {created['seed']} then, {seed} now"]
    if created["config_hash"] == now.config_hash():
        return found
    try:
        changed = now.differences(Config.model_validate(created["config"]))
    except ValueError:  # settings that this version does not know
        return [*found, f"config: {created['config_hash']} then, {now.config_hash()} now"]
    names = [f"{path}: {then} then, {value} now" for path, (then, value) in changed.items() if path != "train.seed"]
    return found + (names or [f"config: {created['config_hash']} then, {now.config_hash()} now"])


def _code(started: dict[str, Any]) -> list[str]:
    now = environment.describe()
    found = [
        f"{word}: {_short(started.get(name))} then, {_short(now[name])} now"
        for name, word in (("code_version", "version of sracl"), ("git_sha", "commit"))
        if started.get(name) != now[name]
    ]
    if started.get("git_patch") != now["git_patch"]:
        found.append("uncommitted changes of the code: others than when it began")
    return found


def _short(value: Any) -> str:
    return "none" if value is None else str(value)[:12]
