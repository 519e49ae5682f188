"""Readers: each on a good file, and each broken file with the place and the words of its error."""

from __future__ import annotations

import gzip
import inspect
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.importing import ImportOptions, import_dataset
from engine.data.preview import preview
from engine.data.readers import endings, items_head, read_items, read_source, readers
from engine.data.readers.base import Catalog, Coded, Head, Raw, Reader, Roles, Wanted
from engine.data.readers.catalog import clean
from engine.errors import ConfigError, DataError
from engine.extension_points import READERS
from sracl_tui.services.dataset_import import name_for
from tests.support.installed import install

MICRO = 1_000_000
INTER = "user_id:token\titem_id:token\ttimestamp:float\n7\ta\t100\n7\tb\t200\n9\ta\t150.5\n"
ITEM = "item_id:token\ttitle:token_seq\tbrand_id:token\tcategories:token_seq\na\tRed pen\t3\tOffice, Pens\nb\tPad\t4\tOffice\n"


@pytest.fixture
def make(tmp_path):
    """Writes a file and gives its path."""

    def write(name: str, content: str | bytes) -> Path:
        data = content.encode() if isinstance(content, str) else content
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


def rows_of(raw):
    """(user, item, time in seconds) of every interaction, in the source's order."""
    times = [None] * len(raw.users.codes) if raw.times is None else (raw.times / MICRO).tolist()
    users = [raw.users.values[code] for code in raw.users.codes]
    items = [raw.items.values[code] for code in raw.items.codes]
    return list(zip(users, items, times, strict=True))


def read(path, format=None, **wanted):
    return read_source(path, format=format, wanted=Wanted(**wanted))


def fails(path, where, words, format=None, **wanted):
    with pytest.raises(DataError) as caught:
        read(path, format, **wanted)
    error = caught.value
    assert error.where is not None
    assert str(error.where).endswith(where), error.where
    assert re.search(words, error.message), error.message
    return error


# Good files


def test_registry_names():
    assert list(readers()) == [
        "recbole",
        "movielens",
        "amazon",
        "yelp",
        "csv",
        "tsv",
        "parquet",
        "jsonl",
        "ratings",
        "sequences",
    ]
    assert all(reader.name == name for name, reader in readers().items())


def test_recbole_with_its_items(make):
    make("shop.item", ITEM)
    raw, format = read(make("shop.inter", INTER))
    assert format == "recbole"
    assert rows_of(raw) == [("7", "a", 100), ("7", "b", 200), ("9", "a", 150.5)]
    assert raw.warnings == []
    assert raw.catalog is not None
    assert raw.catalog.titles == ["Red pen", "Pad"]
    assert raw.catalog.attributes == [{"categories": ["Office", "Pens"]}, {"categories": ["Office"]}]


def test_recbole_does_not_quote(make):
    make("shop.item", 'item_id:token\ttitle:token_seq\na\t"Big" 5" pad\nb\t"open\n')
    raw, _ = read(make("shop.inter", INTER))
    assert raw.catalog is not None
    assert raw.catalog.titles == ['"Big" 5" pad', '"open']


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.csv.gz", "ratings.CSV", "ratings.dat"])
@pytest.mark.parametrize("head", ["user_id,item_id,timestamp", "userId,movieId,ts", "UserID,ASIN,Time"])
def test_csv(make, name, head):
    raw, format = read(make(name, f"{head}\r\n7,a,100\r\n\r\n7,b,2e2\r\n  \r\n9,a,150.5\r\n"))
    assert format == "csv"
    assert rows_of(raw) == [("7", "a", 100), ("7", "b", 200), ("9", "a", 150.5)]


def test_csv_with_byte_order_mark_quotes_and_further_columns(make):
    raw, _ = read(make("x.csv", '\ufeffuser,rating,item,"time"\n"7",5,"a, ""b""",100\n\n" 7 ",4,"y",200\n'))
    assert rows_of(raw) == [("7", 'a, "b"', 100), ("7", "y", 200)]


