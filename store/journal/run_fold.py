"""The row of a run as its journal gives it: the one place that knows which event changes which column.

The database takes these changes in SQL, a screen in memory; so the list, the live view and the tables agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from store.journal.journal import Line
from store.process_state import LOCAL
from store.run_row import RunProcess, StoredRun, metric_column

CREATED_COLUMNS = ("kind", "name", "preset", "group_name", "tags", "note", "config", "config_hash", "seed")
"""Columns that `run_created` gives; later a person may change name, tags and note, but no event of the run does."""
_FIXED = {"run_id", "kind", "preset", "group_name", "config", "config_hash", "seed", "created_at"}
CHANGING_COLUMNS = StoredRun.__required_keys__ - _FIXED
"""Columns that may change after a run is created."""


def utc(at: float) -> datetime:
    """Unix seconds as the database keeps times: UTC, without a zone."""
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None)


def created_columns(fields: dict[str, Any], at: float) -> dict[str, Any]:
    """Columns of a run that was just created, from the fields of `run_created` and its time.

    Raises:
        KeyError: a field is missing.
    """
    columns = {name: fields[name] for name in CREATED_COLUMNS}
    fresh = {"state": "queued", "created_at": utc(at), "segments": 0, "epoch": 0, "executor": LOCAL}
    return columns | {"tags": sorted(fields["tags"])} | fresh


def changed_columns(line: Line) -> dict[str, Any]:
    """Columns that an event of the run's journal changes, with their new values; `run_created` changes none.

    Raises:
        KeyError: a field is missing.
        TypeError: a field has the name of a column that the event sets by itself.
    """
    change = _CHANGES.get(line.event)
    return {"heartbeat_at": utc(line.at)} | (change(line) if change else {})


def _given(line: Line) -> dict[str, Any]:
    """Fields that are columns; others are for people and programs that read the journal itself."""
    return {name: value for name, value in line.fields.items() if name in CHANGING_COLUMNS}


def _started(line: Line) -> dict[str, Any]:
    cleared = dict.fromkeys(("reason", "ended_at", "exit_code", "signal"))
    given = {"executor": LOCAL, "handle": None} | _given(line)  # a journal of an earlier version names none
    return dict(state="running", started_at=utc(line.at), segments=line.segment, **cleared, **given)


def _resumed(line: Line) -> dict[str, Any]:
    epoch, _step = line.fields["epoch"], line.fields["step"]  # without a step nobody knows which metrics to drop
    return {"epoch": epoch, "best_epoch": line.fields.get("best_epoch")}


def _queued(line: Line) -> dict[str, Any]:
    """A run that ended waits to be continued."""
    return {"state": "queued", **dict.fromkeys(("reason", "ended_at", "exit_code", "signal"))}


def _stopping(line: Line) -> dict[str, Any]:
    return {"state": "stopping", "reason": line.fields.get("reason")}


def _ended(line: Line) -> dict[str, Any]:
    columns = {"ended_at": utc(line.at)} | _given(line)
    if columns.get("best_epoch") is None:  # it ended before it read its checkpoint: the epoch known so far stays
        columns.pop("best_epoch", None)
    return columns


def _epoch_finished(line: Line) -> dict[str, Any]:
    epoch = line.fields["epoch"]
    return {"epoch": epoch, "best_epoch": epoch} if line.fields["improved"] else {"epoch": epoch}


_CHANGES: dict[str, Callable[[Line], dict[str, Any]]] = {
    "run_started": _started,
    "run_queued": _queued,
    "heartbeat": _given,
    "run_resumed": _resumed,
    "dataset_used": _given,
    "lists_used": _given,
    "device_used": _given,
    "stopping": _stopping,
    "run_ended": _ended,
    "epoch_finished": _epoch_finished,
}


def metrics_of_all_users(fields: dict[str, Any]) -> dict[str, float | None]:
    """Name to value of the metrics in an event that are of no subgroup."""
    return {metric["name"]: metric["value"] for metric in fields["metrics"] if metric.get("subgroup", "all") == "all"}


@dataclass
class RunFold:
    """A run's row, folded from its journal line by line."""

    created: dict[str, Any] = field(default_factory=dict)
    """Columns that its creation gave; none before `run_created` was read."""
    changed: dict[str, Any] = field(
        default_factory=lambda: {"state": "queued", "reason": None, "epoch": 0, "best_epoch": None}
    )
    """Columns that events have changed since."""
    test: dict[str, float | None] = field(default_factory=dict)
    """Test metrics of all users by name, such as `hr@20`; None for one that was measured before and no longer counts."""
    _test_step: int = 0

    def take(self, line: Line) -> None:
        """Fold one more event in.

        Raises:
            KeyError: a field is missing.
            TypeError: a field has the name of a column that the event sets by itself, or holds something else than is due.
        """
        if line.event == "run_created" and not self.created:
            self.created = created_columns(line.fields, line.at)
        self.changed |= changed_columns(line)
        if line.event == "evaluated" and line.fields["split"] == "test":
            measured = metrics_of_all_users(line.fields)  # what was measured before and is not now is gone
            self.test, self._test_step = dict.fromkeys(self.test) | measured, line.fields["step"]
        elif line.event == "run_resumed" and self._test_step > line.fields["step"]:
            self.test = dict.fromkeys(
                self.test
            )  # beyond the checkpoint: to be measured again, also where it was published

    @property
    def row(self) -> dict[str, Any]:
        """All columns that are known."""
        return self.created | self.changed

    @property
    def test_columns(self) -> dict[str, float | None]:
        """Test metrics by their columns in the list of runs, those that were measured."""
        return {metric_column("test", name): value for name, value in self.test.items() if name != "n"}

    def process(self, run_id: str) -> RunProcess:
        """What tells whether the run's process lives."""
        changed = self.changed
        return {
            "run_id": run_id,
            "state": changed["state"],
            "heartbeat_at": changed.get("heartbeat_at"),
            "pid": changed.get("pid"),
            "host": changed.get("host"),
            "boot_id": changed.get("boot_id"),
        }
