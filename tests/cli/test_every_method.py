"""Each of our methods by the command: planned, trained, exported, asked without its vectors, and repeated bit by bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.method_table import METHODS
from engine.recommend import load_model

SMALL = (
    "dataset=goods", "max_users=30", "epochs=1", "threads=1", "width=8", "inner=8", "layers=1", "encoder=tfidf", "k=3",
    "parts.mip.epochs=1", "parts.intent.clusters=3",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.ours)
def test_from_the_plan_to_a_second_run_of_the_same_bits(sracl: Any, tmp_path: Path, method: str) -> None:
    words = [word for setting in (*SMALL, f"method={method}") for word in ("--set", setting)]
    plan = json.loads(sracl("run", *words, "--dry-run", "--json", home=tmp_path).stdout)
    assert plan["stages"][-1]["stage"] == "train"
    assert plan["stages"][-1]["seconds"] > 0
    sracl("run", "--headless", *words, "--run-id", "one", home=tmp_path)
    assert json.loads(sracl("show", "one", "--json", home=tmp_path).stdout)["state"] == "finished"
    sracl("export", "one", "--what", "model", "--out", str(tmp_path / "model"), home=tmp_path)
    alone = load_model(tmp_path / "model")
    assert len(alone.recommend([alone.item_ids[:2]], k=5)[0]) == 5
    assert sracl("recommend", "one", "1", home=tmp_path).stdout
    again = json.loads(sracl("reproduce", "one", "--headless", "--json", home=tmp_path).stdout)
    assert again["exact"], again["differences"]
