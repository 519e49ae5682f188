"""The paired tests of a comparison: which sets are tested against which, in which metrics, and which need no test."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config import flatten
from engine.errors import ConfigError
from engine.evaluation.significance import BORROWED, compare, holm
from engine.metric_registry import definition_of, ordered, oriented, split_name
from store.database.database import Store
from store.queries.caches import known_neighbors
from store.run_row import StoredRun

UNCOMPARED = ("train.seed", "train.device", "train.threads", "train.processes", "semantics.budget", "evaluate.metrics")
LIST_ONLY = {"retrieval.similarity", "retrieval.backend", "retrieval.trees", "retrieval.search_k"}
"""Settings that change nothing but which neighbors are found."""
Ranks = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Users, ascending, and the ranks of their targets, (U,) each."""


@dataclass(frozen=True)
class SeedSet:
    """Finished runs of one config on one dataset, which differ only in the seed."""

    label: str
    preset: str
    config_hash: str
    run_ids: list[str]
    seeds: list[int]
    metrics: dict[str, list[float]]
    """Values by metric name, one per run; metrics that only some of the runs have are left out."""
    training: dict[str, list[float]]
    """Losses, and what else the method measured in training, at the best epoch; one value per run."""
    resources: dict[str, list[float]]
    """`comparison.RESOURCES` by name, one value per run; those that only some of the runs have are left out, and all of imported runs."""

    @property
    def size(self) -> int:
        return len(self.run_ids)

    def mean(self, metric: str) -> float:
        """Mean of a metric over the seeds."""
        return float(np.mean(self.metrics[metric]))

    def deviation(self, metric: str) -> float | None:
        """Sample standard deviation of a metric over the seeds; None for a single seed."""
        return float(np.std(self.metrics[metric], ddof=1)) if self.size > 1 else None


