"""A run as a screen follows it: its journal folded line by line, so that an event shows as soon as it is written.

The run's row is folded by `store.journal.run_fold`, as for the database; here is what only a live view needs: stages,
curves, pace and log.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.metric_registry import by_cutoff, title, training_names, value_text
from sracl_tui.runs.journal_events import facts_of
from store.journal.journal import Line
from store.journal.run_fold import RunFold, metrics_of_all_users
from store.run_row import SHORT_METRICS, Progress

Series = dict[tuple[str, str], list[tuple[int, float]]]
"""(split, name) to (epoch, value), epochs ascending."""
BLOCK = 64
"""Values that `smooth` multiplies at once."""
MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)
"""What folding an event raises whose fields are not those of this version; such an event is skipped, as in the database."""


@dataclass
class Stage:
    """A stage of the run, such as `summaries` or `train`."""

    name: str
    started: float
    """Unix seconds."""
    done: int = 0
    total: int = 0
    seconds: float | None = None
    cached: bool = False
    detail: str = ""

    def remaining(self, now: float) -> float | None:
        """Seconds left at the pace so far; none where no step is done or their number is unknown."""
        if self.seconds is not None or not self.done or not self.total:
            return None
        return (now - self.started) / self.done * (self.total - self.done)


@dataclass
class RunState:
    """A run after the lines read so far."""

    fold: RunFold = field(default_factory=RunFold)
    """The run's row."""
    stages: dict[str, Stage] = field(default_factory=dict)
    """By name, in the order in which they began."""
    series: Series = field(default_factory=dict)
    """Metrics of all users."""
    machine: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """What it used of its machine: (seconds, value) by measure; seconds while it was running, over all starts."""
    bad_epochs: int = 0
    """Epochs since the best one."""
    step: tuple[int, int] = (0, 0)
    """Steps done in the current epoch, and how many it has."""
    step_loss: float | None = None
    """The loss of the last of these steps."""
    step_seconds: float | None = None
    """For one step, in the current epoch or the last one."""
    epoch_seconds: float | None = None
    """For the last epoch, with its evaluation."""
    log: list[tuple[float, str]] = field(default_factory=list)
    """Time and text."""
    warnings: list[str] = field(default_factory=list)
    """Different ones, in the order in which they came."""
    alerts: list[tuple[float, str, str]] = field(default_factory=list)
    """Time, kind and sentence of what the run itself noticed and a person should know."""
    lines: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    """Times of the first and the last line, in Unix seconds."""
    _ran: tuple[float, float] = (0.0, 0.0)
    """Seconds that earlier starts were running, and the seconds of the last sample, counted over all starts."""
    _epochs: int = 0
    _first_step: tuple[float, int] | None = None
    """Time and number of the first step of the current epoch that was reported."""

    @property
    def created(self) -> dict[str, Any]:
        """Name, settings and other columns that its creation gave; empty before that was read."""
        return self.fold.created

    @property
    def state(self) -> str:
        return self.fold.changed["state"]

    @property
    def reason(self) -> str | None:
        """Why it is in this state, where there is a reason."""
        return self.fold.changed["reason"]

    @property
    def has_ended(self) -> bool:
        """Whether it wrote an end and did not start again since."""
        return self.fold.changed.get("ended_at") is not None

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.fold.changed["epoch"]

    @property
    def best_epoch(self) -> int | None:
        return self.fold.changed["best_epoch"]

    @property
    def dataset(self) -> str:
        """Name of its dataset; empty while that is unknown."""
        return self.fold.changed.get("dataset_name") or ""

    @property
    def test(self) -> dict[str, float | None]:
        """Test metrics of all users by name."""
        return {name: value for name, value in self.fold.test.items() if value is not None}

    @property
    def epochs(self) -> int:
        """Epochs at most, those of stages before the main training included once one of its steps is reported."""
        return self._epochs or self.created.get("config", {}).get("train", {}).get("epochs", 0)

    @property
    def select(self) -> str:
        """The validation metric that picks the best epoch."""
        return self.created.get("config", {}).get("train", {}).get("select", "mrr@10")

    @property
    def training_names(self) -> list[str]:
        """The loss, its parts, and whatever else the method has measured in its epochs so far."""
        return training_names(name for split, name in self.series if split == "train")

    @property
    def validation_names(self) -> list[str]:
        """Validation metrics that it has measured so far, those with the longest lists first."""
        return by_cutoff(name for split, name in self.series if split == "valid")

    def take(self, lines: Iterable[Line]) -> None:
        """Fold further lines in, in their order."""
        for line in lines:
            self.lines += 1
            self.first_at, self.last_at = self.first_at or line.at, line.at
            text = None
            with suppress(*MALFORMED):
                self.fold.take(line)
                handler = getattr(self, f"_on_{line.event}", None)
                text = handler(line.at, **line.fields) if handler else None
            if text is None and not facts_of(line.event).quiet:
                text = line.event.replace("_", " ")
            if text:
                self.log.append((line.at, text))

    def _on_run_created(self, at: float, **fields: Any) -> str:
        return f"created: {fields.get('preset')} preset, seed {fields.get('seed')}"

    def _on_run_started(self, at: float, **fields: Any) -> str:
        self._ran = self._ran[1], self._ran[1]
        return f"process {fields.get('pid')} started on {fields.get('machine') or fields.get('host')}"

    def _on_machine_sampled(self, at: float, **fields: Any) -> None:
        seconds = self._ran[0] + fields.pop("seconds")
        self._ran = self._ran[0], seconds
        for name, value in fields.items():
            if value is not None:
                self.machine.setdefault(name, []).append((seconds, value))

    def _on_dataset_used(self, at: float, **fields: Any) -> str:
        return f"data {self.dataset}"

    def _on_device_used(self, at: float, **fields: Any) -> str:
        return f"device {fields.get('device')}, {fields.get('threads')} threads"

    def _on_stopping(self, at: float, **fields: Any) -> str:
        return f"asked to stop ({fields.get('reason')})"

    def _on_warned(self, at: float, **fields: Any) -> str:
        message = str(fields.get("message"))
        if message not in self.warnings:
            self.warnings.append(message)
        return f"warning: {message}"

    def _on_alerted(self, at: float, **fields: Any) -> str:
        self.alerts.append((at, fields["kind"], fields["text"]))
        return f"{fields['kind']}: {fields['text']}"

    def _on_run_resumed(self, at: float, **fields: Any) -> str:
        for points in self.series.values():
            points[:] = [point for point in points if point[0] <= self.epoch]
        return f"resumed after epoch {self.epoch}"

    def _on_run_ended(self, at: float, **fields: Any) -> str:
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
        self._epochs = fields.get("epochs", 0)
        if not self._first_step or fields["done"] <= self._first_step[1]:
            self._first_step = at, fields["done"]
        else:
            self.step_seconds = (at - self._first_step[0]) / (fields["done"] - self._first_step[1])

    def _on_epoch_finished(self, at: float, **fields: Any) -> str:
        self.bad_epochs, self.step = fields["bad_epochs"], (0, 0)
        self.step_loss, self._first_step, self._epochs = None, None, fields.get("epochs", 0)
        self.epoch_seconds = fields["seconds"] + fields["evaluate_seconds"]
        values = {}
        for metric in fields["metrics"]:
            if metric.get("subgroup", "all") == "all" and metric["value"] is not None:
                values[metric["split"], metric["name"]] = metric["value"]
                self.series.setdefault((metric["split"], metric["name"]), []).append((self.epoch, metric["value"]))
        loss, score = values.get(("train", "loss")), values.get(("valid", self.select))
        text = f"epoch {self.epoch}" + (f" ({fields['stage']})" if fields.get("stage") else "")
        text += f"  loss {loss:.4f}" if loss is not None else ""
        text += f"  {title(self.select)} {value_text(self.select, score)}" if score is not None else ""
        return text + f"  {fields['seconds']:.1f} s" + ("  best so far" if fields["improved"] else "")

    def _on_evaluated(self, at: float, **fields: Any) -> str:
        values = metrics_of_all_users(fields)
        measured = "  ".join(
            f"{title(name)} {value_text(name, values[name])}" for name in SHORT_METRICS if values.get(name) is not None
        )
        return f"{fields['split']} with the weights of epoch {fields['epoch']}: {measured}"

    @property
    def share(self) -> float:
        """Part of the training that is done, 0 to 1."""
        within = self.step[0] / self.step[1] if self.step[1] else 0.0
        return min(1.0, (self.epoch + within) / self.epochs) if self.epochs else 0.0

    def progress(self, now: float) -> Progress:
        """The current stage, the percentage of it that is done, and the seconds left; none for what is unknown."""
        stage = next((stage for stage in reversed(self.stages.values()) if stage.seconds is None), None)
        if stage is None or self.epoch or self.step[1]:
            left = self.remaining()
            percent, seconds = int(self.share * 100), None if left is None else int(left)
            return {"stage": "train", "percent": percent, "left": seconds, "epochs": self.epochs}
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
    smoothed = np.array(values, dtype=np.float64)
    finite = np.isfinite(smoothed)
    if strength and finite.any():
        total = _decayed((1 - strength) * smoothed[finite], strength)
        corrected = int(-40 / math.log(strength)) + 1  # beyond that the correction is smaller than a rounding error
        early = total[:corrected]
        early /= 1 - strength ** np.arange(1, len(early) + 1)
        smoothed[finite] = total
    return smoothed


def _decayed(values: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """The sums s(t) = factor s(t-1) + values(t), by blocks of `BLOCK` values instead of one by one: a million take no million steps."""
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
