"""The list of runs as rows of a table: what differs, seeds folded into one row, differences from a pinned baseline."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Collection, Sequence
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
    Column("usd", "cost", right=True),
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
    """Lines by a column; those without a value come last either way, and a column that there is not changes nothing."""
    if column not in _SORT_VALUES:
        return lines
    values = [_sort_value(line, column) for line in lines]
    keyed = [pair for pair in zip(values, lines, strict=True) if pair[0] is not None]
    empty = [line for value, line in zip(values, lines, strict=True) if value is None]
    return [line for _, line in sorted(keyed, key=lambda pair: pair[0], reverse=descending)] + empty


def _sort_value(line: Line, column: str) -> Any:
    found = _SORT_VALUES[column](line)
    return None if found == "" else found


_SORT_VALUES: dict[str, Callable[[Line], Any]] = {
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


class Painter:
    """Lines as a table. Rows are kept: only those of runs that have changed are written anew."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Any, ...]] = {}
        self._hashes: set[str] = set()
        self._told: dict[str, str] = {}

    def told(self, rows: Sequence[Run]) -> dict[str, str]:
        """`distinctions`, found anew where there are other settings."""
        hashes = {row["config_hash"] for row in rows}
        if hashes != self._hashes:
            self._hashes, self._told = hashes, distinctions(rows)
        return self._told

    def grid(
        self, lines: Sequence[Line], *, marked: Collection[str], baseline: Line | None, told: dict[str, str]
    ) -> Grid:
        """The table."""
        kept, self._rows = self._rows, {}
        base = baseline.runs if baseline is not None else ()
        rows = []
        for line in lines:
            looks = (line.key in marked, base, told.get(line.first["config_hash"], ""))
            known = kept.get(line.key)
            if known is None or not _same(known[0], line.runs) or known[1] != looks:
                known = line.runs, looks, _row(line, marked, baseline, told)
            self._rows[line.key] = known
            rows.append(known[2])
        return lay_out(COLUMNS, rows)


def _same(some: tuple[Run, ...], others: tuple[Run, ...]) -> bool:
    """Whether these are the very same rows: unchanged ones are handed on as they are."""
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


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
        _cost(line),
        ",".join(str(r["seed"]) for r in reversed(line.runs)) if line.folded else str(run["seed"]),
        words.line(run["preset"] or ""),
        words.line(told.get(run["config_hash"], "")),
        words.line(" ".join(run["tags"])),
        words.line(run["group_name"] or ""),
        f"{run['created_at']:%m-%d %H:%M}" if run["created_at"] else "",
        words.line(run["note"]),
    )
    return Row(
        line.key,
        cells,
        ("strong", style, "", *looks, "", "dim", "dim", "dim", "dim", "", "accent", "accent", "dim", "dim"),
        sign,
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
    """Epochs done; of a run at work also how far it is."""
    run = line.first
    if line.folded:
        return f"{min(r['epoch'] for r in line.runs)}-{max(r['epoch'] for r in line.runs)}"
    most = run["config"].get("train", {}).get("epochs")
    if run["state"] not in ACTIVE or not most:
        return str(run["epoch"])
    progress = run.get("progress") or {}
    percent = f" {progress['percent']} %" if progress.get("percent") is not None else ""
    if progress and progress["stage"] != "train":
        return f"{progress['stage']}{percent}"
    return f"{run['epoch']}/{most}{percent}"


def _time(line: Line) -> str:
    """Seconds that it took, of all seeds; of a run at work those that are left at most."""
    left = (line.first.get("progress") or {}).get("left")
    if left is not None and not line.folded:
        return f"{words.clock(left)} left"
    times = [(run["timings"] or {}).get("total") for run in line.runs]
    known = [time for time in times if time is not None]
    return duration(sum(known)) if known else "-"


def _cost(line: Line) -> str:
    """What its calls have cost; a plus where the price of some is unknown."""
    usd = sum(run["usd_known"] for run in line.runs)
    unknown = any(run["usd"] is None for run in line.runs)
    return f"{words.dollars(usd)}{'+' if unknown else ''}" if usd else "?" if unknown else "-"
