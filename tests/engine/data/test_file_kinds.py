"""Kinds of files that researchers have: more of each, and property tests that make others. Right, or refused with what to do."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.dataset import Dataset
from engine.data.importing import ImportOptions, ImportReport, import_dataset
from engine.errors import DataError

AGAIN = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HEADER = "user_id,item_id,timestamp\n"
TABLE = HEADER + "u,a,1400000000\nu,b,1400000060\n"


def put(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def taken(path: Path, **chosen: Any) -> tuple[Dataset, ImportReport]:
    return import_dataset(path, name="x", options=replace(ImportOptions(), **chosen))


def pairs(path: Path, **chosen: Any) -> list[tuple[str, str]]:
    """User and item of each interaction, each user's oldest first."""
    dataset, _ = taken(path, **chosen)
    owners = np.repeat(np.arange(dataset.users), np.diff(dataset.offsets))
    return [
        (dataset.user_raw_ids[o], dataset.items.raw_ids[i - 1]) for o, i in zip(owners, dataset.sequence, strict=True)
    ]


def objects(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def column(name: str, *cells: Any) -> str:
    return f"user_id,item_id,{name}\n" + "".join(f'u,i{place},"{cell}"\n' for place, cell in enumerate(cells))


# Times

SENTINELS = {"seconds": 0, "early": 7_200, "date": "1970-01-01", "stamp": "1970-01-01 00:00:00"}


@pytest.mark.parametrize("kind", SENTINELS)
def test_a_zero_among_unix_times_stands_for_a_missing_one(tmp_path: Path, kind: str) -> None:
    good = (
        [1_400_000_000 + place for place in range(4)]
        if kind in ("seconds", "early")
        else ["2020-01-02", "2020-01-03", "2020-01-04"]
    )
    path = put(tmp_path, "x.csv", column("timestamp", *good[:2], SENTINELS[kind], *good[2:]))
    with pytest.raises(DataError, match="it stands for none") as caught:
        taken(path)
    assert caught.value.where == f"{path}:4"
    assert taken(path, bad_rows="drop")[1].dropped == {"bad rows": 1}


def test_a_zero_among_stamps_and_milliseconds_is_told_too(tmp_path: Path) -> None:
    for values in (
        pa.array([1_400_000_000_000, 0, 1_400_000_000_001], pa.timestamp("ms")),
        pa.array([1_400_000_000_000, 0, 1_400_000_000_001]),
    ):
        table = pa.table({"user_id": ["u"] * 3, "item_id": ["a", "b", "c"], "timestamp": values})
        with pytest.raises(DataError, match=r"stands for none|not in milliseconds"):
            taken(put(tmp_path, "x.parquet", table))


@pytest.mark.parametrize("far", ["2147483647", "4294967295", "4102444800"])
def test_times_in_the_future_are_told(tmp_path: Path, far: str) -> None:
    _, report = taken(put(tmp_path, "x.csv", column("timestamp", 1_400_000_000, far, 1_400_000_001)))
    assert any(
        f"1 times (timestamp) lie in the future, the first on {datetime.fromtimestamp(int(far), UTC):%Y-%m-%d}"
        in warning
        for warning in report.warnings
    )


FORMS = {
    "%Y-%m-%d %H:%M:%S+00": True, "%Y-%m-%d %H:%M:%S +00:00": True, "%Y-%m-%dT%H:%M:%S+0000": True, "%Y-%m-%d %H:%M:%S,000": True,
    "%Y%m%dT%H%M%SZ": True, "%a, %d %b %Y %H:%M:%S GMT": True, "%a, %d %b %Y %H:%M:%S +0000": True, "%a %b %d %H:%M:%S %Y": True,
    "%Y-%m-%d %I:%M:%S %p": True, "%Y-%m-%d %H": False, "%B %d, %Y": False, "%b %d, %Y": False, "%d %B %Y": False, "%d-%b-%Y": False,
}  # fmt: skip
"""Forms that are read without being named, and whether they have the second."""


@AGAIN
@given(st.lists(st.integers(120_000_000, 1_700_000_000), min_size=1, max_size=5), st.sampled_from(sorted(FORMS)))
def test_forms_that_leave_no_doubt_are_read(tmp_path: Path, seconds: list[int], form: str) -> None:
    moments = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second) for second in seconds]
    if not FORMS[form]:
        moments = [moment.replace(minute=0, second=0, hour=moment.hour if "%H" in form else 0) for moment in moments]
    dataset, _ = taken(put(tmp_path, "x.csv", column("timestamp", *(moment.strftime(form) for moment in moments))))
    assert dataset.timestamps is not None
    assert dataset.timestamps.tolist() == sorted(int(moment.timestamp()) for moment in moments)


