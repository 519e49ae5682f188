"""The list of runs as rows of a table, drawn again only where a row changed."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.metric_registry import oriented, title, value_text
from sracl_tui import formatting
from sracl_tui.services.run_filter import Row as Run
from sracl_tui.services.run_list import METRICS, RunGroup, differing_settings
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out
from store.run_row import HEADLINE_METRICS, SHORT_METRICS, MetricName, dataset_of, metric_column
from store.run_states import ACTIVE

UNNAMED = 20
"""Columns for what differs, in place of a name."""
WELCOME = (
    "No runs here yet.\n\n"
    "SRA-CL recommends the next item: neighbors with a similar preference, which language models summarize, are contrasted\n"
    "with each user while a sequence model is trained. This app shows what such runs learn, and starts them.\n\n"
    "d  makes the synthetic demo set, trains SRA-CL on it (2 minutes) and opens the Inspector\n"
    "6  lists data sets; n there imports a file of yours\n"
    "4  opens the form for a run with your own settings\n\n"
    "Or in a shell:  sracl run"
)
_BEFORE = (Column("name", "run", most=26), Column("state", "state"), Column("data", "data", most=18))
_SHORT = tuple(Column(key, f"test {title(name)}", right=True) for key, name in zip(METRICS, SHORT_METRICS, strict=True))
_AFTER = (
    Column("epoch", "epochs", right=True),
    Column("time", "time", right=True),
    Column("usd", "cost", right=True),
    Column("seed", "seed", right=True),
    Column("preset", "preset", most=18),
    Column("differs", "differs in", flex=True, least=18, most=48),
    Column("tags", "tags", most=20),
    Column("group", "group", most=24),
    Column("created", "created (UTC)"),
    Column("note", "note", most=40),
)


COLUMNS = (*_BEFORE, *_SHORT, *_AFTER)
"""Those of a list that nobody asked for further metrics."""


DEFAULT_KEYS = [column.key for column in COLUMNS]


def _further(metrics: Iterable[MetricName]) -> tuple[Column, ...]:
    return tuple(Column(f"{split}.{name}", f"{split} {title(name)}", right=True) for split, name in metrics)


CHOICES = (
    *COLUMNS,
    *_further(metric for column, metric in HEADLINE_METRICS.items() if column not in METRICS.values()),
)
"""Columns to choose from."""


def columns(metrics: Sequence[MetricName]) -> tuple[Column, ...]:
    """The columns, with further metrics behind those that are always there."""
    return (*_BEFORE, *_SHORT, *_further(metrics), *_AFTER)


def _places(every: Sequence[Column], chosen: Sequence[str]) -> list[int]:
    """Places of the chosen columns, then of metrics that a filter or the order asks for; all where none is chosen."""
    known = {column.key: place for place, column in enumerate(every)}
    if not any(key in known for key in chosen):
        return list(known.values())
    asked = [key for key in known if key not in DEFAULT_KEYS]
    first = [] if "name" in chosen else ["name"]
    return [known[key] for key in dict.fromkeys([*first, *chosen, *asked]) if key in known]


class RunTableBuilder:
    """Lines as a table. Rows are kept: only those of runs that have changed are written anew."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Any, ...]] = {}
        self._hashes: set[str] = set()
        self.found_differences: dict[str, str] = {}
        """Those of the last list."""

    def differences(self, rows: Sequence[Run]) -> dict[str, str]:
        """`differing_settings`, computed anew only when the set of configs changes."""
        hashes = {row["config_hash"] for row in rows}
        if hashes != self._hashes:
            self._hashes, self.found_differences = hashes, differing_settings(rows)
        return self.found_differences

    def table(
        self,
        groups: Sequence[RunGroup],
        *,
        marked: Collection[str],
        baseline: RunGroup | None,
        differences: dict[str, str],
        metrics: Sequence[MetricName] = (),
        chosen: Sequence[str] = (),
    ) -> TableData:
        """The table of the list; rows that have not changed are reused.

        Args:
            metrics: further ones, each a column.
            chosen: keys of the columns to show, in their order; empty for all.
        """
        every = columns(metrics)
        places = _places(every, chosen)
        named = [*(("test", name) for name in SHORT_METRICS), *metrics]
        kept, self._rows = self._rows, {}
        base = baseline.runs if baseline is not None else ()
        rows = []
        for group in groups:
            looks = (group.key in marked, base, differences.get(group.first["config_hash"], ""), named, places)
            known = kept.get(group.key)
            if known is None or not _are_same(known[0], group.runs) or known[1] != looks:
                row = _row(group, marked, baseline, differences, named)
                known = group.runs, looks, row if places == [*range(len(every))] else _picked(row, places)
            self._rows[group.key] = known
            rows.append(known[2])
        return lay_out([every[place] for place in places], rows)


