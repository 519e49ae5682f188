"""Users are named by number or by the id of their source on the command line, also by ids that begin with a dash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from store.home import Home
from store.opening import open_store
from store.queries.items import search_items
from store.queries.runs import find_run
from store.queries.users import search_users

SETTINGS = ("epochs=1", "threads=1", "width=8", "inner=8", "layers=1")
IDS = ("3", "1", "-1xuC5", "-2kO", "5")
"""In order of their numbers: id 3 is number 1, id 1 is number 2."""


@pytest.fixture
def trained(sracl: Any, tmp_path: Path) -> Path:
    """A home with a backbone's run on these users."""
    rows = [f"{user},i{(place * 3 + step * step) % 7},{step}" for place, user in enumerate(IDS) for step in range(6)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    sracl("data", "import", tmp_path / "log.csv", "--name", "log", home=tmp_path)
    words = [word for setting in SETTINGS for word in ("--set", setting)]
    sracl("run", "--dataset", "log", "--preset", "backbone", "--run-id", "one", "--headless", *words, home=tmp_path)
    return tmp_path


def test_numbers_and_ids_are_told_apart(sracl: Any, trained: Path) -> None:
    def who(*words: str) -> tuple[int, str]:
        document = json.loads(sracl(*words, "--json", home=trained).stdout)
        return document["user_id"], document["raw_id"]

    for command in ("recommend", "inspect"):
        for text, named in (
            ("#1", (1, "3")),
            ("id:1", (2, "1")),
            ("id:3", (1, "3")),
            ("#5", (5, "5")),
            ("5", (5, "5")),
        ):
            assert who(command, "one", text) == named
        for text in ("-1xuC5", "-2kO"):
            assert who(command, "one", text)[1] == text
            assert who(command, "one", f"id:{text}")[1] == text
        for text in ("1", "3"):
            refused = sracl(command, "one", text, home=trained, code=2)
            assert f"#{text}" in refused.stderr
            assert f"id:{text}" in refused.stderr
    found = json.loads(sracl("recommend", "one", "-1xuC5", "-k", "3", "--json", home=trained).stdout)
    assert len(found["items"]) == 3
    with open_store(Home(trained)) as store:
        run = find_run(store, "one")
        assert [row["user_id"] for row in search_users(store, run, "#1")] == [1]
        assert [row["user_id"] for row in search_users(store, run, "id:1")] == [2]
        assert {row["user_id"] for row in search_users(store, run, "1")} == {1, 2, 3}
        first = search_items(store, run, "#1")
        assert [row["item_id"] for row in first] == [1]
        assert search_items(store, run, f"id:{first[0]['raw_id']}") == first
        assert search_items(store, run, "id:i") == []
