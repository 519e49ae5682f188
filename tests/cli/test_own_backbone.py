"""A backbone that somebody else wrote, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support.commands import ROOT

EXAMPLE = ROOT / "examples" / "own_backbone.py"
SMALL = (
    "--dataset",
    "goods",
    "--set",
    "max_users=60",
    "--set",
    "encoder=tfidf",
    "--set",
    "epochs=2",
    "--set",
    "threads=1",
    "--headless",
)


def test_a_file_of_30_lines_trains_with_both_contrasts(sracl, tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "mine.py")
    named = ("--set", "model.backbone=mine.py:Decay")
    document = json.loads(sracl("run", *SMALL, *named, "--json", home=tmp_path).stdout)
    assert document["state"] == "finished"
    assert 0 < document["test"]["hr@20"] <= 1
    shown = json.loads(sracl("show", "last", "--json", home=tmp_path).stdout)
    assert shown["config"]["model"]["backbone"] == f"{tmp_path.resolve() / 'mine.py'}:Decay"
    losses = {point["name"]: point["value"] for point in shown["curves"] if point["split"] == "train"}
    assert losses["loss_cs"] > 0
    assert losses["loss_is"] > 0
    assert (Path(shown["folder"]) / "own_backbone.py").read_text() == EXAMPLE.read_text()
    code = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(code) < 36


def test_what_is_wrong_with_one_is_said_before_the_run(sracl, tmp_path):
    done = sracl("run", *SMALL, "--set", "model.backbone=none.py:Mine", home=tmp_path, code=2)
    assert "model.backbone: there is no file" in " ".join(done.stderr.split())
    (tmp_path / "wrong.py").write_text("class Mine:\n    pass\n")
    done = sracl("run", *SMALL, "--set", "model.backbone=wrong.py:Mine", home=tmp_path, code=2)
    assert "no subclass of engine.models.backbone.Backbone" in done.stderr
