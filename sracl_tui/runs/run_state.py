"""A run as its journal tells it: folded line by line, so that a screen shows an event as soon as it is written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sracl_tui.runs.journal_events import facts_of
from store.journal.journal import Line

Series = dict[tuple[str, str], list[tuple[int, float]]]
"""(split, name) to (epoch, value), epochs ascending."""
BLOCK = 64


@dataclass
class Stage:
    """A stage of the run."""

    name: str
    started: float
    done: int = 0
    total: int = 0
    seconds: float | None = None
    cached: bool = False
    detail: str = ""

    def remaining(self, now: float) -> float | None:
        """Seconds left at the pace so far; none before there is one."""
        if self.seconds is not None or not self.done or not self.total:
            return None
        return (now - self.started) / self.done * (self.total - self.done)


@dataclass
class RunState:
    """What the lines read so far say."""

    created: dict[str, Any] = field(default_factory=dict)
    started: dict[str, Any] = field(default_factory=dict)
    """Process, machine and time of the newest start."""
    ended: dict[str, Any] = field(default_factory=dict)
    dataset: str = ""
    state: str = "queued"
    reason: str | None = None
    stages: dict[str, Stage] = field(default_factory=dict)
    series: Series = field(default_factory=dict)
    epoch: int = 0
    best_epoch: int | None = None
    bad_epochs: int = 0
    step: tuple[int, int] = (0, 0)
    """Steps done in the epoch at work, and how many it has."""
    step_loss: float | None = None
    """The loss of the last of these steps."""
    step_seconds: float | None = None
    """For one step, in the epoch at work or the last one."""
    epoch_seconds: float | None = None
    test: dict[str, float] = field(default_factory=dict)
    log: list[tuple[float, str]] = field(default_factory=list)
    alerts: list[tuple[float, str, str]] = field(default_factory=list)
    """What the run itself saw and a person should know: time, kind, sentence."""
    lines: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    _paced: tuple[float, int] | None = None
    """Time and number of the first step of the epoch at work that was told."""

    @property
    def epochs(self) -> int:
        """Epochs at most."""
        return self.created.get("config", {}).get("train", {}).get("epochs", 0)

    @property
    def select(self) -> str:
        """The validation metric that picks the best epoch."""
        return self.created.get("config", {}).get("train", {}).get("select", "mrr@10")

    def take(self, lines: Iterable[Line]) -> None:
        """Fold further lines in."""
        for line in lines:
            self.lines += 1
            self.first_at, self.last_at = self.first_at or line.at, line.at
            handler = getattr(self, f"_on_{line.event}", None)
            said = handler(line.at, **line.fields) if handler else None
            if said is None and not facts_of(line.event).quiet:
                said = line.event.replace("_", " ")
            if said:
                self.log.append((line.at, said))

    def _on_run_created(self, at: float, **fields: Any) -> str:
        self.created = fields
        return f"created: {fields.get('preset')} preset, seed {fields.get('seed')}"

    def _on_run_started(self, at: float, **fields: Any) -> str:
        self.state, self.reason = "running", None
        self.started = {name: fields.get(name) for name in ("pid", "host", "boot_id")}
        self.started["started_at"] = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
        return f"process {fields.get('pid')} started on {fields.get('machine') or fields.get('host')}"

    def _on_dataset_used(self, at: float, **fields: Any) -> str:
        self.dataset = fields.get("dataset_name", "")
        return f"data {self.dataset}"

    def _on_device_used(self, at: float, **fields: Any) -> str:
        return f"device {fields.get('device')}, {fields.get('threads')} threads"

    def _on_stopping(self, at: float, **fields: Any) -> str:
        self.state = "stopping"
        return f"asked to stop ({fields.get('reason')})"

    def _on_warned(self, at: float, **fields: Any) -> str:
        return f"warning: {fields.get('message')}"

    def _on_alerted(self, at: float, **fields: Any) -> str:
        self.alerts.append((at, fields["kind"], fields["text"]))
        return f"{fields['kind']}: {fields['text']}"

    def _on_run_resumed(self, at: float, **fields: Any) -> str:
        self.epoch, self.best_epoch = fields["epoch"], fields.get("best_epoch")
        for points in self.series.values():
            points[:] = [point for point in points if point[0] <= self.epoch]
        return f"resumed after epoch {self.epoch}"

    def _on_run_ended(self, at: float, **fields: Any) -> str:
        self.state, self.reason, self.ended = fields["state"], fields.get("reason"), fields
        self.best_epoch = fields.get("best_epoch") or self.best_epoch
        return f"{self.state}{f': {self.reason}' if self.reason else ''}"

    def _on_stage_started(self, at: float, **fields: Any) -> str:
        self.stages[fields["stage"]] = Stage(fields["stage"], at, total=fields.get("total", 0))
        return f"{fields['stage']} begins"

    def _on_stage_progress(self, at: float, **fields: Any) -> None:
        stage = self.stages.setdefault(fields["stage"], Stage(fields["stage"], at))
        stage.done, stage.total = fields["done"], fields["total"]
        stage.detail = fields.get("detail", "")

    def _on_stage_finished(self, at: float, **fields: Any) -> str:
        stage = self.stages.setdefault(fields["stage"], Stage(fields["stage"], at))
        stage.seconds, stage.cached, stage.detail = (
            fields["seconds"],
            fields.get("cached", False),
            fields.get("detail", ""),
        )
        took = "reused" if stage.cached else f"{stage.seconds:.1f} s"
        return f"{stage.name} done, {took}{f': {stage.detail}' if stage.detail else ''}"

    def _on_step_finished(self, at: float, **fields: Any) -> None:
        self.step, self.step_loss = (fields["done"], fields["steps_per_epoch"]), fields.get("loss")
        if not self._paced or fields["done"] <= self._paced[1]:
            self._paced = at, fields["done"]
        else:
            self.step_seconds = (at - self._paced[0]) / (fields["done"] - self._paced[1])

    def _on_epoch_finished(self, at: float, **fields: Any) -> str:
        self.epoch, self.bad_epochs, self.step = fields["epoch"], fields["bad_epochs"], (0, 0)
        self.step_loss, self._paced = None, None
        self.epoch_seconds = fields["seconds"] + fields["evaluate_seconds"]
        if fields["improved"]:
            self.best_epoch = self.epoch
        values = {}
        for metric in fields["metrics"]:
            if metric.get("subgroup", "all") == "all" and metric["value"] is not None:
                values[metric["split"], metric["name"]] = metric["value"]
                self.series.setdefault((metric["split"], metric["name"]), []).append((self.epoch, metric["value"]))
        loss, score = values.get(("train", "loss")), values.get(("valid", self.select))
        told = f"epoch {self.epoch}" + (f"  loss {loss:.4f}" if loss is not None else "")
        told += f"  {self.select.upper()} {score:.4f}" if score is not None else ""
        return told + f"  {fields['seconds']:.1f} s" + ("  best so far" if fields["improved"] else "")

    def _on_evaluated(self, at: float, **fields: Any) -> str:
        values = {m["name"]: m["value"] for m in fields["metrics"] if m.get("subgroup", "all") == "all"}
        if fields["split"] == "test":
            self.test = values
        told = "  ".join(f"{n.upper()} {values[n]:.4f}" for n in ("hr@20", "ndcg@20") if values.get(n) is not None)
        return f"{fields['split']} with the weights of epoch {fields['epoch']}: {told}"

    @property
    def share(self) -> float:
        """How much of the training is done, 0 to 1."""
        within = self.step[0] / self.step[1] if self.step[1] else 0.0
        return min(1.0, (self.epoch + within) / self.epochs) if self.epochs else 0.0

    def progress(self, now: float) -> dict[str, Any]:
        """The stage at work, how many percent of it are done, and seconds left; what is not known is none."""
        stage = next((stage for stage in reversed(self.stages.values()) if stage.seconds is None), None)
        if stage is None or self.epoch or self.step[1]:
            left = self.remaining()
            return {"stage": "train", "percent": int(self.share * 100), "left": None if left is None else int(left)}
        left = stage.remaining(now)
        percent = 100 * stage.done // stage.total if stage.total else None
        return {"stage": stage.name, "percent": percent, "left": None if left is None else int(left)}

    def remaining(self) -> float | None:
        """Seconds of training left if it runs all its epochs; in the first one by the pace of its steps."""
        seconds = self.epoch_seconds
        if seconds is None and self.step_seconds is not None:
            seconds = self.step_seconds * self.step[1]
        if seconds is None or self.state not in ("running", "stopping"):
            return None
        done = self.epoch + (self.step[0] / self.step[1] if self.step[1] else 0.0)
        return max(0.0, self.epochs - done) * seconds


def smooth(values: ArrayLike, strength: float) -> NDArray[np.float64]:
    """Exponential moving average, corrected for its start; strength 0 changes nothing, gaps stay gaps."""
    found = np.array(values, dtype=np.float64)
    good = np.isfinite(found)
    if strength and good.any():
        total = _decayed((1 - strength) * found[good], strength)
        early = total[
            : int(-40 / math.log(strength)) + 1
        ]  # beyond that the correction is smaller than a rounding error
        early /= 1 - strength ** np.arange(1, len(early) + 1)
        found[good] = total
    return found


def _decayed(values: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """The sums s(t) = factor s(t-1) + values(t), in blocks, so that a million values take no million steps."""
    if len(values) <= BLOCK:
        total, found = 0.0, []
        for value in values.tolist():
            total = factor * total + value
            found.append(total)
        return np.array(found)
    blocks = np.pad(values, (0, -len(values) % BLOCK)).reshape(-1, BLOCK)
    age = np.arange(BLOCK)[:, None] - np.arange(BLOCK)
    inside = blocks @ np.where(age >= 0, factor ** np.maximum(age, 0), 0.0).T
    carried = np.concatenate([[0.0], _decayed(inside[:, -1], factor**BLOCK)[:-1]])
    return (inside + carried[:, None] * factor ** np.arange(1, BLOCK + 1)).ravel()[: len(values)]
