"""Compares runs and groups: their settings, their metrics, and paired significance tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engine.config import flatten
from engine.errors import ConfigError
from engine.metric_registry import DEFAULT, definition_of, ordered, split_name
from sracl_tui import formatting
from sracl_tui.services.paired_tests import (
    EqualPair,
    SeedSet,
    TestResult,
    differing_settings,
    equal_pairs,
    paired_tests,
    pairs_of,
    same_users,
    tested_metrics,
)
from store.database.database import Store
from store.queries import runs
from store.queries.pace import pace
from store.run_row import StoredRun

PROTOCOL = ("data.max_length", "evaluate.mask_seen", "evaluate.ties", "evaluate.ks")
LEFT_OUT = "left out: "
"""How the note on runs begins that have no ranks."""
RANKED = ("train", "ranks")
"""Kinds of runs that have ranks: trained here, and imported from elsewhere."""
RESOURCES = ("seconds_per_step", "seconds_to_best", "peak_memory", "usd_texts")
"""What runs take, by its name in `store.queries.pace`."""


@dataclass(frozen=True)
class Comparison:
    """Seed sets of one data set, their metrics and the paired tests between them."""

    dataset: str
    split: str
    subgroup: str
    users: int
    ks: tuple[int, ...]
    settings: dict[str, list[Any]]
    """Settings that differ: path to one value per seed set."""
    sets: list[SeedSet]
    tests: list[TestResult]
    notes: list[str]
    equal: list[EqualPair]
    """Pairs between which there is nothing to test, and why; the notes tell them, too."""
    untested: list[str]
    """Sets whose users differ from those of the set that they would be tested against."""

    @property
    def excluded(self) -> list[str]:
        """The notes on runs that are left out."""
        return [note for note in self.notes if note.startswith(LEFT_OUT)]

    def document(self) -> dict[str, Any]:
        """The comparison as JSON-compatible values, with means, deviations and verdicts."""
        sets = [
            asdict(s)
            | {"mean": {m: s.mean(m) for m in s.metrics}, "sd": {m: s.deviation(m) for m in s.metrics}, "n": s.size}
            | {"resources": {name: _with_spread(values) for name, values in s.resources.items()}}
            for s in self.sets
        ]
        return asdict(self) | {"sets": sets, "tests": [asdict(test) | {"verdict": test.verdict} for test in self.tests]}


def _with_spread(values: list[float]) -> dict[str, Any]:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"values": values, "mean": float(np.mean(values)), "sd": sd}


def compare_runs(
    store: Store,
    names: Sequence[str],
    *,
    split: str = "valid",
    subgroup: str = "all",
    baseline: str | None = None,
    all_pairs: bool = False,
    force: bool = False,
    also: Sequence[str] = (),
) -> Comparison:
    """Group runs by config into seed sets and test each set against the baseline.

    Args:
        names: runs or groups; only training runs with ranks of `split` are used.
        baseline: run id, name, preset or label of the baseline. Default: preset `backbone`, else the first set.
        all_pairs: test every pair of sets instead.
        force: allow different protocols, data and repeated seeds; sets with different users are shown but not tested.
        also: full names of metrics to test that are not by default, such as `mrr@20`.

    Raises:
        ConfigError: the runs cannot be compared fairly; lists all reasons.
        LookupFailed: a name is neither a run nor a group.
    """
    training_rows = [row for row in runs.select_runs(store, names) if row["kind"] in RANKED]
    notes: list[str] = []
    loaded = {row["run_id"]: runs.ranks(store, row["run_id"], split) for row in training_rows}
    without_ranks = [row["run_id"] for row in training_rows if not len(loaded[row["run_id"]][0])]
    if without_ranks:
        named = ", ".join(f"{row['name']} ({row['state']})" for row in training_rows if row["run_id"] in without_ranks)
        notes.append(f"{LEFT_OUT}{named}: no {formatting.SPLITS[split]} ranks yet")
    training_rows = [row for row in training_rows if row["run_id"] not in without_ranks]
    groups = group_by_config(training_rows)
    if not groups:
        raise ConfigError("nothing to compare: no finished run", where="compare", hint="`sracl runs` shows the states.")
    _check_comparable(groups, notes, force=force)
    first = training_rows[0]
    ks = tuple(first["config"]["evaluate"]["ks"])
    masks = {d: subgroup_mask(store, rows[0], subgroup, split) for rows in groups for d in [rows[0]["dataset_id"]]}
    ranks_by_run = {
        run_id: _apply_mask(*loaded[run_id], masks[_dataset_id(training_rows, run_id)])
        for run_id in loaded
        if run_id not in without_ranks
    }
    settings = differing_settings(groups)
    labels = labels_of(groups, settings)
    metrics = _metrics_of(training_rows)
    stored = _stored_metrics(store, list(ranks_by_run), split, subgroup)
    sets = [
        _seed_set(rows, label, ranks_by_run, ks, metrics, stored) for rows, label in zip(groups, labels, strict=True)
    ]
    pairs = pairs_of(sets, groups, baseline, all_pairs)
    equal = equal_pairs(store, pairs, {row["run_id"]: row for row in training_rows}, ranks_by_run)
    settled = {(one.a, one.b) for one in equal}
    untested = [b.label for a, b in pairs if not same_users(a, b, ranks_by_run)]
    pairs = [(a, b) for a, b in pairs if (a.label, b.label) not in settled]
    tests = paired_tests(pairs, ranks_by_run, ks, tested_metrics(sets, also), notes)
    notes += [one.text for one in equal]
    notes += _of_unknown_texts(groups, labels)
    notes += _warned(store, groups, labels)
    users = len(ranks_by_run[first["run_id"]][0])
    return Comparison(
        cast(str, first["dataset_name"]), split, subgroup, users, ks, settings, sets, tests, notes, equal, untested
    )


def _warned(store: Store, groups: Sequence[Sequence[StoredRun]], labels: Sequence[str]) -> list[str]:
    """What the runs of each set warned of, each message once for a set."""
    ids = [row["run_id"] for rows in groups for row in rows]
    found = runs.warnings_of(store, ids)
    told: list[str] = []
    for rows, label in zip(groups, labels, strict=True):
        counts = Counter(message for row in rows for message in found[row["run_id"]])
        for message, count in counts.items():
            told.append(f"{label} ran with a warning{f' in {count} runs' if count > 1 else ''}: {message}")
    return told


def _dataset_id(rows: list[StoredRun], run_id: str) -> str | None:
    return next(row["dataset_id"] for row in rows if row["run_id"] == run_id)


def group_by_config(rows: Sequence[StoredRun]) -> list[list[StoredRun]]:
    """Runs of equal config hash, data set and version of the prompts together, in the order in which the first of each comes.

    `semantics.prompt = auto` has one hash for each version that was the newest once, and their texts differ. A run whose version
    is not known here, as its bundle left the texts out, goes with those of the only version that is.
    """
    groups: dict[tuple[str, str | None, str | None], list[StoredRun]] = {}
    for row in rows:
        groups.setdefault((row["config_hash"], row["dataset_id"], _prompts(row, rows)), []).append(row)
    return list(groups.values())


def _prompts(row: StoredRun, rows: Sequence[StoredRun]) -> str | None:
    like = (row["config_hash"], row["dataset_id"])
    known = {one["prompts"] for one in rows if (one["config_hash"], one["dataset_id"]) == like} - {None}
    return next(iter(known)) if len(known) == 1 else row["prompts"]


def _of_unknown_texts(groups: list[list[StoredRun]], labels: list[str]) -> list[str]:
    """A sentence for each set of which some runs' texts are not known here."""
    told = []
    for rows, label in zip(groups, labels, strict=True):
        unknown = sum(row["prompts"] is None for row in rows)
        if 0 < unknown < len(rows):
            told.append(
                f"{label}: which rules or prompts wrote the texts of {unknown} of {len(rows)} runs is not known here"
            )
    return told


