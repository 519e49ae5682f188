"""Reads settings: presets, TOML files and `KEY=VALUE`, merged into one checked config."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from engine import metric_registry
from engine.config import Config, RetrievalConfig, flatten
from engine.errors import ConfigError
from engine.extension_points import BACKENDS, OWN_LOSS
from engine.method_table import METHODS, PARTS, Method, backbone_needs
from engine.part_settings import SAMPLED
from engine.setting_paths import leaf_paths, named_entries, names_own_part, registries, setting_fields


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
    except (ValueError, OSError, RecursionError) as error:  # also no text, or lists in lists
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
    except (ValueError, RecursionError):
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
    unknown = _unknown_names(tree)
    problems = [*problems, *unknown]
    try:
        config = Config.model_validate(tree if unknown else merge(_method_defaults(tree, problems), tree))
    except ValidationError as error:
        raise _config_error([*problems, *(_explain(e) for e in error.errors())]) from None
    problems += _contradictions(config)
    problems += [] if unknown else _problems_of_parts(config)
    if problems:
        raise _config_error(problems)
    return config


def _method_defaults(tree: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """The settings in which the method of a tree differs from the defaults, nested; those that do not exist are noted."""
    section = tree.get("method", {})
    name = section.get("name", Config().method.name) if isinstance(section, dict) else None
    if not isinstance(name, str):
        return {}
    wrong: list[str] = []
    try:
        method: Method = METHODS.load(METHODS.absolute(name))
    except ConfigError as error:
        problem = f"{METHODS.where}: {error.message}"
        raise ConfigError("\n".join([*problems, problem]), hint=error.hint) from error
    nested = _nest(dict(method.defaults), wrong)
    problems += [f"method.name: a default of {name}: {problem}" for problem in wrong]
    return nested


def _problems_of_parts(config: Config) -> list[str]:
    """What is wrong with the parts that are combined, and with the settings of parts that are not ours."""
    definition = config.definition
    own = {part.name: part for part in definition.all_parts if not isinstance(part, str)}
    unknown = [name for name in config.method.parts or () if name not in PARTS and name not in own]
    known = ", ".join([*PARTS, *own])
    problems = [f"method.parts: there is no part {name!r}; there are {known}" for name in unknown]
    if len(set(config.method.parts or ())) < len(config.method.parts or ()):
        problems.append(f"method.parts: each part can stand there once, not {list(config.method.parts or ())}")
    if config.method.parts == ():
        problems.append(f"method.parts: name at least one part of {known}")
    for name in config.parts.model_extra or {}:
        if name not in own:
            problems.append(f"parts.{name}: there is no part {name!r}; there are {known}")
            continue
        try:
            own[name].settings.model_validate(config.parts.given(name))
        except ValidationError as error:
            problems += [f"parts.{name}.{_explain(one)}" for one in error.errors()]
    if all(step.parts is not None for step in definition.steps):
        counted = {name for step in definition.steps for name in step.parts or ()}
        problems += [
            f"method.parts: part {name!r} counts in no step of method {config.method.name}"
            for name in config.method.parts or ()
            if name not in counted
        ]
    intent = config.parts.intent
    if intent.representation == "mean" and intent.pair != "augmented":
        problems.append(
            f"parts.intent.representation: the views of {intent.pair} are read at the last item; take mean with parts.intent.pair = augmented"
        )
    if not problems and not any(config.weight(part) > 0 for part in definition.parts):
        problems.append("method.parts: every part has the weight 0, so that nothing is trained")
    return problems


def _config_error(problems: list[str]) -> ConfigError:
    return ConfigError(
        "\n".join(problems),
        hint="`sracl run --help` names the settings; `sracl run --presets` lists the presets.",
    )


def _nest(tree: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """Move leaves, given by name or by dotted path, into their section."""
    nested: dict[str, Any] = {}
    for key, value in flatten(tree).items():
        path = leaf_paths().get(key, key)
        if path not in setting_fields() and not names_own_part(path):
            problems.append(f"{key}: there is no such setting{_nearest(key)}")
            continue
        for name in reversed(path.split(".")):
            value = {name: value}
        nested = merge(nested, value)
    return nested


def _nearest(key: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key, leaf_paths(), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _explain(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path}: there is no such setting{_nearest(str(error['loc'][-1]))}"
    return f"{path}: {_wanted(error)}, not {error['input']!r}"


_WANTED = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "none_required": "must be none",
    "tuple_type": "must be a list, with commas between its values",
    "list_type": "must be a list, with commas between its values",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
}
"""What a setting must be, by pydantic's name of the error."""


def _wanted(error: Any) -> str:
    """What the value of a setting must be, in words for who typed it."""
    if (text := _WANTED.get(error["type"])) is not None:
        limits = {
            name: f"{value:g}" if isinstance(value, float) else value for name, value in error.get("ctx", {}).items()
        }
        return text.format(**limits)
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{message[0].lower()}{message[1:]}"


def value_problem(field: FieldInfo, value: Any) -> str:
    """Why a value is none of a setting's, apart from all others; empty if it may be."""
    kind: Any = field.annotation
    try:
        whole: Any = Annotated[(kind, *field.metadata)] if field.metadata else kind  # pyright: ignore[reportInvalidTypeForm]
        TypeAdapter(whole).validate_python(value)
    except ValidationError as error:
        wanted = dict.fromkeys(_wanted(one) for one in error.errors() if one["type"] != "none_required")
        none = " or none" if type(None) in get_args(kind) else ""
        return f"{' or '.join(wanted)}{none}, not {value!r}"
    return ""


def _unknown_names(tree: dict[str, Any]) -> list[str]:
    """Names that no registry has, one message each."""
    problems: list[str] = []
    for path, registry in registries().items():
        name: Any = tree
        for key in path.split("."):
            name = name.get(key) if isinstance(name, dict) else None
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
    if (loss := config.parts.rec.loss) != "ce" and model.backbone in OWN_LOSS:
        problems.append(f"parts.rec.loss: {model.backbone} has a loss of its own, which {loss} cannot replace; use ce")
    if config.train.sparse_adam and loss not in SAMPLED:
        problems.append(
            f"train.sparse_adam: {loss} gives every item a gradient; sample by parts.rec.loss = ss or another"
        )
    if config.train.sparse_adam and config.train.weight_decay:
        problems.append("train.sparse_adam: train.weight_decay moves every item in every step; set it to 0")
    problems += _metric_problems(config)
    if retrieval.similarity != RetrievalConfig().similarity:  # every backend searches by the default
        searched = _similarities(retrieval.backend, problems)
        if retrieval.similarity not in searched:
            problems.append(
                f"retrieval.backend: {retrieval.backend} searches by {' or '.join(searched)} here; "
                f"use exact with {retrieval.similarity}"
            )
    problems += _problem_of_vectors(config)
    if config.semantics.unit == "user" and config.semantics.vector == "text" and retrieval.pool != "users":
        problems.append("retrieval.pool: with semantics.unit = user the pool is `users`: one text per user")
    return problems


def _problem_of_vectors(config: Config) -> list[str]:
    """A backbone that reads vectors cannot be the one that they come from."""
    name = config.model.backbone
    if config.semantics.vector != "collaborative":
        return []
    try:
        reads = bool(backbone_needs(name))
    except ConfigError as error:
        return [f"model.backbone: {error.message}"]
    why = f"backbone {name} reads vectors before it is trained, and collaborative ones are those of it afterwards"
    return [f"semantics.vector: {why}; use text or item-mean"] if reads else []


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
