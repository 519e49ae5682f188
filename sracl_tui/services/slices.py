"""Whom a method helps: the difference between a run and its baseline, or two sets of seeds, in slices of the users.

Legend: S seeds of a side, U users.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.evaluation.significance import holm
from engine.evaluation.slices import SMALL, Codes, slice_estimates, user_values
from engine.metric_registry import DEFAULT, definition_of, full_names, oriented, title
from sracl_tui import formatting
from sracl_tui.services.comparison import LEFT_OUT, RANKED, comparability_problems, group_by_config, labels_of
from sracl_tui.services.paired_tests import differing_settings
from sracl_tui.services.slicings import TITLES, slicings
from store.database.database import Store
from store.queries import runs
from store.run_row import ListedRun, StoredRun

DEFAULT_METRIC = "ndcg@20"
ONE_SEED = "one seed each: the intervals are about these two trained models, not about the methods"
BORROWED_SEED = (
    "the side with a single seed borrows the seed variance of the other one: the intervals take both to vary alike"
)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Some of the users, and the difference between the two sides among them."""

    label: str
    user_ids: NDArray[np.int32]
    """Ascending."""
    a: float
    """Metric of the baseline, mean over its seeds."""
    b: float
    """Metric of the run, likewise."""
    difference: float
    """b minus a."""
    ci_low: float | None
    """Lower end of the 95 % interval; None where it has none, as for one user."""
    ci_high: float | None
    p_value: float
    p_holm: float | None = None
    """Corrected over all slices; None of all users together."""
    verdict: str = ""
    """`better`, `worse` or `not shown` at the level of .05, for a slice after Holm's correction."""

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    @property
    def small(self) -> bool:
        """Whether so few users are in it that the interval is rough."""
        return self.users < SMALL

    def document(self) -> dict[str, Any]:
        """As JSON-compatible values, the number of users in place of their ids."""
        values = {name: value for name, value in vars(self).items() if name != "user_ids"}
        return values | {"users": self.users, "small": self.small}


@dataclass(frozen=True)
class SlicedBy:
    """The slices of one way to slice; none where it cannot be done, and why."""

    key: str
    title: str
    slices: list[Slice]
    why: str


@dataclass(frozen=True)
class SliceReport:
    """Differences of a metric between a run b and a baseline a."""

    dataset: str
    split: str
    metric: str
    metrics: list[str]
    """Full names of those that may be asked for."""
    a: str
    b: str
    a_runs: list[str]
    b_runs: list[str]
    everyone: Slice
    by: list[SlicedBy]
    notes: list[str]

    def document(self) -> dict[str, Any]:
        """As JSON-compatible values."""
        by = [vars(one) | {"slices": [each.document() for each in one.slices]} for one in self.by]
        return vars(self) | {"users": self.everyone.users, "everyone": self.everyone.document(), "by": by}


@dataclass(frozen=True)
class _Side:
    rows: list[StoredRun]
    users: NDArray[np.int32]
    """(U,)"""
    ranks: list[NDArray[np.int32]]
    """(U,) each, one for each row."""

    @property
    def ids(self) -> list[str]:
        return [row["run_id"] for row in self.rows]


