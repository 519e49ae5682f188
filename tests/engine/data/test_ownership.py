"""Columns of the user, the item and the interaction are told apart; several candidates are a question."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.importing import ImportOptions, import_dataset
from engine.data.readers import read_source
from engine.data.readers.base import Raw, Wanted
from engine.errors import DataError

AGAIN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder: Path, text: str, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def read(path: Path, *, title: str | None = None, time: str | None = None) -> Raw:
    return read_source(path, format=None, wanted=Wanted(title=title, time=time))[0]


def titles(raw: Raw) -> dict[str, str]:
    return {} if raw.catalog is None else dict(zip(raw.catalog.ids, raw.catalog.titles, strict=True))


# Whose a column is


@AGAIN
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=12, max_size=30, unique=True),
    st.sampled_from(["item", "user", "interaction"]),
    st.sampled_from(["title", "name", "product_title"]),
)
def test_a_title_is_taken_where_it_is_the_items(tmp_path: Path, pairs: list, owner: str, name: str) -> None:
    said = {"item": lambda user, item, row: f"Thing {item}", "user": lambda user, item, row: f"Ann {user}"}
    text = said.get(owner, lambda user, item, row: f"Five stars {row}")
    lines = [f"u{user},i{item},{row},{text(user, item, row)}" for row, (user, item) in enumerate(pairs)]
    raw = read(write(tmp_path, f"user_id,item_id,timestamp,{name}\n" + "\n".join(lines)))
    if owner == "item":
        assert titles(raw) == {f"i{item}": f"Thing {item}" for _, item in pairs}
        assert raw.warnings == []
        return
    assert raw.catalog is None
    (warning,) = raw.warnings
    assert warning.startswith(f"the column {name!r} is not taken as text of the items: ")
    assert f"--title-column {name}" in warning
    named = read(tmp_path / "x.csv", title=name)
    assert set(titles(named)) == {f"i{item}" for _, item in pairs}, "somebody who names it gets it"


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("user_id,name,item_id,timestamp\n1,Alice,x,1\n1,Alice,y,2\n2,Bob,x,3\n", {"name"}),
        ("user_id,name,item_id,timestamp\n1,Alice,x,1\n1,Alice,y,2\n2,Bob,z,3\n", {"name"}),  # each item once
        (
            "user_id,item_id,timestamp,title,description\n1,x,1,Love it,For a week\n1,y,2,Meh,broke\n2,x,3,Terrible,no\n",
            {"title", "description"},
        ),
        ("rating,title,text,asin,parent_asin,user_id,timestamp\n5,Five Stars,love,B1,P1,A,1588687728923\n", {"title"}),
        ("user_id,item_id,timestamp,title,category\n1,x,1,Pen,a\n2,x,3,Pen,b\n", {"category"}),
        ("user_id,item_id,timestamp,title\n1,x,1,Pen\n2,x,3,Pen\n2,y,3,Ink\n", set()),
    ],
)
def test_whose_a_column_of_a_published_form_is(tmp_path: Path, text: str, dropped: set[str]) -> None:
    raw = read(write(tmp_path, text))
    told = {warning.split("'")[1] for warning in raw.warnings if "not taken as text" in warning}
    assert told == dropped
    assert (raw.catalog is None) == bool(dropped & {"name", "title"})


def test_the_parent_is_the_product(tmp_path: Path) -> None:
    columns = {
        "asin": ["B1", "B2", "B3"],
        "parent_asin": ["P1", "P1", "P2"],
        "user_id": ["A", "A", "A"],
        "timestamp": [1588687728923, 1588687728924, 1588687728925],
    }
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    for path in (tmp_path / "x.parquet", write(tmp_path, "asin,parent_asin,user_id\nB1,P1,A\nB2,P1,A\nB3,P2,A\n")):
        assert read(path).items.values == ["P1", "P2"]


# Times


@pytest.mark.parametrize("name", ["datetime", "event_time", "created_at", "last_watch_dt", "DateTime", "reviewTime"])
def test_usual_names_of_times_order_the_rows(tmp_path: Path, name: str) -> None:
    raw = read(write(tmp_path, f"user_id,item_id,{name}\n1,a,2021-05-04\n1,b,2021-05-03\n"))
    assert raw.times is not None
    assert np.diff(raw.times).tolist() == [-86_400_000_000]


@pytest.mark.parametrize("names", ["time,date,timestamp", "time_ms,date", "datetime,created_at"])
def test_two_columns_of_times_are_a_question(tmp_path: Path, names: str) -> None:
    count = names.count(",") + 1
    path = write(tmp_path, f"user_id,item_id,{names}\n1,a{',1593898068' * count}\n1,b{',1593898069' * count}\n")
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.message == f"several columns may hold the times: {names.replace(',', ', ')}"
    assert "--time-column" in str(caught.value.hint)
    last = names.split(",")[-1]
    assert read(path, time=last).times is not None
    lines = [f'{{"user_id": 1, "item_id": {item}, "timestamp": 5, "datetime": "2020-01-01"}}\n' for item in range(3)]
    with pytest.raises(DataError, match="timestamp, datetime"):
        read(write(tmp_path, "".join(lines), "x.jsonl"))


@AGAIN
@given(
    st.sampled_from(["visited_at", "my_time", "when_ts", "ORDER_DATE"]),
    st.sampled_from(["interaction", "item"]),
    st.sampled_from(
        ["2021-05-{:02d}", "2021-05-{:02d} 10:00:00", "15938980{:02d}", "15938980{:02d}000", "2021/5/{:d}"]
    ),
)
def test_times_under_an_unusual_name_are_not_overlooked(tmp_path: Path, name: str, owner: str, form: str) -> None:
    rows = [(user, item, 1 + (item if owner == "item" else 3 * user + item)) for user in range(3) for item in range(3)]
    text = "".join(f"{user},{item},{form.format(day)}\n" for user, item, day in rows)
    path = write(tmp_path, f"user_id,item_id,{name}\n{text}")
    if owner == "item":  # a date of release
        assert read(path).times is None
        return
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.hint == f"Name the column of the times: --time-column {name}."
    assert read(path, time=name).times is not None


# Ids


@pytest.mark.parametrize("shape", ["101.0", "101.00", "101."])
def test_a_whole_number_is_one_id_however_it_is_written(tmp_path: Path, shape: str) -> None:
    inter = write(tmp_path, "user_id,item_id,timestamp\nu,101,1\nu,102,2\nu,103,3\n", "inter.csv")
    items = write(tmp_path, "item_id,title\n" + "".join(f"{n}{shape[3:]},T{n}\n" for n in (101, 102, 103)), "items.csv")
    dataset, _ = import_dataset(inter, name="x", options=ImportOptions(items=items, k_core=0))
    assert dataset.items.titles == ["T101", "T102", "T103"]
    mixed = write(tmp_path, "user_id,item_id\nu,101\nv,101.0\nu,7\n")
    assert read(mixed).items.values == ["101", "7"]
    assert read(mixed).items.codes.tolist() == [0, 0, 1]


def test_decimals_are_ids_only_where_they_are_whole(tmp_path: Path) -> None:
    assert read(write(tmp_path, "user_id,item_id\nu,1.5\nu,2.0\n")).items.values == ["1.5", "2.0"]
    assert read(write(tmp_path, "user_id,item_id\nu,v1.0\nu,2.0\n")).items.values == ["v1.0", "2.0"]
    columns = {"user": ["u", "u"], "item": pa.array([1, 2], pa.decimal128(9, 2))}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet").items.values == ["1", "2"]


def test_texts_of_other_items_are_refused(tmp_path: Path) -> None:
    inter = write(tmp_path, "user_id,item_id,timestamp\nu,007,1\nu,008,2\n", "inter.csv")
    items = write(tmp_path, "item_id,title\n7,A\n8,B\n", "items.csv")
    with pytest.raises(DataError, match="none of the 2 items has a row here") as caught:
        import_dataset(inter, name="x", options=ImportOptions(items=items, k_core=0))
    assert caught.value.where == str(items)
    assert "'7'" in str(caught.value.hint)
    assert "'007'" in str(caught.value.hint)


# Rows that are no interactions


@AGAIN
@given(
    st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=6), min_size=2, max_size=5),
    st.sampled_from(
        [("x.inter", "item_id_list:token_seq"), ("x.csv", "history"), ("x.csv", "hist_items"), ("x.tsv", "seq")]
    ),
    st.sampled_from([" ", "|"]),
)
def test_ready_made_histories_are_refused(tmp_path: Path, users: list, form: tuple[str, str], between: str) -> None:
    file, name = form
    mark, typed = ("," if file == "x.csv" else "\t"), ":token" if file == "x.inter" else ""
    rows = [
        (f"u{number}", between.join(map(str, items[:end])), str(items[end]))
        for number, items in enumerate(users)
        for end in range(2, len(items))
    ]
    rows += [("last", "1|2".replace("|", between), str(item)) for item in range(1, 10)]  # each item is a target too
    head = mark.join([f"user_id{typed}", name, f"item_id{typed}"])
    path = write(tmp_path, "\n".join([head, *map(mark.join, rows)]) + "\n", file)
    with pytest.raises(DataError, match="holds ready-made histories") as caught:
        read(path)
    assert repr(name.partition(":")[0]) in caught.value.message


def test_lists_of_words_are_no_histories(tmp_path: Path) -> None:
    text = "user_id,item_id,timestamp,title,tags,item_list\n1,5,1,Pen,red|blue,office\n1,6,2,Ink,black|wet,office\n"
    assert len(read(write(tmp_path, text)).users.codes) == 2


@AGAIN
@given(st.integers(1, 4), st.integers(1, 3), st.sampled_from(["csv", "inter"]))
def test_a_repeated_line_of_names_is_no_user(tmp_path: Path, before: int, count: int, kind: str) -> None:
    mark, typed = ("\t", ":token") if kind == "inter" else (",", "")
    head = mark.join([f"user_id{typed}", f"item_id{typed}"])
    lines = [head, *[f"u1{mark}i{row}" for row in range(before)], *[head] * count, f"u2{mark}i1"]
    with pytest.raises(DataError, match="repeats the names of the columns") as caught:
        read(write(tmp_path, "\n".join(lines) + "\n", f"x.{kind}"))
    assert str(caught.value.where).endswith(f"x.{kind}:{before + 2}")
    assert ("such rows in all" in caught.value.message) == (count > 1)


@pytest.mark.parametrize("kind", ["csv", "inter", "parquet"])
def test_exact_repeats_are_counted_in_every_format(tmp_path: Path, kind: str) -> None:
    columns = {"user_id": ["u"] * 4, "item_id": ["a", "a", "a", "b"], "timestamp": [1, 1, 1, 1]}
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table(columns), path)
    else:
        mark, typed = ("\t", ":token") if kind == "inter" else (",", "")
        head = mark.join(f"{name}{typed}" for name in columns)
        path.write_text("\n".join([head, *[mark.join(map(str, row)) for row in zip(*columns.values(), strict=True)]]))
    (warning,) = [warning for warning in read(path).warnings if "repeat" in warning]
    assert warning.startswith("2 rows of ")
