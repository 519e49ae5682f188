"""`sracl methods` says what a run can train, and its names are those that a run takes."""

from __future__ import annotations

import json

import pytest

from engine.config_files import load_config
from engine.method_table import METHODS, PARTS
from engine.setting_paths import leaf_paths
from tests.support.commands import sracl_inside

SMALL = (
    "--dataset",
    "goods",
    "--set",
    "max_users=60",
    "--set",
    "encoder=tfidf",
    "--set",
    "epochs=1",
    "--set",
    "threads=1",
    "--headless",
)


def test_every_method_is_listed_and_explained(tmp_path):
    rows = json.loads(sracl_inside(tmp_path, "methods", "--json").stdout)
    assert [row["name"] for row in rows] == METHODS.names()
    for row in rows:
        assert row["family"] in {"recommendation", "contrastive", "semantic", "pretraining"}, row["name"]
        assert row["description"]
        assert row["passes"]
        assert row["source"]
        assert row["ours"]
        config, _ = load_config(assignments=(f"method={row['name']}",))
        assert len(set(config.active)) == len(config.active)
        assert set(row["parts"]) <= {*config.active, *PARTS}
        assert bool(row["needs"]) == bool(config.needs)
        for setting in row["settings"]:
            assert leaf_paths()[setting["path"]] == setting["path"]
            assert setting["meaning"]


def test_the_table_names_each_once(tmp_path):
    text = sracl_inside(tmp_path, "methods").stdout
    for name in METHODS.names():
        assert sum(line.split()[:1] == [name] for line in text.splitlines()) == 1, text


def test_one_method_with_its_settings(tmp_path):
    text = sracl_inside(tmp_path, "methods", "sracl").stdout
    assert "loss.alpha" in text
    assert "arXiv 2503.04162" in text
    assert "rec + inter + intra" in text


def test_a_method_that_is_not_there(tmp_path):
    done = sracl_inside(tmp_path, "methods", "srakl", code=2)
    assert "there is no method 'srakl'" in done.stderr


@pytest.mark.parametrize("name", METHODS.ours)
def test_a_part_of_ours_says_what_it_needs_without_being_imported(name):
    assert METHODS.load(name).all_parts
    assert all(part in PARTS for part in METHODS.load(name).all_parts)


def test_duorec_and_sracl_in_one_training(sracl, tmp_path):
    combined = (
        "--set",
        'method.parts=["rec", "same_target", "inter", "intra"]',
        "--set",
        "parts.same_target.weight=0.2",
    )
    document = json.loads(sracl("run", *SMALL, *combined, "--json", home=tmp_path).stdout)
    assert document["state"] == "finished"
    assert 0 < document["test"]["hr@20"] <= 1
    shown = json.loads(sracl("show", "last", "--json", home=tmp_path).stdout)
    assert shown["config"]["method"]["parts"] == ["rec", "same_target", "inter", "intra"]
    assert shown["config"]["parts"]["same_target"]["weight"] == 0.2
    losses = {point["name"]: point["value"] for point in shown["curves"] if point["split"] == "train"}
    assert min(losses[name] for name in ("loss_rec", "loss_same_target", "loss_cs", "loss_is")) > 0
    weighted = losses["loss_rec"] + 0.2 * losses["loss_same_target"] + 0.1 * (losses["loss_cs"] + losses["loss_is"])
    assert losses["loss"] == pytest.approx(weighted, rel=1e-5)
