"""Columns as times. The unit of numbers is decided for a whole column, and every value is checked before it is scaled.

Times lie between 1970 and 2200. Anything else is an error with its line, also what stands for a missing time elsewhere, such
as the smallest integer of 64 bits or the year 9999: silently scaled, it would become somebody's first or last interaction.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from engine.data.readers.columns import NO_TEXT, as_text, coded
from engine.data.readers.date_texts import DATE, is_stamp, parsed_dates, plain_dates
from engine.data.readers.grid import Grid
from engine.data.readers.time_formats import UNIT_NAMES, as_dates, digits_of, known_format, parsed_times
from engine.data.readers.time_parts import unread_parts
from engine.data.scratch import slices
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
_DAY = 86_400 * SECOND
NO_TIME = -(2**63)
"""What pandas writes for a missing time."""
EXACT = 2**24
"""Above which 32-bit floats skip whole numbers."""
ROUNDED_DIGITS, ROUNDED_EXPONENT = 7, 9
"""A column of times from 1e9 on, all of so few digits, was rounded by the program that wrote it."""
DAY_NUMBERS = (25_569, 73_051)
"""1970 and 2100 as a spreadsheet counts days."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_POWER = r"^(\d+\.?\d*)[eE]\+?0*(\d+)$"
_LIKELY_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.](\d{2}|\d{4})( .*)?")
_LIKELY = re.compile(
    r"\d{9,10}(\.\d+)?|\d{12,13}|\d{15,16}|\d{18,19}|(19[7-9]|20[0-4])\d(0[1-9]|1[0-2])([0-2]\d|3[01])(\d{4}|\d{6})?"
)
UNIX_FROM = 1e8
"""1973, in seconds: where most times are later, an earlier one stands for a missing one."""
BEGUN = 1000
"""Cells among which a known form is looked for."""
SAMPLE = 100
"""Cells that tell whether a column looks like times."""
_HINT = (
    "Times are Unix seconds or milliseconds, or dates such as 2014-07-23 or 2014-07-23T10:15:00Z, from 1970 to 2200; "
    '--time-format "%d/%m/%Y" names another form.'
)


def flagged(values: NDArray[Any], test: Callable[[NDArray[Any]], NDArray[np.bool_]]) -> NDArray[np.bool_] | None:
    """(N,) which values a test finds, part by part; none where it finds none."""
    mask: NDArray[np.bool_] | None = None
    for rows in slices(len(values), values):
        found = test(values[rows])
        if found.any():
            mask = np.zeros(len(values), bool) if mask is None else mask
            mask[rows] = found
    return mask


