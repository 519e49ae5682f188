"""Columns as ids, checked in bulk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from engine.data.readers.base import Coded
from engine.data.readers.grid import Grid
from engine.data.readers.lines import mended
from engine.data.scratch import PART, Workspace, slices
from engine.errors import DataError

pc: Any = pyarrow.compute
"""Typed as Any: its functions are created at import, so a type checker knows few of them."""
MISSING_IDS = frozenset({"", "nan", "nat", "null", "(null)", "none", "<na>", "n/a", "#n/a", "\\n", "undefined"})
"""Cells that mean a missing id, in lower case; `NA`, as R writes it, in capitals alone."""
_WHOLE = re.compile(r"-?\d+(\.0*)?|\d(\.\d+)?[eE]\+\d{2}")
NO_TEXT = "\x1a"
"""Begins a cell whose value is a list, an object, true or false: no valid id and no valid time."""
_ROUNDED = re.compile(r"\d\.(\d{4,})[eE]\+(\d{2,})")
PASSES = 16
"""How often all rows are gone through, at most, for those that may be equal."""
_PRIMES, _SHIFT = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)), np.uint64(32)
"""To spread rows over groups by user and item."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as trimmed text; null is empty and a whole float reads like an integer."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if pa.types.is_floating(column.type):
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2**53))
        integers = pc.cast(pc.if_else(whole, column, 0), pa.int64())
        column = pc.if_else(whole, pc.cast(integers, pa.string()), pc.cast(column, pa.string()))
    elif _is_binary(column.type):
        column = _decoded(column)
    elif not pa.types.is_string(column.type):
        column = pc.cast(column, pa.string())
    return pc.utf8_trim_whitespace(pc.fill_null(column, ""))


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Bytes as text: UTF-8, and cells that are not as Windows-1252, as in lines of text."""
    try:
        return pc.cast(pc.cast(column, pa.binary()), pa.string())
    except pa.ArrowInvalid:
        cells = [None if cell is None else mended(cell)[0].decode() for cell in column.to_pylist()]
        return pa.chunked_array([pa.array(cells, pa.string())])


def coded(column: pa.ChunkedArray) -> Coded:
    """Numbers for the different values of a column, in order of their first row."""
    encoded = pc.dictionary_encode(column).unify_dictionaries()
    if encoded.num_chunks == 0:
        return Coded(np.zeros(0, np.int64), [])
    codes = [np.asarray(chunk.indices).astype(np.int64) for chunk in encoded.chunks]
    return Coded(np.concatenate(codes), encoded.chunk(0).dictionary.to_pylist())


def coded_parts(parts: Iterable[pa.ChunkedArray], work: Workspace) -> Coded:
    """`coded` for a column in parts."""
    number: dict[Any, int] = {}

    def codes() -> Iterator[NDArray[np.int32]]:
        for part in parts:
            own = coded(part)
            known = [number.setdefault(value, len(number)) for value in own.values]
            yield np.array(known, np.int32)[own.codes]

    return Coded(work.gathered(codes(), np.int32), list(number))


def marked(ids: Coded, chosen: Iterable[int]) -> NDArray[np.bool_]:
    """(N,) which rows have one of the chosen codes."""
    flags = np.zeros(len(ids.values), bool)
    flags[list(chosen)] = True
    mask = np.zeros(len(ids.codes), bool)
    for rows in slices(len(mask), ids.codes):
        mask[rows] = flags[ids.codes[rows]]
    return mask


def ids_of(grid: Grid, name: str, role: str) -> Coded:
    """A column of user or item ids.

    Raises:
        DataError: an id is missing, is a list, or has control characters in it.
    """
    kind = grid.begin(name, 1).type
    if pa.types.is_nested(kind):
        raise DataError(f"the column {name!r} holds {kind}, not {role} ids", where=grid.head)
    ids = whole(coded_parts(map(as_text, grid.parts(name)), grid.work), grid.work)
    problems = {code: problem for code, value in enumerate(ids.values) if (problem := _id_problem(value))}
    if problems:
        bad = marked(ids, problems)
        raise grid.bad_rows(bad, lambda row: f"the {role} id ({name}) {problems[int(ids.codes[row])]}")
    return ids


def whole(ids: Coded, work: Workspace) -> Coded:
    """The same ids, written as integers where all are whole numbers and some have decimals: 101.0 and 101 are one id.

    So are 1e+05, as R writes it, and 100000. Missing ids stay.
    """
    known = [value for value in ids.values if not is_missing_id(value)]
    if (
        not any(mark in value for value in known for mark in ".eE")
        or not all(map(_WHOLE.fullmatch, known))
        or any(map(_is_rounded, known))
    ):
        return ids
    plain = [plain_number(value) for value in ids.values]
    number = {value: code for code, value in enumerate(dict.fromkeys(plain))}
    new = np.array([number[value] for value in plain], np.int32)
    codes = work.gathered((new[ids.codes[rows]] for rows in slices(len(ids.codes), ids.codes)), np.int32)
    return Coded(codes, list(number))


def plain_number(value: str) -> str:
    """A whole number without decimals or exponent; any other text as it is."""
    if _WHOLE.fullmatch(value) is None:
        return value
    number, _, exponent = value.lower().partition("e")
    digits, _, decimals = number.partition(".")
    if not exponent:
        return digits
    return (digits + decimals).ljust(1 + int(exponent), "0") if len(decimals) <= int(exponent) else value


def _is_rounded(value: str) -> bool:
    """Whether digits of a whole number were cut off, as in 9.78014E+12."""
    found = _ROUNDED.fullmatch(value)
    return found is not None and int(found[2]) > len(found[1])


def is_missing_id(value: str) -> bool:
    """Whether a cell's text stands for a missing id."""
    return value.lower() in MISSING_IDS or value == "NA"


def _id_problem(value: str) -> str | None:
    if is_missing_id(value):
        return f"is {value!r}, which stands for none" if value else "is empty"
    if _is_rounded(value):
        return f"{value} was rounded by the program that wrote it"
    if value.startswith(NO_TEXT):
        return f"is {value[1:]}, neither text nor a number"
    return f"{value!r} has control characters" if _CONTROL.search(value) else None


def repeats(path: Path, users: Coded, items: Coded, times: NDArray[np.int64] | None) -> list[str]:
    """A warning where rows repeat user, item and time of another row of `path`; empty without times or repeats."""
    if times is None:
        return []
    groups = 1 + min(PASSES, len(times) // (4 * PART))
    count = sum(_repeated(users.codes, items.codes, times, groups, group) for group in range(groups))
    what = f"{count:,} rows of {path} repeat user, item and time of another; `--duplicates first` leaves them out"
    return [what] if count else []


def _repeated(users: NDArray[Any], items: NDArray[Any], times: NDArray[np.int64], groups: int, group: int) -> int:
    """How many rows of one group repeat another; equal rows are in one group, of some `PART` rows."""
    parts: list[tuple[NDArray[Any], ...]] = []
    for rows in slices(len(times), users, items, times):
        columns = users[rows], items[rows], times[rows]
        if groups > 1:
            mixed = (columns[0].astype(np.uint64) * _PRIMES[0] + columns[1].astype(np.uint64) * _PRIMES[1]) >> _SHIFT
            chosen = mixed % np.uint64(groups) == group
            columns = columns[0][chosen], columns[1][chosen], columns[2][chosen]
        parts.append(columns)
    user, item, time = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((time, item, user))
    same = np.ones(max(0, len(order) - 1), bool)
    for column in (user, item, time):
        same &= np.diff(column[order]) == 0
    return int(same.sum())
