"""Reads settings: presets, TOML files and `KEY=VALUE`, merged into one checked config."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from engine import metric_registry
from engine.config import Config, RetrievalConfig, leaf_paths, named_entries, registries
from engine.errors import ConfigError
from engine.extension_points import BACKENDS


def preset_names() -> list[str]:
    """Names of the presets, `default` first."""
    names = [
        f.name.removesuffix(".toml") for f in resources.files("engine.presets").iterdir() if f.name.endswith(".toml")
    ]
    return sorted(names, key=lambda name: (name != "default", name))


def preset_tree(name: str) -> dict[str, Any]:
    """A preset's own settings, and those of the preset that it extends.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in preset_names():
        raise ConfigError(
            f"there is no preset {name!r}", where="--preset", hint=f"Presets: {', '.join(preset_names())}."
        )
    tree = tomllib.loads(resources.files("engine.presets").joinpath(f"{name}.toml").read_text("utf-8"))
    tree.pop("description", None)
    parent = tree.pop("extends", None)
    return merge(preset_tree(parent), tree) if parent else tree


def preset_description(name: str) -> str:
    """One line that says what a preset is for."""
    tree = tomllib.loads(resources.files("engine.presets").joinpath(f"{name}.toml").read_text("utf-8"))
    return tree["description"]


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """A new tree in which `over` wins."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def read_config_file(path: Path) -> dict[str, Any]:
    """A TOML file as a tree; leaves may stand at the top level by their own name.

    Raises:
        ConfigError: the file is missing or not TOML.
    """
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(path), hint="Name a TOML file; examples/ has some.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"not readable as TOML: {error}", where=str(path)) from None
    return tree


def parse_assignment(text: str) -> dict[str, Any]:
    """`alpha=0.05` as `{"alpha": 0.05}`; the value is TOML where it parses as TOML, else the text itself.

    Raises:
        ConfigError: there is no `=`.
    """
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{text!r} is not KEY=VALUE", where="--set", hint="Example: --set alpha=0.05")
    try:
        value = tomllib.loads(f"value = {raw.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = None if raw.strip() in {"none", "null"} else raw.strip()
    return {key.strip(): value}


def build_config(*trees: dict[str, Any]) -> Config:
    """The config that the trees give together; a later tree wins.

    Raises:
        ConfigError: with every problem at once, each named by its path.
    """
    problems: list[str] = []
    tree: dict[str, Any] = {}
    for part in trees:
        tree = merge(tree, _nest(part, problems))
    return _validated(tree, problems)


def _validated(tree: dict[str, Any], problems: list[str]) -> Config:
    """The config of a nested tree; raises with its problems and those found before."""
    problems = [*problems, *_unknown_names(tree)]
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise _config_error([*problems, *(_explain(e) for e in error.errors())]) from None
    problems += _contradictions(config)
    if problems:
        raise _config_error(problems)
    return config


def _config_error(problems: list[str]) -> ConfigError:
    return ConfigError(
        "\n".join(problems),
        hint="`sracl run --help` names the settings; `sracl run --presets` lists the presets.",
    )


def _nest(tree: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """Move leaves, given by name or by dotted path, into their section."""
    nested: dict[str, Any] = {}
    for key, value in tree.items():
        if key in Config.model_fields and isinstance(value, dict):
            nested = merge(nested, {key: value})
        elif key in leaf_paths():
            section, leaf = leaf_paths()[key].split(".")
            nested = merge(nested, {section: {leaf: value}})
        else:
            problems.append(f"{key}: there is no such setting{_nearest(key)}")
    return nested


def _nearest(key: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key, leaf_paths(), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _explain(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path}: there is no such setting{_nearest(str(error['loc'][-1]))}"
    return f"{path}: {error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r}"


def _unknown_names(tree: dict[str, Any]) -> list[str]:
    """Names that no registry has, one message each."""
    problems: list[str] = []
    for path, registry in registries().items():
        section, leaf = path.split(".")
        values = tree.get(section)
        name = values.get(leaf) if isinstance(values, dict) else None
        if isinstance(name, str) and (problem := registry.problem_of(registry.absolute(name))) is not None:
            problems.append(f"{path}: {problem}")
    return problems


def _contradictions(config: Config) -> list[str]:
    """Settings that are valid alone and not together, one message each."""
    model, evaluate, retrieval = config.model, config.evaluate, config.retrieval
    problems: list[str] = []
    if model.width % model.heads:
        problems.append(f"model.heads: {model.heads} does not divide model.width = {model.width}")
    if any(k < 1 for k in evaluate.ks) or len(set(evaluate.ks)) != len(evaluate.ks):
        problems.append(f"evaluate.ks: cutoffs must be positive and different, not {list(evaluate.ks)}")
    problems += _metric_problems(config)
    if retrieval.similarity != RetrievalConfig().similarity:  # every backend searches by the default
        searched = _similarities(retrieval.backend, problems)
        if retrieval.similarity not in searched:
            problems.append(
                f"retrieval.backend: {retrieval.backend} searches by {' or '.join(searched)} here; "
                f"use exact with {retrieval.similarity}"
            )
    if config.semantics.unit == "user" and config.semantics.vector == "text" and retrieval.pool != "users":
        problems.append("retrieval.pool: with semantics.unit = user the pool is `users`: one text per user")
    return problems


def _similarities(backend: str, problems: list[str]) -> tuple[str, ...]:
    """What a backend searches by; where it cannot be loaded, all, and the problem is noted."""
    try:
        if BACKENDS.problem_of(backend) is None:
            return BACKENDS.load(backend).similarities
    except ConfigError as error:
        problems.append(f"retrieval.backend: {error.message}")
    return get_args(RetrievalConfig.model_fields["similarity"].annotation)


def _metric_problems(config: Config) -> list[str]:
    """Metrics that cannot be measured, and a selection by one that is not, one message each."""
    evaluate, select = config.evaluate, config.train.select
    known = [(name, metric_registry.problem_of(name)) for name in evaluate.metrics]
    problems = [f"evaluate.metrics: {problem}" for _, problem in known if problem is not None]
    if len(set(evaluate.metrics)) != len(evaluate.metrics):
        problems.append(f"evaluate.metrics: metrics must be different, not {list(evaluate.metrics)}")
    name, k = metric_registry.split_name(select)
    if (problem := metric_registry.problem_of(name)) is not None:
        problems.append(f"train.select: {problem}")
    elif metric_registry.definition_of(select) is None:
        problems.append(
            f"train.select: {name} {'takes no cutoff' if k else 'needs a cutoff, such as'} {name}{'' if k else '@10'}"
        )
    elif k and k not in evaluate.ks:
        problems.append(f"train.select: {select} is not measured; evaluate.ks is {list(evaluate.ks)}")
    return problems


def load_config(
    *,
    preset: str | None = None,
    files: tuple[Path, ...] = (),
    assignments: tuple[str, ...] = (),
    settings: dict[str, Any] | None = None,
) -> tuple[Config, str]:
    """A config and the name of its preset: the preset, then config files, `KEY=VALUE` assignments, and settings.

    The later wins. A file may name its `preset`; the argument goes over it. `unit = user` sets pool `users` unless a
    pool is named.

    Raises:
        ConfigError: with every problem at once.
    """
    given: dict[str, Any] = {}
    problems: list[str] = []
    named = "default"
    for part in [
        *(read_config_file(path) for path in files),
        *(parse_assignment(a) for a in assignments),
        settings or {},
    ]:
        named = part.get("preset", named)
        given = merge(given, _nest({key: value for key, value in part.items() if key != "preset"}, problems))
    tree = merge(preset_tree(preset or named), given)
    if tree.get("semantics", {}).get("unit") == "user" and "pool" not in tree.get("retrieval", {}):
        tree = merge(tree, {"retrieval": {"pool": "users"}})
    return _validated(tree, problems), preset or named


def with_kept_files(config: Config, folder: Path) -> Config:
    """The same settings, with the copies in a run's folder in place of files of one's own; their hash is the same."""
    tree = config.model_dump()
    for path, registry, name in named_entries(config):
        section, leaf = path.split(".")
        tree[section][leaf] = registry.kept_in(name, folder)
    return Config.model_validate(tree)
