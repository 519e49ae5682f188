"""Charts of characters: nothing is lost, nothing sticks out."""

from __future__ import annotations

import itertools

import pytest

from sracl_tui.services.text_charts import bars, buckets, columns, period


def spread(counts: dict) -> list[dict]:
    return [{"value": value, "count": count} for value, count in counts.items()]


@pytest.mark.parametrize("bins", [1, 2, 5, 12])
@pytest.mark.parametrize(
    "counts", [{3: 4}, {1: 5, 2: 1}, {5: 9, 6: 7, 80: 1}, {n: n for n in range(1, 300)}, {0: 1, 10**9: 1}]
)
def test_buckets_hold_all_and_follow_each_other(bins, counts):
    found = buckets(spread(counts), bins)
    assert len(found) <= bins
    assert sum(count for _, _, count in found) == sum(counts.values())
    assert (found[0][0], found[-1][1]) == (min(counts), max(counts))
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(found))


def test_bars_fill_their_width_and_the_smallest_shows():
    lines = bars(spread({1: 100_000, 5: 1, 50: 100_000}), bins=4, width=40)
    assert [line.label.strip() for line in lines] == ["1-2", "3-8", "9-26", "27-50"]
    assert len(lines[0].label + lines[0].count + lines[0].bar) == 37  # and blanks between
    assert lines[1].bar == "▏"
    assert lines[2].bar == ""
    assert [line.label for line in bars(spread({4: 1, 7: 1}), bins=4)] == ["4", "5", "6", "7"]
    assert bars([], width=40) == []


def test_columns_by_month_with_the_empty_ones():
    chart = columns(spread({"2020-11": 8, "2021-02": 4}), "month", width=30, height=5)
    assert chart is not None
    assert (chart.each, len(chart.lines), len(chart.scale)) == (1, 4, 4)
    assert [line.rstrip() for line in chart.lines] == [
        "█████",
        "█████",
        "█████             █████",
        "█████             █████",
    ]
    assert chart.below.split() == ["2020-11", "2021-01"]


@pytest.mark.parametrize("width", [12, 23, 36, 74, 180])
@pytest.mark.parametrize("months", [1, 15, 146, 700])
def test_columns_stay_in_their_place(width, months):
    times = spread({f"{1990 + n // 12}-{n % 12 + 1:02d}": n + 1 for n in range(4, 4 + months)})
    chart = columns(times, "month", width=width, height=6)
    assert chart is not None
    for scale, line in zip(chart.scale, chart.lines, strict=True):
        assert len(scale) + len(line) <= width
    assert len(chart.below) <= width + 5
    assert chart.lines[-1].strip()


def test_columns_by_day_and_where_there_is_no_room():
    times = spread({"2020-02-28": 1, "2020-03-01": 2})
    chart = columns(times, "day", width=40, height=4)
    assert chart is not None
    assert chart.lines[-1].count("█") > 10
    assert columns(times, "day", width=6, height=4) is None
    assert columns([], "month", width=40, height=4) is None


@pytest.mark.parametrize(
    ("unit", "each", "told"),
    [
        ("month", 1, "month"),
        ("month", 3, "3 months"),
        ("month", 12, "year"),
        ("month", 24, "2 years"),
        ("day", 7, "week"),
    ],
)
def test_a_period_in_words(unit, each, told):
    assert period(unit, each) == told