def slice_users(
    store: Store, run: Sequence[str], baseline: Sequence[str], *, metric: str | None = None, split: str = "test"
) -> SliceReport:
    """Measure a run against its baseline in slices of the users.

    Args:
        run: names of runs or groups that are the seeds of one configuration.
        baseline: the same of the side that is subtracted.
        metric: full name of a metric that users have values of, by default NDCG@20.
        split: `valid` or `test`.

    Raises:
        ConfigError: a side has several configurations or no ranks, the two cannot be compared, or there is no such metric.
        LookupFailed: a name is neither a run nor a group.
    """
    notes: list[str] = []
    b, a = (_side(store, names, split, notes) for names in (run, baseline))
    _check_comparable(a, b)
    known = _metrics([*a.rows, *b.rows])
    chosen = _chosen(metric, known)
    label_a, label_b = _labels(a, b)
    dataset_id = cast(str, b.rows[0]["dataset_id"])
    ways, whose = slicings(store, dataset_id, b.users, split, [(label_b, b.rows[0]), (label_a, a.rows[0])])
    values = (user_values(a.ranks, chosen), user_values(b.ranks, chosen))
    everyone = _measured(np.zeros(len(b.users), np.int64), ["all users"], b.users, *values)
    found = [_measured(way.codes, way.labels, b.users, *values) if way.labels else [] for way in ways]
    corrected = iter(holm([one.p_value for slices in found for one in slices]))
    by = [
        SlicedBy(way.key, TITLES[way.key], [_judged(one, chosen, next(corrected)) for one in slices], way.why)
        for way, slices in zip(ways, found, strict=True)
    ]
    sizes = sorted((len(a.rows), len(b.rows)))
    notes += [ONE_SEED] if sizes[1] == 1 else [BORROWED_SEED] if sizes[0] == 1 else []
    notes += [whose] if whose else []
    return SliceReport(
        dataset=cast(str, b.rows[0]["dataset_name"]),
        split=split,
        metric=chosen,
        metrics=known,
        a=label_a,
        b=label_b,
        a_runs=a.ids,
        b_runs=b.ids,
        everyone=_judged(everyone[0], chosen),
        by=by,
        notes=[*_cautions(by), *notes],
    )


def _side(store: Store, names: Sequence[str], split: str, notes: list[str]) -> _Side:
    """The ranks of one side; runs without any are left out, which is added to `notes`.

    Raises:
        ConfigError: several configurations, or no ranks.
    """
    called = ", ".join(names)
    rows = [row for row in runs.select_runs(store, names) if row["kind"] in RANKED]
    if len(groups := group_by_config(rows)) > 1:
        some = "; ".join(", ".join(row["name"] for row in group[:3]) for group in groups[:3])
        raise ConfigError(
            f"{called} has {len(groups)} configurations; a side is one: {some}",
            where="slices",
            hint="Name the runs of one configuration, with commas between them.",
        )
    loaded = [(row, *runs.ranks(store, row["run_id"], split)) for row in rows]
    ranked = [(row, users, ranks) for row, users, ranks in loaded if len(users)]
    if not ranked:
        raise ConfigError(
            f"{called} has no {formatting.SPLITS[split]} ranks",
            where="slices",
            hint="A run has them when it is finished: `sracl runs` shows the states.",
        )
    if missing := [row["name"] for row, users, _ in loaded if not len(users)]:
        notes.append(f"{LEFT_OUT}{', '.join(missing)}: no {formatting.SPLITS[split]} ranks yet")
    users = ranked[0][1]
    if not all(np.array_equal(users, other) for _, other, _ in ranked):
        raise ConfigError(f"the runs of {called} did not rank the same users", where="slices")
    return _Side([row for row, _, _ in ranked], users, [ranks for _, _, ranks in ranked])


def _check_comparable(a: _Side, b: _Side) -> None:
    """Check that two sides are different runs of the same users and protocol.

    Raises:
        ConfigError: they are not.
    """
    if shared := sorted(set(a.ids) & set(b.ids)):
        raise ConfigError(f"{shared[0]} is on both sides", where="slices", hint="Name a run and another one.")
    problems = comparability_problems([a.rows, b.rows])
    if not problems and not np.array_equal(a.users, b.users):
        problems = ["the two sides did not rank the same users"]
    if problems:
        raise ConfigError("\n".join(problems), where="slices", hint="Choose runs of the same data and protocol.")


def _metrics(rows: Sequence[StoredRun]) -> list[str]:
    """Full names of the metrics with a value per user that all runs have, at their cutoffs."""
    measured = [row["config"]["evaluate"].get("metrics", DEFAULT) for row in rows]
    names = [name for name in measured[0] if all(name in others for others in measured)]
    every = full_names(names, tuple(rows[0]["config"]["evaluate"]["ks"]))
    return [full for full in every if (metric := definition_of(full)) is not None and metric.per_user]