def test_csv_cells_of_several_lines(make):
    raw, _ = read(make("x.csv", 'user,item,time,note\n7,a,1,"two\nlines"\n\n7,b,2,"one ""line"""\n7,c,3,5" wide\n'))
    assert rows_of(raw) == [("7", "a", 1), ("7", "b", 2), ("7", "c", 3)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_no_last_one(make, end):
    assert len(rows_of(read(make("x.csv", end.join(["", "user,item,time", "7,a,1", "", "7,b,2"])))[0])) == 2


def test_tsv(make):
    raw, format = read(make("x.tsv", 'reviewerID\tasin\tunixReviewTime\n7\t"a"\t100\n\t \n9\tb\t2\n'))
    assert (format, rows_of(raw)) == ("tsv", [("7", "a", 100), ("9", "b", 2)])
    assert read(make("x.data", "user\titem\n7\ta\n"))[1] == "tsv"


def test_columns_by_name(make):
    path = make("x.csv", "who,what,when,user_id\n7,a,100,1\n")
    raw, _ = read(path, user="who", item="what", time="when")
    assert rows_of(raw) == [("7", "a", 100)]


def test_without_times_the_order_counts(make):
    raw, _ = read(make("x.csv", "user,item\n7,a\n7,b\n"))
    assert raw.times is None
    assert len(raw.warnings) == 1
    assert "order of the rows" in raw.warnings[0]


def test_parquet(make, tmp_path):
    table = pa.table(
        {
            "user_id": pa.array([7, 7, 9]),
            "item_id": pa.array(["a", "b", "a"]).dictionary_encode(),
            "timestamp": pa.array([1_000, 2_000, 1_500], pa.timestamp("s")),
            "other": pa.array([[1], [2], None]),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    raw, format = read(tmp_path / "x.parquet")
    assert (format, rows_of(raw)) == ("parquet", [("7", "a", 1000), ("7", "b", 2000), ("9", "a", 1500)])
    pq.write_table(table, tmp_path / "x.bin")  # by its first bytes
    assert read(tmp_path / "x.bin")[1] == "parquet"


def test_parquet_whole_floats_are_integers(tmp_path):
    pq.write_table(pa.table({"user": [1.0, 2.0], "item": [3.0, 4.5], "time": [1.0, 2.0]}), tmp_path / "x.parquet")
    assert rows_of(read(tmp_path / "x.parquet")[0]) == [("1", "3", 1), ("2", "4.5", 2)]


def test_sequences_of_pairs_and_of_lines(make):
    pairs, format = read(make("a.txt", "1 5\n1 6\n2 5\n1 7\n"))
    assert format == "sequences"
    assert rows_of(pairs) == [("1", "5", None), ("1", "6", None), ("2", "5", None), ("1", "7", None)]
    lines, _ = read(make("b.txt", "\ufeff\n1 5 6  9 \r\n\r\n2 5\r\n 1 7"))
    assert rows_of(lines) == [(u, i, None) for u, i in (("1", "5"), ("1", "6"), ("1", "9"), ("2", "5"), ("1", "7"))]
    assert lines.warnings == []
    assert rows_of(read(make("c.txt.gz", "1 5\n"))[0]) == [("1", "5", None)]
    assert rows_of(read(make("d", "1 5\n"))[0]) == [("1", "5", None)]


# Times


@pytest.mark.parametrize(
    ("cells", "seconds"),
    [
        (["1406073600", "0"], [1406073600, 0]),
        (["1406073600.25", "1e3"], [1406073600.25, 1000]),
        (["2014-07-23", "1970-01-02"], [1406073600, 86400]),
        (["2014-07-23T00:00:00Z", "2014-07-23T02:00:00+02:00"], [1406073600, 1406073600]),
        (["2014-07-23 00:00:01.500", "2014-07-23"], [1406073601.5, 1406073600]),
        (["2014-07-23 00:00:01.123456789"], [1406073601.123456]),
    ],
)
def test_times(make, cells, seconds):
    lines = [f"1,{item},{cell}\n" for item, cell in zip("abc", cells, strict=False)]
    raw, _ = read(make("x.csv", "user,item,date\n" + "".join(lines)))
    assert [row[2] for row in rows_of(raw)] == seconds
    assert raw.warnings == []


@pytest.mark.parametrize(
    ("factor", "unit"), [(1000, "milliseconds"), (1_000_000, "microseconds"), (1_000_000_000, "nanoseconds")]
)
def test_finer_units(make, factor, unit):
    raw, _ = read(make("x.csv", f"user,item,ts\n1,a,{1406073600 * factor}\n1,c,{1406073601 * factor}\n"))
    assert [row[2] for row in rows_of(raw)] == [1406073600, 1406073601]
    assert raw.warnings == [f"ts: 2 times are read as {unit}"]


def test_parquet_dates(tmp_path):
    days = pa.array([1, 2], pa.date32())
    pq.write_table(pa.table({"user": ["a", "b"], "item": ["x", "y"], "date": days}), tmp_path / "x.parquet")
    assert [row[2] for row in rows_of(read(tmp_path / "x.parquet")[0])] == [86400, 172800]


# Broken files

HEAD = "user,item,time\n"


@pytest.mark.parametrize(
    ("name", "content", "where", "words"),
    [
        ("x.csv", "", "x.csv", "empty"),
        ("x.csv", " \n\n", "x.csv", "empty"),
        ("x.csv", HEAD, "x.csv", "nothing below"),
        ("x.csv", f"{HEAD}\n \n", "x.csv", "nothing below"),
        ("x.csv", "user,thing,time\n1,2,3\n", "x.csv:1", "no column with the item ids.*user, thing, time"),
        ("x.csv", "\nperson,item\n1,2\n", "x.csv:2", "no column with the user ids"),
        ("x.csv", "user,user,item\n1,2,3\n", "x.csv:1", "'user' is there 2 times"),
        ("x.csv", f"{HEAD}1,a,1\n\n1,b\n1,c,2,3\n", "x.csv:4", r"2 fields where the header names 3 \(2 such rows"),
        ("x.csv", f'{HEAD}"1\n",a,1\n1,b\n', "x.csv:4", "2 fields"),
        ("x.csv", f"{HEAD}1,a,1\n,b,2\n ,c,2\n", "x.csv:3", r"user id \(user\) is empty \(2 such rows"),
        ("x.csv", f"{HEAD}1,a,1\n\n1,,2\n", "x.csv:4", r"item id \(item\) is empty$"),
        ("x.csv", f"{HEAD}1,a,1\nnan,b,2\n", "x.csv:3", "'nan', which stands for none"),
        ("x.csv", f"{HEAD}1,a,1\n1,b\x1b[31m,2\n", "x.csv:3", "control"),
        ("x.csv", f'{HEAD}1,a,1\n1,"b\nc",2\n1,d,x\n', "x.csv:3", "control"),
        ("x.csv", f"{HEAD}1,a,1\n1,b,\n", "x.csv:3", r"time \(time\) is empty"),
        ("x.csv", f"{HEAD}1,a,1\n1,b,soon\n1,c,now\n", "x.csv:3", r"'soon' is not a time \(2 such"),
        ("x.csv", f"{HEAD}1,a,1\n1,b,NaN\n", "x.csv:3", "not a time"),
        ("x.csv", f"{HEAD}1,a,1\n1,b,inf\n", "x.csv:3", "not a time"),
        ("x.csv", f"{HEAD}1,a,1\n1,b,-5\n", "x.csv:3", "-5 is before 1970"),
        ("x.csv", f"{HEAD}1,a,1960-01-01\n", "x.csv:2", "before 1970"),
        ("x.csv", f"{HEAD}1,a,2014-01-01\n1,b,2014-13-01\n", "x.csv:3", "'2014-13-01' is not a time"),
        ("x.csv", f"{HEAD}1,a,2014-01-01\n1,b,7\n", "x.csv:3", "'7' is not a time"),
        ("x.csv", f"{HEAD}1,a,99999999999999999999999\n", "x.csv:2", "9999 is after the year 2199"),
        ("x.csv", f'{HEAD}1,a,1\n1,"b,2\n1,c,3\n', "x.csv:3", "double quote opens here"),
        ("x.csv", f'{HEAD}1,a,1\n1,b,"2\n', "x.csv:3", "double quote opens here"),
        ("x.csv", f'{HEAD}1,"a,1\n2,"b",1\n', "x.csv:2", "double quote opens here"),
        ("x.csv", f"{HEAD}1,a,1\n1,b\0,2\n", "x.csv:3", "NUL"),
        ("x.csv", f"{HEAD}1,a,1\n1,é,2\n".encode("latin-1"), "x.csv:3", "0xE9 is not UTF-8"),
        ("x.csv", f"{HEAD}1,a,1\n".encode("utf-16"), "x.csv:1", "UTF-16"),
        ("x.tsv", "user\titem\ttime\n1\ta\n", "x.tsv:2", "2 fields where the header names 3"),
        ("x.tsv", "1\t2\t3\n4\t5\t6\n", "x.tsv:1", "no column with the user ids"),
        ("x.inter", "", "x.inter", "empty"),
        ("x.inter", "user_id:token\titem_id:token\n", "x.inter", "nothing below"),
        ("x.inter", "user_id\titem_id\n1\t2\n", "x.inter:1", "'user_id' is not name:type"),
        ("x.inter", "user_id:token\titem_id:text\n1\t2\n", "x.inter:1", "'item_id:text' is not name:type"),
        ("x.inter", "user_id:token\tthing:token\n1\t2\n", "x.inter:1", "no column with the item ids"),
        ("x.inter", f"{INTER}9\tb\n", "x.inter:5", "2 fields where the header names 3"),
        ("x.inter", f"{INTER}9\tb\tc\td\n\n\n9\n", "x.inter:5", r"4 fields .*\(2 such rows"),
        ("x.inter", f"{INTER}\t\tb\n", "x.inter:5", "user id"),
        ("x.inter", f"{INTER}\n9\tb\tlate\n", "x.inter:6", "'late' is not a time"),
        ("x.txt", "", "x.txt", "empty"),
        ("x.txt", "1 2\n1 x\n", "x.txt:2", "something else than integers.*'1 x'"),
        ("x.txt", "1 2\n\n1\n2\n", "x.txt:3", r"a user without items: '1' \(2 such"),
        ("x.txt", "1 2\n1 -3\n", "x.txt:2", "something else"),
        ("x.txt", "1 2\n1\t3\n", "x.txt:2", "something else"),
        ("x.txt", "1 2\n1 3.5\n", "x.txt:2", "something else"),
        ("x.txt", "1 2\n1 1234567890123456789\n", "x.txt:2", "18 digits"),
        ("x.txt", "1 2\n1 é\n".encode("latin-1"), "x.txt:2", "UTF-8"),
        ("x.parquet", "no parquet", "x.parquet", "not readable as Parquet"),
        ("x.dat", "hello\nworld\n", "x.dat:1", "not recognized.*hello"),
        ("x.csv.gz", "user,item\n1,\n", "x.csv.gz:2", "item id"),
    ],
)
def test_broken_files(make, name, content, where, words):
    fails(make(name, content), where, words)


def test_hints_say_what_to_do(make):
    error = fails(make("x.csv", "user,item\n1,é\n".encode("latin-1")), "x.csv:2", "UTF-8")
    assert "iconv -f" in str(error.hint)
    assert "x.csv" in str(error.hint)
    error = fails(make("y.csv", "a,b\n1,2\n"), "y.csv:1", "user ids")
    assert "--user-column" in str(error.hint)
    error = fails(make("z.tsv", "1\t2\n1\t2\n"), "z.tsv:1", "user ids")
    assert "no line with column names" in str(error.hint)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("customer,article,when", "Name it with --user-column, and others with --item-column and --time-column; "),
        ("customer,item_id,when", "Name it with --user-column, and others with --time-column; "),
        ("customer,item_id,time", "Name it with --user-column; "),
    ],
)
def test_all_columns_that_have_to_be_named_are_told_at_once(make, names, told):
    error = fails(make("a.csv", f"{names}\nu1,i1,100\n"), "a.csv:1", "user ids")
    assert str(error.hint).startswith(told)


def test_broken_gzip(tmp_path):
    whole = gzip.compress(b"user,item\n" + b"1,2\n" * 99)
    (tmp_path / "cut.csv.gz").write_bytes(whole[:-12])
    (tmp_path / "no.csv.gz").write_bytes(b"user,item\n1,2\n")
    fails(tmp_path / "cut.csv.gz", "cut.csv.gz", "gzip")
    fails(tmp_path / "no.csv.gz", "no.csv.gz", "gzip")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"user": ["a", None], "item": ["x", "y"], "time": [1, 2]}, "user id .*empty"),
        ({"user": ["a", "b"], "item": [1.0, float("nan")], "time": [1, 2]}, "item id"),
        ({"user": ["a", "b"], "item": ["x", "y"], "time": [1.0, float("nan")]}, "not a time"),
        ({"user": ["a", "b"], "item": ["x", "y"], "time": [1, None]}, "time .*empty"),
        ({"user": ["a", "b"], "item": ["x", "y"], "time": [1, -2]}, "before 1970"),
        ({"user": ["a", "b"], "item": ["x", "y"], "time": ["2014-01-01", "May"]}, "'May' is not a time"),
    ],
)
def test_broken_parquet_rows(tmp_path, columns, words):
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    fails(tmp_path / "x.parquet", "x.parquet, row 2", words)


