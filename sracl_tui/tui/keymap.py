"""Keys that a person has chosen: every binding has a name, and `keys.toml` gives it other keys.

The file may be in the user's config folder, in the home, or in both: then the home's has precedence.
"""

from __future__ import annotations

import pkgutil
import re
import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from textual.keys import Keys

from sracl_tui.tui.bindings import EVERYWHERE, NamedBindings
from sracl_tui.tui.textual_internals import key_name
from store.home import Home
from store.regular_file import read_regular

FILE = "keys.toml"
DECLARED_IN = ("sracl_tui.tui.app", "sracl_tui.tui.screens", "sracl_tui.tui.widgets")
"""The module and the packages whose classes have key bindings."""
_KNOWN = frozenset(str(key.value) for key in Keys) | frozenset(map(key_name, string.punctuation))
_MODIFIED = re.compile(r"(?:(?:ctrl|shift|alt|super)\+)+(.+)")


@dataclass
class Keymap:
    """Keys of both files, and the lines that were not used."""

    keys: dict[str, str] = field(default_factory=dict)
    """Name of a binding to its keys, with commas between them."""
    problems: list[str] = field(default_factory=list)
    """Lines that are not used, and why."""


def folders(home: Home) -> list[Path]:
    """Where the file may stand, the stronger place last."""
    import platformdirs

    return [Path(platformdirs.user_config_dir("sracl", appauthor=False)), home.path]


def read(home: Home) -> Keymap:
    """The keys that were chosen; what is unknown, or would take the key of something else, is left out."""
    found = Keymap()
    wanted: dict[str, str] = {}
    for folder in folders(home):
        path = folder / FILE
        try:
            text = read_regular(path).decode("utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeError) as error:
            found.problems.append(f"{path} cannot be read: {error}")
            continue
        try:
            tables = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            found.problems.append(f"{path} is no TOML: {error}")
            continue
        wanted |= _checked(tables, found.problems)
    if wanted:
        found.keys = _without_clashes(wanted, found.problems)
    return found


def _checked(tables: Mapping[str, Any], problems: list[str]) -> dict[str, str]:
    """Keys by binding, for lines with a known action and known keys; problems are appended."""
    known = bindings()
    found: dict[str, str] = {}
    for section, actions in tables.items():
        if not isinstance(actions, Mapping) or not any(name.startswith(f"{section}.") for name in known):
            problems.append(f"[{section}]: there is no such table")
            continue
        for action, keys in actions.items():
            name = f"{section}.{action.replace('_', '-')}"
            texts = [_key(part) for part in ([keys] if keys == "," else _parts(keys))]
            if name not in known:
                problems.append(f"[{section}] {action}: there is no such action")
            elif not texts or None in texts:
                problems.append(f"[{section}] {action} = {keys!r}: there is no such key")
            else:
                found[name] = ",".join(text for text in texts if text)
    return found


def _parts(keys: Any) -> list[str]:
    texts = keys if isinstance(keys, list) else str(keys).split(",")
    return [str(text) for text in texts]


def _key(text: str) -> str | None:
    """The name by which Textual knows a key; none for what is no key."""
    text = text.strip()
    match = _MODIFIED.fullmatch(text)
    plain = match[1] if match else text
    if len(plain) == 1 and plain.isprintable():
        return f"{text[: -len(plain)]}{key_name(plain)}"
    return text if plain in _KNOWN or re.fullmatch(r"[a-z]+(_[a-z]+)+", plain) else None


def bindings() -> dict[str, tuple[str, str]]:
    """Name of every binding to its keys and what it does."""
    found: dict[str, tuple[str, str]] = {}
    for cls in _classes():
        for binding in cls.__dict__.get("BINDINGS", ()):
            keys, text = found.get(binding.id, ("", binding.description))
            own = [key for part in binding.key.split(",") if (key := _key(part)) is not None]
            found[binding.id] = (",".join(dict.fromkeys([*filter(None, keys.split(",")), *own])), text)
    return found


def _classes() -> Iterator[type[NamedBindings]]:
    """Every class with key bindings, those that work on every screen first; the same whatever was imported before."""
    for name in DECLARED_IN:
        for module in pkgutil.iter_modules(getattr(import_module(name), "__path__", ()), f"{name}."):
            import_module(module.name)
    waiting: list[type[NamedBindings]] = [NamedBindings]
    found: list[type[NamedBindings]] = []
    while waiting:
        waiting += (cls := waiting.pop()).__subclasses__()
        if cls.__dict__.get("BINDINGS") and cls not in found:
            found.append(cls)
    yield from sorted(found, key=lambda cls: (cls.SECTION not in EVERYWHERE, cls.SECTION, cls.__name__))


def _contexts() -> dict[str, set[str]]:
    """Sections whose keys are heard together, by the name of a screen or dialog."""
    found: dict[str, set[str]] = {}
    for cls in _classes():
        sections = {
            base.SECTION for base in cls.__mro__ if isinstance(base, type) and issubclass(base, NamedBindings)
        } - {NamedBindings.SECTION}
        found[cls.SECTION] = sections.union(cls.ALSO_HEARD)
    return found


def _without_clashes(wanted: dict[str, str], problems: list[str]) -> dict[str, str]:
    """Leave out what takes the key of another action."""
    known, contexts = bindings(), _contexts()
    kept = {name: keys for name, keys in wanted.items() if keys != known[name][0]}
    while (clash := _clash(kept, known, contexts)) is not None:
        name, key, other = clash
        del kept[name]
        section, _, action = name.partition(".")
        problems.append(f"[{section}] {action} = {key!r}: that key is {other} ({known[other][1] or 'another action'})")
    return kept


def _clash(
    kept: dict[str, str], known: dict[str, tuple[str, str]], contexts: dict[str, set[str]]
) -> tuple[str, str, str] | None:
    """A chosen key, and what else it would do where it is heard."""
    for name in reversed(kept):
        section = name.partition(".")[0]
        near = set[str]().union(*(sections for sections in contexts.values() if section in sections))
        heard = (
            near
            if section in EVERYWHERE
            else contexts[section] | {place for place, sections in contexts.items() if section in sections}
        )
        for other, (keys, _) in known.items():
            if other != name and other.partition(".")[0] in heard:
                shared = set(kept[name].split(",")) & set(kept.get(other, keys).split(","))
                if shared:
                    return name, min(shared), other
    return None


def template(home: Home) -> str:
    """A `keys.toml` with the default keys of every action."""
    places = " or ".join(str(folder / FILE) for folder in reversed(folders(home)))
    lines = [
        f"# Keys of sracl-tui. Keep the lines that you change, as {places}.",
        '# Several keys for one action: "x,ctrl+x". A key is a character or a name: "comma", "f5", "shift+tab", "pagedown".',
    ]
    section = ""
    for name, (keys, text) in bindings().items():
        table, _, action = name.partition(".")
        if table != section:
            lines.append(f"\n[{table}]")
            section = table
        setting = f'{action} = "{keys}"'
        lines.append(f"{setting:<40}# {text}" if text else setting)
    return "\n".join(lines) + "\n"
