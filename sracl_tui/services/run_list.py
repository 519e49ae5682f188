"""The list of runs as rows of a table: what differs, seeds folded into one row, differences from a pinned baseline."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.config import Config, flatten
from sracl_tui.services.run_filter import Row as Run
from store.run_row import SHORT_METRICS, metric_column

METRICS = tuple(metric_column("test", name) for name in SHORT_METRICS)
"""Columns of the metrics that the list has room for."""
HIDDEN = ("train.seed", "train.device", "train.threads", "semantics.budget", "data.dataset", "evaluate.metrics")


@dataclass(frozen=True)
class RunGroup:
    """A row of the list: one run or, with seeds folded, the runs of one config in a group."""

    key: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def folded(self) -> bool:
        return len(self.runs) > 1

    def values(self, metric: str) -> list[float]:
        """Values of a metric, of the runs that have it."""
        return [value for run in self.runs if (value := run.get(metric)) is not None]

    def mean(self, metric: str) -> float | None:
        """Mean of a metric over the runs that have it; none if no run has."""
        values = self.values(metric)
        return statistics.fmean(values) if values else None


def group_runs(rows: Sequence[Run], *, folded: bool) -> list[RunGroup]:
    """Runs as groups; folded, runs with the same group and config share one, at the place of the newest."""
    if not folded:
        return [RunGroup(row["run_id"], (row,)) for row in rows]
    sets: dict[Any, list[Run]] = {}
    for row in rows:
        key = (row["group_name"], row["config_hash"]) if row["group_name"] else row["run_id"]
        sets.setdefault(key, []).append(row)
    return [RunGroup(runs[0]["run_id"], tuple(runs)) for runs in sets.values()]


def sort_groups(lines: list[RunGroup], column: str, *, descending: bool) -> list[RunGroup]:
    """Groups sorted by a column; those without a value come last, and an unknown column changes nothing."""
    if column not in _SORT_VALUES:
        return lines
    values = [_sort_value(line, column) for line in lines]
    keyed = [pair for pair in zip(values, lines, strict=True) if pair[0] is not None]
    empty = [line for value, line in zip(values, lines, strict=True) if value is None]
    return [line for _, line in sorted(keyed, key=lambda pair: pair[0], reverse=descending)] + empty


def _sort_value(line: RunGroup, column: str) -> Any:
    found = _SORT_VALUES[column](line)
    return None if found == "" else found


_SORT_VALUES: dict[str, Callable[[RunGroup], Any]] = {
    "name": lambda line: line.first["name"],
    "state": lambda line: line.first["state"],
    "data": lambda line: line.first["dataset_name"],
    "hr": lambda line: line.mean(METRICS[0]),
    "ndcg": lambda line: line.mean(METRICS[1]),
    "epoch": lambda line: line.first["epoch"],
    "time": lambda line: (line.first["timings"] or {}).get("total"),
    "usd": lambda line: sum(run["usd_known"] for run in line.runs),
    "seed": lambda line: line.first["seed"],
    "preset": lambda line: line.first["preset"],
    "tags": lambda line: " ".join(line.first["tags"]),
    "group": lambda line: line.first["group_name"],
    "note": lambda line: line.first["note"],
    "created": lambda line: line.first["created_at"],
    "differs": lambda line: line.first["config_hash"],
}


def differing_settings(rows: Sequence[Run]) -> dict[str, str]:
    """For each config_hash, the settings in which it differs from the defaults or from most other runs of the list."""
    standard = flatten(Config().model_dump(mode="json"))
    flats = {row["config_hash"]: flatten(row["config"]) for row in rows}
    shared = Counter[tuple[str, str]]()
    for flat in flats.values():
        shared.update((path, repr(value)) for path, value in flat.items() if standard.get(path) != value)
    text: dict[str, str] = {}
    for key, flat in flats.items():
        parts = [
            f"{path.split('.')[-1]}={_short(value)}"
            for path, value in flat.items()
            if path not in HIDDEN
            and standard.get(path) != value
            and (len(flats) == 1 or shared[path, repr(value)] < len(flats))
        ]
        text[key] = " ".join(parts)
    return text


def _short(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