def test_broken_parquet_tables(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"user": pa.array([], pa.int64()), "item": pa.array([], pa.int64())}), path)
    fails(path, "x.parquet", "no rows")
    pq.write_table(pa.table({"user": [1], "thing": [2]}), path)
    fails(path, "x.parquet", "no column with the item ids")
    pq.write_table(pa.table({"user": [[1]], "item": [2]}), path)
    fails(path, "x.parquet", "'user' holds list")
    pq.write_table(pa.table({"user": [1], "item": [2], "time": [[3]]}), path)
    fails(path, "x.parquet", "'time' holds list")


def test_named_columns_that_are_not_there(make):
    path = make("x.csv", f"{HEAD}1,a,1\n")
    for role in ("user", "item", "time", "title"):
        error = fails(path, "x.csv:1", "no column 'nope'; its columns are user, item, time", **{role: "nope"})
        assert error.hint == f"Correct --{role}-column."


def test_missing_paths(tmp_path, make):
    fails(tmp_path / "no.csv", "no.csv", "no such file")
    path = make("x.csv", f"{HEAD}1,a,1\n")
    fails(path, "no.csv", "no such file", items=tmp_path / "no.csv")
    fails(path, tmp_path.name, "not a file", items=tmp_path)


def test_the_format_can_be_named(make):
    path = make("x.txt", f"{HEAD}1,a,1\n")
    assert read(path, "csv")[1] == "csv"
    fails(path, "x.txt:1", "no column with the user ids", "tsv")
    fails(path, "x.txt:1", "not name:type", "recbole")
    fails(path, "x.txt", "Parquet", "parquet")
    fails(path, "x.txt:1", "integers", "sequences")


