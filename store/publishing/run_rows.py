"""Rows of runs and metrics, gathered while events are taken in and written in bulk."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from typing import Any

import duckdb

_JSON = frozenset({"config", "packages", "timings"})
_UPDATABLE = frozenset({
    "name", "tags", "note", "dataset_id", "dataset_name", "dataset_sha256", "user_set_id", "item_set_id", "user_list_id",
    "item_list_id", "state", "reason", "started_at", "heartbeat_at", "ended_at", "segments", "pid", "host", "boot_id",
    "machine", "device", "threads", "code_version", "git_sha", "git_patch", "packages", "epoch", "best_epoch", "timings",
    "peak_memory_bytes", "exit_code", "signal", "process_started",
})  # fmt: skip
_METRICS = {
    "run_id": "string", "epoch": "int32", "step": "int32", "split": "string", "subgroup": "string", "name": "string",
    "value": "float64", "wall_time": "timestamp[us]",
}  # fmt: skip
"""Columns and their types in Arrow."""


class RunRows:
    """Changes to `runs` and additions to `metrics` that wait for `flush`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._changes: dict[str, dict[str, Any]] = defaultdict(dict)
        self._metrics: list[tuple[Any, ...]] = []

    def create(self, run_id: str, fields: dict[str, Any], at: datetime) -> None:
        """A new run; one that is there already stays as it is."""
        self._connection.execute(
            "INSERT INTO runs (run_id, kind, name, preset, group_name, tags, note, config, config_hash, seed, state, "
            "created_at, segments, epoch) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, 0, 0) ON CONFLICT DO NOTHING",
            [
                run_id, fields["kind"], fields["name"], fields["preset"], fields["group_name"], sorted(fields["tags"]),
                fields["note"], json.dumps(fields["config"]), fields["config_hash"], fields["seed"], at,
            ],
        )  # fmt: skip

    def seen(self, run_id: str, at: datetime) -> None:
        """A sign of life."""
        self._changes[run_id]["heartbeat_at"] = at

    def update(self, run_id: str, **values: Any) -> None:
        """Change columns of a run; the last value wins. Names that are no column are left alone."""
        self._changes[run_id] |= {name: value for name, value in values.items() if name in _UPDATABLE}

    def metrics(self, run_id: str, epoch: int, step: int, metrics: list[dict[str, Any]], at: datetime) -> None:
        """Measured numbers."""
        for m in metrics:
            self._metrics.append((run_id, epoch, step, m["split"], m["subgroup"], m["name"], m["value"], at))

    def flush(self) -> None:
        """Write what has gathered."""
        for run_id, values in self._changes.items():
            columns = ", ".join(f"{name} = ?" for name in values)
            plain = [
                json.dumps(value) if name in _JSON and value is not None else value for name, value in values.items()
            ]
            self._connection.execute(f"UPDATE runs SET {columns} WHERE run_id = ?", [*plain, run_id])
        self._changes.clear()
        if self._metrics:
            import pyarrow as pa

            columns = zip(_METRICS.items(), zip(*self._metrics, strict=True), strict=True)
            table = pa.table({name: pa.array(values, kind) for (name, kind), values in columns})
            self._connection.register("incoming", table)
            self._connection.execute("INSERT INTO metrics SELECT * FROM incoming")
            self._connection.unregister("incoming")
            self._metrics.clear()
