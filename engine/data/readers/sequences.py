"""The bare lines that the authors of SRA-CL release: `user item`, or `user item item ...`, integers and blanks.

A user's lines follow each other in time, and so do the items of a line. There are no times and no texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.data.readers.base import Coded, Head, Raw, Reader, Roles, Wanted
from engine.data.readers.columns import coded_parts
from engine.data.readers.grid import many_bad
from engine.data.readers.packed import is_packed
from engine.data.readers.text import HEAD_BYTES, Blocks, first_line, read_text
from engine.data.scratch import Workspace, slices
from engine.errors import DataError

MAX_DIGITS = 18
"""An id of more digits does not fit into 64 bits."""
_LINE = re.compile(r" *[0-9]+( +[0-9]+)+ *")
_RATED = re.compile(r"[^\s,;:]+(\s*(::|[,;\t ])\s*)[^\s,;:]+\1[\d.]+(\1[^,;]+)?")
_NAMED = re.compile(r"(?i)user[\w:]* +\w*item")
_HINT = "Each line is `user item` or `user item item ...`: integers separated by blanks, oldest first."
_TIME = re.compile(rb"\d{9,10}(\.\d+)?|\d{12,13}|20[0-4]\d(0[1-9]|1[0-2])([0-2]\d|3[01])")
"""A Unix time in seconds since 1973 or in milliseconds, or a date."""
_STRAY = "something else than integers and blanks"
_ALONE = "a user without items"
_LONG = f"an id of more than {MAX_DIGITS} digits"
_NEWLINE, _BLANKS = 10, b" \r\n"


class Sequences(Reader):
    """Reads bare lines of integers."""

    name = "sequences"
    suffixes: tuple[str, ...] = (".txt",)

    def recognizes(self, path: Path, wanted: Wanted) -> bool:
        return _LINE.fullmatch(first_line(path)) is not None

    def ambiguity(self, path: Path) -> DataError | None:
        """Lines of as many numbers each are no lists where one of their columns is a Unix time, nor, with up to 4, where users repeat."""
        try:
            lines = [line.split() for line in read_text(path, limit=HEAD_BYTES).split(b"\n") if line.strip()]
        except DataError:
            return None  # its reading will tell
        width = len(lines[0]) if lines else 0
        if width < 3 or any(len(line) != width for line in lines):
            return None
        timed = any(all(_TIME.fullmatch(line[place]) for line in lines) for place in range(2, width))
        if not timed and (width > 4 or len({line[0] for line in lines}) == len(lines)):
            return None
        shape = {3: "user item time" if timed else "user item rating", 4: "user item rating time"}
        said = f"like `{shape[width]}`" if width in shape else f"like a table of {width} columns"
        hint = "--format ratings" if width in shape else "a line with their names on top makes it a table"
        return DataError(
            f"its lines look {said}, not like a user and items",
            where=f"{path}:1",
            hint=f"Name the format: {hint}, or --format sequences if each number after the first is an item.",
        )

    def head(self, path: Path, wanted: Wanted, count: int) -> Head:
        data = read_text(path, limit=HEAD_BYTES)
        _check(path, data, _tokens(data))
        lines = [line.split() for line in data.decode("utf-8", errors="ignore").splitlines() if line.strip()]
        rows = [[cells[0], " ".join(cells[1:])] for cells in lines[:count]]
        about = None if is_packed(path) else round(path.stat().st_size * len(lines) / len(data))
        return Head(names=["user", "items"], rows=rows, total=None, about=about, roles=Roles(user="user", item="items"))

    def read(self, path: Path, wanted: Wanted) -> Raw:
        problems, lines = _Problems(path), 0
        lengths: list[NDArray[np.int64]] = []

        def numbers() -> Iterator[NDArray[np.int64]]:
            nonlocal lines
            for data in Blocks(path, wanted.work):
                tokens = _tokens(data)
                problems.look(data, tokens, lines)
                lines += data.count(b"\n")
                if not problems.first:
                    lengths.append(np.unique(tokens.lines, return_counts=True)[1])
                    yield np.fromstring(data, np.int64, sep=" ")  # takes any run of blanks, line ends too

        found = wanted.work.gathered(numbers(), np.int64)
        problems.refuse()
        leads = np.zeros(len(found), bool)  # the first number of a line is its user
        ends = np.cumsum(np.concatenate(lengths))
        leads[np.concatenate([[0], ends[:-1]])] = True
        users = wanted.work.gathered(_owners(found, leads), np.int64)
        items = wanted.work.gathered((found[rows][~leads[rows]] for rows in slices(len(found), found)), np.int64)
        return Raw(source=str(path), users=_coded(users, wanted.work), items=_coded(items, wanted.work), times=None)


def _owners(numbers: NDArray[np.int64], leads: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """The users of the numbers that are items."""
    user = np.zeros(1, np.int64)
    for rows in slices(len(numbers), numbers):
        part, lead = numbers[rows], leads[rows]
        known = np.concatenate([user, part[lead]])
        owners = known[np.cumsum(lead)]
        user = known[-1:]
        yield owners[~lead]


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
    problems = _Problems(path)
    problems.look(data, tokens, 0)
    problems.refuse()


class _Problems:
    """The lines of a file that are not at least two integers, by what is wrong with them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.first: dict[str, tuple[int, str]] = {}
        """Line and text of the first."""
        self._counts: dict[str, int] = {}

    def look(self, data: bytes, tokens: _Tokens, before: int) -> None:
        """Take a piece of the file in; so many lines were before it."""
        lines, counts = np.unique(tokens.lines, return_counts=True)
        for bad, problem in (
            (tokens.stray, _STRAY),
            (lines[counts < 2], _ALONE),
            (np.unique(tokens.lines[tokens.lengths > MAX_DIGITS]), _LONG),
        ):
            if len(bad):
                line = int(bad[0])
                text = data.split(b"\n")[line].decode("utf-8").rstrip("\r")
                self.first.setdefault(problem, (before + line + 1, text))
                self._counts[problem] = self._counts.get(problem, 0) + len(bad)

    def refuse(self) -> None:
        """Raises DataError where there are any."""
        for problem in (_STRAY, _ALONE, _LONG):
            if problem in self.first:
                line, text = self.first[problem]
                shown = text if len(text) <= 60 else f"{text[:57]}..."
                rated = "If it has ratings: --format ratings. " if line == 1 and _RATED.fullmatch(text) else ""
                named = "If it has names of columns: --format csv --delimiter ' '. " if _NAMED.search(text) else ""
                raise many_bad(
                    self._counts[problem],
                    where=f"{self._path}:{line}",
                    problem=f"{problem}: {shown!r}",
                    hint=(rated or named * (line == 1) or _HINT).strip(),
                )


def _coded(numbers: NDArray[np.int64], work: Workspace) -> Coded:
    parts = (pa.chunked_array([pa.array(numbers[rows])]) for rows in slices(len(numbers), numbers))
    ids = coded_parts(parts, work)
    return Coded(ids.codes, [str(value) for value in ids.values])
