"""Takes journals into the databases. Offsets move in the same transaction, so ingesting twice changes nothing."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from store.home import Home
from store.journal import Line, lock_held, read_lines, segments
from store.rows import RunRows

EDITS = "edits"
ACTIVE = "SELECT run_id, host, boot_id, heartbeat_at, pid FROM runs WHERE state IN ('running', 'stopping')"
SILENT_SECONDS = 60.0
"""A run of another machine, whose lock cannot be asked, is lost when it has been silent for so long."""


@dataclass(frozen=True)
class Segment:
    """A journal segment with bytes that have not been taken in."""

    source: str
    number: int
    path: Path
    start: int


@dataclass
class Batch:
    """New events of one segment."""

    source: str
    number: int
    lines: list[Line]
    end: int
    problems: list[str] = field(default_factory=list)


def offsets_of(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, int], int]:
    """Bytes taken in, by source and segment."""
    rows = connection.execute("SELECT source, segment, position FROM journal_offsets").fetchall()
    return {(source, segment): position for source, segment, position in rows}


def pending_segments(home: Home, offsets: dict[tuple[str, int], int]) -> Iterator[Segment]:
    """Segments that have grown: of runs first, then of people's edits."""
    folders = sorted(entry.path for entry in os.scandir(home.runs) if entry.is_dir())
    for folder in [*map(Path, folders), home.edits]:
        source = EDITS if folder == home.edits else folder.name
        for path in segments(folder):
            number = int(path.stem.removeprefix("events-"))
            start = offsets.get((source, number), 0)
            if path.stat().st_size > start:
                yield Segment(source, number, path, start)


def read_pending(home: Home, offsets: dict[tuple[str, int], int], warnings: list[str]) -> list[Batch]:
    """All new events."""
    batches: list[Batch] = []
    for segment in pending_segments(home, offsets):
        lines, end, problems = read_lines(segment.path, segment.start)
        warnings += problems
        if end > segment.start:
            batches.append(Batch(segment.source, segment.number, lines, end))
    return batches


def is_live(home: Home, source: str) -> bool:
    """Whether a run's process lives and publishes by itself."""
    return source != EDITS and lock_held(home.runs / source)


def has_vectors(batches: list[Batch]) -> bool:
    """Whether the second file has to be published too."""
    return any(line.event == "vectors_made" for batch in batches for line in batch.lines)


def take_vectors(connection: duckdb.DuckDBPyConnection, batches: list[Batch], warnings: list[str]) -> None:
    """Add the vectors that are new."""
    for batch in batches:
        for line in batch.lines:
            if line.event == "vectors_made" and (table := _table(line, warnings)) is not None:
                connection.register("incoming", table)
                connection.execute(
                    "INSERT INTO vectors SELECT sha256, $1, $2, vector FROM incoming i WHERE NOT EXISTS "
                    "(SELECT 1 FROM vectors v WHERE v.sha256 = i.sha256 AND v.encoder = $1)",
                    [line.fields["encoder"], line.fields["dimension"]],
                )
                connection.unregister("incoming")


def take_events(connection: duckdb.DuckDBPyConnection, batches: list[Batch], warnings: list[str]) -> None:
    """Add everything else, and move the offsets; call it inside a transaction."""
    rows = RunRows(connection)
    taker = _Taker(connection, rows, warnings)
    for batch in batches:
        for line in batch.lines:
            try:
                taker.take(batch.source, batch.number, line)
            except (KeyError, TypeError, ValueError) as error:
                warnings.append(f"{batch.source}: an event {line.event!r} was skipped: {error!r}")
    rows.flush()
    connection.executemany(
        "INSERT INTO journal_offsets VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET position = excluded.position",
        [(batch.source, batch.number, batch.end) for batch in batches],
    ) if batches else None


