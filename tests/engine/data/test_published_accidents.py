"""Files as they come: packed, without names, in parts, with other delimiters; and those that are no tables, which are told by name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.importing import ImportOptions, import_dataset
from engine.data.preview import preview
from engine.errors import DataError

AGAIN = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HEADER = "user_id,item_id,timestamp\n"
TABLE = HEADER + "u,a,10\nu,b,20\nv,a,30\n"
EXPECTED = [("u", "a", 10), ("u", "b", 20), ("v", "a", 30)]


def read(path: Path, options: ImportOptions = ImportOptions()) -> list[tuple[str, str, int]]:
    dataset, _ = import_dataset(path, name="x", options=options)
    assert dataset.timestamps is not None
    return [
        (dataset.user_raw_ids[user], dataset.items.raw_ids[dataset.sequence[place] - 1], int(dataset.timestamps[place]))
        for user in range(dataset.users)
        for place in range(dataset.offsets[user], dataset.offsets[user + 1])
    ]


def zipped(text: bytes, name: str = "log.csv") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, text)

    return write


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x.csv", lambda path: path.write_bytes(gzip.compress(TABLE.encode()))),
        ("x.csv.gz", lambda path: path.write_bytes(gzip.compress(TABLE.encode()))),
        ("x.csv.bz2", lambda path: path.write_bytes(bz2.compress(TABLE.encode()))),
        ("x.csv.xz", lambda path: path.write_bytes(lzma.compress(TABLE.encode()))),
        ("x.zip", zipped(TABLE.encode())),
        ("x.csv.zip", zipped(TABLE.encode(), "folder/log.csv")),
    ],
)
def test_packed_tables_are_read_whatever_they_are_called(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    assert read(tmp_path / name) == EXPECTED
    assert preview(tmp_path / name).head.rows[0] == ["u", "a", "10"]


def test_packed_json_lines_are_read(tmp_path: Path) -> None:
    lines = b'{"user_id": "u", "item_id": "a", "timestamp": 10}\n'
    zipped(lines, "log.jsonl")(tmp_path / "log.zip")
    (tmp_path / "log.jsonl").write_bytes(gzip.compress(lines))
    assert read(tmp_path / "log.zip") == read(tmp_path / "log.jsonl") == [("u", "a", 10)]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.pkl", pickle.dumps([1, 2] * 40, protocol=4), "pickle"),
        ("x.csv", b"SQLite format 3\x00" + bytes(100), "SQLite"),
        ("x.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        ("x.csv.zst", b"\x28\xb5\x2f\xfd" + bytes(100), "Zstandard"),
    ],
)
def test_what_is_no_table_is_told_by_name(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path / name)
    assert caught.value.hint


def test_spreadsheets_and_archives_of_several_files_are_told(tmp_path: Path) -> None:
    for name, members, words in (
        ("book.xlsx", ("[Content_Types].xml", "xl/sheet.xml"), "spreadsheet of Excel"),
        ("ml.zip", ("ml/ratings.csv", "ml/movies.csv"), "an archive of 2 files"),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member in members:
                archive.writestr(member, "x")
        with pytest.raises(DataError, match=words):
            read(tmp_path / name)


@pytest.mark.parametrize("sign", [";", "|", "\t"])
def test_another_delimiter_is_told_with_what_to_do(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(TABLE.replace(",", sign))
    with pytest.raises(DataError) as caught:
        read(path, ImportOptions(format="csv"))
    assert "--delimiter" in str(caught.value.hint)
    assert read(path, ImportOptions(format="csv", delimiter=sign)) == EXPECTED


def test_an_atomic_file_with_blanks_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "x.inter"
    path.write_text("user_id:token item_id:token timestamp:float\n1 2 3\n1 3 4\n")
    with pytest.raises(DataError) as caught:
        read(path)
    assert "--delimiter ' '" in str(caught.value.hint)


@AGAIN
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 10), st.integers(10**9, 2 * 10**9)),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([(",", "csv"), ("\t", "tsv"), (",", "dat")]),
)
def test_ratings_without_names_lose_no_row(
    tmp_path: Path, rows: list[tuple[str, str, int, int]], form: tuple[str, str]
) -> None:
    sign, suffix = form
    path = tmp_path / f"log.{suffix}"
    path.write_text("".join(sign.join(map(str, row)) + "\n" for row in rows))
    assert sorted(read(path)) == sorted((user, item, time) for user, item, _, time in rows)
    with pytest.raises(DataError):  # the first row is no header
        read(
            path, ImportOptions(format="csv" if sign == "," else "tsv", user_column=rows[0][0], item_column=rows[0][1])
        )


def test_the_ratings_of_amazon_are_read_in_both_orders(tmp_path: Path) -> None:
    user, item = "A39HTATAQ9V7YF", "0205616461"
    for year, first in (("2014", (user, item)), ("2018", (item, user))):
        path = tmp_path / f"ratings_{year}.csv"
        path.write_text(",".join((*first, "5.0", "1369699200")) + "\n")
        assert read(path) == [(user, item, 1369699200)]


def test_ratings_beside_tags_are_the_interactions(tmp_path: Path) -> None:
    (tmp_path / "rating.csv").write_text("userId,movieId,rating,timestamp\n1,2,3.5,2005-04-02 23:53:47\n")
    (tmp_path / "tag.csv").write_text("userId,movieId,tag,timestamp\n18,4141,Mark Waters,2009-04-24 18:19:40\n")
    (tmp_path / "movie.csv").write_text('"movieId","title","genres"\n2,"Jumanji (1995)","Adventure|Children"\n')
    dataset, _ = import_dataset(tmp_path, name="x")
    assert (dataset.user_raw_ids, dataset.items.titles) == (["1"], ["Jumanji (1995)"])


@AGAIN
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("uv"), st.sampled_from("ab"), st.integers(1, 99)), min_size=1),
        min_size=2,
        max_size=4,
    ),
    st.booleans(),
)
def test_parts_are_one_table(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[tuple[str, str, int]]], parquet: bool
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    (folder / "_SUCCESS").write_text("")
    for number, rows in enumerate(parts):
        if parquet:
            columns = zip(*rows, strict=True)
            table = dict(zip(("user_id", "item_id", "timestamp"), map(list, columns), strict=True))
            pq.write_table(pa.table(table), folder / f"part-{number:05d}-abc.snappy.parquet")
        else:
            text = HEADER + "".join(f"{user},{item},{time}\n" for user, item, time in rows)
            (folder / f"part-{number:05d}-abc.csv").write_text(text)
    assert sorted(read(folder)) == sorted(row for rows in parts for row in rows)


def test_a_bad_row_of_a_part_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "part-00000.csv").write_text(HEADER + "u,a,1\nu,b,2\n")
    (tmp_path / "part-00001.csv").write_text(HEADER + "u,a,3\nu,b,soon\n")
    with pytest.raises(DataError, match=r"part-00001\.csv:3"):
        read(tmp_path)
    assert len(read(tmp_path, ImportOptions(bad_rows="drop"))) == 3
    (tmp_path / "part-00001.csv").write_text("user_id,item_id\nu,a\n")
    with pytest.raises(DataError, match="those of the first part are"):
        read(tmp_path)