@AGAIN
@given(st.integers(1, 12), st.integers(13, 28), st.sampled_from("/.-"), st.booleans())
def test_days_before_months_and_months_before_days_are_a_question(
    tmp_path: Path, month: int, day: int, sign: str, first: bool
) -> None:
    cells = [
        sign.join((f"{a:02d}", f"{b:02d}", "2014"))
        for a, b in (((day, month), (1, 2)) if first else ((month, day), (1, 2)))
    ]
    path = put(tmp_path, "x.csv", column("date", *cells))
    with pytest.raises(DataError) as caught:
        taken(path)
    assert "--time-format" in str(caught.value.hint)
    dataset, _ = taken(path, time_format=sign.join(("%d", "%m", "%Y") if first else ("%m", "%d", "%Y")))
    assert dataset.timestamps is not None
    assert int(datetime(2014, month, day, tzinfo=UTC).timestamp()) in dataset.timestamps.tolist()


# Names of columns

UNSEEN = {
    "purchase_date": ("2020-01-02", "2020-01-01"), "played_at": ("Mon Aug 21 19:26:35 -0700 2017", "Mon Aug 21 19:26:34 -0700 2017"),
    "epoch": (1_400_000_001, 1_400_000_000), "server_time": (1_400_000_001_000, 1_400_000_000_000), "order_dt": (20200102, 20200101),
    "InvoiceDate": ("12/1/2010 8:26", "12/1/2010 8:25"), "watched": ("2020-01-02T00:00:00Z", "2020-01-01T00:00:00Z"), "day": ("02.01.2020", "01.01.2020"),
}  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "jsonl", "inter", "parquet"])
@pytest.mark.parametrize("name", UNSEEN)
def test_times_under_another_name_are_a_question_in_every_format(tmp_path: Path, name: str, form: str) -> None:
    rows = [{"user_id": "u", "item_id": f"i{place}", name: cell} for place, cell in enumerate(UNSEEN[name])]
    if form == "csv":
        content: Any = column(name, *UNSEEN[name])
    elif form == "jsonl":
        content = objects(*rows)
    elif form == "parquet":
        content = pa.Table.from_pylist(rows)
    else:
        content = f"user_id:token\titem_id:token\t{name}:float\n" + "".join(
            f"u\ti{place}\t{cell}\n" for place, cell in enumerate(UNSEEN[name])
        )
    with pytest.raises(DataError, match=f"'{name}' looks like them") as caught:
        taken(put(tmp_path, f"x.{form}", content))
    assert f"--time-column {name}" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["release_date", "birth_date", "seq", "order"])
def test_dates_of_items_and_users_and_plain_counts_are_no_question(tmp_path: Path, name: str) -> None:
    of_items, of_users = {"a": "2020-01-02", "b": "2020-01-01"}, {"u": "1990-01-02", "v": "1991-05-05"}
    rows = [
        (user, item, {"release_date": of_items[item], "birth_date": of_users[user]}.get(name, place))
        for place, (user, item) in enumerate(["ua", "ub", "va", "vb"])
    ]
    path = put(
        tmp_path, "x.csv", f"user_id,item_id,{name}\n" + "".join(f"{user},{item},{cell}\n" for user, item, cell in rows)
    )
    assert len(pairs(path)) == 4


