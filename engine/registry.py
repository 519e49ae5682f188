"""A registry of one kind of part: entries of ours, entry points of installed packages, and `path.py:NAME` of one's own.

An entry is imported when it is asked for and not before, so that the app and `--help` load no torch.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

_FILE = re.compile(r"(?P<path>.+\.py):(?P<name>[A-Za-z_]\w*)")


def entry_points(group: str) -> EntryPoints:
    """The installed entry points of a group, looked up once for each `sys.path`: that reads the files of every installed package."""
    return _entry_points(group, tuple(sys.path))


@cache
def _entry_points(group: str, path: tuple[str, ...]) -> EntryPoints:
    import importlib.metadata  # by those commands alone that ask for them

    return importlib.metadata.entry_points(group=group)


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
        return next(iter(entry_points(group=self.group).select(name=name)), None)

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
            ConfigError: there is no such entry, its file is not allowed (see `guard_files`), it cannot be imported, it is no
                subclass of `base`, or `check` refuses it.
        """
        if name in self.ours:
            return attribute_of(self.ours[name])
        problem = self.problem_of(name) if self.has(name) else self._unknown(name)
        if problem is not None:
            raise ConfigError(problem, where=self.where)
        code = self.allowed_code(name)
        try:
            found = self._imported(name, code)
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

    def allowed_code(self, name: str) -> bytes:
        """The content of the file of `path.py:NAME`, which may be imported; empty for other names and for files that cannot be read.

        Raises:
            ConfigError: nobody has allowed this content (see `guard_files`); it says what `--allow-code` is for.
        """
        parts = split_file(name)
        if parts is None:
            return b""
        try:
            code = parts[0].read_bytes()
        except OSError:
            return b""
        why = _guard(parts[0].resolve(), code) if _guard is not None else None
        if why is not None:
            hint = f"Read {parts[0]}; to allow it in this home: --allow-code {parts[0]}"
            raise ConfigError(f"{name} was not imported: {why}", where=self.where, hint=hint)
        return code

    def _imported(self, name: str, code: bytes) -> Any:
        parts = split_file(name)
        if parts is not None:
            return getattr(_module_of(parts[0], code), parts[1])
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


Guard = Callable[[Path, bytes], str | None]
"""Why a file with this content may not be imported, as a clause; None where it may."""
_guard: Guard | None = None


def guard_files(guard: Guard | None) -> None:
    """From now on import code by path only where `guard` lets it; with None all of it, as in a program of one's own.

    It holds for all threads of the process: what settings name is imported wherever they are read.
    """
    global _guard
    _guard = guard


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "missing"


class _Source(SourceFileLoader):
    """Compiles the bytes that were looked at: a file may change meanwhile, and a compiled copy beside it may be of another."""

    def __init__(self, name: str, path: Path, code: bytes) -> None:
        super().__init__(name, str(path))
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._code, self.path, "exec", dont_inherit=True)


def _module_of(path: Path, code: bytes) -> ModuleType:
    """The module in a file of this content, made once for each content that it has had."""
    name = (
        "sracl_own_" + hashlib.sha256(f"{path.resolve()} {hashlib.sha256(code).hexdigest()}".encode()).hexdigest()[:16]
    )
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_Source(name, path, code))
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