# Folders


def test_folder_ignores_other_files(make, tmp_path):
    for name in ("README.md", "x.xml", ".hidden.csv", "sub/ratings.csv"):
        make(name, f"{HEAD}1,a,1\n")
    fails(tmp_path, tmp_path.name, "no file in this folder")
    make("ratings.csv", f"{HEAD}1,a,1\n")
    raw, format = read(tmp_path)
    assert (format, Path(raw.source).name) == ("csv", "ratings.csv")
    assert raw.catalog is None


def test_folder_takes_the_item_table(make, tmp_path):
    make("ratings.csv", f"{HEAD}1,a,1\n")
    make("people.csv", "user,age\n1,33\n")
    make("things.csv", "item,title\na,Pen\n")
    catalog = read(tmp_path)[0].catalog
    assert catalog is not None
    assert (catalog.ids, catalog.titles) == (["a"], ["Pen"])
    make("more.tsv", "item\ttitle\na\tOther\n")
    raw, _ = read(tmp_path)
    assert raw.catalog is None
    assert "more.tsv, things.csv" in raw.warnings[-1]
    catalog = read(tmp_path, items=tmp_path / "more.tsv")[0].catalog
    assert catalog is not None
    assert catalog.titles == ["Other"]


def test_folder_with_several_files(make, tmp_path):
    make("box/a.csv", f"{HEAD}1,a,1\n")
    make("box/b.txt", "1 2\n")
    error = fails(tmp_path / "box", "box", "several files.*a.csv, b.txt")
    assert error.hint == "Name the file itself."
    assert read(tmp_path / "box", "sequences")[1] == "sequences"
    make("box/box.inter", INTER)
    assert read(tmp_path / "box")[1] == "recbole"


