"""Runs a finished run again in a scratch home, and holds what comes out against what was recorded.

The data are the same by their hash, the summaries are the stored ones, the seed is the same. Neighbor lists are found
and the training is done anew, on the device and the threads of the first time where this machine has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.config import Config
from engine.errors import ConfigError
from sracl_tui.runs import environment
from sracl_tui.runs.dataset_access import DEMO
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
"""Allowed where the last bits may differ: 0.001, or what so many users can make of a mean (docs/reliability.md)."""
REDRAWN = 0.002, 0.1
"""Allowed where a GPU draws other random numbers than a CPU, as with another seed: 0.002, or a tenth of the value."""
VECTOR_TOLERANCE = 1e-4
"""Of a component: a text encoder rounds differently in other batches of texts."""
SAMPLE = 200
"""Texts that are encoded again to see whether the encoder still gives the same vectors."""
NUMERIC = ("torch", "numpy")
"""Packages whose version can change the last bit of a result."""


@dataclass(frozen=True)
class Check:
    """A number of the original run, that of the reproduction, and the tolerance."""

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
        """Whether it is within the tolerance; what is not a number is only where it was none before."""
        return self.difference <= self.tolerance

    def document(self) -> dict[str, Any]:
        """All fields as JSON-compatible values."""
        split, subgroup, name = self.what
        difference = self.difference if math.isfinite(self.difference) else None
        text = {"split": split, "subgroup": subgroup, "metric": name, "then": self.then, "now": self.now}
        return text | {"difference": difference, "tolerance": self.tolerance, "pass": self.passed}


@dataclass
class Reproduction:
    """Differences of environment, checked numbers, and notes."""

    run_id: str
    expects: str
    """`equal` bits, as device, threads, processor and libraries are the same; `rounding`, or other `draws`."""
    differences: list[str]
    """What differs from the first time, each in a line."""
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether every bit must be the same."""
        return self.expects == "equal"

    @property
    def passed(self) -> bool:
        """Whether every number is within its tolerance."""
        return bool(self.checks) and all(check.passed for check in self.checks)


def chosen(store: Store, text: str) -> StoredRun:
    """The run that is meant, where it can be repeated.

    Raises:
        LookupFailed: there is no such run.
        ConfigError: it has not finished, or trains nothing.
    """
    row = runs.find_run(store, text)
    run_id, state = row["run_id"], row["state"]
    if state in OPEN:
        raise ConfigError(
            f"it is {state}", where=run_id, hint=f"Wait until it has ended, or stop it: sracl stop {run_id}"
        )
    if row["kind"] != "train":
        raise ConfigError(
            f"it is a run of kind {row['kind']}", where=run_id, hint="Only trainings have metrics to compare."
        )
    if state != "finished":
        raise ConfigError(
            f"it is {state}: there is no result to compare with",
            where=run_id,
            hint=f"Let it end first: sracl run --resume {run_id}",
        )
    return row


def request_of(row: Mapping[str, Any], *, device: str | None = None, threads: int | None = None) -> RunRequest:
    """The same settings, on the device and the threads of the first time, or on others where these are named.

    Raises:
        ConfigError: this version does not know a setting.
    """
    try:
        config = Config.model_validate(row["config"])
    except ValueError as error:
        raise ConfigError(
            f"its settings mean nothing to this version of sracl: {error}",
            where=row["run_id"],
            hint=f"It was made with version {row['code_version']}: use that one.",
        ) from None
    train = {"device": device or _device(row), "threads": threads or row["threads"] or config.train.threads}
    semantics = config.semantics.model_copy(update={"budget": None})  # nothing is paid for
    config = config.model_copy(update={"train": config.train.model_copy(update=train), "semantics": semantics})
    needs_sets = config.contrasts and config.semantics.vector != "collaborative"
    job = {stored_semantics.JOB: stored_semantics.sets_of(row)} if needs_sets else {}
    return RunRequest(run_id=row["run_id"], config=config, preset=row["preset"] or "default", job=job)


