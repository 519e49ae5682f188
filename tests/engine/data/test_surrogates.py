"""Halves of a character in a catalog, as Amazon's have them: replaced where text enters."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.readers.json_rows import parse
from tests.support.commands import sracl_inside

ANY = st.text(st.characters(exclude_categories=()), max_size=20)


def test_titles_with_half_a_character_are_imported(tmp_path: Path) -> None:
    reviews = [
        {"user_id": f"u{u}", "parent_asin": f"B{i}", "rating": 5.0, "timestamp": 1_500_000_000_000 + u * 100 + i}
        for u in range(8)
        for i in range(8)
    ]
    items = [{"parent_asin": f"B{i}", "title": f"pen \ud83d {i}", "features": ["a \ude00"]} for i in range(8)]
    source = tmp_path / "source"
    source.mkdir()
    (source / "X.jsonl").write_text("\n".join(map(json.dumps, reviews)) + "\n")
    (source / "meta_X.jsonl").write_text("\n".join(map(json.dumps, items)) + "\n")
    home = tmp_path / "home"
    sracl_inside(home, "data", "import", str(source), "--name", "s")
    (row,) = json.loads(sracl_inside(home, "sql", "SELECT min(title) AS title FROM items", "--json").stdout)
    assert row["title"] == "pen \ufffd 0"


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(ANY, st.one_of(ANY, st.lists(ANY, max_size=3)), max_size=3))
def test_every_document_can_be_stored(document: object) -> None:
    for line in (json.dumps(document), repr(document)):
        if line.startswith(("{'", '{"')) and (line.startswith("{'") or line == json.dumps(document)):
            json.dumps(parse(line), ensure_ascii=False).encode()
