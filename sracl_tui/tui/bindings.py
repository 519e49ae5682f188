"""Names for key bindings, by which `keys.toml` gives them other keys."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar

from textual.binding import Binding, BindingType

EVERYWHERE = ("app", "table")
"""Sections of `keys.toml` whose keys work on every screen."""


class NamedBindings:
    """Gives each binding of a class its name, `section.action`: put it before the Textual class among the bases."""

    SECTION: ClassVar[str] = ""
    """Table of `keys.toml`; empty: the name of the module."""
    ALSO_HEARD: ClassVar[tuple[str, ...]] = ()
    """Sections of other classes whose keys work where those of this class do."""

    def __init_subclass__(cls, **options: Any) -> None:
        if "SECTION" not in cls.__dict__:
            cls.SECTION = cls.__module__.rpartition(".")[2].replace("_", "-")
        given: list[BindingType] = cls.__dict__.get("BINDINGS", [])
        if given:
            cls.BINDINGS = [_named(cls.SECTION, binding) for binding in given]  # type: ignore[attr-defined]
        super().__init_subclass__(**options)


def _named(section: str, given: BindingType) -> Binding:
    binding = given if isinstance(given, Binding) else Binding(given[0], given[1], given[2] if len(given) == 3 else "")
    if binding.id:  # taken over from another class
        return binding
    action, _, parameters = binding.action.partition("(")
    name = (binding.description.partition(":")[0] if parameters else "") or action
    return replace(binding, id=f"{section}.{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}")
