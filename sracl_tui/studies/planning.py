"""Which runs a study needs, which of them exist in the home already, and which claims cannot be run here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.config import Config
from engine.errors import ConfigError
from engine.extension_points import PROVIDERS
from sracl_tui.runs.dataset_access import is_known
from sracl_tui.runs.sweeps.variants import with_seed
from sracl_tui.studies.definition import Claim, Study
from store.database.database import Store
from store.errors import LookupFailed
from store.queries import runs, studies
from store.queries.removed import RemovedRun, removed_of_configs
from store.run_row import StoredRun
from store.run_states import OPEN

RunStatus = Literal["finished", "open", "interrupted", "missing"]
CONTINUED = ("stopped", "killed", "lost")
"""States of a run that is continued from its checkpoint."""


@dataclass(frozen=True)
class PlannedRun:
    """A run that a study needs: variant, data set and seed, and the run of the home that has these settings."""

    variant: str
    dataset: str
    seed: int
    config: Config
    preset: str
    config_hash: str
    row: StoredRun | None
    """The finished one, else one that is queued or running, else the newest that was interrupted; none where there is none."""
    removed: RemovedRun | None = None
    """A finished run with these settings that was removed, where no other one is finished; the study runs them again."""

    @property
    def status(self) -> RunStatus:
        """What there is of it."""
        state = self.row["state"] if self.row is not None else ""
        if state == "finished":
            return "finished"
        return "open" if state in OPEN else "interrupted" if state in CONTINUED else "missing"

    @property
    def run_id(self) -> str | None:
        """Id of the run that exists, finished or not."""
        return self.row["run_id"] if self.row is not None else None


@dataclass(frozen=True)
class PlannedClaim:
    """A claim on a data set; `reason` says why it cannot be run here, and is empty where it can."""

    claim: Claim
    dataset: str
    reason: str = ""

    @property
    def name(self) -> str:
        """`gain`, or `gain@office` where it has to be told from the same claim on other data."""
        return f"{self.claim.name}@{self.dataset}"


@dataclass(frozen=True)
class Plan:
    """The runs of a study for a number of seeds, and its claims."""

    study: Study
    datasets: tuple[str, ...]
    seeds: dict[tuple[str, str], int]
    """Number of seeds by variant and data set."""
    runs: list[PlannedRun]
    claims: list[PlannedClaim]
    selected: frozenset[str]
    """Names of the claims that were asked for; the others are declared and not run now."""
    given: dict[tuple[str, str], list[StoredRun]] = field(default_factory=dict)
    """Finished runs of variants that stand for runs of another origin, by variant and data set."""

    @property
    def runnable(self) -> list[PlannedClaim]:
        """Claims that can be run here and were asked for."""
        return [claim for claim in self.claims if not claim.reason and claim.claim.name in self.selected]

    def finished(self, variant: str, dataset: str) -> list[StoredRun]:
        """Finished runs of a variant on a data set, by seed."""
        if (variant, dataset) in self.given:
            return self.given[variant, dataset]
        rows = [
            run.row for run in self.runs if (run.variant, run.dataset) == (variant, dataset) and run.row is not None
        ]
        return sorted((row for row in rows if row["state"] == "finished"), key=lambda row: row["seed"])

    def to_do(self) -> list[PlannedRun]:
        """Runs that are not finished, ordered by seed, so that all variants of the first seed can be compared early."""
        return [run for run in self.runs if run.status != "finished"]


def make_plan(
    study: Study,
    store: Store,
    *,
    datasets_named: Sequence[str] = (),
    claims_named: Sequence[str] = (),
    seeds: int | None = None,
    more_seeds: dict[tuple[str, str], int] | None = None,
) -> Plan:
    """The plan of a study in a home.

    Args:
        datasets_named: data sets in place of the study's.
        claims_named: claims to run; all by default.
        seeds: seeds of each variant, in place of the study's first number.
        more_seeds: larger numbers by variant and data set, where the rule has added some.

    Raises:
        ConfigError: there is no such claim, or a variant's settings do not suit a data set.
    """
    chosen = tuple(dict.fromkeys(datasets_named)) or study.datasets
    selected = _selected(study, claims_named)
    claims = [
        PlannedClaim(claim, dataset, reason_not_run(study, claim, dataset, store))
        for dataset in chosen
        for claim in study.claims.values()
        if datasets_named or claim.datasets is None or dataset in claim.datasets
    ]
    needed = _needed(study, claims, selected)
    given = {key: _given(study, store, *key) for key in needed if study.variants[key[0]].runs is not None}
    built = {key: study.config(*key) for key in needed if key not in given}
    hashes = {key: config.config_hash() for key, (config, _) in built.items()}
    rows = _best_rows(store, list(hashes.values()))
    removed = removed_of_configs(store, list(hashes.values()))
    counts = dict.fromkeys(needed, seeds or study.seeds.first)
    added = _added(study, claims, hashes, rows) if seeds is None else {}
    for key in needed:
        counts[key] = max(counts[key], added.get(key, 0), (more_seeds or {}).get(key, 0))
    planned = [
        _planned(key, seed, *built[key], hashes[key], rows.get((hashes[key], seed)), removed.get((hashes[key], seed)))
        for key in built
        for seed in range(1, counts[key] + 1)
    ]
    planned.sort(key=lambda run: run.seed)
    return Plan(study, chosen, counts, planned, claims, selected, given)


def finished_before(study: Study, store: Store, claims: Sequence[PlannedClaim]) -> dict[tuple[str, str], int]:
    """Finished runs that a home has of the variants of claims, of whatever seed, by variant and data set."""
    keys = {(name, planned.dataset) for planned in claims if not planned.reason for name in planned.claim.variants}
    given = {key: len(_given(study, store, *key)) for key in keys if study.variants[key[0]].runs is not None}
    hashes = {key: study.config(*key)[0].config_hash() for key in keys if key not in given}
    found = _best_rows(store, list(hashes.values()))
    finished = Counter(config_hash for (config_hash, _), row in found.items() if row["state"] == "finished")
    return given | {key: finished[config_hash] for key, config_hash in hashes.items()}


def datasets_to_read(study: Study, store: Store) -> tuple[str, ...]:
    """Data sets in place of the study's for one who reads it and names none: those that it was run on, if none of them is its own."""
    declared = studies.declared_datasets(store, study.name)
    return () if set(declared) & set(study.datasets) else tuple(declared)


