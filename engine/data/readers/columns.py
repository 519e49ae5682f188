"""Columns as ids, checked in bulk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from engine.data.readers.base import Coded
from engine.data.readers.grid import Grid
from engine.errors import DataError

pc: Any = pyarrow.compute
"""Typed as Any: its functions are created at import, so a type checker knows few of them."""
MISSING_IDS = frozenset({"", "nan", "null", "none", "<na>"})
"""Cells that mean a missing id, in lower case."""
_WHOLE = re.compile(r"-?\d+(\.0*)?")
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
    elif not pa.types.is_string(column.type):
        column = pc.cast(column, pa.string())
    return pc.utf8_trim_whitespace(pc.fill_null(column, ""))


def coded(column: pa.ChunkedArray) -> Coded:
    """Numbers for the different values of a text column, in order of their first row."""
    encoded = pc.dictionary_encode(column).unify_dictionaries()
    if encoded.num_chunks == 0:
        return Coded(np.zeros(0, np.int64), [])
    codes = [np.asarray(chunk.indices).astype(np.int64) for chunk in encoded.chunks]
    return Coded(np.concatenate(codes), encoded.chunk(0).dictionary.to_pylist())


def ids_of(grid: Grid, name: str, role: str) -> Coded:
    """A column of user or item ids.

    Raises:
        DataError: an id is missing, is a list, or has control characters in it.
    """
    column = grid.column(name)
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        raise DataError(f"the column {name!r} holds {column.type}, not {role} ids", where=grid.head)
    ids = _whole(coded(as_text(column)))
    problems = {code: problem for code, value in enumerate(ids.values) if (problem := _id_problem(value))}
    if problems:
        bad = np.isin(ids.codes, list(problems))
        raise grid.bad_rows(bad, lambda row: f"the {role} id ({name}) {problems[int(ids.codes[row])]}")
    return ids


def _whole(ids: Coded) -> Coded:
    """The same ids, written as integers where all are whole numbers and some have decimals: 101.0 and 101 are one id."""
    if not any("." in value for value in ids.values) or not all(_WHOLE.fullmatch(value) for value in ids.values):
        return ids
    plain = [value.partition(".")[0] for value in ids.values]
    number = {value: code for code, value in enumerate(dict.fromkeys(plain))}
    return Coded(np.array([number[value] for value in plain], np.int64)[ids.codes], list(number))


def _id_problem(value: str) -> str | None:
    if value.lower() in MISSING_IDS:
        return f"is {value!r}, which stands for none" if value else "is empty"
    return f"{value!r} has control characters" if _CONTROL.search(value) else None


def repeats(path: Path, users: Coded, items: Coded, times: np.ndarray[Any, Any] | None) -> list[str]:
    """A warning where rows repeat user, item and time of another row of `path`; empty without times or repeats."""
    if times is None:
        return []
    order = np.lexsort((times, items.codes, users.codes))
    same = np.ones(max(0, len(order) - 1), bool)
    for column in (users.codes, items.codes, times):
        same &= np.diff(column[order]) == 0
    count = int(same.sum())
    what = f"{count:,} rows of {path} repeat user, item and time of another; `--duplicates first` leaves them out"
    return [what] if count else []
