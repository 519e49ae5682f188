"""Runs and groups beside each other: what differs in their settings, what in their metrics, and whether that is real."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engine.config import flatten
from engine.errors import ConfigError
from store.database.database import Store
from store.queries import runs
from store.run_row import StoredRun

PROTOCOL = ("data.max_length", "evaluate.mask_seen", "evaluate.ties", "evaluate.ks")
UNCOMPARED = ("train.seed", "train.device", "train.threads", "semantics.budget")
TESTED = ("hr", "ndcg")


@dataclass(frozen=True)
class SeedSet:
    """Finished runs of one config, which differ in the seed alone."""

    label: str
    preset: str
    config_hash: str
    run_ids: list[str]
    seeds: list[int]
    metrics: dict[str, list[float]]
    """By name, one value per run."""

    @property
    def size(self) -> int:
        return len(self.run_ids)

    def mean(self, metric: str) -> float:
        """Mean over the runs."""
        return float(np.mean(self.metrics[metric]))

    def deviation(self, metric: str) -> float | None:
        """Sample standard deviation over the runs; none for a single one."""
        return float(np.std(self.metrics[metric], ddof=1)) if self.size > 1 else None


@dataclass(frozen=True)
class TestResult:
    """A paired test of seed set b against a in one metric; `difference` is b minus a."""

    __test__ = False  # pytest: this is no test case

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
    def verdict(self) -> str:
        """`better`, `worse` or `not shown` at a corrected p of 0.05."""
        if self.p_holm > 0.05:
            return "not shown"
        return "better" if self.difference > 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """Seed sets of one data set, their metrics and the paired tests between them."""

    dataset: str
    split: str
    subgroup: str
    users: int
    ks: tuple[int, ...]
    settings: dict[str, list[Any]]
    """Settings that differ, one value per seed set."""
    sets: list[SeedSet]
    tests: list[TestResult]
    notes: list[str]

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        sets = [
            asdict(s)
            | {"mean": {m: s.mean(m) for m in s.metrics}, "sd": {m: s.deviation(m) for m in s.metrics}, "n": s.size}
            for s in self.sets
        ]
        return asdict(self) | {"sets": sets, "tests": [asdict(test) | {"verdict": test.verdict} for test in self.tests]}


def compare_runs(
    store: Store,
    names: Sequence[str],
    *,
    split: str = "valid",
    subgroup: str = "all",
    baseline: str | None = None,
    all_pairs: bool = False,
    force: bool = False,
) -> Comparison:
    """Fold runs or groups into seed sets and test each against the baseline (the first, or preset `backbone`).

    Args:
        baseline: run id, name or label of the set that the others are held against.
        all_pairs: test every pair instead.
        force: mix protocols, data and repeated seeds all the same; sets of other users are then shown, not tested.

    Raises:
        ConfigError: what is asked cannot be compared fairly; all reasons at once.
        LookupFailed: a name is neither a run nor a group.
    """
    chosen = [row for row in runs.select_runs(store, names) if row["kind"] == "train"]
    notes: list[str] = []
    loaded = {row["run_id"]: runs.ranks(store, row["run_id"], split) for row in chosen}
    left = [row["run_id"] for row in chosen if not len(loaded[row["run_id"]][0])]
    if left:
        notes.append(f"left out, as they have no {split} ranks (not finished): {', '.join(left)}")
    chosen = [row for row in chosen if row["run_id"] not in left]
    folded = _fold(chosen)
    if not folded:
        raise ConfigError("nothing to compare: no finished run", where="compare", hint="`sracl runs` shows the states.")
    _refuse(folded, notes, force=force)
    first = chosen[0]
    ks = tuple(first["config"]["evaluate"]["ks"])
    masks = {d: _mask(store, rows[0], subgroup, split) for rows in folded for d in [rows[0]["dataset_id"]]}
    kept = {run_id: _kept(*loaded[run_id], masks[_dataset(chosen, run_id)]) for run_id in loaded if run_id not in left}
    settings = _differences(folded)
    labels = _labels(folded, settings)
    sets = [_seed_set(rows, label, kept, ks) for rows, label in zip(folded, labels, strict=True)]
    tests = _tests(sets, kept, ks, _pairs(sets, folded, baseline, all_pairs), notes)
    users = len(kept[first["run_id"]][0])
    return Comparison(cast(str, first["dataset_name"]), split, subgroup, users, ks, settings, sets, tests, notes)


def _dataset(chosen: list[StoredRun], run_id: str) -> str | None:
    return next(row["dataset_id"] for row in chosen if row["run_id"] == run_id)


def _fold(chosen: list[StoredRun]) -> list[list[StoredRun]]:
    folded: dict[tuple[str, str | None], list[StoredRun]] = {}
    for row in chosen:
        folded.setdefault((row["config_hash"], row["dataset_id"]), []).append(row)
    return list(folded.values())


def _refuse(folded: list[list[StoredRun]], notes: list[str], *, force: bool) -> None:
    """Raise, or note with `force`, every reason why the sets cannot be compared fairly."""
    problems: list[str] = []
    firsts = [rows[0] for rows in folded]
    if len({row["dataset_id"] for row in firsts}) > 1:
        problems.append(f"different data: {', '.join(sorted({str(row['dataset_name']) for row in firsts}))}")
    flats = [flatten(row["config"]) for row in firsts]
    for path in PROTOCOL:
        values = {str(flat[path]) for flat in flats}
        if len(values) > 1:
            problems.append(f"different protocols: {path} is {' or '.join(sorted(values))}")
    for rows in folded:
        seeds = [row["seed"] for row in rows]
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            ids = ", ".join(row["run_id"] for row in rows if row["seed"] in twice)
            problems.append(f"seed {', '.join(map(str, twice))} stands more than once in one config: {ids}")
    if problems and not force:
        raise ConfigError("\n".join(problems), where="compare", hint="Name other runs, or --force if you know why.")
    notes += [f"forced: {problem}" for problem in problems]


def _mask(store: Store, row: StoredRun, subgroup: str, split: str) -> NDArray[np.bool_] | None:
    """(U + 1,) which users belong to a subgroup; none for all of them."""
    if subgroup == "all":
        return None
    from engine.data.dataset import ROLES
    from engine.evaluation.metrics import subgroups
    from sracl_tui.runs.dataset_access import open_dataset

    dataset = open_dataset(store, cast(str, row["dataset_id"]))
    anchors = dataset.anchors.ids(ROLES.index(split))
    groups = subgroups(dataset, anchors)
    if subgroup not in groups:
        raise ConfigError(
            f"there is no subgroup {subgroup!r}", where="--subgroup", hint=f"Subgroups: {', '.join(groups)}."
        )
    mask = np.zeros(dataset.users + 1, bool)
    mask[dataset.anchors.user_ids[anchors[groups[subgroup]] - 1]] = True
    return mask


def _kept(
    users: NDArray[np.int32], ranks: NDArray[np.int32], mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    return (users, ranks) if mask is None else (users[mask[users]], ranks[mask[users]])


def _differences(folded: list[list[StoredRun]]) -> dict[str, list[Any]]:
    flats = [flatten(rows[0]["config"]) for rows in folded]
    paths = dict.fromkeys(path for flat in flats for path in flat if path not in UNCOMPARED)
    values = {path: [flat.get(path) for flat in flats] for path in paths}
    return {path: row for path, row in values.items() if any(value != row[0] for value in row)}


def _labels(folded: list[list[StoredRun]], settings: dict[str, list[Any]]) -> list[str]:
    """What to call each set: the name its runs share, else the preset, else what differs; never the same twice."""
    labels: list[str] = []
    presets = [str(rows[0]["preset"]) for rows in folded]
    for i, rows in enumerate(folded):
        stems = {row["name"].removesuffix(f"-{row['seed']}") for row in rows if row["name"] != row["run_id"]}
        if len(stems) == 1 and all(row["name"] != row["run_id"] for row in rows):
            labels.append(stems.pop())
        elif presets.count(presets[i]) == 1:
            labels.append(presets[i])
        else:
            own = ", ".join(f"{path.split('.')[1]}={values[i]}" for path, values in settings.items())
            labels.append(f"{presets[i]} {own}".strip())
    return [
        f"{label} ({rows[0]['config_hash'][:6]})" if labels.count(label) > 1 else label
        for label, rows in zip(labels, folded, strict=True)
    ]


def _seed_set(rows: list[StoredRun], label: str, kept: dict[str, Any], ks: tuple[int, ...]) -> SeedSet:
    from engine.evaluation.metrics import ranking_metrics

    measured = [ranking_metrics(kept[row["run_id"]][1], ks) for row in rows]
    if not all(measured):
        raise ConfigError("this subgroup has no users here", where="--subgroup")
    return SeedSet(
        label=label,
        preset=cast(str, rows[0]["preset"]),
        config_hash=rows[0]["config_hash"],
        run_ids=[row["run_id"] for row in rows],
        seeds=[row["seed"] for row in rows],
        metrics={name: [values[name] for values in measured] for name in measured[0]},
    )


def _pairs(
    sets: list[SeedSet], folded: list[list[StoredRun]], baseline: str | None, all_pairs: bool
) -> list[tuple[SeedSet, SeedSet]]:
    if all_pairs:
        return list(itertools.combinations(sets, 2))
    base = next((s for s in sets if s.preset == "backbone"), sets[0])
    if baseline is not None:
        named = [
            s
            for s, rows in zip(sets, folded, strict=True)
            if s.label == baseline or any(baseline in (row["run_id"], row["name"], row["preset"]) for row in rows)
        ]
        if len(named) != 1:
            raise ConfigError(
                f"{len(named)} sets fit {baseline!r}",
                where="--baseline",
                hint=f"Sets: {'; '.join(s.label for s in sets)}.",
            )
        base = named[0]
    return [(base, other) for other in sets if other is not base]


def _tests(
    sets: list[SeedSet],
    kept: dict[str, Any],
    ks: tuple[int, ...],
    pairs: list[tuple[SeedSet, SeedSet]],
    notes: list[str],
) -> list[TestResult]:
    """Paired tests of every pair in every tested metric, their p values corrected together (Holm)."""
    from engine.evaluation.significance import compare, holm

    raw: list[tuple[SeedSet, SeedSet, Any]] = []
    for a, b in pairs:
        users = [kept[run_id][0] for run_id in [*a.run_ids, *b.run_ids]]
        if not all(np.array_equal(users[0], other) for other in users):
            notes.append(f"{b.label} and {a.label} have other users: not tested")
            continue
        found = compare([kept[r][1] for r in a.run_ids], [kept[r][1] for r in b.run_ids], ks=ks)
        raw += [(a, b, one) for one in found if one.metric.startswith(TESTED)]
    if pairs and all(s.size == 1 for s in sets):
        notes.append(
            "one seed each: the tests tell whether these two trained models differ, not whether the methods do"
        )
    elif any(s.size == 1 for s in sets):
        notes.append(
            "a config with a single seed adds no spread of seeds to its tests: they understate the uncertainty"
        )
    adjusted = holm([one.p_value for _, _, one in raw])
    return [
        TestResult(a.label, b.label, one.metric, one.difference, one.ci_low, one.ci_high, one.p_value, p, one.method)
        for (a, b, one), p in zip(raw, adjusted, strict=True)
    ]


@dataclass(frozen=True)
class RankChanges:
    """Ranks of every user's target in two seed sets, and the change between them."""

    users: NDArray[np.int32]
    before: NDArray[np.float64]
    """(U,) mean rank in a over its seeds."""
    after: NDArray[np.float64]
    """(U,) mean rank in b."""
    gain: NDArray[np.float64]
    """(U,) change of 1 / log2(1 + rank), what a user adds to an NDCG without a cut; above 0 where b is better."""


def rank_changes(store: Store, a: Sequence[str], b: Sequence[str], *, split: str) -> RankChanges | None:
    """Compare user by user, biggest change first; none where the two sides did not rank the same users."""
    sides = [[runs.ranks(store, run_id, split) for run_id in side] for side in (a, b)]
    users = sides[0][0][0]
    if not len(users) or not all(np.array_equal(users, found[0]) for side in sides for found in side):
        return None
    ranks = [np.stack([found[1] for found in side]).astype(np.float64) for side in sides]
    gains = [(1.0 / np.log2(1.0 + side)).mean(0) for side in ranks]
    gain = gains[1] - gains[0]
    order = np.lexsort((users, -np.abs(gain)))
    return RankChanges(users[order], ranks[0].mean(0)[order], ranks[1].mean(0)[order], gain[order])
