"""By which names settings are given, which values they may take, and where they stand in the tree.

A leaf name alone is enough where only one setting has it, so `alpha` and `loss.alpha` name the same one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, get_args

from pydantic.fields import FieldInfo

from engine.config import Config, flatten
from engine.method_table import PARTS
from engine.registry import Registry
from engine.sections import Named, Section

ALIASES = {
    "method": "method.name",
    "parts.inter.weight": "loss.alpha",
    "parts.intra.weight": "loss.beta",
    "parts.intra.swap": "loss.swap",
}
"""Other names of settings."""
FULL_NAME_ONLY = ("name", "parts", "weight")
"""Leaf names that say too little to stand alone."""


@cache
def setting_fields() -> dict[str, FieldInfo]:
    """The field of every setting by its full path, in the order of the tree; see `described_fields` for what it means."""
    return dict(_fields_of(Config, "", described=False))


@cache
def described_fields() -> dict[str, FieldInfo]:
    """`setting_fields` with a description in each."""
    return dict(_fields_of(Config, "", described=True))


def _fields_of(section: type[Section], prefix: str, *, described: bool) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in (section.described_fields() if described else section.model_fields).items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from _fields_of(annotation, f"{prefix}{name}.", described=described)
        else:
            yield f"{prefix}{name}", field


def fields_of_own_parts(config: Config) -> dict[str, FieldInfo]:
    """The field of every setting of the parts that are not ours, described, by its full path, such as `parts.crop.least`.

    Raises:
        ConfigError: the method cannot be loaded.
    """
    parts = [part for part in config.definition.all_parts if not isinstance(part, str)] if config.own_method else []
    return {
        f"parts.{part.name}.{leaf}": field for part in parts for leaf, field in part.settings.described_fields().items()
    }


@cache
def leaf_paths() -> dict[str, str]:
    """Every setting's full path by its leaf name, where only one has it, by its other names, and by the path itself.

    The parts of methods, of which there will be more, take no leaf name from a setting elsewhere.
    """
    paths = list(setting_fields())
    elsewhere = [path for path in paths if not path.startswith("parts.")]
    every, settled = (Counter(path.rpartition(".")[2] for path in some) for some in (paths, elsewhere))
    leaves = {**every, **settled}
    alone = {path.rpartition(".")[2]: path for path in (*paths, *elsewhere)}
    named = {
        leaf: path
        for leaf, path in alone.items()
        if leaves[leaf] == 1 and leaf not in FULL_NAME_ONLY and leaf not in Config.model_fields
    }
    return named | ALIASES | {path: path for path in paths}


def names_own_part(path: str) -> bool:
    """Whether a path names a setting of a part that is not ours; its method says whether there is one."""
    section, _, rest = path.partition(".")
    name, _, leaf = rest.partition(".")
    return section == "parts" and bool(leaf) and name not in PARTS


def choices(path: str) -> tuple[Any, ...]:
    """The values that a setting may take, where it is a closed list; the entries that are installed, where it names one of
    a registry (a file is possible beside them); else ().
    """
    path = leaf_paths()[path]
    registry = registries().get(path)
    if registry is not None:
        return () if registry.open else tuple(registry.names())
    annotation: Any = setting_fields()[path].annotation
    return get_args(annotation) if getattr(annotation, "__origin__", None) is Literal else ()


@cache
def registries() -> dict[str, Registry]:
    """The registry of every setting that names an entry of one, by the setting's full path."""
    return {
        path: extra.registry
        for path, field in setting_fields().items()
        for extra in field.metadata
        if isinstance(extra, Named)
    }


def named_entries(config: Config) -> list[tuple[str, Registry, str]]:
    """Path, registry and entry of every setting that names an entry of a registry."""
    values = flatten(config.model_dump())
    return [(path, registry, values[path]) for path, registry in registries().items()]
