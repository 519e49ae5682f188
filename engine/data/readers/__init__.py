"""How a path becomes interactions: which reader reads which file."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from engine.data.readers.base import Catalog, Head, Raw, Reader, Wanted
from engine.data.readers.packed import refuse_foreign
from engine.data.readers.parts import are_parts, is_part
from engine.data.readers.table import table_of
from engine.data.readers.text import first_line, stem_of, suffix_of
from engine.errors import ConfigError, DataError
from engine.extension_points import READERS

_SPLIT = re.compile(r"(^|[._-])(train|valid|validation|dev|test)([._-]|$)", re.IGNORECASE)
_RATED = frozenset({"rating", "ratings", "interactions"})
"""Names of files with interactions beside others that look like some, such as tags."""


def readers() -> dict[str, Reader]:
    """Every format by name, in the order in which they are tried: installed ones, then ours.

    One that is installed and cannot be imported is left out; naming it gives the reason.
    """
    return _readers(tuple(sys.path))


@lru_cache(maxsize=1)  # reading the metadata of all installed packages takes longer than recognizing a file
def _readers(path: tuple[str, ...]) -> dict[str, Reader]:
    found: dict[str, Reader] = {}
    for name in sorted(READERS.names(), key=lambda name: name in READERS.ours):
        try:
            reader: Reader = READERS.build(name)
        except ConfigError:
            continue
        if name not in READERS.ours:
            reader.name = name
        found[name] = reader
    return found


def reader_named(name: str) -> Reader:
    """The reader of a format: one of ours, an installed one, or `path.py:Class`.

    Raises:
        ConfigError: there is none, or it cannot be built.
    """
    known = readers().get(name)
    if known is not None:
        return known
    reader: Reader = READERS.build(READERS.absolute(name))
    reader.name = READERS.label_of(READERS.absolute(name))
    return reader


def endings() -> frozenset[str]:
    """Endings of files that may hold interactions, without `.gz`."""
    return frozenset(suffix for reader in readers().values() for suffix in reader.suffixes)


@dataclass(frozen=True)
class Source:
    """The file to read at a path, and its reader."""

    reader: Reader
    file: Path
    wanted: Wanted
    """With the file of the items' texts, where one was found."""
    warnings: list[str] = field(default_factory=list)


def locate(path: Path, *, format: str | None, wanted: Wanted) -> Source:
    """The file to read and its reader; see `read_source`.

    Raises:
        DataError: the file does not exist or may be of several formats, or the folder has no file, or several, with
            interactions.
        ConfigError: the format is not ours, and its reader cannot be built.
        OSError: a folder cannot be listed.
    """
    allowed = [reader_named(format)] if format else list(readers().values())
    folder = path.is_dir()
    reader, file = _choose(path, allowed, wanted) if folder else (_reader_of(path, allowed, wanted), path)
    if format is None and (doubt := reader.ambiguity(file)) is not None:
        raise doubt
    for choice, flag in wanted.choices.items():
        if choice not in reader.choices:
            raise DataError(f"the format {reader.name} does not take it", where=flag, hint="Leave it out.")
    if not folder:
        return Source(reader, file, wanted)
    if wanted.items is not None:
        return Source(reader, file, wanted)
    items, warnings = items_in(path, file, wanted, reader)
    return Source(reader, file, replace(wanted, items=items), warnings)


def read_source(path: Path, *, format: str | None, wanted: Wanted) -> tuple[Raw, str]:
    """The interactions of a file or folder with its items' texts, and the name of the format.

    In a folder the one file that is recognized as interactions is read and other files are ignored; of several, the one
    with the folder's name. A table of items is used where the folder has one only.

    Raises:
        DataError: the file does not exist or has bad rows, or the folder has no file, or several, with interactions.
        ConfigError: the format is not ours, and its reader cannot be built.
    """
    try:
        found = locate(path, format=format, wanted=wanted)
        raw = found.reader.read(found.file, found.wanted)
        if found.wanted.items is not None:
            catalog = read_items(found.wanted.items, found.wanted, found.reader, only=set(raw.items.values))
            raw = replace(raw, catalog=catalog)
    except OSError as error:
        raise unreadable(error, path) from None
    return replace(raw, warnings=[*raw.warnings, *found.warnings]), found.reader.name


def unreadable(error: OSError, path: Path) -> DataError:
    """The error for a file that the operating system refuses to read."""
    return DataError(f"not readable: {error.strerror or error}", where=str(error.filename or path))


def read_items(path: Path, wanted: Wanted, reader: Reader | None = None, *, only: set[str] | None = None) -> Catalog:
    """A file with items' texts, read by the first reader that accepts it, else as a table: CSV or TSV by its first line.

    Args:
        reader: that of the interactions, which is tried first.
        only: ids whose texts are needed; other items may be returned without text.

    Raises:
        DataError: it is not there, cannot be read, or has no item ids.
    """
    return _items_reader(path, reader).read_items(path, wanted, only=only)