def _device(row: Mapping[str, Any]) -> str:
    """The device of the first time, where this machine has one like it."""
    if not str(row["device"]).startswith("cuda"):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def prepare(store: Store, row: Mapping[str, Any], request: RunRequest, scratch: Home, *, encode: bool) -> list[Check]:
    """Bring data, summaries and vectors into a scratch home; what the encoder gives for some of the texts now.

    Args:
        encode: leave the vectors behind that cost nothing, so that all texts are encoded again.

    Raises:
        LookupFailed: data, summaries or paid vectors of the run are not here.
    """
    from engine.semantics.encoders.remote import names_endpoint
    from engine.semantics.encoders.text_vectors import text_sha256

    scratch.create()
    _bring_data(store, row, request, scratch)
    sets = request.job.get(stored_semantics.JOB)
    if not sets:
        return []
    by_kind = {kind: copy.set_rows(store, set_id)[2] for kind, set_id in sets.items()}
    missing = {kind: sum(text is None for text in texts) for kind, texts in by_kind.items()}
    if not all(by_kind.values()) or any(missing.values()):
        message = ", ".join(f"{count:,} of {len(by_kind[kind]):,} {kind} summaries" for kind, count in missing.items())
        raise LookupFailed(
            f"its summaries are not all stored: {message} are missing",
            where=row["run_id"],
            hint="They come back from the journals of the runs that made them: sracl db repair. Else run it anew.",
        )
    copy.copy_sets(store, scratch, list(sets.values()))
    mean = request.config.semantics.vector == "item-mean"
    flat = [text or "" for kind, texts in by_kind.items() if kind == "item" or not mean for text in texts]
    listed = row["user_list_id"] or row["item_list_id"]
    encoder = copy.encoder_of(store, listed) if listed else None
    texts = sorted({text for text in flat if text.strip()})
    paid = names_endpoint(request.config.semantics.encoder)
    if encoder is None or (encode and not paid):
        return []
    copied = copy.copy_vectors(store, scratch, encoder, [text_sha256(text) for text in texts])
    if paid and copied < len(texts):
        raise LookupFailed(
            f"{len(texts) - copied:,} of {len(texts):,} vectors of {encoder} are not stored",
            where=row["run_id"],
            hint="They are not paid for again. `sracl db repair` takes them from the journals, where those are there.",
        )
    return [] if paid else _encoder_check(store, request, encoder, texts)


def _bring_data(store: Store, row: Mapping[str, Any], request: RunRequest, scratch: Home) -> None:
    """Store the data of that very hash in the scratch home, under the name that the settings use."""
    from dataclasses import replace

    from sracl_tui.runs.dataset_access import from_record, open_dataset, to_record

    name, sha = request.config.data.dataset, row["dataset_sha256"]
    if datasets.find(store, row["dataset_id"]) is not None:
        record = datasets.load(store, row["dataset_id"])
        whole: Dataset = replace(from_record(record), name=name)
        datasets.add(scratch, to_record(whole, source=record.source, synthetic=record.synthetic))
        return
    here = datasets.find(store, name)
    if here is None and name == DEMO:
        with open_store(scratch) as made:
            if open_dataset(made, name, max_users=request.config.data.max_users).sha256 == sha:
                return
    there = "there is none of that name here" if here is None else f"{name} is {here['sha256'][:16]} here"
    raise LookupFailed(
        f"it was made from data {sha[:16]} ({row['dataset_name']}), and {there}",
        where=row["run_id"],
        hint=f"Import the files of that time with the same options: sracl data import PATH --name {name}-then",
    )


