"""Dates as text: what is read as one, and its microseconds."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.data.readers.columns import pc

DATE = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?$"
_ISO = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
_SLASHED = (
    r"^(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})"
    r"(?:[ T](?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?)?$"
)
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
_FINER = r"(\.\d{6})\d+"
"""What a time has beyond microseconds."""
_MENDS = (
    (r"( [+-]\d{2}:?\d{2}) [A-Z]{3,4}$", r"\1"),  # the zone twice, as Go writes it
    (r" ?(UTC|GMT)$", "Z"),
    (r"^(\d{4}-\d{2}-\d{2}[ T]\d{2})$", r"\1:00"),  # hours
    (r"(:\d{2}),(\d+)$", r"\1.\2"),
    (r"(:\d{2}(?:\.\d+)?) ?([+-]\d{2})(?::?(\d{2}))?$", r"\1\2:\3"),
    (r"([+-]\d{2}:)$", r"\100"),  # a zone in hours, as PostgreSQL writes it
)
"""What is written in place of what in dates, before they are read."""


def plain_dates(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dates as ISO 8601 writes them; other text stays."""
    iso = pc.match_substring_regex(column, _ISO)
    if pc.all(iso).as_py():
        return column
    mended = column
    for pattern, better in _MENDS:
        mended = pc.replace_substring_regex(mended, pattern, better)
    return pc.if_else(iso, column, _dashed(mended))


def parsed_dates(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Microseconds of dates, some of them with a zone; raises pa.ArrowInvalid."""
    column = pc.replace_substring_regex(column, _FINER, r"\1")
    zoned = np.asarray(pc.match_substring_regex(pc.utf8_slice_codeunits(column, 10), _ZONE))
    micros = np.zeros(len(column), np.int64)
    for part, zone in ((zoned, "UTC"), (~zoned, None)):
        stamps = pc.cast(column.filter(pa.array(part)), pa.timestamp("us", tz=zone))
        micros[part] = np.asarray(pc.cast(stamps, pa.int64()), np.int64)
    return micros


def _dashed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dates such as `2020/1/31 9:05` written as 2020-01-31 09:05; other text stays."""
    found = pc.and_not(pc.match_substring_regex(column, _SLASHED), pc.match_substring_regex(column, DATE))
    if not pc.any(found).as_py():
        return column
    parts = pc.extract_regex(column, _SLASHED)
    fields = [pc.struct_field(parts, part) for part in ("year", "month", "day", "hour", "minute", "second")]
    year, month, day, hour, minute, second = (pc.utf8_lpad(pc.fill_null(each, ""), 2, "0") for each in fields)
    days = pc.binary_join_element_wise(year, month, day, "-")
    clock = pc.binary_join_element_wise(hour, minute, second, ":")
    return pc.if_else(found, pc.binary_join_element_wise(days, clock, " "), column)


def is_stamp(value: str) -> bool:
    """Whether `parsed_dates` reads a text."""
    value = re.sub(_FINER, r"\1", value)
    zone = "UTC" if re.search(_ZONE, value[10:]) else None
    try:
        pa.scalar(value).cast(pa.timestamp("us", tz=zone))
    except pa.ArrowInvalid:
        return False
    return True
