"""The methods that a run can train, with their parts and settings, as data for command and screens. Imports no torch for ours."""

from __future__ import annotations

from typing import Any

from engine.config import Config, part_info
from engine.errors import ConfigError
from engine.method_table import METHODS, PARTS, Method, Needs, backbone_needs, name_of
from engine.setting_paths import described_fields

NEEDS = {
    Needs.USER_VECTORS: "user vectors",
    Needs.ITEM_VECTORS: "item vectors",
    Needs.NEIGHBORS: "neighbors",
    Needs.SUBSTITUTES: "substitutes",
}


def list_methods() -> list[dict[str, Any]]:
    """Our methods and the installed ones, in the order of the registry; of one that cannot be loaded the reason."""
    return [_described(name) for name in METHODS.names()]


def _described(name: str) -> dict[str, Any]:
    try:
        return describe(name)
    except ConfigError as error:
        nothing = Method(parts=(), description=f"cannot be used: {error.message}", passes="-")
        return _row(name, nothing, Needs.NONE)


def describe(name: str) -> dict[str, Any]:
    """One method: name, family, description, parts, needs (its backbone's too), passes, source, ours, defaults, settings of its parts.

    Raises:
        ConfigError: there is no such method, or it cannot be loaded.
    """
    method: Method = METHODS.load(METHODS.absolute(name))
    needs = backbone_needs(method.defaults.get("model.backbone", Config().model.backbone))
    for part in method.all_parts:
        needs |= part_info(part).needs
    return _row(name, method, needs)


def _row(name: str, method: Method, needs: Needs) -> dict[str, Any]:
    return {
        "name": name,
        "family": method.family,
        "description": method.description,
        "parts": [name_of(part) for part in method.parts],
        "stages": [stage.name for stage in method.stages],
        "updates": len(method.steps),
        "needs": [word for flag, word in NEEDS.items() if flag & needs],
        "passes": method.passes,
        "source": method.source,
        "ours": method.ours,
        "defaults": dict(method.defaults),
        "settings": [*_others(method), *(row for part in method.all_parts for row in _settings(part, method))],
    }


def _others(method: Method) -> list[dict[str, Any]]:
    """Path, default here and meaning of the settings outside its parts in which a method differs."""
    fields = described_fields()
    return [
        {"path": path, "default": value, "meaning": fields[path].description or ""}
        for path, value in method.defaults.items()
        if path in fields and not path.startswith("parts.")
    ]


def _settings(part: Any, method: Method) -> list[dict[str, Any]]:
    """Path, default and meaning of every setting of a part."""
    name = name_of(part)
    if name not in PARTS:
        fields = {f"parts.{name}.{leaf}": field for leaf, field in part.settings.described_fields().items()}
    else:
        fields = {path: field for path, field in described_fields().items() if path.startswith(f"parts.{name}.")}
        if PARTS[name].weight:
            fields = {PARTS[name].weight: described_fields()[PARTS[name].weight]} | fields
    return [
        {"path": path, "default": method.defaults.get(path, field.default), "meaning": field.description or ""}
        for path, field in fields.items()
    ]
