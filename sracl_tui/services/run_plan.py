"""What a run would reuse, make, cost and take, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from engine.config import Config
from engine.data.dataset import TRAIN, VALID, Dataset
from engine.errors import ConfigError
from engine.extension_points import ENCODERS
from engine.method_table import Stage
from engine.training_cost import most_recorded, multiply_adds, recorded_users
from sracl_tui.runs.dataset_access import is_generated, preview_dataset
from sracl_tui.runs.stages import factories
from sracl_tui.runs.stages.cost_estimate import quote
from sracl_tui.runs.stages.needs import Needs
from store.database.database import Store
from store.home import Home
from store.opening import open_store
from store.queries import caches, runs

if TYPE_CHECKING:
    from engine.semantics.kinds import Kind

TYPICAL_EPOCHS = 35
"""Epochs until early stopping, assumed if no run of the config has finished."""
MULTIPLY_ADDS_PER_SECOND = 10e9
"""On two cores, of trainings, assumed on a data set that no run has finished on."""
PACED_CONFIGS = 20
"""The newest configs with finished runs by whose speed others are estimated."""
TEXTS_PER_SECOND = 80.0
"""Titles that MiniLM encodes in a second on two cores."""
SEARCH_SECONDS = 0.4e-3
"""Per anchor of a list among 40,000 others; it grows with their number."""


def plan(place: Home, config: Config, *, allow_degraded: bool = False) -> dict[str, Any]:
    """The document behind `sracl run --dry-run`: stages, prompts, dollars, minutes and what the estimate rests on.

    Raises:
        LookupFailed: there is no such dataset.
        ConfigError: a setting does not fit the provider, or the dataset has no texts that the method could learn from; not
            with `allow_degraded`.
    """
    with open_store(place) as store:
        name = config.data.dataset
        dataset = preview_dataset(store, name, max_users=config.data.max_users)
        needs = Needs.of(config, dataset)
        if not allow_degraded:
            needs.check_texts()
        stages = [
            {
                "stage": "import",
                "cached": not is_generated(store, name),
                "detail": f"{dataset.users:,} users",
                "seconds": 0.0,
            }
        ]
        prompts: dict[str, Any] = {"prompts": 0, "cached": 0, "identical": 0, "tokens": 0}
        prompts["usd"] = {"low": 0.0, "high": 0.0}
        if needs.textual:
            stages += semantic_stages(needs, store, prompts)
        training, basis = training_stages(needs, store)
    stages += training
    users, size = recorded_users(config, len(dataset.anchors.ids(VALID)))
    return {
        **prompts,
        "minutes": round(sum(stage["seconds"] for stage in stages) / 60, 2),
        "basis": basis,
        "recorded": {"epochs": most_recorded(config), "users": users, "bytes": size},
        "stages": stages,
    }


def semantic_stages(needs: Needs, store: Store, prompts: dict[str, Any]) -> list[dict[str, Any]]:
    """Summaries, vectors and neighbors as stages with estimated seconds; counts and dollars go into `prompts`."""
    from engine.semantics.encoders.registry import is_download
    from engine.semantics.summaries.make import set_id_of

    config, provider = needs.config, factories.provider(needs, store.home)
    missing_texts, sets, encoder = 0, {}, ENCODERS.label_of(config.semantics.encoder)
    prompts |= quote(needs, store, provider)
    for kind, owners in needs.summary_owners().items():
        distinct = list(dict.fromkeys(provider.request_keys(kind, needs.asked(kind, owners))))
        found = caches.known_summaries(store, distinct)
        sets[kind] = set_id_of(provider, needs.text_dataset, kind, unit=needs.unit_of(kind), owner_ids=owners)
        if kind == "item" or config.semantics.vector == "text":
            missing_texts += len(distinct) - _encoded(store, encoder, list(found.values()))
    open_prompts = prompts["prompts"] - prompts["identical"] - prompts["cached"]
    mean = config.semantics.vector == "item-mean"
    kinds: tuple[tuple[Kind, bool], ...] = (("user", needs.user_list), ("item", needs.item_list))
    lists = {kind: needs.list_id(kind, sets["item" if mean else kind], encoder) for kind, on in kinds if on}
    open_lists = [kind for kind, list_id in lists.items() if not caches.has_neighbors(store, list_id)]
    anchors = len(needs.dataset.anchors.ids(0)) if "user" in open_lists else 0
    search = anchors * SEARCH_SECONDS * max(1.0, anchors / 40_000)
    download = ", a model that has to be downloaded" if missing_texts and is_download(config.semantics.encoder) else ""
    rows = (
        ("summaries", open_prompts, f"{open_prompts:,} to write by {provider.name}", prompts["minutes"] * 60),
        (
            "vectors",
            missing_texts,
            f"{missing_texts:,} texts to encode by {config.semantics.encoder}{download}",
            missing_texts / TEXTS_PER_SECOND,
        ),
        ("neighbors", len(open_lists), f"lists to find: {' and '.join(open_lists) or 'none'}", search),
    )
    return [
        {"stage": s, "cached": not count, "detail": detail, "seconds": seconds}
        for s, count, detail, seconds in rows
        if s != "neighbors" or lists
    ]


def _encoded(store: Store, encoder: str, texts: list[str]) -> int:
    """How many texts have a vector; those of `tfidf` are always made anew."""
    from engine.semantics.encoders.text_vectors import text_sha256

    return len(caches.known_vectors(store, encoder, [text_sha256(text) for text in set(texts)])[0]) if texts else 0


class RuleOfThumb:
    """Seconds of an epoch on a data set, by the multiply-adds of its encoder passes."""

    def __init__(self, dataset: Dataset) -> None:
        self._lengths = np.bincount(dataset.anchors.positions[dataset.anchors.ids(TRAIN) - 1])  # prefixes by length
        self._items = len(dataset.items)

    def seconds(self, config: Config, stage: Stage | None = None) -> float:
        """Of an epoch of a stage, or of the main training."""
        prefixes = int(self._lengths.sum())
        windows = np.minimum(np.arange(len(self._lengths)), config.data.max_length)
        tokens = float(windows @ self._lengths) / max(prefixes, 1)
        work = multiply_adds(config, tokens=tokens, items=self._items, stage=stage)
        return prefixes * work / MULTIPLY_ADDS_PER_SECOND


def pace(store: Store, dataset: Dataset, rule: RuleOfThumb, config: Config) -> tuple[float, int]:
    """How much slower epochs on a data set were than the rule of thumb says, and of how many configs with finished runs that is the median."""
    ratios: list[float] = []
    for row in runs.config_speeds(store, dataset.name, limit=PACED_CONFIGS):
        try:
            other = Config.model_validate(row["config"])
            expected = rule.seconds(other)
        except (ValidationError, ConfigError):
            continue  # of another version, or with code that is gone
        if expected and other.data.max_users == config.data.max_users:
            ratios.append(row["seconds"] / expected)
    return (float(np.median(ratios)), len(ratios)) if ratios else (1.0, 0)


def training_estimate(needs: Needs, store: Store) -> tuple[float, str]:
    """Estimated seconds of training, of stages before the main one too, and the basis of the estimate."""
    rows, basis = training_stages(needs, store)
    return sum(row["seconds"] for row in rows), basis


def training_stages(needs: Needs, store: Store) -> tuple[list[dict[str, Any]], str]:
    """Rows of the trainings before the main one, where there are any, and of that, and what their seconds rest on."""
    config = needs.config
    typical = min(TYPICAL_EPOCHS, config.train.epochs)
    rule = RuleOfThumb(needs.dataset)
    factor, measured = pace(store, needs.dataset, rule, config)
    rows, before, assumed = [], 0, f"{typical} epochs"
    for stage, epochs in config.stages:
        if epochs:
            each = factor * rule.seconds(config, stage)
            seconds, _ = _epochs(needs, store, each, epochs, after=before, until=before + epochs)
            detail = f"{epochs} epochs before the training, without validation"
            rows.append({"stage": stage.name, "cached": False, "detail": detail, "seconds": seconds})
            before, assumed = before + epochs, f"{assumed} after {epochs} of {stage.name}"
    seconds, seen = _epochs(needs, store, factor * rule.seconds(config), typical, after=before)
    detail = f"at most {config.train.epochs} epochs"
    rows.append({"stage": "train", "cached": False, "detail": detail, "seconds": seconds})
    if seen:
        return rows, f"from {seen} finished runs of this config"
    speed = f"at the speed of {measured} other configs that finished on this data set" if measured else "for two cores"
    return rows, f"a rule of thumb {speed} and {assumed}: no run of this config has finished yet"


def _epochs(
    needs: Needs, store: Store, each: float, epochs: int, *, after: int, until: int | None = None
) -> tuple[float, int]:
    """Seconds of some epochs, by those of finished runs of the config and their number; by `each` of an epoch where there is none."""
    name, key = needs.dataset.name, needs.config.config_hash()
    seen = runs.epoch_seconds(store, dataset_name=name, config_hash=key, after=after, until=until)
    if seen is None:
        return each * epochs, 0
    return seen["seconds"] * seen["epochs"], int(seen["runs"])