@AGAIN
@given(
    st.sampled_from(["user_id", "reviewerID", "visitorid", "customer_id"]), st.sampled_from(["item_id", "movieId", "parent_asin", "product_id"]),
    st.sampled_from(["timestamp", "event_time", "created_at"]), st.sampled_from([str.upper, str.lower, str.title, lambda name: name.replace("_", "-"), lambda name: name.replace("_", " ")]),
)  # fmt: skip
def test_names_are_known_in_every_case_and_with_other_signs(
    tmp_path: Path, user: str, item: str, time: str, change: Any
) -> None:
    names = ",".join(change(name) for name in (user, item, time))
    assert pairs(put(tmp_path, "x.csv", f"{names}\nu,a,1400000060\nu,b,1400000000\n")) == [("u", "b"), ("u", "a")]


@AGAIN
@given(
    st.lists(st.sampled_from(["item_id", "movieId", "product_id", "book_id"]), min_size=2, max_size=3, unique=True),
    st.booleans(),
)
def test_two_candidates_are_a_question(tmp_path: Path, names: list[str], users: bool) -> None:
    names = (
        [
            {"item_id": "user_id", "movieId": "uid", "product_id": "customer_id", "book_id": "reviewerID"}[n]
            for n in names
        ]
        if users
        else names
    )
    rest, flag = ("item_id", "--user-column") if users else ("user_id", "--item-column")
    path = put(tmp_path, "x.csv", f"{rest},{','.join(names)}\nr{',x' * len(names)}\ns{',y' * len(names)}\n")
    with pytest.raises(DataError, match=", ".join(names)) as caught:
        taken(path)
    assert flag in str(caught.value.hint)
    assert len(pairs(path, **{flag[2:].replace("-", "_"): names[0]})) == 2


def test_a_product_wins_over_its_variant_and_an_id_over_a_name(tmp_path: Path) -> None:
    assert pairs(put(tmp_path, "a.csv", "username,user_id,asin,parent_asin\nAnn,7,B1,P1\n")) == [("7", "P1")]
    dataset, _ = taken(
        put(tmp_path, "b.tsv", "customer_id\tproduct_id\tproduct_title\ttitle\n7\tB1\tGel pen\tFive stars\n")
    )
    assert dataset.items.titles == ["Gel pen"]


# Lines that are no lists, rows that are no interactions


@AGAIN
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 5), st.integers(10**9, 2 * 10**9)), min_size=2, max_size=8),
    st.sampled_from([" ", "\t", ",", "::", ";"]), st.sampled_from([(0, 1, 2), (0, 1, 3), (0, 1, 2, 3), (0, 1, 2, 2, 3)]),
)  # fmt: skip
def test_ratings_and_times_never_become_items(
    tmp_path: Path, rows: list[tuple[int, ...]], sign: str, places: tuple[int, ...]
) -> None:
    if len(places) == 3 and places[2] == 2 and len({row[0] for row in rows}) == len(rows):
        rows = [*rows, rows[0]]
    path = put(tmp_path, "x.txt", "".join(sign.join(str(row[place]) for place in places) + "\n" for row in rows))
    with pytest.raises(DataError) as caught:
        taken(path)
    if len(places) == 5:
        return
    assert "--format ratings" in str(caught.value.hint)
    wanted = [row[:2] for row in rows] if 3 not in places else [row[:2] for row in sorted(rows, key=lambda row: row[3])]
    users = dict.fromkeys(str(row[0]) for row in rows)
    found = pairs(path, format="ratings")
    for user in users:
        assert [item for owner, item in found if owner == user] == [
            str(item) for owner, item in wanted if str(owner) == user
        ]


@pytest.mark.parametrize("name", ["x.rating", "u1.base", "x.tsv", "my.dat", "part-0.csv"])
def test_ratings_without_names_are_told_by_their_lines(tmp_path: Path, name: str) -> None:
    sign = "," if name.endswith("csv") else "::" if name.endswith("dat") else "\t"
    lines = "".join(
        sign.join(row) + "\n" for row in (("196", "242", "3", "881250949"), ("186", "302", "3", "891717742"))
    )
    assert pairs(put(tmp_path, name, lines)) == [("196", "242"), ("186", "302")]