def _encoder_check(store: Store, request: RunRequest, encoder: str, texts: list[str]) -> list[Check]:
    """Encode some texts again: the largest difference of a component from the stored vectors."""
    from engine.semantics.encoders.registry import build_encoder
    from engine.semantics.encoders.text_vectors import text_sha256
    from store.queries.caches import known_vectors

    places = np.unique(np.linspace(0, len(texts) - 1, min(SAMPLE, len(texts))).astype(int))
    sample = {text_sha256(texts[place]): texts[place] for place in places}
    names, stored = known_vectors(store, encoder, list(sample))
    if not names:
        return []
    again = build_encoder(request.config.semantics.encoder, texts, home=store.home.path)
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
    """Every metric then and now; with equal bits to be expected also epochs, ranks, and the analysis of the vectors.

    Args:
        tolerance: goes over the one that the device allows.
    """
    with open_store(scratch) as again:
        here = runs.find_run(again, row["run_id"])
        differences, expects = _differences(row, here)
        found = Reproduction(row["run_id"], expects, differences, list(checks))
        strict = found.exact and tolerance is None
        if strict:
            for name in ("best_epoch", "epoch"):
                found.checks.append(Check(("run", "all", name), row[name], here[name], 0.0))
        then, now = copy.metrics_of(store, row["run_id"]), copy.metrics_of(again, row["run_id"])
        for what in dict.fromkeys([*then, *now]):
            if what[0] != "analysis" or strict:
                allowed = _allowed(what, then, expects) if tolerance is None else tolerance
                found.checks.append(Check(what, then.get(what), now.get(what), allowed))
        _compare_ranks(store, again, found, strict=strict)
        _compare_lists(store, again, row, here, found)
    return found


def _allowed(what: tuple[str, str, str], then: Mapping[tuple[str, str, str], float], expects: str) -> float:
    """How far a metric may be off: not at all, by what rounding does, or by what other random numbers do."""
    if expects == "equal" or what[2] == "n":
        return 0.0
    one = USERS / max(then.get((what[0], what[1], "n")) or 1.0, 1.0)
    if expects == "rounding":
        return max(ROUNDING, one)
    least, share = REDRAWN
    return max(least, share * abs(then.get(what) or 0.0), one)


def _compare_ranks(store: Store, again: Store, found: Reproduction, *, strict: bool) -> None:
    for split in ("valid", "test"):
        (users, then), (others, now) = (runs.ranks(each, found.run_id, split) for each in (store, again))
        same = np.array_equal(users, others)
        differ = int((then != now).sum()) if same else len(users)
        if strict:
            found.checks.append(Check((split, "all", "users whose rank differs"), 0, differ, 0.0))
        else:
            found.notes.append(f"{split}: {differ:,} of {len(users):,} users have another rank")


def _compare_lists(
    store: Store, again: Store, row: Mapping[str, Any], here: Mapping[str, Any], found: Reproduction
) -> None:
    for kind in ("user", "item"):
        list_id, other_id = row[f"{kind}_list_id"], here[f"{kind}_list_id"]
        if list_id is not None and other_id is not None:
            differ, owners = copy.differing_lists(store, again, list_id, other_id)
            found.notes.append(f"neighbors: {differ:,} of {owners:,} {kind} lists differ")


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], str]:
    """What differs between the two runs, in lines, and what may be expected of them all the same."""
    found = []
    for name, word in (("code_version", "version of sracl"), ("git_sha", "commit")):
        if then[name] != now[name]:
            found.append(f"{word}: {_short(then[name])} then, {_short(now[name])} now")
    if (then["git_patch"] or None) != (now["git_patch"] or None):
        found.append("uncommitted changes of the code: others than then")
    if then["config_hash"] != now["config_hash"]:
        found.append(f"config hash: {then['config_hash']} then, {now['config_hash']} now")
    packages = {name: (then["packages"] or {}).get(name) for name in now["packages"]}
    changed = {name: version for name, version in now["packages"].items() if packages[name] != version}
    found += [f"{name}: {packages[name]} then, {version} now" for name, version in changed.items()]
    bits = {name for name in changed if name in NUMERIC}
    for name, word in (("device", "device"), ("threads", "threads")):
        if then[name] != now[name]:
            found.append(f"{word}: {then[name]} then, {now[name]} now")
            bits.add(name)
    processors = environment.processor_of(then["machine"] or ""), environment.processor_of(now["machine"] or "")
    if processors[0] != processors[1]:
        found.append(f"processor: {processors[0]} then, {processors[1]} now")
        bits.add("processor")
    kinds = {str(device).partition(":")[0] for device in (then["device"], now["device"])}
    if len(kinds) > 1:
        return found, "draws"
    return found, "rounding" if bits or kinds != {"cpu"} else "equal"


def _short(value: Any) -> str:
    return "none" if value is None else str(value)[:12]
