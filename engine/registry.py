"""A registry of one kind of part: entries of ours, entry points of installed packages, and `path.py:NAME` of one's own.

An entry is imported when it is asked for and not before, so that the app and `--help` load no torch.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.errors import ConfigError

_FILE = re.compile(r"(?P<path>.+\.py):(?P<name>[A-Za-z_]\w*)")


def split_file(name: str) -> tuple[Path, str] | None:
    """Path and attribute of `path.py:NAME`; none for any other form."""
    match = _FILE.fullmatch(name)
    return (Path(match["path"]), match["name"]) if match else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Registry:
    """What one setting may name. engine/extension_points.py has one for each kind of part."""

    kind: str
    """Its word in messages, and in the name of a copied file: `own_<kind>.py`."""
    where: str
    """The setting or option, for errors."""
    group: str
    """Group of the entry points by which an installed package offers entries."""
    base: str
    """`module:Class` that every entry subclasses."""
    ours: Mapping[str, str]
    """`module:Class` of our own entries by name."""
    example: str
    """Hint of an error about an entry that is not ours."""
    open: bool = False
    """Whether other names have a meaning elsewhere, as those of models and endpoints do: such a name is no error here."""

    values: bool = False
    """Whether entries are instances of `base` and not subclasses of it."""
    check: Callable[[Any], str | None] = lambda entry: None
    """What else is wrong with an entry that is not ours, such as `has no parts`; none where nothing is."""

    @property
    def kept(self) -> str:
        """Name of the copy of an own file in a run's folder."""
        return f"own_{self.kind}.py"

    def names(self) -> list[str]:
        """Names of our entries and of the installed ones, ours first."""
        return list(dict.fromkeys([*self.ours, *(point.name for point in entry_points(group=self.group))]))

    def has(self, name: str) -> bool:
        """Whether `load` knows an entry of this name; a file need not exist."""
        return name in self.ours or split_file(name) is not None or self.entry_point(name) is not None

    def entry_point(self, name: str) -> EntryPoint | None:
        """The installed entry point of a name."""
        return next(iter(entry_points(group=self.group, name=name)), None)

    def problem_of(self, name: str) -> str | None:
        """Why a name cannot be looked up, as a message that lists those that can; none where it can. Imports nothing."""
        if name in self.ours:
            return None
        parts = split_file(name)
        if parts is not None:
            return None if parts[0].is_file() else f"there is no file {parts[0]}"
        if self.open or self.entry_point(name) is not None:
            return None
        return self._unknown(name)

    def _unknown(self, name: str) -> str:
        return f"there is no {self.kind} {name!r}; there are {', '.join(self.names())}, and path.py:NAME for your own"

    def load(self, name: str) -> Any:
        """The class of a name.

        Raises:
            ConfigError: there is no such entry, it cannot be imported, it is no subclass of `base`, or `check` refuses it.
        """
        if name in self.ours:
            return attribute_of(self.ours[name])
        problem = self.problem_of(name) if self.has(name) else self._unknown(name)
        if problem is not None:
            raise ConfigError(problem, where=self.where)
        if (parts := split_file(name)) is not None and not is_allowed(parts[0]):
            raise ConfigError(
                f"{name} is code that somebody else's settings name, and was not imported",
                where=self.where,
                hint=f"Read {parts[0]}; to trust it: --allow-code {parts[0]}",
            )
        try:
            found = self._imported(name)
        except (Exception, SystemExit) as error:  # somebody's code may raise anything
            raise self.refused(name, f"cannot be imported: {type(error).__name__}: {error}") from error
        base = attribute_of(self.base)
        if not (isinstance(found, base) if self.values else isinstance(found, type) and issubclass(found, base)):
            what = "instance" if self.values else "subclass"
            raise self.refused(name, f"is no {what} of {self.base.replace(':', '.')}")
        if (wrong := self.check(found)) is not None:
            raise self.refused(name, wrong)
        return found

    def build(self, name: str, *args: Any, **options: Any) -> Any:
        """An instance of an entry, from the arguments that every entry of this kind takes.

        Raises:
            ConfigError: it cannot be loaded, or an entry that is not ours raises any exception.
        """
        entry = self.load(name)
        if name in self.ours:
            return entry(*args, **options)
        try:
            return entry(*args, **options)
        except ConfigError:
            raise
        except Exception as error:
            raise self.refused(name, f"cannot be built: {type(error).__name__}: {error}") from error

    def refused(self, name: str, problem: str) -> ConfigError:
        """The error about an entry that is not ours."""
        return ConfigError(f"{name} {problem}", where=self.where, hint=self.example)

    def _imported(self, name: str) -> Any:
        parts = split_file(name)
        if parts is not None:
            return getattr(_module_of(parts[0]), parts[1])
        point = self.entry_point(name)
        assert point is not None
        return point.load()

    def absolute(self, name: str) -> str:
        """The same entry with an absolute path: a run starts and resumes in other working directories."""
        parts = split_file(name)
        return f"{parts[0].expanduser().resolve()}:{parts[1]}" if parts else name

    def identity_of(self, name: str) -> str:
        """The name for hashes: a file counts by the SHA-256 of its content, not by its path."""
        parts = split_file(name)
        return name if parts is None else f"{_digest(parts[0])}:{parts[1]}"

    def label_of(self, name: str) -> str:
        """The name as stored with results: a file's entry is `NAME@` and the start of its content's SHA-256."""
        parts = split_file(name)
        return name if parts is None else f"{parts[1]}@{_digest(parts[0])[:16]}"

    def keep(self, name: str, folder: Path) -> None:
        """Copy an own file into a run's folder, so that a result can be rebuilt after the file has changed.

        Raises:
            OSError: the file cannot be read or copied.
        """
        parts = split_file(name)
        if parts is not None and not (folder / self.kept).exists():
            (folder / self.kept).write_bytes(parts[0].read_bytes())

    def kept_in(self, name: str, folder: Path) -> str:
        """The same entry from the copy in a folder, where there is one."""
        parts = split_file(name)
        return f"{folder.resolve() / self.kept}:{parts[1]}" if parts and (folder / self.kept).exists() else name


def attribute_of(name: str) -> Any:
    """What `module:NAME` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


_ALLOWED: ContextVar[frozenset[Path] | None] = ContextVar("allowed", default=None)
"""Files from which code by path may be imported; None for all, as where a person named it."""


@contextmanager
def only_files(allowed: Iterable[Path]) -> Iterator[None]:
    """While the block runs, code by path is imported from these files alone, in this thread: the settings are somebody else's."""
    token = _ALLOWED.set(frozenset(path.resolve() for path in allowed))
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def is_allowed(path: Path) -> bool:
    """Whether code may be imported from a file (see `only_files`)."""
    allowed = _ALLOWED.get()
    return allowed is None or path.resolve() in allowed


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "missing"


def _module_of(path: Path) -> ModuleType:
    """The module in a file, imported once for each content that it has had."""
    name = "sracl_own_" + hashlib.sha256(f"{path.resolve()} {_digest(path)}".encode()).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
