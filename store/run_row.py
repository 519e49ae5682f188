"""The row of a run, with a type for each column: as the tables, the list of runs and the journals give it.

The keys are the columns of `runs` and of the list's query; `docs/schema.md` says what they hold. Times are UTC without a zone.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, NotRequired, TypedDict

from store.run_states import STATES

JSON_COLUMNS = ("config", "packages", "timings")
"""Columns that the database keeps as JSON text."""
MetricName = tuple[str, str]
"""Split and full name of a metric: `("test", "hr@20")`."""
HEADLINE_METRICS: dict[str, MetricName] = {
    "test_hr_20": ("test", "hr@20"),
    "test_ndcg_20": ("test", "ndcg@20"),
    "test_mrr_20": ("test", "mrr@20"),
    "valid_hr_20": ("valid", "hr@20"),
    "valid_ndcg_20": ("valid", "ndcg@20"),
    "valid_mrr_10": ("valid", "mrr@10"),
}
"""Metrics of all users that stand in a listed run: column to split and name of the metric."""
SHORT_METRICS = ("hr@20", "ndcg@20")
"""Test metrics shown where there is room for two."""


def metric_column(split: str, name: str) -> str:
    """Column of the views that holds a metric: `test_hr_20` for `hr@20` on `test`."""
    return f"{split}_{name.replace('@', '_')}"


def decode_json(row: dict[str, Any]) -> list[str]:
    """Decode the JSON columns that are text, in place, and look at all others of which others than this program may have written.

    Returns:
        Columns that are not what this program writes; they have the value of `_INSTEAD` then, and the row's reason names them.
    """
    damaged = []
    for name in JSON_COLUMNS:
        if isinstance(row.get(name), str):
            try:
                row[name] = json.loads(row[name])
            except (ValueError, RecursionError):
                row[name] = ...
    for name, fits in _SHAPES.items():
        if name in row and not fits(row[name]):
            row[name] = _INSTEAD.get(name)
            damaged.append(name)
    if damaged:
        row["reason"] = "; ".join(filter(None, [f"damaged: {', '.join(damaged)}", row.get("reason")]))
    return damaged


def _sections(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(section, dict) and _shallow(section) for section in value.values()
    )


def _shallow(value: Any, levels: int = 5) -> bool:
    """Whether no more collections than `levels` stand in each other: what walks through them calls itself."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_shallow(part, levels - 1) for part in parts)


def _numbers(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(_number(one) for one in value.values()))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 2**53


def _texts(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict) and all(one is None or isinstance(one, str) for one in value.values())
    )


def _words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _moment(value: Any) -> bool:
    """A time that every time zone can say, or its text in JSON."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return False
    return value is None or (isinstance(value, datetime) and 1 < value.year < 9999)


def _whole(value: Any) -> bool:
    return value is None or (isinstance(value, int) and -1 <= value < 2**53)


_TIMES = ("created_at", "started_at", "heartbeat_at", "ended_at")
_COUNTS = ("epoch", "best_epoch", "seed", "segments", "threads", "peak_memory_bytes")
_SHAPES: dict[str, Callable[[Any], bool]] = {
    "config": _sections,
    "packages": _texts,
    "timings": _numbers,
    "tags": _words,
    "state": STATES.__contains__,
    "created_at": lambda value: value is not None and _moment(value),
    **dict.fromkeys(_TIMES[1:], _moment),
    **dict.fromkeys(_COUNTS, _whole),
}
_INSTEAD: dict[str, Any] = {
    "config": {},
    "tags": [],
    "state": "lost",
    "created_at": datetime(1970, 1, 1),
    "epoch": 0,
    "seed": 0,
    "segments": 0,
}
"""What stands for a damaged value where it cannot be None."""


class RunProcess(TypedDict):
    """What tells whether a run's process lives."""

    run_id: str
    state: str
    heartbeat_at: datetime | None
    pid: int | None
    host: str | None
    boot_id: str | None


class Progress(TypedDict):
    """How far a living run is."""

    stage: str
    percent: int | None
    left: int | None
    """Seconds."""
    epochs: NotRequired[int]
    """Epochs at most, where it trains."""


class RunRow(RunProcess):
    """Columns that every row of a run has."""

    kind: str
    name: str
    reason: str | None
    preset: str | None
    group_name: str | None
    tags: list[str]
    note: str
    dataset_name: str | None
    seed: int
    config_hash: str
    config: dict[str, Any]
    epoch: int
    best_epoch: int | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    process_started: float | None
    exit_code: int | None
    signal: str | None
    timings: dict[str, float] | None


def dataset_of(run: RunRow) -> str:
    """Name of a run's data set: of the one that it read, else the one that its config asks for; empty where neither is known."""
    return run["dataset_name"] or run["config"].get("data", {}).get("dataset", "")


class ListedRun(RunRow):
    """A row of the list of runs: money beside the run, the columns HEADLINE_METRICS, and those of metrics that were asked for.

    A metric is read with `get(column)`: a float, or None.
    """

    usd: float | None
    """None where the price of a call is unknown."""
    usd_known: float
    warnings: int
    """Number of different warnings."""
    progress: NotRequired[Progress]
    """Of a living run that is followed in its journal."""


LISTED_COLUMNS = ListedRun.__required_keys__ | HEADLINE_METRICS.keys()
"""Columns that every listed run has."""


class StoredRun(RunRow):
    """A row of the table `runs`."""

    dataset_id: str | None
    dataset_sha256: str | None
    user_set_id: str | None
    item_set_id: str | None
    user_list_id: str | None
    item_list_id: str | None
    segments: int
    machine: str | None
    device: str | None
    threads: int | None
    code_version: str | None
    git_sha: str | None
    git_patch: str | None
    packages: dict[str, str] | None
    peak_memory_bytes: int | None
    executor: str
    handle: str | None
    prompts: str | None
    """Versions of the prompts or rules that wrote its texts, with commas between; none without texts."""
