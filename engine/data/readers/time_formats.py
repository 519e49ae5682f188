"""Times in a form that a person names, and forms that are known though they are no ISO dates."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNIT_NAMES = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""What `--time-format` calls a unit of Unix times, and how many of it a second has."""
KNOWN = (
    (re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d{1,2} \d{2}:\d{2}:\d{2} [+-]\d{4} \d{4}"), "%a %b %d %H:%M:%S %z %Y"),
    (re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} +\d{1,2} \d{2}:\d{2}:\d{2} \d{4}"), "%a %b %d %H:%M:%S %Y"),
    (re.compile(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} [+-]\d{4}"), "%a, %d %b %Y %H:%M:%S %z"),
    (re.compile(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} (GMT|UTC)"), "%a, %d %b %Y %H:%M:%S %Z"),
    (re.compile(r"[A-Z][a-z]{3,8} \d{1,2}, \d{4}"), "%B %d, %Y"),
    (re.compile(r"[A-Z][a-z]{2} \d{1,2}, \d{4}"), "%b %d, %Y"),
    (re.compile(r"\d{1,2} [A-Z][a-z]{3,8} \d{4}"), "%d %B %Y"),
    (re.compile(r"\d{1,2} [A-Z][a-z]{2} \d{4}"), "%d %b %Y"),
    (re.compile(r"\d{1,2}-[A-Z][a-z]{2}-\d{4}"), "%d-%b-%Y"),
    (re.compile(r"\d{8}T\d{6}Z"), "%Y%m%dT%H%M%SZ"),
    (re.compile(r"\d{4}-\d{2}-\d{2} \d{1,2}:\d{2}:\d{2} [AP]M"), "%Y-%m-%d %I:%M:%S %p"),
    (re.compile(r"\d{4}-\d{2}-\d{2} \d{1,2}:\d{2} [AP]M"), "%Y-%m-%d %I:%M %p"),
    (re.compile(r"\d{2} \d{1,2}, \d{4}"), "%m %d, %Y"),
    (re.compile(r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d{2}:\d{2} [AP]M"), "%m/%d/%Y %I:%M:%S %p"),
)
"""Forms that leave no doubt: of Ruby (Goodreads, Twitter), C, mail, names of months, Amazon's `reviewTime`, AM and PM (MIND)."""
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def known_format(texts: list[str]) -> str | None:
    """The format of times of which one has a known form; the first of the forms that one has."""
    return next((format for pattern, format in KNOWN if any(map(pattern.fullmatch, texts))), None)


def format_problem(format: str) -> str | None:
    """Why something is no format of times; none for a good one."""
    if format in UNIT_NAMES:
        return None
    if "%" not in format:
        return f"must be {', '.join(UNIT_NAMES)} or a form such as %d/%m/%Y %H:%M, not {format!r}"
    example = datetime(2001, 11, 22, 3, 4, 5, tzinfo=UTC)
    try:
        parsed = datetime.strptime(example.strftime(format), format)
    except ValueError as error:
        return f"{format!r} is no form of times: {error}"
    return None if parsed.year == example.year else f"{format!r} has no year"


def parsed_times(values: list[str], format: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Distinct texts as microseconds since 1970, without a zone in UTC, and which of them are not in the format."""
    times, bad = np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    for place, value in enumerate(values):
        try:
            moment = datetime.strptime(value, format)
        except ValueError:
            bad[place] = True
            continue
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _FIRST
        times[place] = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return times, bad


def digits_of(values: NDArray[Any]) -> NDArray[np.int64]:
    """How many digits numbers have."""
    return np.floor(np.log10(np.maximum(values.astype(np.int64), 1))).astype(np.int64) + 1


def as_dates(values: NDArray[Any], count: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which numbers are dates of so many digits, and their microseconds."""
    whole = values.astype(np.int64)
    padded = whole * 10 ** (14 - count)
    clock = [padded // 10**power % 100 for power in (8, 6, 4, 2, 0)]
    year, (month, day, hour, minute, second) = padded // 10**10, clock
    valid = (digits_of(values) == count) & (year >= 1970) & (year < 2200) & (month >= 1) & (month <= 12) & (day >= 1)
    valid &= (hour < 24) & (minute < 60) & (second < 60)
    months = ((np.where(valid, year, 1970) - 1970) * 12 + np.where(valid, month, 1) - 1).astype("datetime64[M]")
    valid &= day <= ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
    days = months.astype("datetime64[D]").astype(np.int64) + day - 1
    return valid, (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000