def test_folder_with_one_bad_file_says_what_is_wrong(make, tmp_path):
    make("x.csv", "a,b\n1,2\n")
    fails(tmp_path, "x.csv:1", "no column with the user ids")


# Item texts


def test_items_in_the_interactions(make):
    content = (
        "user,item,time,title,brand,rating,summary\n"
        "1,a,1,,Acme,5,good\n2,b,2,Pad,,4,bad\n3,a,3,Pen,Other,3,fine\n4,a,4,Pencil,,1,no\n"
    )
    content += "".join(f"{user},c{item},5,Ink {item},Ink,5,yes\n" for item in range(20) for user in (5, 6))
    catalog = read(make("x.csv", content))[0].catalog
    assert catalog is not None
    assert (catalog.ids[:3], catalog.titles[:3]) == (["a", "b", "c0"], ["Pen", "Pad", "Ink 0"])
    assert catalog.attributes[:3] == [{"brand": ["Acme"]}, {}, {"brand": ["Ink"]}]
    assert catalog.warnings == []


def test_item_table_columns(make):
    content = (
        "item_id,title,brand,brand_id,asin,imdbId,genres,category,price,year,rank,url,code,description,tags\n"
        'a,Pen,Bic,3,B00,114,Drama|Film Noir,"Pens | Ink, red",1.50,1999,7,http://x.y/z,1-2,A &amp; B,"x, y,z"\n'
        "b,Pad,,,B01,115,,,,,8,,3,,\n"
    )
    catalog = read_items(make("items.csv", content), Wanted())
    assert catalog.attributes == [
        {
            "brand": ["Bic"],
            "genres": ["Drama", "Film Noir"],
            "category": ["Pens", "Ink, red"],
            "price": ["1.50"],
            "year": ["1999"],
            "code": ["1-2"],
            "description": ["A & B"],
            "tags": ["x", "y,z"],
        },
        {"code": ["3"]},
    ]