HISTORIES = {
    "x.jsonl": objects(
        {"user_id": "1", "item_id": "3", "history": ["1", "2"]}, {"user_id": "2", "item_id": "1", "history": ["3", "2"]}
    ),
    "seq.jsonl": objects(
        {"user_id": "1", "item_id": "3", "item_seq": [1, 2]}, {"user_id": "2", "item_id": "1", "item_seq": [3, 2]}
    ),
    "quoted.csv": 'user_id,history,item_id\n1,"[""a"", ""b""]",c\n2,"[""c"", ""a""]",b\n',
    "prev.csv": "user_id,prev_items,item_id\n1,a b,c\n2,c a,b\n",
    "numpy.csv": "user_id,item_id,hist_iid\n1,c,[1 2 3]\n2,1,[c 3]\n",
    "ids.csv": 'user_id,item_id\n1,"[1, 2, 3]"\n2,"[3, 4]"\n',
    "blanks.csv": "user_id,item_id\n1,1 2 3\n2,3 4\n",
    "x.inter": "user_id:token\titem_id:token_seq\n1\t1 2 3\n2\t3 4\n",
    "x.parquet": pa.table({"user_id": ["1", "2"], "item_id": ["3", "1"], "history": [["1", "2"], ["3", "2"]]}),
    "items.jsonl": objects({"user_id": "1", "item_id": ["3", "4"]}),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_ready_made_histories_are_refused_in_every_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"histories|holds lists|neither text nor a number"):
        taken(put(tmp_path, name, HISTORIES[name]))


@pytest.mark.parametrize(
    "name", ["USER_ID,Item_ID", "userId,itemId", "item_id,user_id", " user_id , item_id ", '"user_id","item_id"']
)
def test_a_line_that_repeats_the_names_is_found_however_it_is_written(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, "x.csv", f"user_id,item_id\nu,a\n{name}\nu,b\n")
    with pytest.raises(DataError, match=r"x\.csv:3.*repeats the names"):
        taken(path)
    assert pairs(path, bad_rows="drop") == [("u", "a"), ("u", "b")]


@pytest.mark.parametrize("lines", ["u1,i1\nu1,i2\n", "u1,i1,2019-01-01\nu1,i2,2019-01-02\n", "u1,i1,5.0\nu1,i2,4.0\n"])
def test_a_first_row_is_not_lost_as_names(tmp_path: Path, lines: str) -> None:
    with pytest.raises(DataError, match="first line looks like a row"):
        taken(put(tmp_path, "x.csv", lines), user_column="u1", item_column="i1")


# Ids


@AGAIN
@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=6, unique=True),
    st.sampled_from(["{}.0", "{}.00", "{}."]),
    st.booleans(),
    st.booleans(),
)
def test_whole_numbers_are_one_id_in_both_files(
    tmp_path: Path, numbers: list[int], form: str, written: bool, lines: bool
) -> None:
    plain, other = [str(number) for number in numbers], [form.format(number) for number in numbers]
    log, texts = (other, plain) if written else (plain, other)
    path = put(tmp_path, "x.csv", HEADER + "".join(f"u,{item},1\n" for item in log))
    if lines:
        items = put(
            tmp_path,
            "items.jsonl",
            objects(*({"item_id": text if written else float(text), "title": f"T{text}"} for text in texts)),
        )
    else:
        items = put(tmp_path, "items.csv", "item_id,title\n" + "".join(f"{text},T{text}\n" for text in texts))
    dataset, _ = taken(path, items=items)
    assert dict(zip(dataset.items.raw_ids, dataset.items.titles, strict=True)) == dict(
        zip(plain, [f"T{text}" for text in texts], strict=True)
    )