def _check_comparable(groups: list[list[StoredRun]], notes: list[str], *, force: bool) -> None:
    """Check that the sets have the same data and protocol, and distinct seeds.

    Raises:
        ConfigError: they do not; with `force`, the reasons are appended to `notes` instead.
    """
    problems = comparability_problems(groups)
    if problems and not force:
        raise ConfigError(
            "\n".join(problems), where="compare", hint="Choose other runs, or compare anyway with --force."
        )
    notes += [f"forced: {problem}" for problem in problems]


def comparability_problems(groups: Sequence[Sequence[StoredRun]]) -> list[str]:
    """Why sets of runs cannot be compared: other data, another protocol, or a seed twice in one set; empty if they can."""
    problems: list[str] = []
    firsts = [rows[0] for rows in groups]
    if len({row["dataset_id"] for row in firsts}) > 1:
        problems.append(f"different data: {', '.join(sorted({str(row['dataset_name']) for row in firsts}))}")
    flats = [flatten(row["config"]) for row in firsts]
    for path in PROTOCOL:
        values = {str(flat[path]) for flat in flats}
        if len(values) > 1:
            problems.append(f"different protocols: {path} is {' or '.join(sorted(values))}")
    for rows in groups:
        seeds = [row["seed"] for row in rows]
        repeated_seeds = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if repeated_seeds:
            ids = ", ".join(row["run_id"] for row in rows if row["seed"] in repeated_seeds)
            problems.append(f"seed {', '.join(map(str, repeated_seeds))} occurs more than once in one config: {ids}")
    return problems


def subgroup_mask(store: Store, row: StoredRun, subgroup: str, split: str) -> NDArray[np.bool_] | None:
    """Mask (U + 1,) of the users in a subgroup; None for all users."""
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


