"""The list of runs as rows of a table: what differs, seeds folded into one row, differences from a pinned baseline."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from engine.config import Config, flatten
from sracl_tui.cli.common import duration
from sracl_tui.filtering import Row as Run
from sracl_tui.widgets import words
from sracl_tui.widgets.table import Column, Grid, Row, lay_out
from store.runs import ACTIVE

METRICS = ("test_hr_20", "test_ndcg_20")
COLUMNS = (
    Column("name", "run", most=26),
    Column("state", "state"),
    Column("data", "data", most=18),
    Column("hr", "HR@20", right=True),
    Column("ndcg", "NDCG@20", right=True),
    Column("epoch", "epoch", right=True),
    Column("time", "time", right=True),
    Column("seed", "seed", right=True),
    Column("preset", "preset", most=18),
    Column("differs", "differs in", flex=True, least=18, most=48),
    Column("tags", "tags", most=20),
    Column("group", "group", most=24),
    Column("created", "created (UTC)"),
    Column("note", "note", most=40),
)
HIDDEN = ("train.seed", "train.device", "train.threads", "semantics.budget", "data.dataset")


@dataclass(frozen=True)
class Line:
    """What a row of the list stands for: one run, or the seeds of one config."""

    key: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def folded(self) -> bool:
        return len(self.runs) > 1

    def values(self, metric: str) -> list[float]:
        """The metric of those that have it."""
        return [run[metric] for run in self.runs if run.get(metric) is not None]

    def mean(self, metric: str) -> float | None:
        """Mean over the seeds."""
        values = self.values(metric)
        return statistics.fmean(values) if values else None


def lines_of(rows: Sequence[Run], *, folded: bool) -> list[Line]:
    """Runs as lines; folded, the runs of one group with one config are one line, where the newest of them stands."""
    if not folded:
        return [Line(row["run_id"], (row,)) for row in rows]
    sets: dict[Any, list[Run]] = {}
    for row in rows:
        key = (row["group_name"], row["config_hash"]) if row["group_name"] else row["run_id"]
        sets.setdefault(key, []).append(row)
    return [Line(runs[0]["run_id"], tuple(runs)) for runs in sets.values()]


def sort_lines(lines: list[Line], column: str, *, descending: bool) -> list[Line]:
    """Lines by a column; those without a value come last either way."""
    keyed = [(value, line) for line in lines if (value := _sort_value(line, column)) is not None]
    empty = [line for line in lines if _sort_value(line, column) is None]
    return [line for _, line in sorted(keyed, key=lambda pair: pair[0], reverse=descending)] + empty


def _sort_value(line: Line, column: str) -> Any:
    run = line.first
    if column in ("hr", "ndcg"):
        return line.mean(METRICS[column == "ndcg"])
    found = {
        "name": run["name"],
        "state": run["state"],
        "data": run["dataset_name"],
        "epoch": run["epoch"],
        "time": (run["timings"] or {}).get("total"),
        "seed": run["seed"],
        "preset": run["preset"],
        "tags": " ".join(run["tags"]),
        "group": run["group_name"],
        "note": run["note"],
        "created": run["created_at"],
        "differs": run["config_hash"],
    }[column]
    return None if found == "" else found


def distinctions(rows: Sequence[Run]) -> dict[str, str]:
    """For each config_hash, the settings in which it differs from the defaults or from most other runs of the list."""
    standard = flatten(Config().model_dump(mode="json"))
    flats = {row["config_hash"]: flatten(row["config"]) for row in rows}
    shared = Counter[tuple[str, str]]()
    for flat in flats.values():
        shared.update((path, repr(value)) for path, value in flat.items() if standard.get(path) != value)
    told: dict[str, str] = {}
    for key, flat in flats.items():
        parts = [
            f"{path.split('.')[-1]}={_short(value)}"
            for path, value in flat.items()
            if path not in HIDDEN
            and standard.get(path) != value
            and (len(flats) == 1 or shared[path, repr(value)] < len(flats))
        ]
        told[key] = " ".join(parts)
    return told


def _short(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def grid_of(lines: Sequence[Line], *, marked: Collection[str], baseline: Line | None, told: dict[str, str]) -> Grid:
    """The table."""
    return lay_out(COLUMNS, [_row(line, marked, baseline, told) for line in lines])


def _row(line: Line, marked: Collection[str], baseline: Line | None, told: dict[str, str]) -> Row:
    run = line.first
    pinned = baseline is not None and line.key == baseline.key
    sign = "*" if line.key in marked else "=" if pinned else ""
    metrics, looks = zip(*(_metric(line, name, None if pinned else baseline) for name in METRICS), strict=True)
    state, style = _state(line)
    cells = (
        words.line(run["name"] + (f" x{len(line.runs)}" if line.folded else "")),
        state,
        words.line(run["dataset_name"] or run["config"]["data"]["dataset"]),
        *metrics,
        _epoch(line),
        _time(line),
        ",".join(str(r["seed"]) for r in reversed(line.runs)) if line.folded else str(run["seed"]),
        words.line(run["preset"] or ""),
        words.line(told.get(run["config_hash"], "")),
        words.line(" ".join(run["tags"])),
        words.line(run["group_name"] or ""),
        f"{run['created_at']:%m-%d %H:%M}" if run["created_at"] else "",
        words.line(run["note"]),
    )
    return Row(
        line.key, cells, ("strong", style, "", *looks, "", "dim", "dim", "", "accent", "accent", "dim", "dim"), sign
    )


def _state(line: Line) -> tuple[str, str]:
    names = Counter(run["state"] for run in line.runs)
    if len(names) == 1:
        name = next(iter(names))
        return words.state(name), words.STATE_STYLES.get(name, "")
    live = next((name for name in names if name in ACTIVE), None)
    shown = live or names.most_common(1)[0][0]
    return f"{words.state(shown)} {names[shown]}/{len(line.runs)}", words.STATE_STYLES.get(shown, "")


def _metric(line: Line, name: str, baseline: Line | None) -> tuple[str, str]:
    """A metric, or its difference from the baseline; with the standard deviation over seeds."""
    value = line.mean(name)
    if value is None:
        return "-", "dim"
    values = line.values(name)
    spread = f" ±{statistics.stdev(values):.4f} n={len(values)}" if len(values) > 1 else ""
    base = baseline.mean(name) if baseline is not None else None
    if base is None:
        return f"{value:.4f}{spread}", ""
    by = value - base
    return f"{by:+.4f}{spread}", "good" if by > 0 else "bad" if by < 0 else "dim"


def _epoch(line: Line) -> str:
    run = line.first
    if line.folded:
        return f"{min(r['epoch'] for r in line.runs)}-{max(r['epoch'] for r in line.runs)}"
    most = run["config"].get("train", {}).get("epochs")
    return f"{run['epoch']}/{most}" if run["state"] in ACTIVE and most else str(run["epoch"])


def _time(line: Line) -> str:
    times = [(run["timings"] or {}).get("total") for run in line.runs]
    known = [time for time in times if time is not None]
    return duration(sum(known)) if known else "-"
