"""A preview says what an import would read, and refuses what it would refuse, from the first lines alone."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.importing import ImportOptions, import_dataset
from engine.data.preview import preview
from engine.errors import DataError

LONG = "user,item,time\n" + "".join(f"u{n % 97},i{n % 31},{1_600_000_000 + n}\n" for n in range(9_000))


def test_a_folder_with_items(tmp_path: Path):
    (tmp_path / "shop.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n7\ta\t100\n7\tb\t200\n")
    (tmp_path / "shop.item").write_text("item_id:token\ttitle:token_seq\na\tRed [pen]\nb\tPad\n")
    found = preview(tmp_path)
    assert (found.format, found.file.name) == ("recbole", "shop.inter")
    assert found.head.names == ["user_id", "item_id", "timestamp"]
    assert found.head.rows == [["7", "a", "100"], ["7", "b", "200"]]
    assert found.head.total == 2
    assert found.head.roles is not None
    assert (found.head.roles.user, found.head.roles.item, found.head.roles.time) == ("user_id", "item_id", "timestamp")
    assert found.items_head is not None
    assert found.items_head.rows[0] == ["a", "Red [pen]"]
    assert found.warnings == []


@pytest.mark.parametrize("packed", [False, True])
def test_a_long_table_is_not_read_whole(tmp_path: Path, packed: bool):
    path = tmp_path / ("long.csv.gz" if packed else "long.csv")
    path.write_bytes(gzip.compress(LONG.encode()) if packed else LONG.encode())
    found = preview(path, rows=3)
    assert found.head.rows == [["u0", "i0", "1600000000"], ["u1", "i1", "1600000001"], ["u2", "i2", "1600000002"]]
    assert found.head.total is None
    assert found.head.about is None if packed else abs((found.head.about or 0) - 9_000) < 300
    assert any("no item has text" in warning for warning in found.warnings)


def test_parquet_knows_its_rows_and_shows_any_type(tmp_path: Path):
    path = tmp_path / "log.parquet"
    columns = {"user": [1.0, 2.0], "item": ["a", None], "tags": [["x", "y"], []], "raw": [b"\x00", b"\x01"]}
    pq.write_table(pa.table(columns), path)
    found = preview(path)
    assert found.head.total == 2
    assert found.head.rows == [["1", "a", "['x', 'y']", "b'\\x00'"], ["2", "", "[]", "b'\\x01'"]]


def test_bare_lines(tmp_path: Path):
    path = tmp_path / "Beauty.txt"
    path.write_text("1 5 6 7\n2 5\n")
    found = preview(path)
    assert (found.format, found.head.rows) == ("sequences", [["1", "5 6 7"], ["2", "5"]])
    assert len(found.warnings) == 2


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("who,item\na,b\n", ImportOptions(format="csv")),
        ("who,item\na,b\n", ImportOptions()),
        ("user,item\na,b\n", ImportOptions(time_column="when")),
        ("user,item\n", ImportOptions()),
        ("user,item\na,b\n", ImportOptions(k_core=-1)),
        ("user,item\na,b\n", ImportOptions(items=Path("nowhere.csv"))),
        ("", ImportOptions()),
    ],
)
def test_what_an_import_refuses_at_once_a_preview_refuses_too(tmp_path: Path, text: str, options: ImportOptions):
    path = tmp_path / "x.csv"
    path.write_text(text)
    told = []
    for act in (lambda: preview(path, options=options), lambda: import_dataset(path, name="x", options=options)):
        with pytest.raises(DataError) as caught:
            act()
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_columns_that_a_person_names(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_text('customer,sku,title\na,b,"Two\nlines"\n')
    found = preview(path, options=ImportOptions(user_column="customer", item_column="sku"))
    assert found.head.rows == [["a", "b", "Two\nlines"]]
    assert found.head.roles is not None
    assert found.head.roles.title == "title"


def test_texts_in_the_same_folder_are_proposed(tmp_path: Path):
    (tmp_path / "log.csv").write_text("user,item\na,b\n")
    (tmp_path / "things.csv").write_text("item,title\nb,Pen\n")
    alone = preview(tmp_path / "log.csv")
    assert alone.items_candidate == tmp_path / "things.csv"
    assert "things.csv may have some" in alone.warnings[0]
    named = preview(tmp_path / "log.csv", options=ImportOptions(items=alone.items_candidate))
    assert (named.items_candidate, named.title) == (None, "title")
    assert preview(tmp_path).items == tmp_path / "things.csv"