def test_numbers_with_exponents_are_whole_or_refused(tmp_path: Path) -> None:
    assert pairs(put(tmp_path, "x.csv", HEADER + "u,1e+05,1\nu,100001,2\n")) == [("u", "100000"), ("u", "100001")]
    with pytest.raises(DataError, match="was rounded"):
        taken(put(tmp_path, "y.csv", HEADER + "u,9.78014E+12,1\nu,9.78015E+12,2\n"))


def test_rows_of_items_without_an_id_are_left_out_where_asked(tmp_path: Path) -> None:
    log = put(tmp_path, "x.csv", HEADER + "u,101,1\nu,102,2\n")
    for name, text in (
        ("items.csv", "item_id,title\n101.0,A\n,B\n102.0,C\n"),
        ("items.jsonl", objects({"item_id": 101, "title": "A"}, {"title": "B"}, {"item_id": 102.0, "title": "C"})),
    ):
        items = put(tmp_path, name, text)
        with pytest.raises(DataError) as caught:
            taken(log, items=items)
        assert "--bad-rows drop" in str(caught.value.hint)
        dataset, report = taken(log, items=items, bad_rows="drop")
        assert dataset.items.titles == ["A", "C"]
        assert any("1 bad rows of" in warning for warning in report.warnings)


# Texts

EMPTY = ("nan", "None", "(null)", "#VALUE!", "\\N", "<b></b>", "&nbsp;", "<i>None</i>", "\u200b", "[]", "undefined")


@AGAIN
@given(st.lists(st.sampled_from(EMPTY), max_size=4), st.sampled_from(["csv", "tsv", "parquet", "jsonl", "item"]))
def test_the_first_title_that_says_something_counts(tmp_path: Path, before: list[str], form: str) -> None:
    titles = [*before, "Pen <b>bold</b> &amp; ink", "later"]
    if form == "jsonl":
        content: Any = objects(*({"item_id": "a", "title": title} for title in titles))
    elif form == "parquet":
        content = pa.table({"item_id": ["a"] * len(titles), "title": titles})
    else:
        sign, names = (
            ("," if form == "csv" else "\t"),
            ("item_id:token", "title:token_seq") if form == "item" else ("item_id", "title"),
        )
        content = "".join(sign.join(cells) + "\n" for cells in (names, *(("a", title) for title in titles)))
    dataset, _ = taken(put(tmp_path, "x.csv", HEADER + "u,a,1\n"), items=put(tmp_path, f"items.{form}", content))
    assert dataset.items.titles == ["Pen bold & ink"]


@AGAIN
@given(
    st.lists(
        st.sampled_from(['5" pen', 'a "b" c', "x, y", "two\nlines", "back\\slash", "plain"]), min_size=1, max_size=5
    ),
    st.booleans(),
)
def test_quotes_inside_cells_are_read_however_they_are_written(
    tmp_path: Path, titles: list[str], slashes: bool
) -> None:
    slashes = slashes and not any("\\" in title for title in titles)
    cells = [title.replace('"', '\\"' if slashes else '""') for title in titles]
    path = put(
        tmp_path,
        "x.csv",
        "user_id,item_id,title\n" + "".join(f'u,i{place},"{cell}"\n' for place, cell in enumerate(cells)),
    )
    assert taken(path)[0].items.titles == [" ".join(title.split()) for title in titles]


def test_bytes_are_text_in_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {"user_id": [b"u"], "item_id": [b"a"], "title": [b"caf\xe9 <b>x</b>"], "timestamp": [b"2020-01-01"]}
    )
    dataset, _ = taken(put(tmp_path, "x.parquet", table))
    assert (dataset.user_raw_ids, dataset.items.raw_ids, dataset.items.titles) == (["u"], ["a"], ["café x"])


def test_names_in_lists_of_objects_are_values(tmp_path: Path) -> None:
    items = put(
        tmp_path, "i.csv", "item_id,title,genres\na,T,\"[{'id': 1, 'name': 'Drama'}, {'id': 2, 'name': 'War'}]\"\n"
    )
    assert taken(put(tmp_path, "x.csv", HEADER + "u,a,1\n"), items=items)[0].items.attributes == [
        {"genres": ["Drama", "War"]}
    ]


# Ratings, events, choices


