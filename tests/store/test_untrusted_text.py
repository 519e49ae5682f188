"""What people, models and files wrote reaches no terminal as a command, and no spreadsheet as a formula."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.database.result_files import save
from store.errors import NameRefused
from store.untrusted_text import DIRECTIONS, check_name, csv_cell, json_text, shown

BAD = ("\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x00", "\x7f", "a\u202eb", "\u2066x", "\x85", "a\rb", "\u061c")
TEXTS = st.lists(st.one_of(st.sampled_from(BAD), st.text(max_size=5)), max_size=4).map("".join)


def harmless(text: str) -> bool:
    return not any(
        (unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\t") or one in DIRECTIONS for one in text
    )


@settings(deadline=None)
@given(TEXTS)
def test_nothing_that_a_terminal_obeys_is_shown(text: str) -> None:
    assert harmless(shown(text))
    assert shown(shown(text)) == shown(text)
    assert harmless(csv_cell(text))
    document = json_text(json.dumps({text: [text]}, ensure_ascii=False))
    assert harmless(document)
    assert json.loads(document) == {text: [text]}


def test_right_to_left_text_stays_as_it_is() -> None:
    for text in ("שלום עולם", "مرحبا بالعالم", "naïve — 日本語 👩\u200d🔬", "a\tb\nc"):
        assert shown(text) == text
        assert json_text(text) == text


@pytest.mark.parametrize(
    "text", ["=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+cmd", "@SUM(A1)", "\t=1", "\r=1", "-2%+cmd"]
)
def test_a_formula_is_guarded(text: str) -> None:
    assert csv_cell(text).startswith("'")


@pytest.mark.parametrize(
    "text", ["-0.5", "+0.0012", "-", "1e-9", "-1.5e+03", "-0.0012 ± 0.0003", "+3.1%", "office", "", "a=1"]
)
def test_a_number_and_plain_text_are_not(text: str) -> None:
    assert csv_cell(text) == text


@pytest.mark.parametrize("text", BAD)
def test_no_name_is_entered_with_them(text: str) -> None:
    with pytest.raises(NameRefused, match=r"U\+"):
        check_name("the name", f"run {text}")
    check_name("the note", "two\nlines\tשלום", lines=True)
    with pytest.raises(NameRefused):
        check_name("the tag", "two\nlines")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=6))
def test_files_are_guarded_where_a_spreadsheet_opens_them(texts: list[str | None]) -> None:
    import tempfile

    texts = [None if text is None else text.encode("utf-8", "replace").decode() for text in texts]
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as folder:
        connection.execute('CREATE TABLE t (number DOUBLE, "=1+1" VARCHAR, many VARCHAR[])')
        connection.executemany("INSERT INTO t VALUES (-1.5, ?, [?])", [[text, text] for text in texts])
        for ending in ("csv", "parquet"):
            save(connection.sql("FROM t"), Path(folder) / f"x.{ending}")
        written = (Path(folder) / "x.csv").read_bytes().decode("utf-8")
        rows = list(csv.reader(io.StringIO(written, newline="")))
        assert rows[0][:2] == ["number", "'=1+1"]
        assert [row[0] for row in rows[1:]] == ["-1.5"] * len(texts)
        assert [row[1] for row in rows[1:]] == ["" if text is None else csv_cell(text) for text in texts]
        assert all(harmless(cell) for row in rows for cell in row)
        kept = duckdb.read_parquet(str(Path(folder) / "x.parquet"), connection=connection).fetchall()
        assert [row[1] for row in kept] == texts
