"""The bare lines that the authors of SRA-CL release: `user item`, or `user item item ...`, integers and blanks.

A user's lines follow each other in time, and so do the items of a line. There are no times and no texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.data.readers.base import Coded, Head, Raw, Reader, Roles, Wanted
from engine.data.readers.columns import coded
from engine.data.readers.grid import many_bad
from engine.data.readers.packed import is_packed
from engine.data.readers.text import HEAD_BYTES, first_line, read_text
from engine.errors import DataError

MAX_DIGITS = 18
"""An id of more digits does not fit into 64 bits."""
_LINE = re.compile(r" *[0-9]+( +[0-9]+)+ *")
_HINT = "Each line is `user item` or `user item item ...`: integers separated by blanks, oldest first."
_EARLIEST, _LATEST = 9, 13
"""Digits of a Unix time: seconds since 1973, milliseconds."""
_NEWLINE, _BLANKS = 10, b" \r\n"


class Sequences(Reader):
    """Reads bare lines of integers."""

    name = "sequences"
    suffixes: tuple[str, ...] = (".txt",)

    def recognizes(self, path: Path, wanted: Wanted) -> bool:
        return _LINE.fullmatch(first_line(path)) is not None

    def ambiguity(self, path: Path) -> DataError | None:
        """Lines of 3 or 4 numbers each are ratings where users have several lines, or where the fourth is a Unix time."""
        try:
            lines = [line.split() for line in read_text(path, limit=HEAD_BYTES).split(b"\n") if line.strip()]
        except DataError:
            return None  # its reading will tell
        width = len(lines[0]) if lines else 0
        if width not in (3, 4) or any(len(line) != width for line in lines):
            return None
        timed = width == 4 and all(_EARLIEST <= len(line[3]) <= _LATEST for line in lines)
        if not timed and len({line[0] for line in lines}) == len(lines):
            return None
        return DataError(
            f"its lines look like `user item rating{' time' if width == 4 else ''}`, not like a user and items",
            where=f"{path}:1",
            hint="Name the format: --format ratings, or --format sequences if each number after the first is an item.",
        )

    def head(self, path: Path, wanted: Wanted, count: int) -> Head:
        data = read_text(path, limit=HEAD_BYTES)
        _check(path, data, _tokens(data))
        lines = [line.split() for line in data.decode("utf-8", errors="ignore").splitlines() if line.strip()]
        rows = [[cells[0], " ".join(cells[1:])] for cells in lines[:count]]
        about = None if is_packed(path) else round(path.stat().st_size * len(lines) / len(data))
        return Head(names=["user", "items"], rows=rows, total=None, about=about, roles=Roles(user="user", item="items"))

    def read(self, path: Path, wanted: Wanted) -> Raw:
        data = read_text(path)
        tokens = _tokens(data)
        _check(path, data, tokens)
        numbers = np.fromstring(data, np.int64, sep=" ")  # takes any run of blanks, line ends too
        leads = np.append(True, tokens.lines[1:] != tokens.lines[:-1])  # the first number of a line is its user
        owners = numbers[leads][np.cumsum(leads) - 1]
        return Raw(source=str(path), users=_coded(owners[~leads]), items=_coded(numbers[~leads]), times=None)


@dataclass(frozen=True)
class _Tokens:
    """The T runs of characters between blanks."""

    lines: NDArray[np.int64]
    """(T,) line of each, from 0."""
    lengths: NDArray[np.int64]
    """(T,) characters of each."""
    stray: NDArray[np.int64]
    """Lines that hold something else than digits and blanks, ascending."""


def _tokens(data: bytes) -> _Tokens:
    characters = np.frombuffer(data, np.uint8)
    blank = np.isin(characters, np.frombuffer(_BLANKS, np.uint8))
    edges = np.diff(np.concatenate([[False], ~blank, [False]]).astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    breaks = np.flatnonzero(characters == _NEWLINE)
    stray = np.flatnonzero(~blank & ((characters < ord("0")) | (characters > ord("9"))))
    return _Tokens(
        lines=np.searchsorted(breaks, begins),
        lengths=ends - begins,
        stray=np.unique(np.searchsorted(breaks, stray)),
    )


def _check(path: Path, data: bytes, tokens: _Tokens) -> None:
    """Raises DataError about the first line that is not at least two integers."""
    lines, counts = np.unique(tokens.lines, return_counts=True)
    for bad, problem in (
        (tokens.stray, "something else than integers and blanks"),
        (lines[counts < 2], "a user without items"),
        (np.unique(tokens.lines[tokens.lengths > MAX_DIGITS]), f"an id of more than {MAX_DIGITS} digits"),
    ):
        if len(bad):
            line = int(bad[0])
            text = data.split(b"\n")[line].decode("utf-8").rstrip("\r")
            shown = text if len(text) <= 60 else f"{text[:57]}..."
            raise many_bad(len(bad), where=f"{path}:{line + 1}", problem=f"{problem}: {shown!r}", hint=_HINT)


def _coded(numbers: NDArray[np.int64]) -> Coded:
    ids = coded(pa.chunked_array([pa.array(numbers)]))
    return Coded(ids.codes, [str(value) for value in ids.values])
