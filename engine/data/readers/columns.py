"""Columns as ids and as times, checked in bulk."""

from __future__ import annotations

import re
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from engine.data.readers.base import Coded
from engine.data.readers.grid import Grid
from engine.errors import DataError

pc: Any = pyarrow.compute
"""Typed as Any: its functions are created at import, so a type checker knows few of them."""
MISSING_IDS = frozenset({"", "nan", "null", "none", "<na>"})
"""Cells that mean a missing id, in lower case."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DATE = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?$"
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_UNITS = ((1e17, "nanoseconds"), (1e14, "microseconds"), (1e11, "milliseconds"))
"""Above which value a time is no longer in seconds: 1e11 s is the year 5138."""
_TIME_HINT = "Times are Unix seconds or milliseconds, or dates such as 2014-07-23 or 2014-07-23T10:15:00Z."


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
    ids = coded(as_text(column))
    problems = {code: problem for code, value in enumerate(ids.values) if (problem := _id_problem(value))}
    if problems:
        bad = np.isin(ids.codes, list(problems))
        raise grid.bad_rows(bad, lambda row: f"the {role} id ({name}) {problems[int(ids.codes[row])]}")
    return ids


def _id_problem(value: str) -> str | None:
    if value.lower() in MISSING_IDS:
        return f"is {value!r}, which stands for none" if value else "is empty"
    return f"{value!r} has control characters" if _CONTROL.search(value) else None


def times_of(grid: Grid, name: str | None) -> tuple[NDArray[np.int64] | None, list[str]]:
    """A column of times in microseconds since 1970, none where there is no such column, and warnings.

    Dates without a zone are in UTC; numbers are in seconds, or in a finer unit where they are too large for that.

    Raises:
        DataError: a time is missing, no number and no date, not finite, or before 1970.
    """
    if name is None:
        return None, ["there is no column of times, so the order of the rows is taken as the order in time"]
    column = grid.column(name)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        micros = _stamps(column, getattr(kind, "tz", None))
        return _checked(grid, name, column, micros, np.asarray(pc.is_null(column))), []
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(grid, name, column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _texts(grid, name, as_text(column))
    raise DataError(f"the column {name!r} holds {kind}, not times", where=grid.head, hint=_TIME_HINT)


def _stamps(column: pa.ChunkedArray, zone: str | None) -> NDArray[np.int64]:
    stamps = pc.cast(column, pa.timestamp("us", tz=zone), safe=False)
    return np.asarray(pc.fill_null(pc.cast(stamps, pa.int64()), 0)).astype(np.int64)


def _texts(grid: Grid, name: str, column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    for kind in (pa.int64(), pa.float64()):
        try:
            return _numbers(grid, name, pc.cast(column, kind))
        except pa.ArrowInvalid:
            continue
    dated = np.asarray(pc.match_substring_regex(column, _DATE))
    if not dated.any():
        distinct = coded(column)
        wrong = np.array([_NUMBER.fullmatch(value) is None for value in distinct.values])
        raise _not_a_time(grid, name, column, wrong[distinct.codes])
    if not dated.all():
        raise _not_a_time(grid, name, column, ~dated)
    column = pc.replace_substring_regex(column, r"(\.\d{6})\d+", r"\1")
    zoned = np.asarray(pc.match_substring_regex(pc.utf8_slice_codeunits(column, 10), _ZONE))
    micros = np.zeros(len(column), np.int64)
    for part, zone in ((zoned, "UTC"), (~zoned, None)):
        chosen = column.filter(pa.array(part))
        try:
            micros[part] = _stamps(pc.cast(chosen, pa.timestamp("us", tz=zone)), zone)
        except pa.ArrowInvalid:
            distinct = coded(column)
            wrong = np.array([not _is_stamp(value) for value in distinct.values])
            raise _not_a_time(grid, name, column, wrong[distinct.codes]) from None
    return _checked(grid, name, column, micros, np.zeros(len(micros), bool)), []


def _is_stamp(value: str) -> bool:
    zone = "UTC" if re.search(_ZONE, value[10:]) else None
    try:
        pa.scalar(value).cast(pa.timestamp("us", tz=zone))
    except pa.ArrowInvalid:
        return False
    return True


def _not_a_time(grid: Grid, name: str, column: pa.ChunkedArray, bad: NDArray[np.bool_]) -> DataError:
    def problem(row: int) -> str:
        value: Any = column[row].as_py()
        return f"the time ({name}) is empty" if value in ("", None) else f"the time ({name}) {value!r} is not a time"

    return grid.bad_rows(bad, problem, _TIME_HINT)


def _numbers(grid: Grid, name: str, column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Numbers in seconds or finer units as microseconds."""
    missing = np.asarray(pc.is_null(column))
    whole = pa.types.is_integer(column.type)
    filled = pc.fill_null(pc.cast(column, pa.int64() if whole else pa.float64()), 0)
    values = np.asarray(filled)
    if not whole:
        missing = missing | ~np.isfinite(values) | (np.abs(values) > 9e18)
        values = np.where(missing, 0.0, values)
    if missing.any():
        raise _not_a_time(grid, name, column, missing)
    micros, warnings = _in_micros(values)
    return _checked(grid, name, column, micros, missing), [f"{name}: {text}" for text in warnings]


def _in_micros(values: NDArray[Any]) -> tuple[NDArray[np.int64], list[str]]:
    nano, micro, milli = (values > limit for limit, _ in _UNITS)
    milli, micro = milli & ~micro, micro & ~nano
    seconds = ~(nano | micro | milli)
    result = np.zeros(len(values), np.int64)
    for part, factor in ((seconds, 1_000_000), (milli, 1000), (micro, 1)):
        result[part] = np.rint(values[part] * factor).astype(np.int64)
    result[nano] = (values[nano] // 1000).astype(np.int64)
    counts = [(int(part.sum()), unit) for part, (_, unit) in zip((nano, micro, milli), _UNITS, strict=True)]

    def warning(count: int, unit: str) -> str:
        return f"{count:,} of {len(values):,} times are read as {unit}"

    return result, list(starmap(warning, (pair for pair in counts if pair[0])))


def _checked(
    grid: Grid, name: str, column: pa.ChunkedArray, micros: NDArray[np.int64], missing: NDArray[np.bool_]
) -> NDArray[np.int64]:
    if missing.any():
        raise _not_a_time(grid, name, column, missing)
    early = micros < 0
    if early.any():
        raise grid.bad_rows(early, lambda row: f"the time ({name}) {column[row].as_py()} is before 1970", _TIME_HINT)
    return micros


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
