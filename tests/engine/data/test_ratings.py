"""Bare lines of ratings are never taken for lists of items, and are read where their format is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.readers import read_source
from engine.data.readers.base import Wanted
from engine.errors import DataError

AGAIN = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
RATED = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 30), st.integers(1, 5)), min_size=5, max_size=12)
"""So few users that some have several lines."""


def write(folder: Path, lines: list[str]) -> Path:
    path = folder / "x.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def rows(path: Path, format: str | None) -> list[tuple[str, str, int | None]]:
    raw, _ = read_source(path, format=format, wanted=Wanted())
    times = [None] * len(raw.users.codes) if raw.times is None else (raw.times // 1_000_000).tolist()
    return [
        (raw.users.values[user], raw.items.values[item], time)
        for user, item, time in zip(raw.users.codes, raw.items.codes, times, strict=True)
    ]


@AGAIN
@given(RATED, st.booleans())
def test_ratings_are_refused_without_a_format_and_read_with_it(tmp_path: Path, rated: list, timed: bool) -> None:
    times = [875_000_000 + 1000 * place if timed else None for place in range(len(rated))]
    lines = [" ".join(map(str, (*cells, time) if timed else cells)) for cells, time in zip(rated, times, strict=True)]
    path = write(tmp_path, lines)
    with pytest.raises(DataError, match=f"look like `user item rating{' time' if timed else ''}`") as caught:
        rows(path, None)
    assert "--format ratings" in str(caught.value.hint)
    expected = [(str(user), str(item), time) for (user, item, _), time in zip(rated, times, strict=True)]
    assert rows(path, "ratings") == expected
    assert len(rows(path, "sequences")) == len(rated) * (3 if timed else 2)


def test_each_user_once_with_a_unix_time_is_a_rating_too(tmp_path: Path) -> None:
    path = write(tmp_path, ["196 242 3 881250949", "186 302 3 891717742", "22 377 1 878887116"])
    with pytest.raises(DataError, match="user item rating time"):
        rows(path, None)
    assert rows(path, "ratings")[0] == ("196", "242", 881250949)


@pytest.mark.parametrize(
    "lines",
    [
        ["1 2", "1 3", "2 4"],
        ["1 5 6", "2 7 8"],
        ["1 2 3", "1 4", "2 5 6 7"],
        ["1 2 3 4", "2 5 6 7"],
        ["1 2 3 4 5", "1 6 7 8 9"],
    ],
)
def test_lists_of_items_stay_lists(tmp_path: Path, lines: list[str]) -> None:
    found = rows(write(tmp_path, lines), None)
    assert found == [(line.split()[0], item, None) for line in lines for item in line.split()[1:]]


@pytest.mark.parametrize("between", [" ", "\t", ",", ";", "::", " , "])
def test_any_usual_mark_stands_between_the_cells(tmp_path: Path, between: str) -> None:
    lines = [between.join(cells) for cells in (("u1", "a-1", "4.5", "1000000000"), ("u2", "b", "3", "1000000001"))]
    assert rows(write(tmp_path, lines), "ratings") == [("u1", "a-1", 1000000000), ("u2", "b", 1000000001)]


def test_other_lines_are_refused_with_their_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not `user item rating`"):
        rows(write(tmp_path, ["user item rating", "1 2 3"]), "ratings")
    with pytest.raises(DataError, match="2 fields where") as caught:
        rows(write(tmp_path, ["1 2 3", "1 4"]), "ratings")
    assert str(caught.value.where).endswith("x.txt:2")
