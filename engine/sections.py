"""What every section of the settings is made of: a frozen model, and rules of the hash."""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from engine.registry import Registry

Scope = Literal["always", "texts", "lists", "contrasts"]
"""When a setting can change a result: always, where texts are read, where neighbors are retrieved, or where SRA-CL's contrasts are on."""


class Section(BaseModel):
    """A frozen part of the tree; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @classmethod
    def described_fields(cls) -> dict[str, FieldInfo]:
        """`model_fields`, each with the docstring under it as its description.

        Pydantic would read them out of the source for every command, and few show them.
        """
        texts: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            texts |= _docstrings(sys.modules.get(base.__module__)).get(base.__qualname__, {})
        fields = {name: copy(field) for name, field in cls.model_fields.items()}
        for name, field in fields.items():
            field.description = field.description or texts.get(name)
        return fields


@cache
def _docstrings(module: ModuleType | None) -> dict[str, dict[str, str]]:
    """The docstrings under the annotated names of each class of a module; none where its source is not at hand."""
    import ast
    import inspect

    if module is None:
        return {}
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):
        return {}
    found: dict[str, dict[str, str]] = {}

    def visit(body: list[ast.stmt], outside: str) -> None:
        for statement in body:
            if isinstance(statement, ast.ClassDef):
                name = outside + statement.name
                found[name] = {}
                for field, below in pairwise(statement.body):
                    match field, below:
                        case ast.AnnAssign(target=ast.Name(id=of)), ast.Expr(value=ast.Constant(value=str(text))):
                            found[name][of] = inspect.cleandoc(text)
                        case _:
                            pass
                visit(statement.body, f"{name}.")

    visit(ast.parse(source).body, "")
    return found


@dataclass(frozen=True, kw_only=True)
class Hash:
    """How a setting, or a whole section, enters `Config.config_hash`; one without this annotation always does, as it is."""

    never: bool = False
    """It cannot change what a run computes, or tells equal runs apart (the seed)."""
    omit_default: bool = False
    """Left out at its default: the setting is younger than recorded runs, whose hashes stay as they are."""
    scope: Scope = "always"
    """It counts only in this scope."""
    ignored_by: tuple[str, ...] = ()
    """Backbones that do not read it."""
    only_with: tuple[str, tuple[Any, ...]] | None = None
    """Name of another setting of the section, and the values of it with which this one is read."""
    identity: Callable[[Any], Any] | None = None
    """What is hashed in place of the value."""

    def applies_in(self, section: Section) -> bool:
        """Whether the other settings of a section let this one count."""
        return self.only_with is None or getattr(section, self.only_with[0]) in self.only_with[1]

    def includes(self, value: Any, default: Any, *, scopes: frozenset[Scope], backbone: str) -> bool:
        """Whether a field of this value and default enters the hash of a config of these scopes and backbone."""
        return not (
            self.never
            or (self.omit_default and value == default)
            or self.scope not in scopes
            or backbone in self.ignored_by
        )


def hashed_tree(section: Section, *, scopes: frozenset[Scope], backbone: str) -> dict[str, Any]:
    """The fields of a section, and of those in it, that enter the hash of a config of these scopes and backbone, as JSON values."""
    values = section.model_dump(mode="json")
    tree: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        rule = next((extra for extra in field.metadata if isinstance(extra, Hash)), Hash())
        value = getattr(section, name)
        if rule.includes(value, field.default, scopes=scopes, backbone=backbone) and rule.applies_in(section):
            within = isinstance(value, Section)
            whole = hashed_tree(value, scopes=scopes, backbone=backbone) if within else values[name]
            tree[name] = whole if rule.identity is None else rule.identity(whole)
    return tree


@dataclass(frozen=True)
class Named:
    """Annotates a setting that names an entry of a registry: one of ours, an entry point, or a file made absolute."""

    registry: Registry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.registry.absolute, handler(source))
