"""A method whose backbone reads item texts, from its plan to recommendations without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SMALL = ("max_users=30", "epochs=1", "threads=1", "width=8", "inner=8", "layers=1", "encoder=tfidf", "k=3")


def test_from_the_plan_to_recommendations(sracl: Any, tmp_path: Path) -> None:
    words = [word for setting in (*SMALL, "method=llm-esr") for word in ("--set", setting)]
    plan = json.loads(sracl("run", "--headless", *words, "--dry-run", "--json", home=tmp_path).stdout)
    assert [stage["stage"] for stage in plan["stages"]] == ["import", "summaries", "vectors", "neighbors", "train"]
    sracl("run", "--headless", *words, "--run-id", "one", home=tmp_path)
    run = json.loads(sracl("show", "one", "--json", home=tmp_path).stdout)
    assert run["state"] == "finished"
    losses = {point["name"]: point["value"] for point in run["curves"] if point["split"] == "train"}
    assert losses["loss_distill"] > 0
    assert "Neighbors, most similar first" in sracl("inspect", "one", "1", home=tmp_path).stdout
    sracl("export", "one", "--what", "model", "--out", str(tmp_path / "model"), home=tmp_path)
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert sracl("recommend", "one", "1", home=tmp_path).stdout


def test_texts_alone(sracl: Any, tmp_path: Path) -> None:
    words = [word for setting in (*SMALL, "method=alpharec") for word in ("--set", setting)]
    plan = json.loads(sracl("run", "--headless", *words, "--dry-run", "--json", home=tmp_path).stdout)
    assert [stage["stage"] for stage in plan["stages"]] == ["import", "summaries", "vectors", "train"]
    sracl("run", "--headless", *words, "--run-id", "one", home=tmp_path)
    assert json.loads(sracl("show", "one", "--json", home=tmp_path).stdout)["state"] == "finished"
    assert "The method alpharec weighs no neighbors." in sracl("inspect", "one", "1", home=tmp_path).stdout
    sracl("export", "one", "--what", "items", "--out", str(tmp_path / "items.parquet"), home=tmp_path)
    assert sracl("recommend", "one", "1", home=tmp_path).stdout
