"""The numbers of a study's runs: per user from test ranks, or one for each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.metrics import gains
from engine.metric_registry import split_name
from sracl_tui.services.comparison import subgroup_mask
from sracl_tui.studies.definition import MEASURES, Claim
from store.database.database import Store
from store.queries import datasets, runs
from store.queries.pace import pace
from store.run_row import StoredRun

PACE = ("seconds_per_step", "seconds_to_best", "seconds_train", "seconds_inference", "peak_memory", "usd")
ANALYSIS = {
    "effective_rank": ("h", "effective_rank"),
    "uniformity": ("h", "uniformity"),
    "mean_cosine": ("h", "mean_cosine"),
    "weight_spearman": ("weights", "spearman"),
    "weight_entropy": ("weights", "entropy"),
    "rankings_differ": ("weights", "reordered"),
    "rankings_differ_untrained": ("weights", "reordered_untrained"),
    "rankings_differ_by_chance": ("weights", "reordered_by_chance"),
}
"""Subgroup and name in `metrics`, split `analysis`, of a measure."""
SPLIT = "test"


@dataclass(frozen=True)
class Side:
    """One variant's runs in one measure; a constant has no runs."""

    name: str
    run_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    """One per run."""
    users: NDArray[np.int32] | None = None
    """(U,) ascending, where each user has a value."""
    ranks: tuple[NDArray[np.int32], ...] = ()
    """(U,) target ranks of these users, one array per run."""

    @property
    def mean(self) -> float:
        """Over the runs; NaN without any."""
        return float(np.mean(self.values)) if self.values else float("nan")

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over the runs; None for fewer than two."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None


class Numbers:
    """Reads the numbers of runs from the store, each once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ranks: dict[str, tuple[NDArray[np.int32], NDArray[np.int32]]] = {}
        self._masks: dict[tuple[str, str], NDArray[np.bool_] | None] = {}
        self._pace: dict[str, dict[str, float]] = {}
        self._analysis: dict[str, dict[str, dict[str, float]]] = {}
        self._lists: dict[str, dict[str, float]] = {}

    def side(self, variant: str, rows: Sequence[StoredRun], claim: Claim) -> Side:
        """The finished runs of a variant in the measure of a claim; runs that do not have it are left out."""
        if claim.of_ranks:
            return self._ranked(variant, rows, claim.metric, claim.users)
        found = [(row, value) for row in rows if (value := self.value(row["run_id"], claim.metric)) is not None]
        return Side(
            variant,
            tuple(row["run_id"] for row, _ in found),
            tuple(row["seed"] for row, _ in found),
            tuple(value for _, value in found),
        )

    def value(self, run_id: str, measure: str) -> float | None:
        """A measure of a run that is no mean over users; None where the run does not have it."""
        if measure in PACE:
            return self._of_pace(run_id).get(measure)
        if measure in ANALYSIS:
            subgroup, name = ANALYSIS[measure]
            if run_id not in self._analysis:
                self._analysis[run_id] = runs.analysis_metrics(self._store, run_id)
            return self._analysis[run_id].get(subgroup, {}).get(name)
        if run_id not in self._lists:
            self._lists |= runs.best_epoch_metrics(self._store, [run_id], SPLIT)
        return self._lists[run_id].get(measure)

    def costs(self, rows: Sequence[StoredRun]) -> dict[str, float | None]:
        """Mean seconds of training and dollars of runs; None where unknown."""
        found: dict[str, float | None] = {}
        for name in ("seconds_train", "usd"):
            values = [self._of_pace(row["run_id"]).get(name) for row in rows]
            known = [value for value in values if value is not None]
            found[name] = float(np.mean(known)) if known and len(known) == len(values) else None
        return found

    def count_users(self, dataset: str, subgroup: str, *, at_most: int | None = None) -> int:
        """Users of a subgroup that are tested; 0 where the data set is not stored."""
        row = datasets.find(self._store, dataset)
        if row is None:
            return 0
        mask = self._mask(row, subgroup)
        if mask is None:
            return min(row["users"], at_most or row["users"])
        return int(mask[1 : (at_most or len(mask)) + 1].sum())

    def _of_pace(self, run_id: str) -> dict[str, float]:
        if run_id not in self._pace:
            self._pace[run_id] = pace(self._store, [run_id]).get(run_id, {})
        return self._pace[run_id]

    def _ranked(self, variant: str, rows: Sequence[StoredRun], metric: str, subgroup: str) -> Side:
        found: list[tuple[StoredRun, NDArray[np.int32], NDArray[np.int32]]] = []
        for row in rows:
            users, ranks = self._test_ranks(row["run_id"])
            if len(users):
                mask = self._mask(row, subgroup)
                found.append((row, users, ranks) if mask is None else (row, users[mask[users]], ranks[mask[users]]))
        same = [one for one in found if np.array_equal(one[1], found[0][1])]
        name, k = split_name(metric)
        return Side(
            variant,
            tuple(row["run_id"] for row, _, _ in same),
            tuple(row["seed"] for row, _, _ in same),
            tuple(float(gains(ranks, (k,), (name,))[metric].mean()) for _, users, ranks in same if len(users)),
            same[0][1] if same else None,
            tuple(ranks for _, _, ranks in same),
        )

    def _test_ranks(self, run_id: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        if run_id not in self._ranks:
            self._ranks[run_id] = runs.ranks(self._store, run_id, SPLIT)
        return self._ranks[run_id]

    def _mask(self, row: Any, subgroup: str) -> NDArray[np.bool_] | None:
        key = (str(row["dataset_id"]), subgroup)
        if key not in self._masks:
            self._masks[key] = subgroup_mask(self._store, row, subgroup, SPLIT)
        return self._masks[key]


def text(metric: str, value: float | None) -> str:
    """A value of a metric or measure as it is displayed; empty for none."""
    if value is None or value != value:
        return ""
    if metric in MEASURES:
        return MEASURES[metric].text(value)
    from engine.metric_registry import value_text

    return value_text(metric, value)


def command(metric: str, run_ids: Sequence[str], subgroup: str = "all", *, of_ranks: bool) -> str:
    """The command that prints a number of these runs again."""
    if of_ranks or metric not in MEASURES:
        users = "" if subgroup == "all" else f" --subgroup {subgroup}"
        return f"sracl compare {' '.join(run_ids)} --split {SPLIT}{users}"
    ids = ", ".join(f"'{run_id}'" for run_id in run_ids)
    return f'sracl sql "{_query(metric)} WHERE run_id IN ({ids})"'


def _query(metric: str) -> str:
    if metric in ANALYSIS:
        subgroup, name = ANALYSIS[metric]
        where = f"split = 'analysis' AND subgroup = '{subgroup}' AND name = '{name}'"
        return f"SELECT run_id, value FROM (FROM metrics WHERE {where})"
    if metric == "usd":
        return "SELECT run_id, usd FROM run_costs"
    if metric == "peak_memory":
        return "SELECT run_id, peak_memory_bytes FROM runs"
    split = "valid" if metric == "seconds_inference" else "train"
    return f"SELECT run_id, epoch, step, value FROM (FROM metrics WHERE split = '{split}' AND name = 'seconds')"


def rows_document(side: Side) -> dict[str, Any]:
    """A side as JSON values."""
    return {
        "variant": side.name, "n": len(side.values), "mean": side.mean if side.values else None, "sd": side.sd,
        "values": list(side.values), "seeds": list(side.seeds), "runs": list(side.run_ids),
    }  # fmt: skip
