"""A run in words: its progress, its log, its settings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rich.text import Text

from engine.config import Config, flatten
from engine.config_files import load_config
from engine.errors import ConfigError
from engine.metric_registry import DEFAULT, by_cutoff, ordered, split_name, title, value_text
from sracl_tui import formatting
from sracl_tui.runs.run_state import RunState, Stage
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out
from store.run_states import ACTIVE

BAR = 24
SHOWN = ("hr@10", "ndcg@10", "hr@20", "ndcg@20")
"""Test metrics that stand first, as far as they are measured."""
LOG = (Column("at", "time"), Column("said", "what happened", flex=True, least=24))
STYLES = (("warning", "warn"), ("failed", "bad"), ("killed", "bad"), ("stopp", "warn"), ("resumed", "warn"))


def progress(live: RunState, state: str, reason: str | None, now: float) -> Text:
    """State, stages, training and test metrics of a run, a line each."""
    text = Text()
    text.append(formatting.state(state), "bold")
    text.append(f"  {formatting.line(live.dataset)}" if live.dataset else "")
    text.append(f"  seed {live.created['seed']}" if "seed" in live.created else "")
    text.append(f"  {formatting.line(reason)}" if reason else "")
    done = [stage for stage in live.stages.values() if stage.seconds is not None]
    if done:
        message = (f"{formatting.line(s.name)} {'reused' if s.cached else formatting.clock(s.seconds)}" for s in done)
        text.append(f"\n{'done':<10}{', '.join(message)}")
    for stage in live.stages.values():
        if stage.seconds is None and state in ACTIVE:
            text.append(f"\n{_stage(stage, now)}")
    if live.epochs and (live.epoch or live.step[1]):
        text.append(f"\n{_training(live, state)}")
    if live.test:
        names = [*SHOWN, *_further(live.test)]
        message = (f"{title(name)} {value_text(name, live.test[name])}" for name in names if name in live.test)
        best = f"  epoch {live.best_epoch}" if live.best_epoch else ""
        text.append(f"\n{'test':<10}{'  '.join(message)}{best}", "bold")
    for warning in live.warnings:
        text.append(f"\n{'warning':<10}{formatting.line(warning)}", "bold")
    return text


def _further(test: Collection[str]) -> list[str]:
    """Of the metrics that are not measured by default, each at its longest cutoff."""
    names = [name for name in by_cutoff(test) if name != "n" and split_name(name)[0] not in DEFAULT]
    first = {split_name(name)[0]: name for name in reversed(names)}
    return ordered(first.values())


def _stage(stage: Stage, now: float) -> str:
    share = stage.done / stage.total if stage.total else 0.0
    left = stage.remaining(now)
    since = now - stage.started
    count = f"{stage.done:,} of {stage.total:,}" if stage.total else ""
    pace = (
        f"{stage.done / since:,.1f} per second"
        if stage.done and since > 0
        else f"running for {formatting.clock(since)}"
    )
    text = [count, pace, f"{formatting.clock(left)} left" if left is not None else "", formatting.line(stage.detail)]
    return f"{formatting.line(stage.name):<10}{formatting.bar(share, BAR):<{BAR}}  {', '.join(filter(None, text))}"


def _training(live: RunState, state: str) -> str:
    early = state == "finished" and live.epoch < live.epochs
    share, of = (1.0, f", stopped early (maximum {live.epochs})") if early else (live.share, f" of {live.epochs}")
    text = f"{'train':<10}{formatting.bar(share, BAR):<{BAR}}  epoch {live.epoch}{of}"
    left = live.remaining() if state in ACTIVE else None
    text += f", up to {formatting.clock(left)} left" if left is not None else ""
    if state in ACTIVE and live.step[1]:
        text += f", step {live.step[0]:,} of {live.step[1]:,}"
        text += f", loss {live.step_loss:.4f}" if live.step_loss is not None else ""
    text += f", best epoch {live.best_epoch}" if live.best_epoch else ""
    return text + (f", {_epochs(live.bad_epochs)} without improvement" if live.bad_epochs else "")


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def without_samples(state: str) -> str:
    """What stands where nothing of the machine is known."""
    return "waiting for the first sample" if state in ACTIVE else "This run has no samples of its machine."


def log_table(live: RunState, wanted: str) -> TableData:
    """The log, or its lines with all of some words."""
    found = wanted.lower().split()
    rows = []
    for number, (at, text) in enumerate(live.log):
        low = text.lower()
        if all(word in low for word in found):
            style = next((style for sign, style in STYLES if sign in low), "")
            rows.append(Row(number, (formatting.local_time(at), formatting.line(text)), ("dim", style)))
    return lay_out(LOG, rows)


def settings(created: dict[str, Any]) -> Text:
    """Differences from the preset, then every setting."""
    name = created.get("preset") or "default"
    text = Text()
    try:
        config = Config.model_validate(created["config"])
    except (ValueError, KeyError) as error:
        return text.append(formatting.text(f"These settings cannot be read: {error}"))
    text.append(f"preset {formatting.line(name)}, config {formatting.line(created.get('config_hash'))}\n\n", "bold")
    try:
        differences = config.differences(load_config(preset=name)[0])
    except ConfigError as error:
        text.append(formatting.text(f"{error.message}: differences cannot be shown\n"))
    else:
        text.append("differs from the preset in\n" if differences else "identical to the preset\n")
        for path, (theirs, ours) in differences.items():
            text.append(f"  {path:<28}", "bold").append(
                f"{formatting.line(ours)}  (preset: {formatting.line(theirs)})\n"
            )
    text.append("\nall settings\n")
    for path, value in flatten(config.model_dump(mode="json")).items():
        text.append(f"  {path:<27} {formatting.line(value)}\n")
    return text
