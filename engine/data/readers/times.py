"""Columns as times. The unit of numbers is decided for a whole column, and every value is checked before it is scaled.

Times lie between 1970 and 2200. Anything else is an error with its line, also what stands for a missing time elsewhere, such
as the smallest integer of 64 bits or the year 9999: silently scaled, it would become somebody's first or last interaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from engine.data.readers.columns import as_text, coded
from engine.data.readers.grid import Grid
from engine.data.readers.time_formats import UNIT_NAMES, known_format, parsed_times
from engine.errors import DataError

pc: Any = pyarrow.compute
"""Typed as Any: its functions are created at import, so a type checker knows few of them."""
SECOND = 1_000_000
"""Microseconds."""
LATEST = 7_258_118_400 * SECOND
"""2200-01-01."""
UNITS = (("seconds", 1e11), ("milliseconds", 1e14), ("microseconds", 1e17), ("nanoseconds", np.inf))
"""Up to which value a time is in a unit: 1e11 s is the year 5138."""
PER_SECOND = (1, 1_000, 1_000_000, 1_000_000_000)
NO_TIME = -(2**63)
"""What pandas writes for a missing time."""
EXACT = 2**24
"""Above which 32-bit floats skip whole numbers."""
ROUNDED_DIGITS, ROUNDED_EXPONENT = 7, 9
"""A column of times from 1e9 on, all of so few digits, was rounded by the program that wrote it."""
DAY_NUMBERS = (25_569, 73_051)
"""1970 and 2100 as a spreadsheet counts days."""
_DATE = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?$"
_SLASHED = (
    r"^(?P<year>\d{4})[/.](?P<month>\d{1,2})[/.](?P<day>\d{1,2})"
    r"(?:[ T](?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?)?$"
)
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_POWER = r"^(\d+\.?\d*)[eE]\+?0*(\d+)$"
_LIKELY = re.compile(r"\d{9,10}(\.\d+)?|\d{12,13}|\d{15,16}|\d{18,19}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?")
BEGUN = 1000
"""Cells among which a known form is looked for."""
SAMPLE = 100
"""Cells that tell whether a column looks like times."""
_HINT = (
    "Times are Unix seconds or milliseconds, or dates such as 2014-07-23 or 2014-07-23T10:15:00Z, from 1970 to 2200."
)


def times_of(grid: Grid, name: str | None, format: str | None = None) -> tuple[NDArray[np.int64] | None, list[str]]:
    """A column of times in microseconds since 1970, none where there is no such column, and warnings.

    Dates without a zone are in UTC. Numbers are in seconds, or all of them in the finer unit that most have; numbers such as
    20140723 are dates where all are.

    Args:
        format: that of `Wanted.time_format`.

    Raises:
        DataError: a time is missing, no number and no date, not finite, outside 1970 to 2200, or of another magnitude than
            the others; or the column was rounded, so that the order of the rows is lost.
    """
    if name is None:
        if format is not None:
            raise DataError(
                f"there is no column of times; {grid.listing}", where="--time-format", hint="Name it: --time-column."
            )
        return None, ["there is no column of times, so the order of the rows is taken as the order in time"]
    column = grid.column(name)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if format is not None and format not in UNIT_NAMES:
        return _formatted(grid, name, as_text(column), format), []
    per_second = UNIT_NAMES.get(format or "")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if column.null_count:
            raise _not_a_time(grid, name, column, np.asarray(pc.is_null(column)))
        return _stamps(grid, name, column), []
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(grid, name, column, cells=column, per_second=per_second)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _texts(grid, name, as_text(column), per_second)
    raise DataError(f"the column {name!r} holds {kind}, not times", where=grid.head, hint=_HINT)


def looks_like_times(column: pa.ChunkedArray) -> bool:
    """Whether the first filled cells of a column are all dates, or numbers in the range of Unix times since 1973."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return True
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_string(kind)):
        return False
    cells = [cell for cell in as_text(column.slice(0, SAMPLE)).to_pylist() if cell]
    return bool(cells) and all(_LIKELY.fullmatch(cell) for cell in cells)