@dataclass(frozen=True)
class TestResult:
    """A paired test of seed set b against a in one metric; `difference` is b minus a."""

    __test__ = False  # keeps pytest from collecting the class

    a: str
    b: str
    metric: str
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    p_holm: float
    method: str

    @property
    def scope(self) -> str:
        """What the conclusion is about, where it is less than two methods; else empty."""
        return {"users": "two models", "users, t": "two models", BORROWED: "borrowed"}.get(self.method, "")

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not shown` (no significant difference), at a Holm-corrected level of 0.05."""
        if self.p_holm > 0.05:
            return "not shown"
        return "better" if oriented(self.metric, self.difference) > 0 else "worse"


@dataclass(frozen=True)
class EqualPair:
    """Two sets between which there is nothing to test."""

    a: str
    b: str
    what: str
    """`ranks` or `neighbors`: what is equal."""
    text: str


def pairs_of(
    sets: list[SeedSet], groups: list[list[StoredRun]], baseline: str | None, all_pairs: bool
) -> list[tuple[SeedSet, SeedSet]]:
    """Which sets are tested: every other one against the baseline, or every pair.

    Raises:
        ConfigError: the baseline names none of them, or several.
    """
    if all_pairs:
        return list(itertools.combinations(sets, 2))
    base = next((s for s in sets if s.preset == "backbone"), sets[0])
    if baseline is not None:
        named = [
            s
            for s, rows in zip(sets, groups, strict=True)
            if s.label == baseline or any(baseline in (row["run_id"], row["name"], row["preset"]) for row in rows)
        ]
        if len(named) != 1:
            raise ConfigError(
                f"{len(named)} sets match {baseline!r}",
                where="--baseline",
                hint=f"Sets: {'; '.join(s.label for s in sets)}.",
            )
        base = named[0]
    return [(base, other) for other in sets if other is not base]


def tested_metrics(sets: list[SeedSet], also: Sequence[str]) -> list[str]:
    """Full names of the metrics to test: HR and NDCG, others that ask for it, and those named in `also`.

    Raises:
        ConfigError: one of `also` is not measured of every user in all sets.
    """
    per_user = [
        name
        for name in sets[0].metrics
        if all(name in one.metrics for one in sets) and (metric := definition_of(name)) and metric.per_user
    ]
    if unknown := [name for name in also if name not in per_user]:
        raise ConfigError(
            f"{', '.join(unknown)} cannot be tested: not a metric of every user that all these runs have",
            where="compare",
            hint=f"Metrics: {', '.join(ordered(per_user))}.",
        )
    return [name for name in per_user if name in also or ((metric := definition_of(name)) and metric.tested)]


def paired_tests(
    pairs: list[tuple[SeedSet, SeedSet]],
    ranks_by_run: Mapping[str, Ranks],
    ks: tuple[int, ...],
    metrics: Sequence[str],
    notes: list[str],
) -> list[TestResult]:
    """Test every pair in the metrics of these full names; the p-values are corrected together (Holm).

    A pair whose users differ is not tested, which is added to `notes`, as is what one seed allows to conclude.
    """
    raw: list[tuple[SeedSet, SeedSet, Any]] = []
    names = list(dict.fromkeys(split_name(metric)[0] for metric in metrics))
    for a, b in pairs:
        if not same_users(a, b, ranks_by_run):
            notes.append(f"{b.label} and {a.label} have different users: not tested")
            continue
        ours, theirs = ([ranks_by_run[run_id][1] for run_id in side.run_ids] for side in (a, b))
        raw += [(a, b, one) for one in compare(ours, theirs, ks=ks, names=names) if one.metric in metrics]
    if pairs and all(one.size == 1 for pair in pairs for one in pair):
        notes.append(
            "one seed each: the tests tell whether these two trained models differ, not whether the methods do"
        )
    elif any(one.method == BORROWED for _, _, one in raw):
        notes.append(
            "† a config with a single seed borrows the seed variance of the other side: its tests take both to vary alike"
        )
    adjusted = holm([one.p_value for _, _, one in raw])
    return [
        TestResult(a.label, b.label, one.metric, one.difference, one.ci_low, one.ci_high, one.p_value, p, one.method)
        for (a, b, one), p in zip(raw, adjusted, strict=True)
    ]


def same_users(a: SeedSet, b: SeedSet, ranks_by_run: Mapping[str, Ranks]) -> bool:
    """Whether all runs of two sets ranked the targets of the same users."""
    users = [ranks_by_run[run_id][0] for run_id in [*a.run_ids, *b.run_ids]]
    return all(np.array_equal(users[0], other) for other in users)


def equal_pairs(
    store: Store,
    pairs: list[tuple[SeedSet, SeedSet]],
    rows: Mapping[str, StoredRun],
    ranks_by_run: Mapping[str, Ranks],
) -> list[EqualPair]:
    """The pairs between which there is nothing to test: a p-value of 1 would read like a finding.

    Either every target has the same rank, with each seed that both have, or the settings that differ decide nothing but which
    neighbors are found, and these are equal.

    Args:
        rows: the runs by id.
    """
    found: list[EqualPair] = []
    for a, b in pairs:
        if not same_users(a, b, ranks_by_run):
            continue
        both = (rows[a.run_ids[0]], rows[b.run_ids[0]])
        neighbors = (
            _equal_neighbors(store, *both) if set(differing_settings([[row] for row in both])) <= LIST_ONLY else ""
        )
        if _equal_ranks(a, b, ranks_by_run):
            text = f"{b.label} and {a.label} rank every user's target alike: nothing to test"
            found.append(EqualPair(a.label, b.label, "ranks", f"{text}{'; ' + neighbors if neighbors else ''}"))
        elif neighbors:
            text = f"{b.label} and {a.label} are one method: {neighbors}; only seeds and rounding differ, which is not tested"
            found.append(EqualPair(a.label, b.label, "neighbors", text))
    return found


def _equal_ranks(a: SeedSet, b: SeedSet, ranks_by_run: Mapping[str, Ranks]) -> bool:
    """Whether all runs of a seed that both sets have rank alike; of single runs, whatever their seeds."""
    if a.size == b.size == 1:
        shared = [(a.run_ids[0], b.run_ids[0])]
    else:
        theirs = dict(zip(b.seeds, b.run_ids, strict=True))
        shared = [(run, theirs[seed]) for seed, run in zip(a.seeds, a.run_ids, strict=True) if seed in theirs]
    return bool(shared) and all(np.array_equal(ranks_by_run[x][1], ranks_by_run[y][1]) for x, y in shared)


def _equal_neighbors(store: Store, a: StoredRun, b: StoredRun) -> str:
    """That two runs have the same neighbors though their lists were made by different settings; empty where they have not."""
    count = 0
    for kind in ("user_list_id", "item_list_id"):
        ids = (a[kind], b[kind])
        if None in ids:
            if ids != (None, None):
                return ""
            continue
        ours, theirs = (_as_sets(store, str(list_id)) for list_id in ids)
        if ids[0] == ids[1] or not len(ours) or not np.array_equal(ours, theirs):
            return ""
        count += len(ours)
    if not count:
        return ""
    similarities = {row["config"]["retrieval"]["similarity"] for row in (a, b)}
    why = ", as the vectors have length 1, where cosine and dot product agree" if len(similarities) > 1 else ""
    return f"their neighbor lists are equal ({count:,} neighbors{why})"


def _as_sets(store: Store, list_id: str) -> NDArray[np.int64]:
    """Anchor and neighbor of each row as one sorted number; the order in an anchor's list does not count, as equal similarities have none."""
    known = known_neighbors(store, list_id)
    if known is None:
        return np.zeros(0, np.int64)
    anchors, _, neighbors, _ = known
    return np.sort(anchors.astype(np.int64) << 32 | neighbors)


def differing_settings(groups: list[list[StoredRun]]) -> dict[str, list[Any]]:
    """Settings that differ: path to one value per group. Seed, device, threads, budget and what is measured do not count."""
    flats = [_told_settings(rows[0]) for rows in groups]
    paths = dict.fromkeys(path for flat in flats for path in flat if path not in UNCOMPARED)
    values = {path: [flat.get(path) for flat in flats] for path in paths}
    return {path: row for path, row in values.items() if any(value != row[0] for value in row)}


def _told_settings(row: StoredRun) -> dict[str, Any]:
    """Settings by path; of a model trained elsewhere data and protocol alone are known."""
    flat = flatten(row["config"])
    return flat if row["kind"] == "train" else {p: v for p, v in flat.items() if p.startswith(("data.", "evaluate."))}