def _chosen(wanted: str | None, known: Sequence[str]) -> str:
    """The metric that was asked for, else NDCG@20, else the last one.

    Raises:
        ConfigError: the runs do not have it.
    """
    full = DEFAULT_METRIC if wanted is None else wanted.lower()
    if full in known or (wanted is None and known):
        return full if full in known else known[-1]
    raise ConfigError(
        f"users have no values of {title(full)} in these runs",
        where="--metric",
        hint=f"Metrics: {', '.join(known)}.",
    )


def _labels(a: _Side, b: _Side) -> tuple[str, str]:
    """A name for each side: as `compare` calls them, of two runs of one configuration their own."""
    sides = [a.rows, b.rows]
    if len(group_by_config([*a.rows, *b.rows])) == 1:
        first, second = (", ".join(row["name"] for row in rows) for rows in sides)
    else:
        first, second = labels_of(sides, differing_settings(sides))
    return first, second


def _measured(
    codes: Codes, labels: Sequence[str], users: NDArray[np.int32], a: NDArray[np.float64], b: NDArray[np.float64]
) -> list[Slice]:
    """The slices of one way to slice, from the values (S, U) of both sides."""
    found: list[Slice] = []
    for code, (label, one) in enumerate(zip(labels, slice_estimates(a, b, codes), strict=True)):
        inside = codes == code
        low, high = one.interval()
        found.append(
            Slice(
                label=label,
                user_ids=users[inside],
                a=float(a[:, inside].mean()),
                b=float(b[:, inside].mean()),
                difference=one.difference,
                ci_low=low if math.isfinite(low) else None,
                ci_high=high if math.isfinite(high) else None,
                p_value=one.p_value(),
            )
        )
    return found


def _judged(one: Slice, metric: str, p_holm: float | None = None) -> Slice:
    better = oriented(metric, one.difference) > 0
    shown = (one.p_value if p_holm is None else p_holm) <= 0.05
    return replace(one, p_holm=p_holm, verdict="not shown" if not shown else "better" if better else "worse")


def _cautions(by: Sequence[SlicedBy]) -> list[str]:
    """What to keep in mind where many slices are looked at."""
    slices = [one for each in by for one in each.slices]
    if not slices:
        return []
    told = [
        f"intervals are not corrected for the number of slices; conclusions are, by Holm's correction over all {len(slices)}",
        "whether two slices differ from each other is not tested",
    ]
    if any(one.small for one in slices):
        told.append(f"* fewer than {SMALL} users: the interval is rough")
    return told


def sides_of(rows: Sequence[ListedRun], pinned: str) -> tuple[list[str], list[str]] | None:
    """Ids of a run and of its baseline among marked runs, seeds of one configuration together; None for one configuration.

    The baseline is the set of the pinned run, else of preset `backbone`, else the first one.
    """
    sets: dict[tuple[str, str | None], list[ListedRun]] = {}
    for row in rows:
        sets.setdefault((row["config_hash"], row["dataset_name"]), []).append(row)
    if len(sets) < 2:
        return None
    every = list(sets.values())
    base = next((one for one in every if any(row["run_id"] == pinned for row in one)), None)
    base = base or next((one for one in every if one[0]["preset"] == "backbone"), every[0])
    other = next(one for one in every if one is not base)
    return [row["run_id"] for row in other], [row["run_id"] for row in base]


def baseline_of(rows: Sequence[ListedRun], run: ListedRun, pinned: str) -> str | None:
    """Id of the run to compare a run with: the pinned baseline, else the newest finished backbone of its data, of its seed if there is one."""
    same = [row for row in rows if row["dataset_name"] == run["dataset_name"] and row["run_id"] != run["run_id"]]
    if any(row["run_id"] == pinned for row in same):
        return pinned
    plain = [row for row in same if row["preset"] == "backbone" and row["state"] == "finished"]
    plain.sort(key=lambda row: row["seed"] != run["seed"])
    return plain[0]["run_id"] if plain and run["preset"] != "backbone" else None