def _planned(
    key: tuple[str, str],
    seed: int,
    config: Config,
    preset: str,
    config_hash: str,
    row: StoredRun | None,
    removed: RemovedRun | None,
) -> PlannedRun:
    finished = row is not None and row["state"] == "finished"
    return PlannedRun(*key, seed, with_seed(config, seed), preset, config_hash, row, None if finished else removed)


def _added(
    study: Study,
    claims: list[PlannedClaim],
    hashes: dict[tuple[str, str], str],
    rows: dict[tuple[str, int], StoredRun],
) -> dict[tuple[str, str], int]:
    """Seeds that the rule has added before: the last step at which all runs of both sides of a claim are finished."""
    found: dict[tuple[str, str], int] = {}
    for planned in claims:
        keys = [(name, planned.dataset) for name in planned.claim.variants if (name, planned.dataset) in hashes]
        for step in study.seeds.steps()[1:]:
            each = [rows.get((hashes[key], seed)) for key in keys for seed in range(1, step + 1)]
            if keys and all(row is not None and row["state"] == "finished" for row in each):
                found |= {key: max(step, found.get(key, 0)) for key in keys}
    return found


def _selected(study: Study, names: Sequence[str]) -> frozenset[str]:
    for name in names:
        if name not in study.claims:
            raise ConfigError(
                f"study {study.name} has no claim {name!r}", where="--claim", hint=f"Claims: {', '.join(study.claims)}."
            )
    return frozenset(names or study.claims)


def _needed(study: Study, claims: list[PlannedClaim], selected: frozenset[str]) -> list[tuple[str, str]]:
    """Variants and data sets that have to be run, in the order of the file."""
    used = {
        (variant, planned.dataset)
        for planned in claims
        if not planned.reason and planned.claim.name in selected
        for variant in planned.claim.variants
    }
    if selected == frozenset(study.claims):
        used |= {(variant, dataset) for variant in study.also for _, dataset in set(used)}
    order = list(study.variants)
    places = {dataset: place for place, dataset in enumerate(dict.fromkeys(planned.dataset for planned in claims))}
    return sorted(used, key=lambda key: (places[key[1]], order.index(key[0])))


def _given(study: Study, store: Store, variant: str, dataset: str) -> list[StoredRun]:
    name = study.variants[variant].runs or ""
    rows = [row for row in runs.select_runs(store, [name]) if dataset in (row["dataset_name"], named_dataset(row))]
    return sorted((row for row in rows if row["state"] == "finished"), key=lambda row: row["seed"])


