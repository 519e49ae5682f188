"""Repeats a finished run in a temporary home, and compares its results with the recorded ones.

The data (checked by hash), the stored summaries and the seed are the same. The neighbor lists and the training are
computed again, on the original device and number of threads if this machine has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.config import Config
from engine.config_files import with_kept_files
from engine.errors import ConfigError
from sracl_tui.runs import environment
from sracl_tui.runs.request import RunRequest
from sracl_tui.runs.stages import stored_semantics
from store.database.database import Store
from store.errors import LookupFailed
from store.home import Home
from store.opening import open_store
from store.queries import datasets, runs
from store.run_row import StoredRun
from store.run_states import OPEN
from store.transfer import copy

if TYPE_CHECKING:
    from engine.data.dataset import Dataset

ROUNDING, USERS = 0.001, 3.0
"""Tolerance where rounding may differ: 0.001, or the effect of this many users on a mean (docs/reliability.md)."""
REDRAWN = 0.002, 0.1
"""Tolerance between CPU and GPU, whose random numbers differ as with another seed: 0.002, or a tenth of the value."""
VECTOR_TOLERANCE = 1e-4
"""Per component: the rounding of a text encoder depends on how texts are batched."""
SAMPLE = 200
"""Number of texts encoded again to check that the encoder still returns the same vectors."""
NUMERIC = ("torch", "numpy", "kernels")
"""Packages whose version can change the rounding of results, and what a CPU trains with (engine/models/kernel_library.py)."""


@dataclass(frozen=True)
class Check:
    """Comparison of one number of the original run with that of the repeated run."""

    what: tuple[str, str, str]
    """Split, subgroup and name."""
    then: float | None
    now: float | None
    tolerance: float

    @property
    def difference(self) -> float:
        """Absolute difference; infinite if one of the numbers is missing."""
        if self.then is None or self.now is None:
            return math.inf
        if math.isnan(self.then) and math.isnan(self.now):
            return 0.0
        return abs(self.then - self.now)

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance; NaN passes only if both numbers are NaN."""
        return self.difference <= self.tolerance

    def document(self) -> dict[str, Any]:
        """The check as JSON-compatible values; an infinite difference is null."""
        split, subgroup, name = self.what
        difference = self.difference if math.isfinite(self.difference) else None
        text = {"split": split, "subgroup": subgroup, "metric": name, "then": self.then, "now": self.now}
        return text | {"difference": difference, "tolerance": self.tolerance, "pass": self.passed}


