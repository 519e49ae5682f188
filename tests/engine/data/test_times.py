"""Times are right or refused: every unit and type gives the same microseconds, and one impossible value is found."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.data.importing import ImportOptions, import_dataset
from engine.data.readers import read_source
from engine.data.readers.base import Wanted
from engine.errors import DataError

FACTORS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
NAMES = {"ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
AGAIN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
YEAR_9999 = 253_402_214_400
SECONDS = st.lists(st.integers(10**9, 7_258_118_399), min_size=2, max_size=6)
"""From 2001 on, where each unit is told by its magnitude."""


def csv(folder: Path, cells: list[Any]) -> Path:
    path = folder / "x.csv"
    path.write_text("user,item,timestamp\n" + "".join(f"u,i{row},{cell}\n" for row, cell in enumerate(cells)))
    return path


def parquet(folder: Path, column: pa.Array) -> Path:
    path = folder / "x.parquet"
    rows = range(len(column))
    pq.write_table(
        pa.table({"user": ["u" for _ in rows], "item": [f"i{row}" for row in rows], "timestamp": column}), path
    )
    return path


def micros(path: Path, *, time_format: str | None = None) -> list[int]:
    raw, _ = read_source(path, format=None, wanted=Wanted(time_format=time_format))
    assert raw.times is not None
    return raw.times.tolist()


def warnings(path: Path) -> list[str]:
    told = read_source(path, format=None, wanted=Wanted())[0].warnings
    return [warning for warning in told if "lie in the future" not in warning]


def refused(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_source(path, format=None, wanted=Wanted())
    return caught.value


@AGAIN
@given(SECONDS, st.sampled_from(sorted(FACTORS)), st.sampled_from(["text", "int64", "uint64", "float64", "timestamp"]))
def test_every_unit_and_type_gives_the_same_times(tmp_path: Path, seconds: list[int], unit: str, kind: str) -> None:
    values = [second * FACTORS[unit] for second in seconds]
    expected = [second * 1_000_000 for second in seconds]
    if kind == "text":
        path = csv(tmp_path, values)
    elif kind == "timestamp":
        path = parquet(tmp_path, pa.array(values, pa.timestamp(unit)))
    else:
        path = parquet(tmp_path, pa.array(np.array(values).astype(kind)))
    found = micros(path)
    assert np.abs(np.array(found) - expected).max() <= (1 if kind == "float64" else 0)
    told = (
        [f"timestamp: {len(values):,} times are read as {NAMES[unit]}"] if unit != "s" and kind != "timestamp" else []
    )
    assert warnings(path) == told


@AGAIN
@given(
    SECONDS,
    st.sampled_from(sorted(FACTORS)),
    st.sampled_from([-1, -(10**13), -(2**63), -(2**63) + 1, 2**63 - 1, 7, YEAR_9999]),
    st.integers(0, 5),
    st.sampled_from(["text", "int64", "timestamp"]),
)
def test_one_impossible_time_among_good_ones_is_found(
    tmp_path: Path, seconds: list[int], unit: str, bad: int, place: int, kind: str
) -> None:
    values = [second * FACTORS[unit] for second in seconds]
    place = min(place, len(values))
    values.insert(place, bad)
    known = kind == "timestamp" or unit == "s"  # the unit of a small number
    assume(not (bad == 7 and known))
    assume(not (bad == YEAR_9999 and (unit == "ms" or (known and unit != "s"))))  # a good time in that unit
    assume(kind != "timestamp" or (unit != "s" and bad != -(2**63)))  # not in Parquet, and null in this type
    if kind == "timestamp":
        path = parquet(tmp_path, pa.array(np.array(values, np.int64).view(f"datetime64[{unit}]")))
    else:
        path = csv(tmp_path, values) if kind == "text" else parquet(tmp_path, pa.array(values, pa.int64()))
    error = refused(path)
    assert str(error.where) == (f"{path}:{place + 2}" if kind == "text" else f"{path}, row {place + 1}")
    assert "such rows in all" not in error.message


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["1588687728923000000", "-9223372036854775808", "1588687728924000000"], "stands for a missing one"),
        (["2020-01-01", "9999-12-31", "2020-02-01"], "9999-12-31 is after the year 2199"),
        (["1588687728923", "-10000000000000"], "-10000000000000 is before 1970"),
        (["1406073600000", "7", "1406073601000"], "7 is not in milliseconds, as the others are"),
        (["1406073600", "1406073601", "1406073602000"], "1406073602000 is not in seconds, as the others are"),
        (["20140723", "20140724", "20140732"], "20140732 is no date, as the others are"),
        (["20140723", "20140724", "99991231"], "99991231 is no date, as the others are"),
        (["1.58869E+12", "1.58870E+12"], r"are rounded, such as 1.58869E\+12"),
        (["43831.5", "43832.25"], "day numbers of a spreadsheet"),
        (["2014", "1999", "2020"], "look like years, such as 2014"),
        (["2014.0", "2015.0"], "look like years"),
        (["18446744073709551615", "5"], "is not a time|after the year|not in"),
        (["02/25/2014", "02/26/2014"], "'02/25/2014' is not a time"),
        (["2014/13/01", "2014/12/01"], "is not a time"),
    ],
)
def test_what_cannot_be_a_time_is_refused(tmp_path: Path, cells: list[str], words: str) -> None:
    error = refused(csv(tmp_path, cells))
    assert re.search(words, error.message), error.message


def test_years_are_read_where_that_is_said(tmp_path: Path) -> None:
    path = csv(tmp_path, ["2014", "1999"])
    assert micros(path, time_format="%Y") == [1388534400 * 10**6, 915148800 * 10**6]
    assert micros(path, time_format="s") == [2014 * 10**6, 1999 * 10**6]


@pytest.mark.parametrize("zone", ["+0000 UTC", "+0000 GMT", "+00:00 UTC", "-0700 PDT", "+0200 CEST"])
def test_a_zone_that_is_written_twice_is_read_once(tmp_path: Path, zone: str) -> None:
    hours = {"-": 7, "+": -int(zone[1:3])}[zone[0]]
    path = csv(tmp_path, [f"2020-01-02 10:00:00 {zone}", f"2020-01-02 10:00:00.5 {zone}"])
    assert micros(path) == [(1577959200 + hours * 3600) * 10**6, (1577959200 + hours * 3600) * 10**6 + 500_000]


def test_numbers_beyond_the_range_of_their_type_are_refused(tmp_path: Path) -> None:
    assert "after the year 2199" in refused(parquet(tmp_path, pa.array([2**64 - 1] * 2, pa.uint64()))).message
    far = pa.array(np.array([10**15, 5]).view("datetime64[s]"))
    assert "after the year 2199" in refused(parquet(tmp_path, far)).message, "scaled to microseconds it would wrap"
    single = refused(parquet(tmp_path, pa.array([1588687728.0, 1588687729.0], pa.float32())))
    assert "32-bit floats" in single.message
    assert micros(parquet(tmp_path, pa.array([3.0, 16_777_216.0], pa.float32()))) == [3_000_000, 16_777_216_000_000]


CLOCK = st.datetimes(datetime(1974, 1, 2), datetime(2199, 12, 31))


@AGAIN
@given(st.lists(CLOCK, min_size=2, max_size=5), st.sampled_from([8, 10, 12, 14]), st.sampled_from(["text", "float64"]))
def test_numbers_that_are_calendar_dates_are_read_as_dates(
    tmp_path: Path, clocks: list[datetime], digits: int, kind: str
) -> None:
    cells = [f"{clock:%Y%m%d%H%M%S}"[:digits] for clock in clocks]
    path = csv(tmp_path, cells) if kind == "text" else parquet(tmp_path, pa.array([float(cell) for cell in cells]))
    expected = [
        int(datetime.strptime(cell.ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()) * 1_000_000
        for cell in cells
    ]
    assert micros(path) == expected
    assert "are read as dates" in warnings(path)[0]


@AGAIN
@given(st.lists(CLOCK, min_size=1, max_size=5), st.sampled_from("/."), st.booleans())
def test_dates_with_slashes_and_named_zones_are_read(
    tmp_path: Path, clocks: list[datetime], mark: str, seconds: bool
) -> None:
    clocks = [clock.replace(microsecond=0, second=clock.second if seconds else 0) for clock in clocks]
    expected = [int(clock.replace(tzinfo=UTC).timestamp()) * 1_000_000 for clock in clocks]
    tail = "{:02d}" if seconds else ""
    cells = [
        f"{c.year}{mark}{c.month}{mark}{c.day} {c.hour}:{c.minute:02d}"
        + (f":{tail.format(c.second)}" if seconds else "")
        for c in clocks
    ]
    assert micros(csv(tmp_path, cells)) == expected
    assert micros(csv(tmp_path, [f"{clock:%Y-%m-%d %H:%M:%S} UTC" for clock in clocks])) == expected


def test_counters_stay_numbers(tmp_path: Path) -> None:
    for values in (range(5), range(19_700_101, 19_700_301, 7), range(40_000, 40_005)):
        path = csv(tmp_path, list(values))
        assert micros(path) == [value * 1_000_000 for value in values]
        assert warnings(path) == []


# Ties


@AGAIN
@given(st.lists(st.lists(st.integers(0, 2_500), min_size=3, max_size=5), min_size=1, max_size=5), st.booleans())
def test_ties_are_told_by_the_times_that_ordered_the_rows(
    tmp_path_factory: pytest.TempPathFactory, users: list[list[int]], whole: bool
) -> None:
    folder = tmp_path_factory.mktemp("ties")
    step = 1000 if whole else 1
    lines = [
        f"u{user},i{row},{1_600_000_000_000 + step * after}\n"
        for user, afters in enumerate(users)
        for row, after in enumerate(afters)
    ]
    path = folder / "x.csv"
    path.write_text("user,item,timestamp\n" + "".join(lines))
    dataset, _ = import_dataset(path, name="x", options=ImportOptions(k_core=0))
    assert dataset.tied.tolist() == [sorted(afters)[-1] == sorted(afters)[-2] for afters in users]
    expected = [step * after % 1000 * 1000 for afters in users for after in sorted(afters)]
    found = [0] * len(expected) if dataset.microseconds is None else dataset.microseconds.tolist()
    assert found == expected
    assert (dataset.microseconds is None) == (not any(expected)), "whole seconds have the hash that they always had"
    first = dataset.first_users(1)
    assert first.tied.tolist() == dataset.tied[:1].tolist()
    assert (first.microseconds is None) == (not any(expected[: len(users[0])]))


@pytest.mark.parametrize(
    ("header", "cells", "told"),
    [
        ("date,hour", ["2020-01-02,10", "2020-01-03,9"], ["hour"]),
        ("date,Hour-Min", ["2020-01-02,1030", "2020-01-03,900"], ["Hour-Min"]),
        ("date,hour,minute", ["2020-01-02,10,5", "2020-01-03,9,7"], ["hour", "minute"]),
        ("year,month,day", ["2020,1,2", "2020,1,3"], ["year", "month", "day"]),
        ("year,month,day,hour", ["2020,1,2,3", "2020,1,3,4"], ["year", "month", "day", "hour"]),
        ("date,hour", ["2020-01-02 10:00,10", "2020-01-03 09:30,9"], []),
        ("timestamp,hour", ["1577959200,10", "1578042000,9"], []),
        ("year,rating", ["2020,4", "2020,5"], []),
        ("date,price", ["2020-01-02,10", "2020-01-03,9"], []),
    ],
)
def test_columns_with_parts_of_a_time_that_are_not_read_are_told(tmp_path, header, cells, told):
    path = tmp_path / "x.csv"
    path.write_text(f"user,item,{header}\n" + "".join(f"u,i{row},{cell}\n" for row, cell in enumerate(cells)))
    found = [warning for warning in warnings(path) if "join them into one column" in warning]
    assert len(found) == bool(told)
    assert all(name in found[0] for name in told)


@pytest.mark.parametrize("odd", ["0000-00-00", "0000-00-00 00:00:00", "n/a", "soon", "-"])
@pytest.mark.parametrize("place", [0, 3])
def test_a_word_among_unix_times_is_what_is_refused(tmp_path, odd, place):
    cells = ["1400000000", "1400000600", "1400001200", "1400001800", "1400002400"]
    cells[place] = odd
    error = refused(csv(tmp_path, cells))
    assert odd in error.message
    assert str(error.where).endswith(f":{place + 2}")