def code_of(row: StoredRun) -> str:
    """Version and commit of the code that made a run; empty for imported ranks, whose model other code has trained."""
    if row["kind"] == "ranks":
        return ""
    return f"{row['code_version'] or ''}{' (' + row['git_sha'][:12] + ')' if row['git_sha'] else ''}"


def named_dataset(row: StoredRun) -> str:
    """The data set that a run's settings name, of which it may have used the first users alone."""
    return str(row["config"].get("data", {}).get("dataset", ""))


def _best_rows(store: Store, hashes: Sequence[str]) -> dict[tuple[str, int], StoredRun]:
    """The best run of each config and seed: a finished one, the oldest of these; else an open one; else the newest.

    Of runs whose texts an earlier version of the prompt wrote (`semantics.prompt = auto`) none, where a newer one did for another.
    """
    found: dict[tuple[str, int], StoredRun] = {}
    rows = studies.runs_of_configs(store, hashes)
    newest = {row["config_hash"]: row["prompts"] for row in rows if row["prompts"]}
    for row in rows:
        if row["prompts"] and row["prompts"] != newest[row["config_hash"]]:
            continue
        key = (row["config_hash"], row["seed"])
        if key not in found or _worth(row) > _worth(found[key]) or _worth(row) == _worth(found[key]) < 3:
            found[key] = row
    return found


def _worth(row: StoredRun) -> int:
    if row["state"] == "finished":
        return 3
    return 2 if row["state"] in OPEN else 1 if row["state"] in CONTINUED else 0


def reason_not_run(study: Study, claim: Claim, dataset: str, store: Store) -> str:
    """Why a claim cannot be run in this home; empty where it can."""
    if claim.not_run:
        return claim.not_run
    if not is_known(store, dataset):
        return f"there is no data set {dataset} here: `sracl data import SOURCE --name {dataset}`"
    for name in claim.variants:
        variant = study.variants[name]
        if variant.runs is not None:
            try:
                given = _given(study, store, name, dataset)
                if not given:
                    return f"{variant.runs} has no finished run on {dataset}"
                if len({row["config_hash"] for row in given}) > 1 or len({row["seed"] for row in given}) < len(given):
                    return f"{variant.runs} has runs of several settings, or of one seed twice: name one run, or another group"
            except LookupFailed as error:
                return f"{name}: {error.message}"
            continue
        reason = _no_endpoint(study.config(name, dataset)[0], store)
        if reason:
            return f"{name}: {reason}"
    return ""


def _no_endpoint(config: Config, store: Store) -> str:
    """Why the endpoints that a config asks cannot be asked; empty where they can, or where it asks none."""
    from engine.semantics.encoders.remote import names_endpoint
    from engine.semantics.llm.endpoints import find_endpoint, find_key

    if not config.needs:
        return ""
    names = [] if PROVIDERS.has(config.semantics.provider) else [config.semantics.provider]
    if names_endpoint(config.semantics.encoder):
        names.append(config.semantics.encoder.partition(":")[0])
    try:
        for name in names:
            find_key(name, find_endpoint(name, store.home.path), store.home.path)
    except ConfigError as error:
        return error.message
    return ""


def removed_text(plan: Plan) -> str:
    """Which runs of a plan were removed, in a sentence; empty where none was."""
    gone = [(run, run.removed) for run in plan.runs if run.removed is not None]
    if not gone:
        return ""
    named = ", ".join(f"{run.variant}, seed {run.seed} ({row['run_id']})" for run, row in gone[:5])
    more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
    back = any(row["emptied_at"] is None for _, row in gone)
    ways = ", unless `sracl restore RUN` brings them back" if back else "; they were deleted for good"
    return f"removed: {named}{more}: run again{ways}"


def plan_document(plan: Plan) -> dict[str, Any]:
    """Counts and rows of a plan as JSON values."""
    counts = dict.fromkeys(("finished", "open", "interrupted", "missing"), 0)
    for run in plan.runs:
        counts[run.status] += 1
    rows = [
        {
            "variant": run.variant, "dataset": run.dataset, "seed": run.seed, "status": run.status,
            "run_id": run.run_id, "config_hash": run.config_hash, "removed": run.removed["run_id"] if run.removed else None,
        }
        for run in plan.runs
    ]  # fmt: skip
    return {"runs": rows, "counts": counts}