def test_ratings_and_events_that_nobody_chose_by_are_told_in_json_lines(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "x.jsonl",
        objects(
            *(
                {
                    "user_id": "u",
                    "item_id": f"i{place}",
                    "rating": place,
                    "eventType": str(place),
                    "verified": place > 1,
                }
                for place in (1, 2)
            )
        ),
    )
    warnings = taken(path)[1].warnings
    assert any("rating (1 to 2) is not read" in warning for warning in warnings)
    assert (
        pairs(path, only=("verified=true",))
        == pairs(path, only=("verified=1",))
        == pairs(path, min_rating=2.0)
        == [("u", "i2")]
    )


# Packed files, parts, and what is no table


def archive(**members: Any) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return made.getvalue()


def tape() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as file:
        member = tarfile.TarInfo("x.csv")
        member.size = len(TABLE)
        file.addfile(member, io.BytesIO(TABLE.encode()))
    return made.getvalue()


FOREIGN: dict[str, tuple[bytes, str]] = {
    "x.tar.gz": (tape(), r"archive \(\.tar\)"), "twice.csv.gz": (gzip.compress(gzip.compress(TABLE.encode())), "packed file in a packed"),
    "page.csv": (b"<!DOCTYPE html>\n<html>Sign in</html>", "web page"), "lfs.csv": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4\n", "Git LFS"),
    "old.pkl": (b"\x80\x02]q\x00(K\x01e." + bytes(40), "pickle"), "packed.pkl.gz": (gzip.compress(b"\x80\x04\x95" + bytes(40)), "pickle"),
    "x.orc": (b"ORC" + bytes(40), "ORC"), "x.avro": (b"Obj\x01" + bytes(40), "Avro"), "x.rds": (gzip.compress(b"X\n\0\0\0\x02" + bytes(40)), "data of R"),
    "x.pdf": (b"%PDF-1.4\n1 0 obj", "PDF"), "x.ods": (archive(mimetype="x", **{"content.xml": "x"}), "spreadsheet"), "wide.csv": (TABLE.encode("utf-16-le"), "NUL"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_table_is_told_with_what_to_do(tmp_path: Path, name: str) -> None:
    content, words = FOREIGN[name]
    with pytest.raises(DataError, match=words) as caught:
        taken(put(tmp_path, name, content))
    assert caught.value.hint


def test_an_archive_of_one_table_and_what_stands_beside_it_is_read(tmp_path: Path) -> None:
    content = archive(**{"ml/log.csv": TABLE, "ml/README.txt": "x", "__MACOSX/._log.csv": "x", ".DS_Store": "x"})
    assert pairs(put(tmp_path, "x.zip", content)) == [("u", "a"), ("u", "b")]


@pytest.mark.parametrize(
    "names",
    [
        ("part-00000", "part-00001"),
        ("part.0.csv", "part.1.csv"),
        ("part-0.csv.gz", "part-1.csv.gz"),
        ("part-0.json", "part-1.json"),
    ],
)
def test_parts_of_every_name_are_one_table(tmp_path: Path, names: tuple[str, str]) -> None:
    for name, item in zip(names, "ab", strict=True):
        text = (
            objects({"user_id": "u", "item_id": item, "timestamp": 1})
            if name.endswith("json")
            else HEADER + f"u,{item},1\n"
        )
        put(tmp_path, name, gzip.compress(text.encode()) if name.endswith("gz") else text)
    assert pairs(tmp_path) == [("u", "a"), ("u", "b")]


@pytest.mark.parametrize(
    "names", [("x.train.inter", "x.test.inter"), ("train-00000-of-00001.csv", "test-00000-of-00001.csv")]
)
def test_a_set_that_was_split_is_not_taken_for_parts(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        put(
            tmp_path,
            name,
            "user_id:token\titem_id:token\nu\ta\n" if name.endswith("inter") else "user_id,item_id\nu,a\n",
        )
    with pytest.raises(DataError) as caught:
        taken(tmp_path)
    assert "split" in str(caught.value.hint)
