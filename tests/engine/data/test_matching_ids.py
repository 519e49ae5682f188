"""Ids of two files that differ in how they are written: the hint says in what."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.importing import _described
from engine.data.matching_ids import difference
from engine.data.readers.catalog import Catalog, is_missing
from engine.errors import DataError

NUMBERS = [str(number) for number in range(1, 40)]
WRITTEN = {
    "leading zeros": lambda text: text.zfill(5),
    "case": lambda text: f"Item{text}".upper(),
    "Unicode form": lambda text: unicodedata.normalize("NFD", f"é{text}"),
    "quotation marks": lambda text: f"'{text}'",
    "words before the number": lambda text: f"item_{text}",
}
OURS = {"case": lambda text: f"Item{text}", "Unicode form": lambda text: f"é{text}"}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(WRITTEN)), st.lists(st.sampled_from(NUMBERS), min_size=3, unique=True), st.booleans())
def test_the_hint_says_in_what_ids_differ(name: str, numbers: list[str], other: bool) -> None:
    ours = [OURS.get(name, str)(number) for number in numbers]
    theirs = [WRITTEN[name](number) for number in numbers]
    assert name in difference(*((theirs, ours) if other else (ours, theirs)))
    assert difference(ours, [f"{one}-x" for one in reversed(theirs)]) == ""


def catalog(ids: list[str], titles: list[str]) -> Catalog:
    return Catalog(source="items.csv", ids=ids, titles=titles, attributes=[{} for _ in ids])


def test_files_without_a_common_id_are_refused_with_that_hint() -> None:
    with pytest.raises(DataError) as caught:
        _described(catalog(["001", "002"], ["a", "b"]), ["1", "2"])
    assert "They differ in their leading zeros" in str(caught.value.hint)
    assert "'001'" in str(caught.value.hint)


def test_items_of_one_title_are_told() -> None:
    _, _, warnings = _described(catalog(["1", "2"], ["Product", "Product"]), ["1", "2"])
    assert warnings == ["all items of items.csv have the title 'Product': no text tells them apart"]
    assert _described(catalog(["1", "2"], ["Product", "Pen"]), ["1", "2"])[2] == []


@pytest.mark.parametrize(
    ("text", "missing"), [("...", True), ("- -", True), ("…", True), ("!!!", False), ("?", False), ("-5", False)]
)
def test_dots_and_strokes_are_no_text(text: str, missing: bool) -> None:
    assert is_missing(text) == missing
