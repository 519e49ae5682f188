"""A method that learns from texts is refused where the data has none, unless it is asked for; its warnings are then kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

SMALL = ("--dataset", "bare", "--headless")
SETTINGS = ("encoder=tfidf", "epochs=1", "threads=1", "width=8", "inner=8", "layers=1")
FAST = tuple(word for setting in SETTINGS for word in ("--set", setting))


@pytest.fixture
def bare(sracl: Any, tmp_path: Path) -> Path:
    """A home with a dataset without a text."""
    rows = [f"u{user},i{(user * 3 + step * step) % 9},{step}" for user in range(10) for step in range(6)]
    (tmp_path / "notext.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    sracl("data", "import", tmp_path / "notext.csv", "--name", "bare", home=tmp_path)
    return tmp_path


def test_texts_that_are_not_there_are_refused_and_allowed_with_a_warning(sracl: Any, bare: Path) -> None:
    for words in ((), ("--dry-run",), ("--dry-run", "--queue"), ("--dry-run", "--seeds", "2")):
        refused = sracl("run", *SMALL, *FAST, *words, home=bare, code=2)
        assert "no item of bare has text" in " ".join((refused.stderr + refused.stdout).split())
        assert "--allow-degraded" in refused.stderr + refused.stdout
    sracl("run", *SMALL, *FAST, "--dry-run", "--allow-degraded", home=bare)
    sracl("run", *SMALL, *FAST, "--allow-degraded", "--run-id", "asked", home=bare)
    assert json.loads((bare / "runs" / "asked" / "request.json").read_text())["allow_degraded"] is True
    rows = {row["run_id"]: row for row in json.loads(sracl("runs", "--json", home=bare).stdout)}
    assert rows["asked"]["state"] == "finished"
    assert rows["asked"]["warnings"] >= 1
    shown = json.loads(sracl("show", "asked", "--json", home=bare).stdout)
    told = r"neighbors done, .*: 0 of \d+ anchors x 10, 0 of \d+ items x 10"
    assert re.search(told, "\n".join(shown["log"])), [line for line in shown["log"] if "neighbors done" in line]
    warnings = shown["warnings"]
    assert any("there is no text to encode" in warning for warning in warnings)


@pytest.mark.parametrize("words", [("--preset", "backbone"), ("--set", "vector=collaborative")])
def test_what_needs_no_texts_runs_without_a_word(sracl: Any, bare: Path, words: tuple[str, ...]) -> None:
    sracl("run", *SMALL, *FAST, *words, "--run-id", "fine", home=bare)
    assert json.loads(sracl("show", "fine", "--json", home=bare).stdout)["warnings"] == []
