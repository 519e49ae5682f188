"""Code by path (`path.py:NAME`): which files may be imported in a home, as its person has named or allowed them.

`allowed-code.jsonl` in the home has a line for each file and content that was allowed. Nothing that comes from elsewhere writes
it: no bundle, journal, database or request. What is imported has a content that stands there, wherever the file lies.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError
from engine.registry import guard_files, split_file
from store.home import Home
from store.regular_file import read_regular

if TYPE_CHECKING:
    from engine.config import Config

FILE = "allowed-code.jsonl"
OPTION, COMMAND_LINE, APP = "--allow-code", "the command line", "the app"
_NAMES_CODE = re.compile(r".+\.py:\w+", re.DOTALL)
_now: set[tuple[Path, str]] = set()
"""Homes and contents that were allowed in this process, also where the home cannot be written."""


@dataclass(frozen=True)
class Allowed:
    """One line: a file with the content that was allowed."""

    path: str
    sha256: str
    by: str
    """Where it was named: `OPTION`, `COMMAND_LINE`, `APP`, a variable of the environment, or a settings file."""
    at: str
    """Date, UTC."""
    settings: str | None = None
    """The file with settings that names it, which is one's own for this file from then on."""


def named_code(settings: Any) -> list[str]:
    """Every `path.py:NAME` in settings, in order."""
    if isinstance(settings, str):
        return [settings] if _NAMES_CODE.fullmatch(settings) else []
    parts = settings.values() if isinstance(settings, dict) else settings if isinstance(settings, list | tuple) else ()
    return [name for part in parts for name in named_code(part)]


def allowed(home: Home) -> list[Allowed]:
    """What was allowed, oldest first; lines that cannot be read are left out."""
    found: list[Allowed] = []
    with suppress(OSError):
        for line in read_regular(home.path / FILE).splitlines():
            with suppress(ValueError, TypeError, RecursionError):
                found.append(Allowed(**json.loads(line)))
    return found


def guard(home: Home) -> None:
    """Import code by path only as this home allows it, from now on and in all of this process."""
    guard_files(partial(_why_not, home))


def _why_not(home: Home, path: Path, code: bytes) -> str | None:
    """Why a file may not be imported, as a clause; None where its content was allowed."""
    sha256 = hashlib.sha256(code).hexdigest()
    lines = allowed(home)
    if (home.path, sha256) in _now or any(line.sha256 == sha256 for line in lines):
        return None
    before = [line for line in lines if line.path == str(path)]
    if not before:
        return "nobody has allowed this file in this home"
    return (
        f"the file has changed since it was allowed by {before[-1].by} on {before[-1].at} "
        f"(SHA-256 {before[-1].sha256[:12]} then, {sha256[:12]} now)"
    )


def why_not(home: Home, name: str) -> str | None:
    """Why the code that `path.py:NAME` names would not be imported in a home, as a clause; None where it would."""
    parts = split_file(name)
    if parts is None:
        return None
    try:
        return _why_not(home, parts[0].resolve(), read_regular(parts[0]))
    except OSError:
        return "the file is not here"


def standing(home: Home, name: str) -> str:
    """`allowed in this home`, or why the code of `path.py:NAME` would not be imported."""
    why = why_not(home, name)
    return "allowed in this home" if why is None else why


def require(config: Config) -> None:
    """Refuse settings that name code which may not be imported, before anything is done.

    Raises:
        ConfigError: as `Registry.load`.
    """
    from engine.setting_paths import named_entries  # here: every command imports this module, and few read settings

    for _, registry, name in named_entries(config):
        registry.allowed_code(name)


def refusals(config: Config) -> dict[str, str]:
    """What `require` refuses: the message by setting."""
    from engine.setting_paths import named_entries

    found: dict[str, str] = {}
    for path, registry, name in named_entries(config):
        try:
            registry.allowed_code(name)
        except ConfigError as error:
            found[path] = error.message
    return found


def allow(home: Home, path: Path, *, by: str, settings: str | None = None) -> None:
    """Allow a file with the content that it has now.

    Raises:
        ConfigError: it cannot be read.
    """
    path = path.expanduser().resolve()
    try:
        sha256 = hashlib.sha256(read_regular(path)).hexdigest()
    except OSError as error:
        raise ConfigError(f"there is no file that can be read: {error.strerror}", where=f"{by} {path}") from None
    _now.add((home.path, sha256))
    if any((line.path, line.sha256, line.settings) == (str(path), sha256, settings) for line in allowed(home)):
        return
    line = Allowed(str(path), sha256, by, time.strftime("%Y-%m-%d", time.gmtime()), settings)
    with suppress(OSError):  # then it holds for this process
        number = os.open(home.path / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
        with os.fdopen(number, "ab") as file:
            file.write((json.dumps(asdict(line)) + "\n").encode())


def allow_named(home: Home, names: Iterable[str], *, by: str) -> None:
    """Allow the files of those names that are `path.py:NAME`: a person has just entered them."""
    for name in names:
        parts = split_file(name)
        if parts is not None and parts[0].expanduser().is_file():
            allow(home, parts[0], by=by)


def allow_words(home: Home, words: Iterable[str]) -> None:
    """Allow what words of a command line name: `path.py:NAME` itself, as a value, or as one of several values."""
    for word in words:
        value = word.partition("=")[2]
        several = [part.strip(" \t[]\"'") for part in value.split(",")]
        allow_named(home, dict.fromkeys([word, value, *several]), by=COMMAND_LINE)


def allow_settings(home: Home, path: Path) -> None:
    """Allow what a file with settings names, where it is one's own.

    It is one's own for a file of code that was allowed before it named it: from then on it may name what the file becomes.
    A settings file that names other code is somebody else's, and allows nothing.
    """
    try:
        names = named_code(tomllib.loads(read_regular(path.expanduser()).decode()))
    except (OSError, ValueError, RecursionError):
        return  # who reads its settings says so
    where = str(path.expanduser().resolve())
    for name in dict.fromkeys(names):
        parts = split_file(name)
        if parts is None or not parts[0].expanduser().is_file():
            continue
        code = str(parts[0].expanduser().resolve())
        if why_not(home, name) is None or any((line.path, line.settings) == (code, where) for line in allowed(home)):
            allow(home, parts[0], by=path.name, settings=where)
