"""Builds the runs of a group: ablations, variants from a file, or several values of one setting."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.config import Config, content_hash
from engine.config_files import load_config, parse_assignment, read_config_file
from engine.errors import ConfigError
from sracl_tui.runs.request import RunRequest, new_run_id

ABLATIONS = Path(__file__).with_name("ablations.toml")


@dataclass(frozen=True)
class Variant:
    """Preset and settings that override the common ones, and the name of this combination."""

    name: str
    preset: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def read_variants(path: Path) -> tuple[list[Variant], dict[str, Any]]:
    """Variants of a file, and its other settings, which are common to all variants.

    Raises:
        ConfigError: the file has no table `variants`.
    """
    common = read_config_file(path)
    tables = common.pop("variants", None)
    if not isinstance(tables, dict) or not tables or not all(isinstance(table, dict) for table in tables.values()):
        raise ConfigError(
            "the file has no variants",
            where=str(path),
            hint='Write them as [variants.NAME] with preset = "..." or settings below.',
        )
    variants = []
    for name, table in tables.items():
        settings = dict(table)
        variants.append(Variant(name, settings.pop("preset", None), settings))
    return variants, common


def seeds_of(common: dict[str, Any]) -> tuple[list[int] | None, dict[str, Any]]:
    """Split `seeds = 5` (1 to 5) or `seeds = [3, 7]` from the other common settings of a file.

    Raises:
        ConfigError: `seeds` is neither a positive integer nor a list of integers from 0.
    """
    rest = {key: value for key, value in common.items() if key != "seeds"}
    match common.get("seeds"):
        case None:
            return None, rest
        case int(count) if count > 0 and not isinstance(count, bool):
            return list(range(1, count + 1)), rest
        case [*seeds] if seeds and all(isinstance(seed, int) and seed >= 0 for seed in seeds):
            return seeds, rest
        case other:
            raise ConfigError(
                f"seeds must be a positive integer or a list of non-negative integers, not {other!r}", where="seeds"
            )


def vary(assignment: str) -> list[Variant]:
    """Convert `k=1,5,10` to one variant per value; a quoted value may contain a comma.

    Raises:
        ConfigError: the text is not KEY=VALUE,VALUE.
    """
    key, _, text = assignment.partition("=")
    try:
        values = tomllib.loads(f"values = [{text}]")["values"]
    except (ValueError, RecursionError):
        values = [part.strip() for part in text.split(",")]
    if not key.strip() or not text.strip() or len(values) < 2:
        raise ConfigError(f"{assignment!r} is not KEY=VALUE,VALUE", where="--vary", hint="Example: --vary k=1,5,10,20")
    name = key.strip()
    parts = values if any(isinstance(value, str) for value in values) else list(map(str, values))
    return [
        Variant(f"{name}={part}", None, _parse_setting(name, value)) for part, value in zip(parts, values, strict=True)
    ]


def _parse_setting(name: str, value: Any) -> dict[str, Any]:
    return parse_assignment(f"{name}={value}") if isinstance(value, str) else {name: value}


def expand(
    variants: Sequence[Variant],
    *,
    files: tuple[Path, ...],
    assignments: tuple[str, ...],
    settings: dict[str, Any],
    preset: str | None,
    common: dict[str, Any],
    seeds: Sequence[int] | None,
    group: str | None,
    tags: tuple[str, ...],
) -> list[RunRequest]:
    """One request per variant and seed, ordered by seed, so that all variants of the first seed can be compared early.

    Settings of a variant override the common ones. The default group name is a hash of the configs, so that a repeated
    command finds its finished runs.

    Raises:
        ConfigError: the config of a variant is invalid.
    """
    configs: list[tuple[Variant, Config, str]] = []
    for variant in variants:
        merged = {**common, **settings, **variant.settings}
        config, name = load_config(
            preset=variant.preset or preset, files=files, assignments=assignments, settings=merged
        )
        configs.append((variant, config, name))
    hashes = [config.config_hash() for _, config, _ in configs]
    group = group or f"{configs[0][1].data.dataset}-variants-{content_hash(hashes, length=6)}"
    return [
        RunRequest(
            run_id=new_run_id(),
            config=with_seed(config, seed),
            preset=name,
            name=f"{variant.name}-{seed}",
            group=group,
            tags=tags,
        )
        for seed in (seeds or [configs[0][1].train.seed])
        for variant, config, name in configs
    ]


def with_seed(config: Config, seed: int) -> Config:
    """A copy of the config with another `train.seed`."""
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