def test_parquet_item_lists(tmp_path):
    table = pa.table(
        {
            "parent_asin": ["a", "b"],
            "title": ["Pen", None],
            "categories": [[["Office", "Pens"], ["Office"]], None],
            "price": [1.5, 2.0],
            "features": [["blue", ""], []],
        }
    )
    pq.write_table(table, tmp_path / "items.parquet")
    catalog = read_items(tmp_path / "items.parquet", Wanted())
    assert catalog.titles == ["Pen", ""]
    assert catalog.attributes == [
        {"categories": ["Office", "Pens"], "price": ["1.5"], "features": ["blue"]},
        {"price": ["2"]},
    ]


def test_item_file_with_repeated_and_missing_ids(make):
    catalog = read_items(make("i.csv", "item,title\na,\na,Pen\na,Pencil\nb,Pad\n"), Wanted())
    assert (catalog.ids, catalog.titles) == (["a", "b"], ["Pen", "Pad"])
    assert len(catalog.warnings) == 1
    assert catalog.warnings[0].startswith("2 rows")
    with pytest.raises(DataError) as caught:
        read_items(make("j.csv", "item,title\na,x\n,Pen\n"), Wanted())
    assert str(caught.value.where).endswith("j.csv:3")


def test_recbole_item_file_errors_name_it(make):
    make("x.item", ITEM + "c\tonly\n")
    fails(make("x.inter", INTER), "x.item:4", "2 fields where the header names 4")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  Pen \t and\n paper ", "Pen and paper"),
        ("Salt &amp; Pepper", "Salt & Pepper"),
        ("Salt &amp;amp; Pepper &#39;n", "Salt & Pepper 'n"),
        ("\x1b[31mRed\x1b[0m pen\x07", "Red pen"),
        ("\x1b]0;title\x07Pen", "Pen"),
        ("a\x9b31mb\x85c", "ab c"),
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("line\u2028break", "line break"),
        ("Crème brûlée 日本 👩\u200d🍳", "Crème brûlée 日本 👩\u200d🍳"),
        ("&#27;[31mred", "[31mred"),
        ("", ""),
    ],
)
def test_clean(text, shown):
    assert clean(text) == shown


def test_codes_are_in_order_of_the_first_row(make):
    raw, _ = read(make("x.csv", f"{HEAD}9,b,1\n7,a,1\n9,a,1\n"))
    assert raw.users.values == ["9", "7"]
    assert raw.items.values == ["b", "a"]
    assert np.array_equal(raw.users.codes, [0, 1, 0])


