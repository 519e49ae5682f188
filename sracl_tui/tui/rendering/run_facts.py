"""The facts of a listed run, for the pane beside the list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Group
from rich.table import Table
from rich.text import Text

from engine.metric_registry import title, value_text
from sracl_tui import formatting
from sracl_tui.tui.rendering.run_list import shown_name
from store.run_row import HEADLINE_METRICS, ListedRun, dataset_of


def facts(run: ListedRun, differences: Mapping[str, str]) -> Group:
    """State, data, metrics, settings that differ, time and costs of a run, a line each."""
    grid = Table.grid(padding=(0, 1))
    for name, value in _facts(run, differences):
        grid.add_row(name, Text(formatting.line(value), overflow="fold"))
    reason = [Text(formatting.line(run["reason"]))] if run["reason"] else []
    return Group(Text(formatting.line(shown_name(run, differences)), "bold"), grid, *reason)


def _facts(run: ListedRun, differences: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield "state", formatting.state(run["state"], run["warnings"])
    if run["warnings"]:
        yield "warnings", str(run["warnings"])
    yield "data", dataset_of(run)
    best = f", best {run['best_epoch']}" if run["best_epoch"] else ""
    yield "epochs", f"{run['epoch']}{best}"
    split = ""
    for column, (of, name) in HEADLINE_METRICS.items():
        value = run.get(column)
        if isinstance(value, float):
            yield of if of != split else "", f"{title(name)} {value_text(name, value)}"
            split = of
    yield "preset", run["preset"] or ""
    name = "differs"
    for part in differences.get(run["config_hash"], "").split():
        yield name, part
        name = ""
    yield "seed", str(run["seed"])
    total = (run["timings"] or {}).get("total")
    if total is not None:
        yield "time", formatting.clock(total, tenths=True)
    if run["usd"] != 0.0:
        yield "cost", formatting.dollars(run["usd"])
    for name, value in (("group", run["group_name"]), ("tags", " ".join(run["tags"])), ("note", run["note"])):
        if value:
            yield name, value
    yield "created", formatting.moment(run["created_at"]) if run["created_at"] else ""
    yield "id", run["run_id"]