def _picked(row: Row, places: Sequence[int]) -> Row:
    """A row with some of its cells."""
    return replace(
        row, cells=tuple(row.cells[place] for place in places), styles=tuple(row.styles[place] for place in places)
    )


def shown_name(run: Run, differences: Mapping[str, str]) -> str:
    """A run's name; of one that nobody named its preset, what differs in it, and the end of its ID."""
    if run["name"] != run["run_id"]:
        return run["name"]
    what = differences.get(run["config_hash"]) or run["preset"] or "run"
    return f"{formatting.fit(what, UNNAMED).rstrip()} ·{run['run_id'][-4:]}"


def _are_same(some: tuple[Run, ...], others: tuple[Run, ...]) -> bool:
    """Whether these are the very same rows: unchanged ones are handed on as they are."""
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def _row(
    group: RunGroup,
    marked: Collection[str],
    baseline: RunGroup | None,
    differences: dict[str, str],
    named: Sequence[MetricName],
) -> Row:
    run = group.first
    pinned = baseline is not None and group.key == baseline.key
    sign = "*" if group.key in marked else "=" if pinned else ""
    metrics, looks = zip(*(_metric(group, metric, None if pinned else baseline) for metric in named), strict=True)
    state, style = _state(group)
    cells = (
        formatting.line(shown_name(run, differences) + (f" x{len(group.runs)}" if group.folded else "")),
        state,
        formatting.line(dataset_of(run)),
        *metrics,
        _epoch(group),
        _time(group),
        _cost(group),
        ",".join(str(r["seed"]) for r in reversed(group.runs)) if group.folded else str(run["seed"]),
        formatting.line(run["preset"] or ""),
        formatting.line(differences.get(run["config_hash"], "")),
        formatting.line(" ".join(run["tags"])),
        formatting.line(run["group_name"] or ""),
        f"{run['created_at']:%m-%d %H:%M}" if run["created_at"] else "",
        formatting.line(run["note"]),
    )
    return Row(
        group.key,
        cells,
        ("strong", style, "", *looks, "", "dim", "dim", "dim", "dim", "", "accent", "accent", "dim", "dim"),
        sign,
    )


def _state(group: RunGroup) -> tuple[str, str]:
    names, warnings = Counter(run["state"] for run in group.runs), sum(run["warnings"] for run in group.runs)
    if len(names) == 1:
        name = next(iter(names))
        return formatting.state(name, warnings), formatting.STATE_STYLES.get(name, "")
    live = next((name for name in names if name in ACTIVE), None)
    shown = live or names.most_common(1)[0][0]
    return f"{formatting.state(shown, warnings)} {names[shown]}/{len(group.runs)}", formatting.STATE_STYLES.get(
        shown, ""
    )


def _metric(group: RunGroup, metric: MetricName, baseline: RunGroup | None) -> tuple[str, str]:
    """A metric, or its difference from the baseline; with the standard deviation over seeds."""
    column, name = metric_column(*metric), metric[1]
    value = group.mean(column)
    if value is None:
        return "-", "dim"
    values = group.values(column)
    spread = f" ±{value_text(name, statistics.stdev(values))} n={len(values)}" if len(values) > 1 else ""
    base = baseline.mean(column) if baseline is not None else None
    if base is None:
        return f"{value_text(name, value)}{spread}", ""
    by = value - base
    gain = oriented(name, by)
    return (
        f"{'+' if by >= 0 else ''}{value_text(name, by)}{spread}",
        "good" if gain > 0 else "bad" if gain < 0 else "dim",
    )


def _epoch(group: RunGroup) -> str:
    """Epochs done; for a running run also its progress."""
    run = group.first
    if group.folded:
        return f"{min(r['epoch'] for r in group.runs)}-{max(r['epoch'] for r in group.runs)}"
    progress = run.get("progress") or {}
    most = progress.get("epochs") or run["config"].get("train", {}).get("epochs")
    if run["state"] not in ACTIVE or not most:
        return str(run["epoch"])
    percent = f" {progress['percent']} %" if progress.get("percent") is not None else ""
    if progress and progress["stage"] != "train":
        return f"{progress['stage']}{percent}"
    return f"{run['epoch']}/{most}{percent}"


def _time(group: RunGroup) -> str:
    """Duration, summed over seeds; for a running run an upper bound of the time that is left."""
    left = (group.first.get("progress") or {}).get("left")
    if left is not None and not group.folded:
        return f"{formatting.clock(left)} left"
    times = [(run["timings"] or {}).get("total") for run in group.runs]
    known = [time for time in times if time is not None]
    return formatting.clock(sum(known), tenths=True) if known else "-"


def _cost(group: RunGroup) -> str:
    """What its calls have cost; a plus where the price of some is unknown."""
    usd = sum(run["usd_known"] for run in group.runs)
    unknown = any(run["usd"] is None for run in group.runs)
    return f"{formatting.dollars(usd)}{'+' if unknown else ''}" if usd else "?" if unknown else "-"
