"""Shows the progress of a run on stderr: bars on a terminal, lines in a log."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from engine.events import (
    EpochFinished,
    Event,
    Report,
    StageFinished,
    StageProgress,
    StageStarted,
    StepFinished,
    Warned,
)
from engine.metric_registry import title, value_text
from store.run_row import HEADLINE_METRICS


def epoch_line(event: EpochFinished, select: str = "") -> str:
    """`epoch 3  loss 5.1234  MRR@10 0.0301  HR@20 0.1501  8.4 s  best so far`, with the metric that selects."""
    values = {(m.split, m.name): m.value for m in event.metrics}
    valid = {
        name: f"{title(name)} {value_text(name, value)}" for (split, name), value in values.items() if split == "valid"
    }
    headline = {name for split, name in HEADLINE_METRICS.values() if split == "valid"} | {select}
    shown = [text for name, text in valid.items() if name in headline] or list(valid.values())[:3]
    status = (
        f"{event.stage}, without validation"
        if event.stage
        else "best so far"
        if event.improved
        else f"{event.bad_epochs} epoch{'s' * (event.bad_epochs != 1)} without improvement"
    )
    parts = [f"epoch {event.epoch}", f"loss {values['train', 'loss']:.4f}", *shown, f"{event.seconds:.1f} s", status]
    return "  ".join(parts)


class ProgressLines:
    """Prints a line with the time per stage and epoch, and at most every 10 s within a stage: for logs and CI."""

    def __init__(self, console: Console, *, select: str = "") -> None:
        """Args: select: the validation metric that picks the best epoch; it is always printed."""
        self._console, self._select = console, select
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageFinished):
            duration = "reused" if event.cached else f"{event.seconds:.1f} s"
            self._print(f"{event.stage}: {duration}{f' ({event.detail})' if event.detail else ''}")
        elif isinstance(event, StageProgress) and time.monotonic() - self._last > 10:
            detail = f" ({event.detail})" if event.detail else ""
            self._print(f"{event.stage}: {event.done:,} of {event.total:,}{detail}")
        elif isinstance(event, EpochFinished):
            self._print(epoch_line(event, self._select))
        elif isinstance(event, Warned):
            self._print(f"warning: {event.message}")

    def _print(self, text: str) -> None:
        self._last = time.monotonic()
        timestamp = time.strftime("%H:%M:%S")
        self._console.print(f"{timestamp} {text}", markup=False, highlight=False)


class ProgressBars:
    """Shows a bar for the running stage; finished stages and epochs remain as lines."""

    def __init__(self, console: Console, *, epochs: int, select: str = "") -> None:
        """Args: epochs: at most; select: as in `ProgressLines`."""
        self._lines = ProgressLines(console, select=select)
        self._epochs = epochs
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Report:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._start_bar(event.stage, event.total or None)
        elif isinstance(event, StageProgress) and self._task is not None:
            name = f"{event.stage} ({event.detail})" if event.detail else event.stage
            self._progress.update(self._task, description=name, completed=event.done, total=event.total)
        elif isinstance(event, StageFinished):
            self._remove_bar()
        elif isinstance(event, StepFinished):
            self._task = self._progress.add_task("") if self._task is None else self._task
            self._progress.update(
                self._task,
                description=f"epoch {event.epoch} of up to {event.epochs or self._epochs}, loss {event.loss:.3f}",
                completed=event.done,
                total=event.steps_per_epoch,
            )
        if isinstance(event, StageFinished | EpochFinished | Warned):
            self._lines(event)

    def _start_bar(self, stage: str, total: int | None) -> None:
        self._remove_bar()
        self._task = self._progress.add_task(stage, total=total)

    def _remove_bar(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = None
