"""The list of runs as rows of a table: what differs, seeds folded into one row, differences from a pinned baseline."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.config import Config, flatten
from engine.errors import ConfigError
from engine.metric_registry import oriented, split_name
from sracl_tui.services import run_filter
from sracl_tui.services.run_filter import Row as Run
from sracl_tui.services.run_filter import metric_of
from store.run_row import SHORT_METRICS, MetricName, metric_column

METRICS = {split_name(name)[0]: metric_column("test", name) for name in SHORT_METRICS}
"""Key and column of each metric that the list always shows."""
HIDDEN = (
    "train.seed",
    "train.device",
    "train.threads",
    "train.processes",
    "semantics.budget",
    "data.dataset",
    "evaluate.metrics",
)


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
    """Groups sorted by a column or a metric such as `map@20`; those without a value come last, and an unknown column
    changes nothing.
    """
    if (value_of := _sort_key(column)) is None:
        return lines
    values = [_sort_value(line, value_of) for line in lines]
    keyed = [pair for pair in zip(values, lines, strict=True) if pair[0] is not None]
    empty = [line for value, line in zip(values, lines, strict=True) if value is None]
    return [line for _, line in sorted(keyed, key=lambda pair: pair[0], reverse=descending)] + empty


@dataclass(frozen=True)
class Choice:
    """Which runs of a list, in which order, and the metrics that their rows need for it."""

    predicates: tuple[run_filter.Predicate, ...]
    sort: str | None
    metrics: tuple[MetricName, ...]
    """In the order in which they were asked for."""

    @classmethod
    def of(cls, filter_: str, sort: str | None, metrics: Iterable[str] = ()) -> Choice:
        """A choice by a filter, a column or metric to sort by, and further metrics.

        Raises:
            ConfigError: one of them names something that no list has.
        """
        predicates = run_filter.parse(filter_)
        found = [metric_of(field) for field in metrics]
        if None in found:
            raise ConfigError(
                f"there is no metric {list(metrics)[found.index(None)]!r}", where="--metric", hint=_SUCH_AS
            )
        if sort is not None and _sort_key(sort) is None:
            raise ConfigError(
                f"there is no column {sort!r}", where="--sort", hint=f"{', '.join(SORT_VALUES)}; {_SUCH_AS}"
            )
        named = [*found, *run_filter.metrics_of(predicates), sort_metric(sort) if sort else None]
        return cls(tuple(predicates), sort, tuple(dict.fromkeys(metric for metric in named if metric is not None)))

    def of_rows(self, rows: Sequence[Run]) -> list[Run]:
        """The rows that fit: of a metric the best first, of another column in rising order, those without a value last."""
        chosen = run_filter.select(list(rows), list(self.predicates))
        if self.sort is None:
            return chosen
        metric = metric_of(self.sort) or (("test", self.sort) if self.sort in METRICS else None)
        best_first = metric is not None and oriented(metric[1], 1.0) > 0 and metric[0] != "train"
        groups = group_runs(chosen, folded=False)
        return [group.first for group in sort_groups(groups, self.sort, descending=best_first)]


_SUCH_AS = "a metric such as ndcg@20, valid.mrr@10 or train.loss_rec"


def further_metrics(
    predicates: Iterable[run_filter.Predicate], sort: str, columns: Iterable[str] = ()
) -> list[MetricName]:
    """Metrics of a filter, of a column to sort by and of chosen columns, beyond those that the list always has."""
    named = dict.fromkeys([*run_filter.metrics_of(predicates), *filter(None, map(sort_metric, [sort, *columns]))])
    return [metric for metric in named if metric_column(*metric) not in METRICS.values()]


def falls(column: str) -> bool:
    """Whether the list is sorted by a column in falling order first."""
    return column in ("created", "time", "epoch", "usd") or column not in SORT_VALUES


def sort_metric(column: str) -> MetricName | None:
    """The metric that a column to sort by names; none for the columns that every list has."""
    return None if column in SORT_VALUES or column in METRICS else metric_of(column)


def _sort_key(column: str) -> Callable[[RunGroup], Any] | None:
    if column in SORT_VALUES:
        return SORT_VALUES[column]
    metric = METRICS.get(column) or ((named := metric_of(column)) and metric_column(*named))
    return (lambda line: line.mean(metric)) if metric else None


def _sort_value(line: RunGroup, value_of: Callable[[RunGroup], Any]) -> Any:
    found = value_of(line)
    return None if found == "" else found


SORT_VALUES: dict[str, Callable[[RunGroup], Any]] = {
    "name": lambda line: line.first["name"],
    "state": lambda line: line.first["state"],
    "data": lambda line: line.first["dataset_name"],
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
