"""Rows that are asked for, bad rows that are left out, and times in a named form: in every format what a person would do by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.importing import ImportOptions, import_dataset
from engine.data.readers.selection import BAD, LOW, OTHERS
from engine.errors import DataError

AGAIN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
COLUMNS = ("user_id", "item_id", "rating", "event", "timestamp")
FORMATS = ("csv", "tsv", "jsonl", "parquet", "inter", "bare")
"""`bare`: lines of ratings without names; they have no events."""
BAD_TIMES = ("", "-1", "-9223372036854775808", "soon", "99999999999999999999")
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "eve"]),
        st.sampled_from(["a", "b", "c", "d"]),
        st.integers(1, 5).map(str),
        st.sampled_from(["view", "buy", "cart"]),
        st.integers(1_400_000_000, 1_500_000_000).map(str) | st.sampled_from(BAD_TIMES),
    ),
    min_size=1,
    max_size=12,
)
Row = tuple[str, str, str, str, str]


def write(folder: Path, format: str, rows: list[Row]) -> Path:
    path = folder / f"log.{'txt' if format == 'bare' else format}"
    if format == "parquet":
        pq.write_table(
            pa.table({name: list(cells) for name, cells in zip(COLUMNS, zip(*rows, strict=True), strict=True)}), path
        )
    elif format == "jsonl":
        path.write_text("".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in rows))
    elif format == "bare":
        path.write_text("".join(",".join((*row[:3], row[4])) + "\n" for row in rows))
    else:
        sign = "," if format == "csv" else "\t"
        names = [f"{name}:token" for name in COLUMNS] if format == "inter" else COLUMNS
        path.write_text("".join(sign.join(row) + "\n" for row in (names, *rows)))
    return path


def interactions(path: Path, **options: object) -> tuple[list[tuple[str, str, int]], dict[str, int], list[str]]:
    """User, item and second of each interaction, in order; what was dropped; warnings."""
    format = {"format": "ratings"} if path.suffix == ".txt" else {}
    dataset, report = import_dataset(path, name="x", options=replace(ImportOptions(), **format, **options))  # type: ignore[arg-type]
    assert dataset.timestamps is not None
    found = [
        (dataset.user_raw_ids[user], dataset.items.raw_ids[dataset.sequence[place] - 1], int(dataset.timestamps[place]))
        for user in range(dataset.users)
        for place in range(dataset.offsets[user], dataset.offsets[user + 1])
    ]
    assert report.rows_read == len(found) + sum(report.dropped.get(reason, 0) for reason in (BAD, LOW, OTHERS))
    return found, report.dropped, report.warnings


def by_hand(rows: list[Row]) -> list[tuple[str, str, int]]:
    kept = sorted((row for row in rows if row[4] not in BAD_TIMES), key=lambda row: int(row[4]))
    users = dict.fromkeys(row[0] for row in rows if row[4] not in BAD_TIMES)
    return [(row[0], row[1], int(row[4])) for user in users for row in kept if row[0] == user]


@AGAIN
@given(ROWS, st.sampled_from(FORMATS))
def test_bad_rows_are_left_out_or_refused_in_every_format(tmp_path: Path, rows: list[Row], format: str) -> None:
    path, good = write(tmp_path, format, rows), by_hand(rows)
    bad = len(rows) - len(good)
    if bad:
        with pytest.raises(DataError) as caught:
            interactions(path)
        assert "--bad-rows drop" in str(caught.value.hint)
    if not good:
        with pytest.raises(DataError):
            interactions(path, bad_rows="drop")
        return
    found, dropped, warnings = interactions(path, bad_rows="drop")
    assert found == good
    assert dropped.get(BAD, 0) == bad
    assert any(f"{bad:,} bad rows are left out" in warning for warning in warnings) == bool(bad)


@AGAIN
@given(ROWS, st.sampled_from(FORMATS), st.integers(1, 5), st.sets(st.sampled_from(["view", "buy", "cart"]), max_size=2))
def test_rows_are_chosen_as_by_hand(tmp_path: Path, rows: list[Row], format: str, least: int, events: set[str]) -> None:
    rows = [row for row in rows if row[4] not in BAD_TIMES]
    events = set() if format == "bare" else events
    asked = [row for row in rows if not events or row[3] in events]
    wanted = [row for row in asked if int(row[2]) >= least]
    only = tuple(f"event={event}" for event in sorted(events))
    if not rows:
        return
    path = write(tmp_path, format, rows)
    if not wanted:
        with pytest.raises(DataError, match=r"no row has|no rating"):
            interactions(path, only=only, min_rating=float(least))
        return
    found, dropped, warnings = interactions(path, only=only, min_rating=float(least))
    assert found == by_hand(wanted)
    assert (dropped.get(OTHERS, 0), dropped.get(LOW, 0)) == (len(rows) - len(asked), len(asked) - len(wanted))
    assert not any("rating" in warning for warning in warnings)


FORMS = ("%d/%m/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%a %b %d %H:%M:%S %z %Y", "%Y%m%d%H%M%S", "%d.%m.%y %H:%M:%S.%f")


@AGAIN
@given(
    st.lists(st.integers(0, 1_900_000_000), min_size=1, max_size=6),
    st.sampled_from(FORMS),
    st.sampled_from(["csv", "jsonl"]),
)
def test_times_in_a_named_form_are_those_that_were_written(
    tmp_path: Path, times: list[int], form: str, format: str
) -> None:
    written = [(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time)).strftime(form) for time in times]
    rows = [("u", "i", "1", "view", text) for text in written]
    found, _, _ = interactions(write(tmp_path, format, rows), time_format=form)
    assert [time for _, _, time in found] == sorted(times)


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)])
def test_a_named_unit_is_not_guessed(tmp_path: Path, unit: str, per_second: int) -> None:
    rows = [("u", "i", "1", "view", str(second * per_second)) for second in (20_140_723, 20_140_724)]
    found, _, _ = interactions(write(tmp_path, "csv", rows), time_format=unit)
    assert [time for _, _, time in found] == [20_140_723, 20_140_724]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Mon Aug 21 19:26:35 -0700 2017", datetime(2017, 8, 22, 2, 26, 35, tzinfo=UTC)),
        ("09 13, 2009", datetime(2009, 9, 13, tzinfo=UTC)),
        ("11/15/2019 8:55:22 AM", datetime(2019, 11, 15, 8, 55, 22, tzinfo=UTC)),
    ],
)
def test_forms_of_publishers_are_known(tmp_path: Path, text: str, moment: datetime) -> None:
    rows = [("u", "i", "1", "view", text)]
    assert interactions(write(tmp_path, "jsonl", rows))[0] == [("u", "i", int(moment.timestamp()))]


def test_ratings_and_events_that_nobody_chose_by_are_told(tmp_path: Path) -> None:
    rows = [("u", "a", "1", "view", "1"), ("u", "b", "5", "buy", "2")]
    _, _, warnings = interactions(write(tmp_path, "csv", rows))
    assert any(warning.startswith("rating (1 to 5) is not read") for warning in warnings)
    assert any(warning.startswith("event (view, buy) is not read") for warning in warnings)
    _, _, warnings = interactions(write(tmp_path, "csv", rows), only=("event=buy",), min_rating=4.0)
    assert not any("is not read" in warning for warning in warnings)


def test_lines_with_too_few_cells_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,timestamp\nu,a,1\nu,b\nu,c,x\nu,d,4\n")
    found, dropped, warnings = interactions(path, bad_rows="drop")
    assert found == [("u", "a", 1), ("u", "d", 4)]
    assert dropped == {BAD: 2}
    assert any("x.csv:3: 2 fields" in warning for warning in warnings)
    path.write_text("user_id,item_id,timestamp\nu,a,1\nu,c,3\n,d,4\n")
    with pytest.raises(DataError, match=r"x\.csv:4: the user id"):
        interactions(path, only=("item_id=d",))


def test_lines_that_are_no_json_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    good = json.dumps({"user_id": "u", "item_id": "a", "timestamp": 5})
    path.write_text(f"{good}\n{{broken\n{good}\n")
    found, dropped, _ = interactions(path, bad_rows="drop")
    assert len(found) == 2
    assert dropped == {BAD: 1}


@pytest.mark.parametrize("sign", [";", "|", ":", "tab"])
def test_a_named_delimiter_is_used(tmp_path: Path, sign: str) -> None:
    between = "\t" if sign == "tab" else sign
    path = tmp_path / "x.csv"
    path.write_text(
        "".join(between.join(cells) + "\n" for cells in (("user_id", "item_id", "timestamp"), ("u", "a,b", "1")))
    )
    assert interactions(path, delimiter=sign)[0] == [("u", "a,b", 1)]


def test_atomic_files_take_a_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "x.inter"
    path.write_text("user_id:token item_id:token timestamp:float\n1 2 3\n1 3 4\n")
    assert interactions(path, delimiter=" ")[0] == [("1", "2", 3), ("1", "3", 4)]


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"delimiter": "::"}, "--delimiter"),
        ({"time_format": "soon"}, "--time-format"),
        ({"time_format": "%H:%M"}, "--time-format"),
        ({"only": ("event",)}, "--only"),
        ({"bad_rows": "keep"}, "--bad-rows"),
    ],
)
def test_what_cannot_be_is_refused_with_its_option(tmp_path: Path, options: dict[str, object], flag: str) -> None:
    path = write(tmp_path, "csv", [("u", "a", "1", "view", "1")])
    with pytest.raises(DataError) as caught:
        interactions(path, **options)
    assert caught.value.where == flag


@pytest.mark.parametrize(
    "options", [{"min_rating": 3.0}, {"only": ("event=buy",)}, {"delimiter": ";"}, {"bad_rows": "drop"}]
)
def test_a_format_without_columns_refuses_to_choose_by_them(tmp_path: Path, options: dict[str, object]) -> None:
    path = tmp_path / "x.txt"
    path.write_text("1 5 6 7 8\n2 5 6\n")
    with pytest.raises(DataError, match="the format sequences does not take it"):
        import_dataset(path, name="x", options=replace(ImportOptions(), format="sequences", **options))  # type: ignore[arg-type]


def test_the_options_are_kept_with_the_dataset_where_they_are_given(tmp_path: Path) -> None:
    path = write(tmp_path, "csv", [("u", "a", "1", "view", "1"), ("u", "b", "5", "buy", "2")])
    plain, _ = import_dataset(path, name="x")
    chosen, _ = import_dataset(path, name="x", options=ImportOptions(only=("event=buy",), bad_rows="drop"))
    assert not {"only", "bad_rows", "min_rating", "time_format", "delimiter"} & plain.options.keys()
    assert chosen.options["only"] == ["event=buy"]
    assert chosen.options["bad_rows"] == "drop"