def _apply_mask(
    users: NDArray[np.int32], ranks: NDArray[np.int32], mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    return (users, ranks) if mask is None else (users[mask[users]], ranks[mask[users]])


def labels_of(groups: list[list[StoredRun]], settings: dict[str, list[Any]]) -> list[str]:
    """Unique labels of the sets: the common name of the runs, else the preset, else preset and differing settings."""
    labels: list[str] = []
    presets = [str(rows[0]["preset"]) for rows in groups]
    for i, rows in enumerate(groups):
        common_names = {row["name"].removesuffix(f"-{row['seed']}") for row in rows if row["name"] != row["run_id"]}
        if len(common_names) == 1 and all(row["name"] != row["run_id"] for row in rows):
            labels.append(common_names.pop())
        elif presets.count(presets[i]) == 1:
            labels.append(presets[i])
        else:
            differing = ", ".join(f"{path.partition('.')[2]}={values[i]}" for path, values in settings.items())
            labels.append(f"{presets[i]} {differing}".strip())
    hashes = [rows[0]["config_hash"][:6] for rows in groups]
    told = [f"{label} ({hashes[i]})" if labels.count(label) > 1 else label for i, label in enumerate(labels)]
    return [
        f"{label[:-1]}, {rows[0]['prompts']})" if told.count(label) > 1 else label
        for label, rows in zip(told, groups, strict=True)
    ]


def _metrics_of(rows: list[StoredRun]) -> list[str]:
    """Metrics that any of the runs measured, without cutoffs: those from ranks are computed for all of them."""
    named = {name for row in rows for name in row["config"]["evaluate"].get("metrics", DEFAULT)}
    named |= {split_name(row["config"]["train"]["select"])[0] for row in rows}
    return ordered(named)


@dataclass(frozen=True)
class _Stored:
    """What the runs measured beside ranks, by run id and full name."""

    metrics: dict[str, dict[str, float]]
    training: dict[str, dict[str, float]]
    pace: dict[str, dict[str, float]]


def _stored_metrics(store: Store, run_ids: list[str], split: str, subgroup: str) -> _Stored:
    """Metrics that ranks do not give; of a subgroup there are none."""
    found = runs.best_epoch_metrics(store, run_ids, split) if subgroup == "all" else {}
    others = {run_id: {n: v for n, v in values.items() if not _from_ranks(n)} for run_id, values in found.items()}
    return _Stored(others, runs.best_epoch_metrics(store, run_ids, "train"), pace(store, run_ids))


def _from_ranks(full: str) -> bool:
    definition = definition_of(full)
    return definition is not None and definition.per_user


def _common(values: list[dict[str, float]]) -> dict[str, list[float]]:
    """By each name that all have, their values."""
    return {name: [each[name] for each in values] for name in values[0] if all(name in each for each in values)}


def _resources(row: StoredRun, measured: dict[str, float]) -> dict[str, float]:
    """Of a run that was trained here: an imported one took only its import."""
    return {name: measured[name] for name in RESOURCES if name in measured} if row["kind"] == "train" else {}


def _seed_set(
    rows: list[StoredRun],
    label: str,
    ranks_by_run: dict[str, Any],
    ks: tuple[int, ...],
    metrics: Sequence[str],
    stored: _Stored,
) -> SeedSet:
    from engine.evaluation.metrics import ranking_metrics

    ids = [row["run_id"] for row in rows]
    measured = [ranking_metrics(ranks_by_run[run_id][1], ks, metrics) for run_id in ids]
    if not all(measured):
        raise ConfigError("this subgroup has no users in these runs", where="--subgroup")
    return SeedSet(
        label=label,
        preset=cast(str, rows[0]["preset"]),
        config_hash=rows[0]["config_hash"],
        run_ids=ids,
        seeds=[row["seed"] for row in rows],
        metrics=_common(measured) | _common([stored.metrics.get(run_id, {}) for run_id in ids]),
        training=_common([stored.training.get(run_id, {}) for run_id in ids]),
        resources=_common([_resources(row, stored.pace.get(row["run_id"], {})) for row in rows]),
    )


@dataclass(frozen=True)
class RankChanges:
    """Target ranks of all users in two seed sets a and b, and the change from a to b."""

    users: NDArray[np.int32]
    before: NDArray[np.float64]
    """(U,) mean rank over the seeds of a."""
    after: NDArray[np.float64]
    """(U,) mean rank over the seeds of b."""
    gain: NDArray[np.float64]
    """(U,) change of 1 / log2(1 + rank), the contribution of a user to NDCG without a cutoff; positive if b is better."""


def rank_changes(store: Store, a: Sequence[str], b: Sequence[str], *, split: str) -> RankChanges | None:
    """Changes by user, largest first; None if the two sides did not rank the same users."""
    sides = [[runs.ranks(store, run_id, split) for run_id in side] for side in (a, b)]
    users = sides[0][0][0]
    if not len(users) or not all(np.array_equal(users, found[0]) for side in sides for found in side):
        return None
    ranks = [np.stack([found[1] for found in side]).astype(np.float64) for side in sides]
    gains = [(1.0 / np.log2(1.0 + side)).mean(0) for side in ranks]
    gain = gains[1] - gains[0]
    order = np.lexsort((users, -np.abs(gain)))
    return RankChanges(users[order], ranks[0].mean(0)[order], ranks[1].mean(0)[order], gain[order])
