"""Columns that hold a part of a time each, such as an hour beside a date: they are told, as none of them is read."""

from __future__ import annotations

from engine.data.readers.grid import plain_name

_DAYS = frozenset({"year", "month", "day", "dayofmonth", "yyyy", "mm", "dd"})
_CLOCK = frozenset(
    {
        "hour",
        "hours",
        "hourofday",
        "hourmin",
        "hourminute",
        "hhmm",
        "minute",
        "minutes",
        "timeofday",
        "clock",
        "clocktime",
    }
)
_WAY_OUT = "join them into one column to have them read"


def unread_parts(names: list[str], time: str | None, *, days: bool) -> list[str]:
    """A warning about columns with parts of the times that are not read; empty where there are none.

    Args:
        names: of all columns.
        time: the column of times, if there is one.
        days: whether all times are at midnight.
    """
    names = [name for name in dict.fromkeys(names) if name != time]
    clock = [name for name in names if plain_name(name) in _CLOCK]
    dates = [name for name in names if plain_name(name) in _DAYS]
    if time is None and len(dates) > 1:
        return [f"the columns {', '.join([*dates, *clock])} are not read as times: {_WAY_OUT}"]
    if time is not None and days and clock:
        return [
            f"{time} has days, and {', '.join(clock)} beside it is not read, so the order within a day is lost: {_WAY_OUT}"
        ]
    return []