@dataclass(frozen=True)
class _Times:
    """The cells of a column of times, as they are parsed."""

    grid: Grid
    name: str
    change: Callable[[pa.ChunkedArray], pa.ChunkedArray]
    """Makes what is parsed, and shown where it is wrong, of a part of the column."""
    look: Callable[[Any], Any] = lambda value: value
    """How a value is shown."""

    def parts(self) -> Iterator[pa.ChunkedArray]:
        return map(self.change, self.grid.parts(self.name))

    def shown(self, row: int) -> Any:
        """A cell, for a message."""
        return self.look(self.change(self.grid.cell(self.name, row))[0].as_py())

    def gathered(self, values: Callable[[pa.ChunkedArray], NDArray[Any]], dtype: Any) -> NDArray[Any]:
        """(N,) what a function makes of each part."""
        return self.grid.work.gathered(map(values, self.parts()), dtype)

    def mask(self, test: Callable[[pa.ChunkedArray], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """(N,) which cells a test finds."""
        return np.concatenate([test(part) for part in self.parts()])

    def mask_by_value(self, test: Callable[[str], bool]) -> NDArray[np.bool_]:
        """`mask` by a test of texts."""

        def found(part: pa.ChunkedArray) -> NDArray[np.bool_]:
            distinct = coded(part)
            return np.array([test(value) for value in distinct.values], bool)[distinct.codes]

        return self.mask(found)

    def refused(self, bad: NDArray[np.bool_], hint: str = _HINT) -> DataError:
        """The error about cells that are no times."""

        def problem(row: int) -> str:
            value: Any = self.shown(row)
            value = value.removeprefix(NO_TEXT) if isinstance(value, str) else value
            if value in ("", None):
                return f"the time ({self.name}) is empty"
            return f"the time ({self.name}) {value!r} is not a time"

        return self.grid.bad_rows(bad, problem, hint)


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
    times, warnings = _times_of(grid, name, format)
    now = time.time() * SECOND
    if times is not None and (late := flagged(times, lambda part: part > now)) is not None:
        first = int(late.argmax())
        day = np.datetime64(int(times[first]), "us").astype("datetime64[D]")
        told = f"{late.sum():,} times ({name}) lie in the future, the first on {day} ({grid.where(first)})"
        warnings = [*warnings, told]
    days = times is not None and flagged(times, lambda part: part % _DAY != 0) is None
    return times, [*warnings, *unread_parts(grid.names, name, days=days)]


def _times_of(grid: Grid, name: str | None, format: str | None) -> tuple[NDArray[np.int64] | None, list[str]]:
    if name is None:
        if format is not None:
            raise DataError(
                f"there is no column of times; {grid.listing}", where="--time-format", hint="Name it: --time-column."
            )
        return None, ["there is no column of times, so the order of the rows is taken as the order in time"]
    kind = grid.begin(name, 1).type
    cells = _Times(grid, name, lambda part: part)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        cells = _Times(grid, name, lambda part: part.cast(part.type.value_type))
    if format is not None and format not in UNIT_NAMES:
        return _formatted(_Times(grid, name, as_text), format), []
    per_second = UNIT_NAMES.get(format or "")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        missing = cells.mask(lambda part: np.asarray(pc.is_null(part)))
        if missing.any():
            raise cells.refused(missing)
        return _stamps(cells, kind), []
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(cells, kind, lambda part: part, per_second)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        return _texts(_Times(grid, name, as_text), per_second)
    raise DataError(f"the column {name!r} holds {kind}, not times", where=grid.head, hint=_HINT)


def looks_like_times(column: pa.ChunkedArray, *, numbers: bool = True) -> bool:
    """Whether the first filled cells of a column are all dates or, if `numbers` may be some, Unix times since 1973."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return True
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_string(kind)):
        return False
    cells = [cell for cell in as_text(column.slice(0, SAMPLE)).to_pylist() if cell]
    return bool(cells) and all(
        _LIKELY_DATE.fullmatch(cell) or known_format([cell]) or (numbers and _LIKELY.fullmatch(cell)) for cell in cells
    )


def _stamps(cells: _Times, kind: Any) -> NDArray[np.int64]:
    """Dates and timestamps of any unit, none of them missing."""
    days = pa.types.is_date(kind)

    def whole(part: pa.ChunkedArray) -> pa.ChunkedArray:
        part = pc.cast(part, pa.timestamp("s")) if days else part  # days of 32 bits, and milliseconds, fit
        return pc.cast(part, pa.int64())

    numbers = _Times(cells.grid, cells.name, lambda part: whole(cells.change(part)))
    values = numbers.gathered(lambda part: np.asarray(part, np.int64), np.int64)
    unit = "s" if days else kind.unit
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
    dates = replace(numbers, look=lambda value: np.datetime64(value, unit))
    return _refuse_unlike(dates, _scaled(dates, values, per_second), SECOND)


def _formatted(cells: _Times, format: str) -> NDArray[np.int64]:
    """Texts in a form such as %d/%m/%Y."""
    wrong: list[NDArray[np.bool_]] = []

    def parsed(part: pa.ChunkedArray) -> NDArray[np.int64]:
        distinct = coded(part)
        times, bad = parsed_times(distinct.values, format)
        wrong.append(bad[distinct.codes])
        return times[distinct.codes]

    values = cells.gathered(parsed, np.int64)
    bad = np.concatenate(wrong)
    if bad.any():
        raise cells.refused(bad, f"The format is {format!r}.")
    return _scaled(cells, values, SECOND)


def _texts(cells: _Times, per_second: int | None) -> tuple[NDArray[np.int64], list[str]]:
    for kind in (pa.int64(), pa.float64()):
        try:
            for part in cells.parts():
                pc.cast(part, kind)
        except pa.ArrowInvalid:
            continue
        _refuse_rounded(cells)
        return _numbers(cells, kind, lambda part, kind=kind: pc.cast(part, kind), per_second)
    begun = [] if per_second else coded(as_text(cells.grid.begin(cells.name, BEGUN))).values
    known = known_format(begun)
    if known is not None:
        return _refuse_unlike(cells, _formatted(cells, known), SECOND), []
    return _dates(_Times(cells.grid, cells.name, lambda part: plain_dates(cells.change(part))), per_second), []


def _dates(cells: _Times, per_second: int | None) -> NDArray[np.int64]:
    """Texts such as 2014-07-23T10:15:00Z."""
    dated = cells.mask(lambda part: np.asarray(pc.match_substring_regex(part, DATE)))
    if per_second or not dated.all():
        words = cells.mask_by_value(lambda value: _NUMBER.fullmatch(value) is None)
        raise cells.refused(words if per_second or 2 * int(words.sum()) < len(words) or not dated.any() else ~dated)
    try:
        values = cells.gathered(parsed_dates, np.int64)
    except pa.ArrowInvalid:
        raise cells.refused(cells.mask_by_value(lambda value: not is_stamp(value))) from None
    return _refuse_unlike(cells, _scaled(cells, values, SECOND), SECOND)


def _refuse_rounded(cells: _Times) -> None:
    """Refuse times such as 1.58869E+12, all of them with few digits: a spreadsheet has cut the others off."""
    digits, lowest, different = 0, ROUNDED_EXPONENT, set[str]()
    for part in cells.parts():
        for value in coded(part).values:
            match = re.match(_POWER, value)
            if match is None:
                return
            digits = max(digits, len(match[1].replace(".", "").strip("0")))
            lowest = min(lowest, int(match[2]))
            different.add(value)
    if len(different) > 1 and digits <= ROUNDED_DIGITS and lowest >= ROUNDED_EXPONENT:
        raise DataError(
            f"the times ({cells.name}) are rounded, such as {cells.shown(0)}: their order is lost",
            where=cells.grid.where(0),
            hint="Write the times as whole numbers or dates; a spreadsheet does so in cells of the format Number.",
        )


def _numbers(
    cells: _Times, kind: Any, number: Callable[[pa.ChunkedArray], pa.ChunkedArray], per_second: int | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Numbers in seconds or finer units, or calendar dates, as microseconds.

    Args:
        kind: type of what `number` makes of the cells.
    """
    whole = pa.types.is_signed_integer(kind) or (pa.types.is_integer(kind) and kind.bit_width < 64)
    wide = pa.types.is_unsigned_integer(kind) and not whole
    to, dtype = (pa.uint64(), np.uint64) if wide else (pa.int64(), np.int64) if whole else (pa.float64(), np.float64)
    missing = cells.mask(lambda part: _missing(number(part)))
    if missing.any():
        raise cells.refused(missing)
    values = cells.gathered(lambda part: np.asarray(pc.cast(number(part), to, safe=False), dtype), dtype)
    narrow = pa.types.is_floating(kind) and kind.bit_width < 64
    if narrow and flagged(values, lambda part: np.abs(part) > EXACT) is not None:
        raise DataError(
            f"the column {cells.name!r} holds 32-bit floats, which cannot hold times to the second: their order is lost",
            where=cells.grid.head,
            hint="Save the times as integers or as 64-bit floats.",
        )
    _refuse_early(cells, values)
    if per_second is not None:
        return _scaled(cells, values, per_second), []
    return _in_micros(cells, values)


def _missing(part: pa.ChunkedArray) -> NDArray[np.bool_]:
    missing = np.asarray(pc.is_null(part))
    if pa.types.is_floating(part.type):
        missing = missing | ~np.isfinite(np.asarray(pc.fill_null(part, 0)))
    return missing


def _in_micros(cells: _Times, values: NDArray[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """Numbers that are not negative, in one unit or as calendar dates."""
    name = cells.name
    dates = _calendar(cells, values)
    if dates is not None:
        return dates, [f"{name}: {len(values):,} times are read as dates, such as {cells.shown(0)}"]
    low, high = DAY_NUMBERS
    within = flagged(values, lambda part: (part <= low) | (part >= high)) is None
    if within and flagged(values, lambda part: part % 1 != 0) is not None:
        raise DataError(
            f"the times ({name}) look like the day numbers of a spreadsheet, such as {cells.shown(0)}",
            where=cells.grid.where(0),
            hint=_HINT,
        )
    if len(values) and flagged(values, lambda part: (part < 1970) | (part > 2199) | (part % 1 != 0)) is None:
        raise DataError(
            f"the times ({name}) look like years, such as {cells.shown(0)}",
            where=cells.grid.where(0),
            hint="--time-format %Y reads them as years, --time-format s as seconds since 1970.",
        )
    limits = [limit for _, limit in UNITS[:-1]]
    possible = LATEST // SECOND * PER_SECOND[-1]  # beyond it a number is a time in no unit, and has no say
    counts, all_counts = np.zeros(len(UNITS), np.int64), np.zeros(len(UNITS), np.int64)
    for rows in slices(len(values), values):
        part = values[rows]
        magnitude = np.digitize(part, limits, right=True)
        counts += np.bincount(magnitude[part < possible], minlength=len(UNITS))
        all_counts += np.bincount(magnitude, minlength=len(UNITS))
    unit = int((counts if counts.any() else all_counts).argmax())
    others = None
    if np.count_nonzero(counts) > 1:
        others = flagged(values, lambda part: (np.digitize(part, limits, right=True) != unit) & (part < possible))
    if others is not None:
        raise cells.grid.bad_rows(
            others,
            lambda row: f"the time ({name}) {cells.shown(row)} is not in {UNITS[unit][0]}, as the others are",
            _HINT,
        )
    micros = _scaled(cells, _refuse_unlike(cells, values, PER_SECOND[unit]), PER_SECOND[unit])
    told = [f"{name}: {len(values):,} times are read as {UNITS[unit][0]}"] if unit else []
    return micros, told


def _refuse_unlike(cells: _Times, values: NDArray[Any], per_second: int) -> NDArray[Any]:
    """The same values, unless some are before 1973 where most are Unix times: 0 and 1970-01-01 stand for a missing time.

    Raises:
        DataError: some are.
    """
    early = flagged(values, lambda part: part < UNIX_FROM * per_second)
    if early is not None and 2 * early.sum() < len(values):
        raise cells.grid.bad_rows(
            early,
            lambda row: (
                f"the time ({cells.name}) {cells.shown(row)} is before 1973, and most are later: it stands for none"
            ),
            _HINT,
        )
    return values


def _scaled(cells: _Times, values: NDArray[Any], per_second: int) -> NDArray[np.int64]:
    """Values of a unit as microseconds, after their sign and range are checked in that unit.

    Raises:
        DataError: a value is before 1970 or after 2199.
    """
    _refuse_early(cells, values)
    late = flagged(values, lambda part: part >= LATEST // SECOND * per_second)
    if late is not None:
        raise cells.grid.bad_rows(
            late, lambda row: f"the time ({cells.name}) {cells.shown(row)} is after the year 2199", _HINT
        )

    def scaled(part: NDArray[Any]) -> NDArray[np.int64]:
        if per_second > SECOND:
            return (part // (per_second // SECOND)).astype(np.int64)
        return np.rint(part * (SECOND // per_second)).astype(np.int64)

    return cells.grid.work.gathered((scaled(values[rows]) for rows in slices(len(values), values)), np.int64)


def _refuse_early(cells: _Times, values: NDArray[Any]) -> None:
    def problem(row: int) -> str:
        if values[row] == NO_TIME:
            return f"the time ({cells.name}) {NO_TIME} stands for a missing one"
        return f"the time ({cells.name}) {cells.shown(row)} is before 1970"

    early = flagged(values, lambda part: part < 0)
    if early is not None:
        raise cells.grid.bad_rows(early, problem, _HINT)


def _calendar(cells: _Times, values: NDArray[Any]) -> NDArray[np.int64] | None:
    """Numbers such as 20140723, 201407231015 or 20140723101500 as microseconds; none where they are no dates.

    As Unix times these would all lie within a few weeks of 1970 or 1976, or after 2032.

    Raises:
        DataError: most are dates, and some are not.
    """
    if not len(values) or flagged(values, lambda part: (part % 1 != 0) | (part >= 1e15)) is not None:
        return None
    counts = np.zeros(20, np.int64)
    for rows in slices(len(values), values):
        counts += np.bincount(digits_of(values[rows]), minlength=20)
    count = int(counts.argmax())
    if count not in (8, 10, 12, 14):
        return None
    invalid = flagged(values, lambda part: ~as_dates(part, count)[0])
    if invalid is not None and 2 * int((~invalid).sum()) <= len(values):
        return None
    if invalid is not None:
        raise cells.grid.bad_rows(
            invalid, lambda row: f"the time ({cells.name}) {cells.shown(row)} is no date, as the others are", _HINT
        )
    parts = (as_dates(values[rows], count)[1] for rows in slices(len(values), values))
    return cells.grid.work.gathered(parts, np.int64)