def items_head(path: Path, count: int, reader: Reader | None = None) -> Head:
    """The first `count` rows of a file with items' texts; `reader` as in `read_items`.

    Raises:
        DataError: it is not there, or cannot be read.
    """
    return _items_reader(path, reader).items_head(path, count)


def _items_reader(path: Path, own: Reader | None) -> Reader:
    """The reader of a file that was named as one of items' texts."""
    _check_file(path)
    return next((reader for reader in _with(own) if reader.reads_items(path)), None) or table_of(path)


def _with(own: Reader | None) -> list[Reader]:
    """Every reader, and before them one that was named by its file."""
    known = list(readers().values())
    return known if own is None or own in known else [own, *known]


def _check_file(path: Path) -> None:
    if not path.exists():
        raise DataError("no such file or folder", where=str(path))
    if not path.is_file():
        raise DataError("not a file", where=str(path))
    if path.stat().st_size == 0:
        raise DataError("the file is empty", where=str(path))
    refuse_foreign(path)


def _reader_of(path: Path, allowed: list[Reader], wanted: Wanted) -> Reader:
    """The reader of a file: the only one allowed, else the first that recognizes it, else the one with its ending."""
    _check_file(path)
    if len(allowed) == 1:
        return allowed[0]
    found = _recognizer(path, allowed, wanted)
    plain = [reader for reader in allowed if not reader.published]
    found = found or next((reader for reader in plain if suffix_of(path) in reader.suffixes), None)
    if found is None:
        line = first_line(path)
        shown = line if len(line) <= 60 else f"{line[:57]}..."
        hint = f"Name the format with --format ({', '.join(readers())}), and columns with unusual names."
        if any(reader.recognizes_items(path, wanted) or reader.reads_items(path) for reader in allowed):
            hint = "It seems to hold texts of items: import the interactions, and name it with --items."
        raise DataError(f"not recognized; its first line is {shown!r}", where=f"{path}:1", hint=hint)
    return found


def _recognizer(path: Path, allowed: list[Reader], wanted: Wanted) -> Reader | None:
    """The first reader that recognizes a file; `.inter` is RecBole's alone, even where its header is wrong."""
    owners = [reader for reader in readers().values() if reader.exclusive and suffix_of(path) in reader.suffixes]
    candidates = [reader for reader in allowed if reader in owners] if owners else allowed
    return next((reader for reader in candidates if reader.recognizes(path, wanted)), None)


def _choose(folder: Path, allowed: list[Reader], wanted: Wanted) -> tuple[Reader, Path]:
    """The file of a folder that holds the interactions, and its reader."""
    files = [file for file in _files(folder) if any(suffix_of(file) in reader.suffixes for reader in allowed)]
    files = files or [file for file in _files(folder) if is_part(file)]
    first = ((_recognizer(file, allowed, wanted), file) for file in files)
    found = [(reader, file) for reader, file in first if reader is not None]
    found = [pair for pair in found if pair[0].published] or found
    if len(found) > 1:
        found = [pair for pair in found if stem_of(pair[1]) == folder.resolve().name.lower()] or found
    if len(found) > 1:
        found = [pair for pair in found if stem_of(pair[1]) in _RATED] or found
    if are_parts([file for _, file in found]) and len({reader.name for reader, _ in found}) == 1 and found[0][0].parted:
        return found[0][0], folder
    if not found and len(files) == 1:  # its reader's error explains what is wrong with it
        found = [(_reader_of(files[0], allowed, wanted), files[0])]
    if len(found) == 1:
        return found[0]
    if not found:
        seen = ", ".join(file.name for file in _files(folder)[:8])
        seen = seen or ("folders alone" if any(other.is_dir() for other in folder.iterdir()) else "nothing")
        raise DataError(
            f"no file in this folder is recognized as interactions; it has {seen}",
            where=str(folder),
            hint="Name the file itself, and columns with unusual names.",
        )
    split = sum(_SPLIT.search(file.name) is not None for _, file in found) > 1
    raise DataError(
        f"several files in this folder look like interactions: {', '.join(file.name for _, file in found)}",
        where=str(folder),
        hint="They look like a set that was split: put their rows into one file, the split is made here."
        if split
        else "Name the file itself.",
    )


def items_in(folder: Path, file: Path, wanted: Wanted, reader: Reader) -> tuple[Path | None, list[str]]:
    """The items' texts beside a file that `reader` reads, where one file only has some, and a warning where several do."""
    if any(reader.exclusive and suffix_of(file) in reader.suffixes for reader in readers().values()):
        return None, []
    found = [
        other
        for other in _files(folder)
        if other != file and any(reader.recognizes_items(other, wanted) for reader in _with(reader))
    ]
    if len(found) > 1:
        names = ", ".join(other.name for other in found)
        return None, [f"several files look like item texts, so none is used: {names}; name one with --items"]
    return (found[0] if found else None), []


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