@dataclass
class Reproduction:
    """Result of repeating a run: differences in the environment, checks and notes."""

    run_id: str
    expects: str
    """Expected agreement: `equal` (bit-identical: same device, threads, processor and libraries), `rounding` (these differ)
    or `draws` (other random numbers: CPU and GPU)."""
    differences: list[str]
    """Differences from the original run in code, packages, machine and settings, one a line."""
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether results must be bit-identical."""
        return self.expects == "equal"

    @property
    def passed(self) -> bool:
        """Whether there are checks and all of them pass."""
        return bool(self.checks) and all(check.passed for check in self.checks)


def chosen(store: Store, text: str) -> StoredRun:
    """Find a run that can be repeated, by id, name or `last`.

    Raises:
        LookupFailed: there is no such run.
        ConfigError: the run has not finished, or is not a training run.
    """
    row = runs.find_run(store, text)
    run_id, state = row["run_id"], row["state"]
    if state in OPEN:
        raise ConfigError(
            f"the run is {state}", where=run_id, hint=f"Wait until it has ended, or stop it: sracl stop {run_id}"
        )
    if row["kind"] != "train":
        raise ConfigError(
            f"the run is of kind {row['kind']}", where=run_id, hint="Only training runs have metrics to compare."
        )
    if state != "finished":
        raise ConfigError(
            f"the run is {state} and has no final result to compare with",
            where=run_id,
            hint=f"Finish it first: sracl run --resume {run_id}",
        )
    return row


def request_of(
    row: Mapping[str, Any], folder: Path, *, device: str | None = None, threads: int | None = None
) -> RunRequest:
    """Request with the settings of a run, on its device and number of threads unless others are given.

    Files of one's own, such as a backbone, are those that the run has kept in its `folder`.

    Raises:
        ConfigError: a setting is unknown to this version.
    """
    try:
        config = with_kept_files(Config.model_validate(row["config"]), folder)
    except ValueError as error:
        raise ConfigError(
            f"this version of sracl cannot read its settings: {error}",
            where=row["run_id"],
            hint=f"Use version {row['code_version']}, which recorded the run.",
        ) from None
    train = {"device": device or _device(row), "threads": threads or row["threads"] or config.train.threads}
    semantics = config.semantics.model_copy(update={"budget": None})  # no paid calls are made
    config = config.model_copy(update={"train": config.train.model_copy(update=train), "semantics": semantics})
    needs_sets = bool(config.needs) and config.semantics.vector != "collaborative"
    job = {stored_semantics.JOB: stored_semantics.sets_of(row)} if needs_sets else {}
    preset = row["preset"] or "default"
    return RunRequest(run_id=row["run_id"], config=config, preset=preset, job=job, allow_degraded=True)


def _device(row: Mapping[str, Any]) -> str:
    """`cuda` if the run used a GPU and this machine has one, else `cpu`."""
    if not str(row["device"]).startswith("cuda"):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def prepare(store: Store, row: Mapping[str, Any], request: RunRequest, scratch: Home, *, encode: bool) -> list[Check]:
    """Copy data, summaries and vectors into a temporary home; returns the check of the encoder on a sample of texts.

    Args:
        encode: do not copy locally encoded vectors, so that all texts are encoded again.

    Raises:
        LookupFailed: data, summaries or paid vectors of the run are missing.
    """
    from engine.semantics.encoders.remote import names_endpoint
    from engine.semantics.encoders.text_vectors import text_sha256

    scratch.create()
    _copy_dataset(store, row, request, scratch)
    sets = request.job.get(stored_semantics.JOB)
    if not sets:
        return []
    texts_by_kind = {kind: copy.set_rows(store, set_id)[2] for kind, set_id in sets.items()}
    missing = {kind: sum(text is None for text in texts) for kind, texts in texts_by_kind.items()}
    if not all(texts_by_kind.values()) or any(missing.values()):
        message = ", ".join(
            f"{count:,} of {len(texts_by_kind[kind]):,} {kind} summaries" for kind, count in missing.items()
        )
        raise LookupFailed(
            f"some of its summaries are not stored: {message} are missing",
            where=row["run_id"],
            hint="Restore them from the journals of the runs that wrote them: sracl db repair. Otherwise start a new run.",
        )
    copy.copy_sets(store, scratch, list(sets.values()))
    mean = request.config.semantics.vector == "item-mean"
    all_texts = [text or "" for kind, texts in texts_by_kind.items() if kind == "item" or not mean for text in texts]
    list_id = row["user_list_id"] or row["item_list_id"]
    encoder = copy.encoder_of(store, list_id) if list_id else None
    texts = sorted({text for text in all_texts if text.strip()})
    paid = names_endpoint(request.config.semantics.encoder)
    if encoder is None or (encode and not paid):
        return []
    copied = copy.copy_vectors(store, scratch, encoder, [text_sha256(text) for text in texts])
    if paid and copied < len(texts):
        raise LookupFailed(
            f"{len(texts) - copied:,} of {len(texts):,} vectors of {encoder} are not stored",
            where=row["run_id"],
            hint="They are not paid for again. `sracl db repair` restores them if their journals still exist.",
        )
    return [] if paid else _encoder_check(store, request, encoder, texts)


def _copy_dataset(store: Store, row: Mapping[str, Any], request: RunRequest, scratch: Home) -> None:
    """Copy the dataset with the recorded hash into the temporary home, under the name in the settings.

    Raises:
        LookupFailed: no dataset here has that hash.
    """
    from dataclasses import replace

    from engine.data.synthetic import GENERATED, generate
    from sracl_tui.runs.dataset_access import from_record, to_record

    name, sha = request.config.data.dataset, row["dataset_sha256"]
    if datasets.find(store, row["dataset_id"]) is not None:
        record = datasets.load(store, row["dataset_id"])
        whole: Dataset = replace(from_record(record), name=name)
        datasets.add(scratch, to_record(whole, source=record.source, synthetic=record.synthetic))
        return
    local = datasets.find(store, name)
    if local is None and name in GENERATED:
        for made in map(generate, GENERATED):  # `demo` was other data in earlier versions
            if made.first_users(request.config.data.max_users).sha256 == sha:
                datasets.add(scratch, to_record(replace(made, name=name), source="generated", synthetic=True))
                return
    current = "there is no dataset of that name" if local is None else f"{name} is now {local['sha256'][:16]}"
    raise LookupFailed(
        f"the run used data {sha[:16]} ({row['dataset_name']}), but {current}",
        where=row["run_id"],
        hint=f"Import the original files with the same options: sracl data import PATH --name {name}-then",
    )


def _encoder_check(store: Store, request: RunRequest, encoder: str, texts: list[str]) -> list[Check]:
    """Encode a sample of texts again and check the largest difference of a component from the stored vectors."""
    from engine.semantics.encoders.registry import build_encoder
    from engine.semantics.encoders.text_vectors import text_sha256
    from store.queries.caches import known_vectors

    places = np.unique(np.linspace(0, len(texts) - 1, min(SAMPLE, len(texts))).astype(int))
    sample = {text_sha256(texts[place]): texts[place] for place in places}
    names, stored = known_vectors(store, encoder, list(sample))
    if not names:
        return []
    semantics = request.config.semantics
    again = build_encoder(semantics.encoder, texts, pooling=semantics.pooling, home=store.home.path)
    what = ("vectors", f"{len(names):,} of {len(texts):,} texts", "largest difference")
    if again.name != encoder:
        return [Check(what, 0.0, None, VECTOR_TOLERANCE)]
    fresh = again.encode([sample[name] for name in names])
    largest = float(np.abs(fresh - stored).max()) if fresh.shape == stored.shape else math.inf
    return [Check(what, 0.0, largest, VECTOR_TOLERANCE)]


def compare(
    store: Store,
    row: Mapping[str, Any],
    scratch: Home,
    *,
    checks: list[Check],
    tolerance: float | None = None,
) -> Reproduction:
    """Check every metric of the repeated run; if bit-identical, also epochs, ranks and analysis metrics.

    Args:
        checks: those of `prepare`.
        tolerance: overrides the tolerance that follows from the differences.
    """
    with open_store(scratch) as scratch_store:
        repeated = runs.find_run(scratch_store, row["run_id"])
        differences, expects = _differences(row, repeated)
        report = Reproduction(row["run_id"], expects, differences, list(checks))
        strict = report.exact and tolerance is None
        if strict:
            for name in ("best_epoch", "epoch"):
                report.checks.append(Check(("run", "all", name), row[name], repeated[name], 0.0))
        then, now = copy.metrics_of(store, row["run_id"]), copy.metrics_of(scratch_store, row["run_id"])
        for what in dict.fromkeys([*then, *now]):
            added = what[0] == "analysis" and what not in then  # measured only since a later version
            if what[0] != "analysis" or (strict and not added):
                limit = _tolerance(what, then, expects) if tolerance is None else tolerance
                report.checks.append(Check(what, then.get(what), now.get(what), limit))
        _compare_ranks(store, scratch_store, report, strict=strict)
        _compare_neighbor_lists(store, scratch_store, row, repeated, report)
    return report


def _tolerance(what: tuple[str, str, str], then: Mapping[tuple[str, str, str], float], expects: str) -> float:
    """Tolerance of a metric: 0 for `equal` results and numbers of users, else by the expected agreement."""
    if expects == "equal" or what[2] == "n":
        return 0.0
    effect_of_users = USERS / max(then.get((what[0], what[1], "n")) or 1.0, 1.0)
    if expects == "rounding":
        return max(ROUNDING, effect_of_users)
    absolute, relative = REDRAWN
    return max(absolute, relative * abs(then.get(what) or 0.0), effect_of_users)


def _compare_ranks(store: Store, scratch_store: Store, report: Reproduction, *, strict: bool) -> None:
    for split in ("valid", "test"):
        (users, then), (others, now) = (runs.ranks(each, report.run_id, split) for each in (store, scratch_store))
        same = np.array_equal(users, others)
        differ = int((then != now).sum()) if same else len(users)
        if strict:
            report.checks.append(Check((split, "all", "users whose rank differs"), 0, differ, 0.0))
        else:
            report.notes.append(f"{split}: {differ:,} of {len(users):,} users have a different rank")


def _compare_neighbor_lists(
    store: Store, scratch_store: Store, row: Mapping[str, Any], repeated: Mapping[str, Any], report: Reproduction
) -> None:
    for kind in ("user", "item"):
        list_id, other_id = row[f"{kind}_list_id"], repeated[f"{kind}_list_id"]
        if list_id is not None and other_id is not None:
            differ, owners = copy.differing_lists(store, scratch_store, list_id, other_id)
            report.notes.append(f"neighbors: {differ:,} of {owners:,} {kind} lists differ")


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], str]:
    """Differences between the two runs, one a line, and the agreement to expect (`Reproduction.expects`)."""
    changes = []
    for name, label in (("code_version", "version of sracl"), ("git_sha", "commit")):
        if then[name] != now[name]:
            changes.append(f"{label}: {_short(then[name])} then, {_short(now[name])} now")
    if (then["git_patch"] or None) != (now["git_patch"] or None):
        changes.append("uncommitted code changes: different from those of the original run")
    if then["config_hash"] != now["config_hash"]:
        changes.append(f"config hash: {then['config_hash']} then, {now['config_hash']} now")
    packages = {name: (then["packages"] or {}).get(name) for name in now["packages"]}
    changed = {name: version for name, version in now["packages"].items() if packages[name] != version}
    changes += [f"{name}: {packages[name]} then, {version} now" for name, version in changed.items()]
    rounding = {name for name in changed if name in NUMERIC}
    for name, label in (("device", "device"), ("threads", "threads")):
        if then[name] != now[name]:
            changes.append(f"{label}: {then[name]} then, {now[name]} now")
            rounding.add(name)
    processors = environment.processor_of(then["machine"] or ""), environment.processor_of(now["machine"] or "")
    if processors[0] != processors[1]:
        changes.append(f"processor: {processors[0]} then, {processors[1]} now")
        rounding.add("processor")
    kinds = {str(device).partition(":")[0] for device in (then["device"], now["device"])}
    if len(kinds) > 1:
        return changes, "draws"
    return changes, "rounding" if rounding or kinds != {"cpu"} else "equal"


def _short(value: Any) -> str:
    return "none" if value is None else str(value)[:12]