def _stamps(grid: Grid, name: str, column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Dates and timestamps of any unit, none of them missing."""
    kind = column.type
    if pa.types.is_date(kind):
        column = pc.cast(column, pa.timestamp("s"))  # days of 32 bits, and milliseconds, fit
        kind = column.type
    values = np.asarray(pc.cast(column, pa.int64()), np.int64)
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[kind.unit]
    return _scaled(grid, name, values, per_second, lambda row: column[row].cast(pa.int64()).as_py())


def _formatted(grid: Grid, name: str, column: pa.ChunkedArray, format: str) -> NDArray[np.int64]:
    """Texts in a form such as %d/%m/%Y."""
    distinct = coded(column)
    times, bad = parsed_times(distinct.values, format)
    if bad.any():
        raise _not_a_time(grid, name, column, bad[distinct.codes], f"The format is {format!r}.")
    return _scaled(grid, name, times[distinct.codes], SECOND, lambda row: column[row].as_py())


def _texts(
    grid: Grid, name: str, column: pa.ChunkedArray, per_second: int | None
) -> tuple[NDArray[np.int64], list[str]]:
    for kind in (pa.int64(), pa.float64()):
        try:
            numbers = pc.cast(column, kind)
        except pa.ArrowInvalid:
            continue
        _refuse_rounded(grid, name, column)
        return _numbers(grid, name, numbers, cells=column, per_second=per_second)
    begun = [] if per_second else coded(column.slice(0, BEGUN)).values
    known = next((found for cell in begun if (found := known_format(cell)) is not None), None)
    if known is not None:
        return _formatted(grid, name, column, known), []
    column = pc.replace_substring_regex(column, r" ?(UTC|GMT)$", "Z")
    column = _dashed(column)
    dated = np.asarray(pc.match_substring_regex(column, _DATE))
    if per_second or not dated.any():
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
            stamps = pc.cast(chosen, pa.timestamp("us", tz=zone))
        except pa.ArrowInvalid:
            distinct = coded(column)
            wrong = np.array([not _is_stamp(value) for value in distinct.values])
            raise _not_a_time(grid, name, column, wrong[distinct.codes]) from None
        micros[part] = np.asarray(pc.cast(stamps, pa.int64()), np.int64)
    return _scaled(grid, name, micros, SECOND, lambda row: column[row].as_py()), []


def _dashed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dates such as `2020/1/31 9:05` written as 2020-01-31 09:05; other text stays."""
    found = pc.match_substring_regex(column, _SLASHED)
    if not pc.any(found).as_py():
        return column
    parts = pc.extract_regex(column, _SLASHED)
    fields = [pc.struct_field(parts, part) for part in ("year", "month", "day", "hour", "minute", "second")]
    year, month, day, hour, minute, second = (pc.utf8_lpad(pc.fill_null(each, ""), 2, "0") for each in fields)
    days = pc.binary_join_element_wise(year, month, day, "-")
    clock = pc.binary_join_element_wise(hour, minute, second, ":")
    return pc.if_else(found, pc.binary_join_element_wise(days, clock, " "), column)


def _is_stamp(value: str) -> bool:
    zone = "UTC" if re.search(_ZONE, value[10:]) else None
    try:
        pa.scalar(value).cast(pa.timestamp("us", tz=zone))
    except pa.ArrowInvalid:
        return False
    return True


def _not_a_time(grid: Grid, name: str, column: pa.ChunkedArray, bad: NDArray[np.bool_], hint: str = _HINT) -> DataError:
    def problem(row: int) -> str:
        value: Any = column[row].as_py()
        return f"the time ({name}) is empty" if value in ("", None) else f"the time ({name}) {value!r} is not a time"

    return grid.bad_rows(bad, problem, hint)


def _refuse_rounded(grid: Grid, name: str, column: pa.ChunkedArray) -> None:
    """Refuse times such as 1.58869E+12, all of them with few digits: a spreadsheet has cut the others off."""
    parts = [re.match(_POWER, value) for value in coded(column).values]
    if len(parts) < 2 or any(part is None for part in parts):
        return
    found = [(len(part[1].replace(".", "").strip("0")), int(part[2])) for part in parts if part is not None]
    if max(digits for digits, _ in found) <= ROUNDED_DIGITS and min(power for _, power in found) >= ROUNDED_EXPONENT:
        raise DataError(
            f"the times ({name}) are rounded, such as {column[0].as_py()}: their order is lost",
            where=grid.where(0),
            hint="Write the times as whole numbers or dates; a spreadsheet does so in cells of the format Number.",
        )


def _numbers(
    grid: Grid, name: str, column: pa.ChunkedArray, *, cells: pa.ChunkedArray, per_second: int | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Numbers in seconds or finer units, or calendar dates, as microseconds; `cells` as the file has them, for errors."""
    kind, missing = column.type, np.asarray(pc.is_null(column))
    whole = pa.types.is_signed_integer(kind) or (pa.types.is_integer(kind) and kind.bit_width < 64)
    if pa.types.is_unsigned_integer(kind) and not whole:
        values: NDArray[Any] = np.asarray(pc.fill_null(column, 0), np.uint64)
    else:
        values = np.asarray(pc.fill_null(pc.cast(column, pa.int64() if whole else pa.float64(), safe=False), 0))
    missing = missing | ~np.isfinite(values)
    if missing.any():
        raise _not_a_time(grid, name, cells, missing)
    narrow = pa.types.is_floating(kind) and kind.bit_width < 64
    if narrow and (np.abs(values) > EXACT).any():
        raise DataError(
            f"the column {name!r} holds 32-bit floats, which cannot hold times to the second: their order is lost",
            where=grid.head,
            hint="Save the times as integers or as 64-bit floats.",
        )
    _refuse_early(grid, name, values, lambda row: cells[row].as_py())
    if per_second is not None:
        return _scaled(grid, name, values, per_second, lambda row: cells[row].as_py()), []
    return _in_micros(grid, name, values, lambda row: cells[row].as_py())


def _in_micros(
    grid: Grid, name: str, values: NDArray[Any], shown: Callable[[int], Any]
) -> tuple[NDArray[np.int64], list[str]]:
    """Numbers that are not negative, in one unit or as calendar dates."""
    dates = _calendar(grid, name, values, shown)
    if dates is not None:
        return dates, [f"{name}: {len(values):,} times are read as dates, such as {shown(0)}"]
    low, high = DAY_NUMBERS
    if (values > low).all() and (values < high).all() and (values % 1 != 0).any():
        raise DataError(
            f"the times ({name}) look like the day numbers of a spreadsheet, such as {shown(0)}",
            where=grid.where(0),
            hint=_HINT,
        )
    magnitude = np.digitize(values, [limit for _, limit in UNITS[:-1]], right=True)
    possible = values < LATEST // SECOND * PER_SECOND[-1]  # beyond it a number is a time in no unit, and has no say
    unit = int(np.bincount(magnitude[possible] if possible.any() else magnitude, minlength=1).argmax())
    others = (magnitude != unit) & possible
    if others.any():
        raise grid.bad_rows(
            others, lambda row: f"the time ({name}) {shown(row)} is not in {UNITS[unit][0]}, as the others are", _HINT
        )
    micros = _scaled(grid, name, values, PER_SECOND[unit], shown)
    told = [f"{name}: {len(values):,} times are read as {UNITS[unit][0]}"] if unit else []
    return micros, told


def _scaled(
    grid: Grid, name: str, values: NDArray[Any], per_second: int, shown: Callable[[int], Any]
) -> NDArray[np.int64]:
    """Values of a unit as microseconds, after their sign and range are checked in that unit.

    Raises:
        DataError: a value is before 1970 or after 2199.
    """
    _refuse_early(grid, name, values, shown)
    late = values >= LATEST // SECOND * per_second
    if late.any():
        raise grid.bad_rows(late, lambda row: f"the time ({name}) {shown(row)} is after the year 2199", _HINT)
    if per_second > SECOND:
        return (values // (per_second // SECOND)).astype(np.int64)
    return np.rint(values * (SECOND // per_second)).astype(np.int64)


def _refuse_early(grid: Grid, name: str, values: NDArray[Any], shown: Callable[[int], Any]) -> None:
    def problem(row: int) -> str:
        if values[row] == NO_TIME:
            return f"the time ({name}) {NO_TIME} stands for a missing one"
        return f"the time ({name}) {shown(row)} is before 1970"

    early = values < 0
    if early.any():
        raise grid.bad_rows(early, problem, _HINT)


def _calendar(grid: Grid, name: str, values: NDArray[Any], shown: Callable[[int], Any]) -> NDArray[np.int64] | None:
    """Numbers such as 20140723, 201407231015 or 20140723101500 as microseconds; none where they are no dates.

    As Unix times these would all lie within a few weeks of 1970 or 1976, or after 2032.

    Raises:
        DataError: most are dates, and some are not.
    """
    if not len(values) or (values % 1 != 0).any() or values.max() >= 1e15:
        return None
    whole = values.astype(np.int64)
    digits = np.floor(np.log10(np.maximum(whole, 1))).astype(int) + 1
    count = int(np.bincount(digits).argmax())
    if count not in (8, 10, 12, 14):
        return None
    padded = whole * 10 ** (14 - count)
    clock = [padded // 10**power % 100 for power in (8, 6, 4, 2, 0)]
    year, (month, day, hour, minute, second) = padded // 10**10, clock
    valid = (digits == count) & (year >= 1970) & (year < 2200) & (month >= 1) & (month <= 12) & (day >= 1)
    valid &= (hour < 24) & (minute < 60) & (second < 60)
    months = ((np.where(valid, year, 1970) - 1970) * 12 + np.where(valid, month, 1) - 1).astype("datetime64[M]")
    valid &= day <= ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
    if 2 * valid.sum() <= len(valid):
        return None
    if not valid.all():
        raise grid.bad_rows(~valid, lambda row: f"the time ({name}) {shown(row)} is no date, as the others are", _HINT)
    days = months.astype("datetime64[D]").astype(np.int64) + day - 1
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * SECOND