def dead_runs(home: Home, active: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Run id, state and reason of every active run whose process is gone without a word."""
    dead: list[tuple[str, str, str]] = []
    for run in active:
        verdict = verdict_of(home, run)
        if verdict is not None:
            dead.append((run["run_id"], *verdict))
    return dead


def verdict_of(home: Home, run: dict[str, Any]) -> tuple[str, str] | None:
    """State and reason of an active run if it is dead; none while it lives or may live."""
    if lock_held(home.runs / run["run_id"]):
        return None
    if run["host"] != platform.node():
        beat = run["heartbeat_at"]
        silent = (datetime.now(UTC).replace(tzinfo=None) - beat).total_seconds() if beat else 0.0
        return (
            ("lost", f"it ran on {run['host']} and has been silent since {beat:%Y-%m-%d %H:%M}")
            if silent > SILENT_SECONDS
            else None
        )
    if run["boot_id"] != boot_id():
        return "lost", "the machine was restarted"
    return "killed", f"its process (PID {run['pid']}) ended without a word"


def bury(home: Home, connection: duckdb.DuckDBPyConnection) -> None:
    """Write down which active runs are dead."""
    from store.database import fetch

    for run_id, state, reason in dead_runs(home, fetch(connection, ACTIVE).to_pylist()):
        connection.execute(
            "UPDATE runs SET state = ?, reason = ?, ended_at = heartbeat_at WHERE run_id = ?",
            [state, reason, run_id],
        )


def boot_id() -> str | None:
    """Changes with every start of the machine; none where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _table(line: Line, warnings: list[str]) -> pa.Table | None:
    import pyarrow.parquet as pq

    if line.table is None:
        return None
    try:
        return pq.read_table(line.table)
    except (OSError, pa.ArrowInvalid) as error:
        warnings.append(f"{line.table}: the table of {line.event!r} cannot be read and was skipped: {error}")
        return None


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None)


