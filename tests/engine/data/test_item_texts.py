"""One cleaning of item texts for every format: tags, entities, lists written as text, and cells that stand for none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.readers import read_items
from engine.data.readers.base import Catalog, Wanted

FORMATS = ("csv", "tsv", "parquet", "jsonl", "item")
AGAIN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def items(folder: Path, kind: str, rows: list[tuple[str, str, str]]) -> Catalog:
    """A file with an id, a title and categories of each item, read."""
    path, names = folder / f"x.{kind}", ("item_id", "title", "categories")
    if kind == "parquet":
        pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    elif kind == "item":
        head = "item_id:token\ttitle:token_seq\tcategories:token_seq\n"
        path.write_text(head + "".join("\t".join(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="," if kind == "csv" else "\t")
            writer.writerows([names, *rows])
    return read_items(path, Wanted())


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("cell", "title"),
    [
        ("Pen &amp; Ink <br/> set", "Pen & Ink set"),
        ("Pen <b>bold</b>", "Pen bold"),
        ('<span class="a">T</span>', "T"),
        ("<p>Hello</p>", "Hello"),
        ("3 < 5 and 7 > 2", "3 < 5 and 7 > 2"),
        ("['First part.', 'Second.']", "First part. Second."),
        ("[Draft] Pens", "[Draft] Pens"),
        *(
            (none, "")
            for none in ("None", "none", "nan", "NaN", "N/A", "\\N", "#NAME?", "#N/A", "NaT", "<NA>", "[]", "{}", "—")
        ),
        ("None of the above", "None of the above"),
        ("{'Color': 'Red'}", ""),
    ],
)
def test_a_title_is_the_same_in_every_format(tmp_path: Path, kind: str, cell: str, title: str) -> None:
    assert items(tmp_path, kind, [("a", cell, "Office"), ("b", "Pad", "Office")]).titles == [title, "Pad"]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("cell", "values"),
    [
        ("['Office', 'Pens, Markers']", ["Office", "Pens, Markers"]),
        ("['Office' 'Pens']", ["Office", "Pens"]),
        ('["Office", "Pens"]', ["Office", "Pens"]),
        ("[['Office', 'Pens'], ['Art']]", ["Office", "Pens", "Art"]),
        ("Office|Pens", ["Office", "Pens"]),
        ("Office, Pens", ["Office", "Pens"]),
        ("['<b>Office</b>', 'Ink &amp; Co', 'None']", ["Office", "Ink & Co"]),
        ("[]", None),
        ("NaN", None),
    ],
)
def test_a_list_is_the_same_in_every_format(tmp_path: Path, kind: str, cell: str, values: list[str] | None) -> None:
    catalog = items(tmp_path, kind, [("a", "Pen", cell), ("b", "Pad", "Paper goods")])
    assert catalog.attributes == [{} if values is None else {"categories": values}, {"categories": ["Paper goods"]}]


TEXT = st.text(st.sampled_from("ab<>/&;'[],|{}N\\"), min_size=1, max_size=12).filter(lambda text: text.strip() == text)


@AGAIN
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_whatever_stands_in_a_cell_every_format_gives_the_same(tmp_path: Path, cells: list[str]) -> None:
    rows = [(f"i{number}", cell, cell) for number, cell in enumerate(cells)]
    rows.append(("last", "Some title", "Some words"))
    found = [items(tmp_path, kind, rows) for kind in FORMATS]
    assert {tuple(catalog.titles) for catalog in found} == {tuple(found[0].titles)}
    assert all(catalog.attributes == found[0].attributes for catalog in found)
    assert not any("<b>" in title for title in found[0].titles)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_first_cell_that_says_something_counts(tmp_path: Path, kind: str) -> None:
    rows = [("a", "None", "N/A"), ("a", "Pen", "['Office']"), ("a", "Other", "Art")]
    catalog = items(tmp_path, kind, rows)
    assert (catalog.titles, catalog.attributes) == (["Pen"], [{"categories": ["Office"]}])
