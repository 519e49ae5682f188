"""Changes to rows of runs and new rows of metrics, gathered while events are ingested and written in bulk."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from typing import Any

import duckdb

from store.publishing.new_runs import NewRuns
from store.run_row import JSON_COLUMNS

_METRICS = {
    "run_id": "string", "epoch": "int32", "step": "int32", "split": "string", "subgroup": "string", "name": "string",
    "value": "float64", "wall_time": "timestamp[us]",
}  # fmt: skip
"""Columns and their types in Arrow."""
_SAMPLES = {
    "run_id": "string", "segment": "int32", "seconds": "float64", "sampled_at": "timestamp[us]", "cores": "float64",
    "machine_cores": "float64", "memory_bytes": "int64", "machine_memory_bytes": "int64", "gpu_memory_bytes": "int64",
    "machine_gpu_memory_bytes": "int64", "machine_gpu_percent": "float64",
}  # fmt: skip
"""The same of `machine_samples`."""


class RunRows:
    """Writes `runs`, `metrics` and `machine_samples`: new runs at once, everything else with `flush`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, new_runs: NewRuns) -> None:
        self._connection, self.new = connection, new_runs
        self._changes: dict[str, dict[str, Any]] = defaultdict(dict)
        self._metrics: list[tuple[Any, ...]] = []
        self._samples: list[tuple[Any, ...]] = []

    def create(self, run_id: str, columns: dict[str, Any]) -> None:
        """Insert a run at once; one that is there already stays as it is."""
        values = {"run_id": run_id, **_encoded(columns)}
        made = self._connection.execute(
            f"INSERT INTO runs ({', '.join(values)}) VALUES ({', '.join('?' * len(values))}) ON CONFLICT DO NOTHING",
            list(values.values()),
        ).fetchall()
        if made[0][0]:
            self.new.add(run_id)

    def update(self, run_id: str, columns: dict[str, Any]) -> None:
        """Change columns of a run with the next `flush`; the last value wins."""
        self._changes[run_id] |= columns

    def metrics(self, run_id: str, epoch: int, step: int, metrics: list[dict[str, Any]], at: datetime) -> None:
        """Add measured numbers with the next `flush`."""
        self.new.note(run_id, ("metrics",), step)
        for m in metrics:
            self.new.note(run_id, ("metrics", m["split"], m["subgroup"]), step)
            if m["split"] == "test" or m["subgroup"] != "all" or m["name"] == "n":
                self.new.note(run_id, ("evaluated", m["split"]), step)
            self._metrics.append((run_id, epoch, step, m["split"], m["subgroup"], m["name"], m["value"], at))

    def sample(self, run_id: str, segment: int, at: datetime, fields: dict[str, Any]) -> None:
        """Add a sample of the machine with the next `flush`."""
        measured = [fields.get(name) for name in list(_SAMPLES)[4:]]
        self._samples.append((run_id, segment, fields["seconds"], at, *measured))

    def flush(self) -> None:
        """Write the changes and numbers that were gathered."""
        for run_id, values in self._changes.items():
            columns = ", ".join(f"{name} = ?" for name in values)
            parameters = [*_encoded(values).values(), run_id]
            self._connection.execute(f"UPDATE runs SET {columns} WHERE run_id = ?", parameters)
        self._changes.clear()
        self._insert("metrics", _METRICS, self._metrics)
        self._insert("machine_samples", _SAMPLES, self._samples)

    def _insert(self, table: str, kinds: dict[str, str], rows: list[tuple[Any, ...]]) -> None:
        """Insert rows, and forget them."""
        if not rows:
            return
        import pyarrow as pa

        columns = zip(kinds.items(), zip(*rows, strict=True), strict=True)
        incoming = pa.table({name: pa.array(values, kind) for (name, kind), values in columns})
        self._connection.register("incoming", incoming)
        self._connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
        self._connection.unregister("incoming")
        rows.clear()


def _encoded(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns with JSON values as the text in which the database keeps them."""
    return {
        name: json.dumps(value) if name in JSON_COLUMNS and value is not None else value
        for name, value in columns.items()
    }
