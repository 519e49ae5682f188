"""Times in a form that a person names, and forms that are known though they are no ISO dates."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

UNIT_NAMES = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""What `--time-format` calls a unit of Unix times, and how many of it a second has."""
KNOWN = (
    (re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d{1,2} \d{2}:\d{2}:\d{2} [+-]\d{4} \d{4}"), "%a %b %d %H:%M:%S %z %Y"),
    (re.compile(r"\d{2} \d{1,2}, \d{4}"), "%m %d, %Y"),
    (re.compile(r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d{2}:\d{2} [AP]M"), "%m/%d/%Y %I:%M:%S %p"),
)
"""Forms that leave no doubt: of Ruby (Goodreads, Twitter), of Amazon's `reviewTime`, of American dates with AM and PM (MIND)."""
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def known_format(text: str) -> str | None:
    """The format of a time in one of the known forms."""
    return next((format for pattern, format in KNOWN if pattern.fullmatch(text)), None)


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