class Pairs(Reader):
    """Lines `user>item`, and a file of items with lines `item=title`: a format as somebody would add one."""

    name = "pairs"
    suffixes = (".pairs",)
    published = True

    def _cells(self, path: Path, mark: str) -> list[list[str]]:
        return [line.split(mark) for line in path.read_text().splitlines()]

    def recognizes(self, path: Path, wanted: Wanted) -> bool:
        return path.suffix == ".pairs" and ">" in path.read_text()

    def head(self, path: Path, wanted: Wanted, count: int) -> Head:
        rows = self._cells(path, ">")[:count]
        return Head(names=["user", "item"], rows=rows, total=None, roles=Roles(user="user", item="item"))

    def read(self, path: Path, wanted: Wanted) -> Raw:
        users, items = (list(column) for column in zip(*self._cells(path, ">"), strict=True))
        coded = [Coded(np.unique(ids, return_inverse=True)[1], sorted(set(ids))) for ids in (users, items)]
        return Raw(source=str(path), users=coded[0], items=coded[1], times=None)

    def reads_items(self, path: Path) -> bool:
        return path.suffix == ".titles"

    def recognizes_items(self, path: Path, wanted: Wanted) -> bool:
        return self.reads_items(path)

    def items_head(self, path: Path, count: int) -> Head:
        return Head(names=["item", "title"], rows=self._cells(path, "=")[:count], total=None)

    def read_items(self, path: Path, wanted: Wanted, *, only: set[str] | None = None) -> Catalog:
        ids, titles = (list(column) for column in zip(*self._cells(path, "="), strict=True))
        return Catalog(ids=ids, titles=titles, attributes=[{} for _ in ids], source=str(path))


PAIRS = f"""
from pathlib import Path
import numpy as np
from engine.data.readers.base import Catalog, Coded, Head, Raw, Reader, Roles, Wanted

{inspect.getsource(Pairs)}
"""


@pytest.mark.parametrize("way", ["installed", "file"])
def test_a_format_of_ones_own_with_a_file_of_items_is_one_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "log.pairs").write_text("u>i\nv>j\n" * 3)
    (folder / "things.titles").write_text("i=Pen\nj=Ink")
    (folder / "other.csv").write_text("user,item\na,b\n")
    (tmp_path / "mine.py").write_text(PAIRS)
    format, name = f"{tmp_path / 'mine.py'}:Pairs", READERS.label_of(f"{tmp_path / 'mine.py'}:Pairs")
    if way == "installed":
        install(
            tmp_path / "site", monkeypatch, module="sracl_pairs", code=PAIRS, points={"sracl.readers:pairs": "Pairs"}
        )
        format, name = None, "pairs"
        assert ".pairs" in endings()
        assert items_head(folder / "things.titles", 1).rows == [["i", "Pen"]]
        assert name_for(folder / "log.pairs", set()) == "log"
    dataset, report = import_dataset(folder, name="shop", options=ImportOptions(format=format, k_core=0))
    assert (report.format, dataset.options["format"]) == (name, name)
    assert dataset.items.raw_ids == ["i", "j"]
    assert dataset.items.titles == ["Pen", "Ink"]
    assert preview(folder, options=ImportOptions(format=format)).format == name


def test_a_format_that_cannot_be_read_by_its_class_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item\na,b\n")
    install(tmp_path / "site", monkeypatch, module="sracl_broken", code="1 / 0", points={"sracl.readers:bad": "Bad"})
    assert read_source(path, format=None, wanted=Wanted())[1] == "csv", "others do not need it"
    with pytest.raises(ConfigError, match="bad cannot be imported: ZeroDivisionError"):
        read_source(path, format="bad", wanted=Wanted())
    with pytest.raises(DataError, match=r"there is no file .*none\.py"):
        import_dataset(path, name="x", options=ImportOptions(format=f"{tmp_path}/none.py:Own"))


def test_a_format_without_files_of_items_says_so(tmp_path: Path):
    path = tmp_path / "items.txt"
    path.write_text("1 2\n")
    with pytest.raises(DataError, match="the format sequences has no files of item texts"):
        readers()["sequences"].read_items(path, Wanted())
