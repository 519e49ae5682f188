"""Metrics as columns of a query: `test_map_20` for `map@20` on test, for the metrics that the caller names.

The store knows no list of metrics: any name that a run has measured can be a column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from store.run_row import MetricName, metric_column


@dataclass(frozen=True)
class MetricColumns:
    """Parts of a query that has metrics of the view `run_metrics` as columns."""

    selected: str
    """For the SELECT list, with a comma before each column; empty without metrics."""
    joined: str
    """For the FROM clause of a query with a column run_id."""


def metric_columns(metrics: Iterable[MetricName]) -> MetricColumns:
    """Columns of metrics; of two that would have one name the first is taken."""
    named: dict[str, MetricName] = {}
    for metric in metrics:
        named.setdefault(metric_column(*metric), metric)
    if not named:
        return MetricColumns("", "")
    values = [
        f"max(value) FILTER (split = {_literal(split)} AND name = {_literal(name)}) AS {_quoted(column)}"
        for column, (split, name) in named.items()
    ]
    selected = "".join(f", wide.{_quoted(column)}" for column in named)
    return MetricColumns(
        selected, f"LEFT JOIN (SELECT run_id, {', '.join(values)} FROM run_metrics GROUP BY run_id) wide USING (run_id)"
    )


def beyond(metrics: Sequence[MetricName], columns: Iterable[str]) -> list[MetricName]:
    """The metrics that have no column among these."""
    known = set(columns)
    return [metric for metric in metrics if metric_column(*metric) not in known]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