class _Taker:
    """One event to rows; the method that takes an event is named after it, and unknown events are left alone."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, rows: RunRows, warnings: list[str]) -> None:
        self._connection, self._rows, self._warnings = connection, rows, warnings

    def take(self, source: str, segment: int, line: Line) -> None:
        if source != EDITS:
            self._rows.seen(source, _utc(line.at))
        take = getattr(self, f"_{line.event}", None)
        if take is not None:
            take(source, segment, line)

    def _run_created(self, source: str, segment: int, line: Line) -> None:
        self._rows.create(source, line.fields, _utc(line.at))

    def _run_started(self, source: str, segment: int, line: Line) -> None:
        self._rows.update(
            source,
            state="running",
            reason=None,
            ended_at=None,
            started_at=_utc(line.at),
            segments=segment,
            **line.fields,
        )

    def _run_resumed(self, source: str, segment: int, line: Line) -> None:
        """What an earlier segment wrote beyond the checkpoint did not happen; answers and calls did."""
        self._rows.flush()
        for table in ("metrics", "user_ranks", "synthesizer_weights"):
            self._connection.execute(
                f"DELETE FROM {table} WHERE run_id = ? AND step > ?", [source, line.fields["step"]]
            )
        self._rows.update(source, epoch=line.fields["epoch"], best_epoch=line.fields.get("best_epoch"))

    def _dataset_used(self, source: str, segment: int, line: Line) -> None:
        self._rows.update(source, **line.fields)

    _lists_used = _device_used = _dataset_used

    def _stopping(self, source: str, segment: int, line: Line) -> None:
        self._rows.update(source, state="stopping", reason=line.fields.get("reason"))

    def _run_ended(self, source: str, segment: int, line: Line) -> None:
        values = dict(line.fields)
        values.pop("epochs", None)
        self._rows.update(source, ended_at=_utc(line.at), **values)

    def _epoch_finished(self, source: str, segment: int, line: Line) -> None:
        fields = line.fields
        self._rows.update(source, epoch=fields["epoch"])
        if fields["improved"]:
            self._rows.update(source, best_epoch=fields["epoch"])
        seconds = [
            {"split": "train", "name": "seconds", "value": fields["seconds"], "subgroup": "all"},
            {"split": "valid", "name": "seconds", "value": fields["evaluate_seconds"], "subgroup": "all"},
        ]
        self._rows.metrics(source, fields["epoch"], fields["step"], [*fields["metrics"], *seconds], _utc(line.at))

    def _measured(self, source: str, segment: int, line: Line) -> None:
        fields = line.fields
        self._rows.metrics(source, fields["epoch"], fields["step"], fields["metrics"], _utc(line.at))

    def _evaluated(self, source: str, segment: int, line: Line) -> None:
        """Final metrics; the ones of all users on validation are already there from the best epoch."""
        fields, split = line.fields, line.fields["split"]
        fresh = [m for m in fields["metrics"] if split != "valid" or m["subgroup"] != "all" or m["name"] == "n"]
        self._rows.flush()
        self._connection.execute(
            "DELETE FROM metrics WHERE run_id = ? AND split = ? AND (split = 'test' OR subgroup <> 'all' OR name = 'n')",
            [source, split],
        )
        self._rows.metrics(source, fields["epoch"], fields["step"], fresh, _utc(line.at))
        self._connection.execute("DELETE FROM user_ranks WHERE run_id = ? AND split = ?", [source, split])
        self._insert(
            line,
            "INSERT INTO user_ranks SELECT ?, ?, user_id, rank, ? FROM incoming",
            [source, split, fields["step"]],
        )

    def _weights_sampled(self, source: str, segment: int, line: Line) -> None:
        fields = line.fields
        values = [source, fields["phase"], fields["epoch"], fields["step"]]
        self._connection.execute("DELETE FROM synthesizer_weights WHERE run_id = ? AND phase = ?", values[:2])
        self._insert(
            line,
            "INSERT INTO synthesizer_weights SELECT ?, ?, ?, ?, anchor_id, neighbor_id, weight FROM incoming",
            values,
        )

    def _summary_set_made(self, source: str, segment: int, line: Line) -> None:
        f = line.fields
        if f.get("template"):
            self._connection.execute(
                "INSERT INTO prompts VALUES (?, ?) ON CONFLICT DO NOTHING",
                [f["prompt_version"], f["template"]],
            )
        self._connection.execute(
            "INSERT INTO summary_sets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [
                f["set_id"], f["dataset_id"], f["kind"], f["provider"], f["model"], f["prompt_version"], f["unit"],
                json.dumps(f["parameters"]), source, _utc(line.at),
            ],
        )  # fmt: skip

    def _summaries_made(self, source: str, segment: int, line: Line) -> None:
        self._insert(
            line,
            "INSERT INTO summaries SELECT key, text, tokens_in, tokens_out, tokens_cached, usd, finish_reason, fallback, "
            "?, ? FROM incoming ON CONFLICT DO NOTHING",
            [source, _utc(line.at)],
        )

    def _summaries_linked(self, source: str, segment: int, line: Line) -> None:
        set_id = line.fields["set_id"]
        self._insert(
            line,
            "INSERT INTO summary_links SELECT ?, owner_id, key FROM incoming i WHERE NOT EXISTS "
            "(SELECT 1 FROM summary_links l WHERE l.set_id = ? AND l.owner_id = i.owner_id)",
            [set_id, set_id],
        )

    def _neighbors_found(self, source: str, segment: int, line: Line) -> None:
        f = line.fields
        known = self._connection.execute("SELECT 1 FROM neighbor_lists WHERE list_id = ?", [f["list_id"]]).fetchone()
        if known:
            return
        if self._insert(
            line,
            "INSERT INTO neighbors SELECT ?, anchor_id, rank, neighbor_id, similarity FROM incoming",
            [f["list_id"]],
        ):
            self._connection.execute(
                "INSERT INTO neighbor_lists VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    f["list_id"],
                    f["dataset_id"],
                    f["kind"],
                    json.dumps(f["parameters"]),
                    f["recall"],
                    source,
                    _utc(line.at),
                ],
            )

    def _run_tagged(self, source: str, segment: int, line: Line) -> None:
        self._rows.update(line.fields["run_id"], tags=line.fields["tags"])

    def _run_noted(self, source: str, segment: int, line: Line) -> None:
        self._rows.update(line.fields["run_id"], note=line.fields["note"])

    def _run_renamed(self, source: str, segment: int, line: Line) -> None:
        self._rows.update(line.fields["run_id"], name=line.fields["name"])

    def _insert(self, line: Line, query: str, values: list[Any]) -> bool:
        table = _table(line, self._warnings)
        if table is None:
            return False
        self._connection.register("incoming", table)
        try:
            self._connection.execute(query, values)
        finally:
            self._connection.unregister("incoming")
        return True
