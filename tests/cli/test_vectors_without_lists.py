"""A method that reads semantic vectors and no neighbors: its texts are written and encoded, and nothing is retrieved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.config_files import build_config
from engine.data.dataset import TRAIN
from engine.data.goods import make_goods
from engine.recommend import load_model
from sracl_tui.runs.stages.needs import Needs
from store.journal.journal import read_events

METHOD = """
import torch.nn.functional as F
from torch import nn

from engine.methods.base import ANCHOR, Method, Needs, Part


class Align(Part):
    name = "near"
    needs = Needs.USER_VECTORS | Needs.ITEM_VECTORS

    def __init__(self, settings, *, context):
        super().__init__(settings, context=context)
        self.semantics = context.semantics
        self.project = nn.Linear(self.semantics.user_vectors.shape[1], context.config.model.width)

    def views(self, batch):
        return (batch.view(key=ANCHOR),)

    def loss(self, batch, hidden):
        rows = self.semantics.user_rows[batch.ids]
        assert (rows > 0).all(), "every training anchor has a vector"
        texts = self.project(self.semantics.user_vectors[rows])
        return -F.cosine_similarity(hidden[0], texts).mean()


METHOD = Method(parts=("rec", Align))
"""
SMALL = ("max_users=30", "epochs=1", "threads=1", "width=8", "inner=8", "layers=1", "encoder=tfidf", "k=3")


@pytest.mark.parametrize("extra", [(), ("vector=item-mean",), ("unit=user",), ("pool=reference",)])
def test_texts_are_read_and_nothing_is_retrieved(sracl: Any, tmp_path: Path, extra: tuple[str, ...]) -> None:
    (tmp_path / "near.py").write_text(METHOD)
    words = [word for setting in (*SMALL, "method=near.py:METHOD", *extra) for word in ("--set", setting)]
    plan = json.loads(sracl("run", "--headless", *words, "--dry-run", "--json", home=tmp_path).stdout)
    assert [stage["stage"] for stage in plan["stages"]] == ["import", "summaries", "vectors", "train"]
    sracl("run", "--headless", *words, "--run-id", "one", "--json", home=tmp_path)
    run = json.loads(sracl("show", "one", "--json", home=tmp_path).stdout)
    assert run["state"] == "finished"
    began = [
        line.fields["stage"] for _, line in read_events(tmp_path / "runs" / "one") if line.event == "stage_started"
    ]
    assert [stage for stage in began if stage != "import"] == ["summaries", "vectors"]  # and the training
    losses = {point["name"]: point["value"] for point in run["curves"] if point["split"] == "train"}
    assert losses["loss_near"] != 0
    assert "near.py:METHOD weighs no neighbors." in sracl("inspect", "one", "1", home=tmp_path).stdout


@pytest.mark.parametrize("unit", ["prefix", "user", "every-3"])
@pytest.mark.parametrize("pool", ["others", "train", "users", "reference"])
def test_no_prefix_of_validation_or_test_is_paid_for_where_nothing_is_retrieved(
    tmp_path: Path, unit: str, pool: str
) -> None:
    (tmp_path / "near.py").write_text(METHOD)
    pool = "users" if unit == "user" else pool
    settings = {"method": f"{tmp_path / 'near.py'}:METHOD", "semantics.unit": unit, "retrieval.pool": pool}
    dataset = make_goods()
    needs = Needs.of(build_config(settings), dataset)
    assert not needs.user_list
    assert not needs.item_list
    expected = dataset.anchors.representing if unit == "user" else dataset.anchors.ids(TRAIN)
    assert needs.vector_anchors.tolist() == expected.tolist()


TEXTS = ("encoder=tfidf", "epochs=1", "threads=1", "width=8", "inner=8", "layers=1")
LOSSES = {"rlmrec-con": "align", "rlmrec-gen": "reconstruct"}
"""Of our methods that read texts and no neighbors, the part that does."""


@pytest.fixture
def imported(sracl: Any, tmp_path: Path) -> Path:
    """A home with 12 users of 9 items each; one of the items has no title."""
    rows = [f"u{user},i{(user * 3 + step * step) % 14},{step}" for user in range(12) for step in range(9)]
    (tmp_path / "ratings.csv").write_text("\n".join(["user,item,time", *rows]))
    titles = ["", "steel pen", "blue pen", "red ink", "black ink", "note pad", "legal pad", "desk lamp"]
    titles += ["floor lamp", "stapler", "paper clips", "rubber bands", "white board", "marker"]
    lines = [f"i{number},{title}" for number, title in enumerate(titles)]
    (tmp_path / "items.csv").write_text("\n".join(["item,title", *lines]))
    words = ("data", "import", tmp_path / "ratings.csv", "--items", tmp_path / "items.csv", "--name", "tiny")
    sracl(*words, home=tmp_path)
    return tmp_path


@pytest.mark.parametrize("method", LOSSES)
def test_our_methods_run_on_an_import_and_an_exported_model_needs_no_texts(
    sracl: Any, imported: Path, method: str
) -> None:
    words = [word for setting in (*TEXTS, f"method={method}") for word in ("--set", setting)]
    given = ("run", "--dataset", "tiny", "--headless", *words)
    plan = json.loads(sracl(*given, "--dry-run", "--json", home=imported).stdout)
    assert [stage["stage"] for stage in plan["stages"]] == ["import", "summaries", "vectors", "train"]
    sracl(*given, "--run-id", "one", "--json", home=imported)
    run = json.loads(sracl("show", "one", "--json", home=imported).stdout)
    assert run["state"] == "finished"
    found = {point["name"]: point["value"] for point in run["curves"] if point["split"] == "train"}
    assert found[f"loss_{LOSSES[method]}"] > 0
    assert found[f"{LOSSES[method]}_prefixes_without_text"] == 1, "that of the item without a title alone"
    assert found[f"{LOSSES[method]}_items_without_text"] == 0, "the summary of that item says who chooses it"
    query = "SELECT kind, count(*) AS n FROM summary_links JOIN summary_sets USING (set_id) GROUP BY kind ORDER BY kind"
    counts = {row["kind"]: row["n"] for row in json.loads(sracl("sql", query, "--json", home=imported).stdout)}
    assert counts == {"item": 14, "user": 12 * 6}, "one of each training prefix, none of validation or test"
    assert f"The method {method} weighs no neighbors." in sracl("inspect", "one", "1", home=imported).stdout
    sracl("export", "one", "--what", "model", "--out", imported / "model", home=imported)
    model = load_model(imported / "model")
    assert not [name for name, _ in model.backbone.named_parameters() if "parts" in name]
    assert len(model.recommend([["i1", "i2", "i5"]], k=3)[0]) == 3
    again = json.loads(sracl("reproduce", "one", "--headless", "--json", home=imported).stdout)
    assert again["pass"]


@pytest.mark.parametrize("method", LOSSES)
@pytest.mark.parametrize("unit", ["prefix", "user", "every-3"])
def test_our_methods_pay_for_no_prefix_of_validation_or_test(method: str, unit: str) -> None:
    pools = ["users"] if unit == "user" else ["others", "reference"]
    dataset = make_goods()
    for pool in pools:
        needs = Needs.of(build_config({"method": method, "unit": unit, "pool": pool}), dataset)
        assert not needs.user_list
        assert not needs.item_list
        expected = dataset.anchors.representing if unit == "user" else dataset.anchors.ids(TRAIN)
        assert needs.vector_anchors.tolist() == expected.tolist()


def test_a_list_setting_changes_no_hash_and_a_text_setting_does() -> None:
    for method in LOSSES:
        config = build_config({"method": method})
        assert build_config({"method": method, "k": 3, "pool": "train"}).config_hash() == config.config_hash()
        assert build_config({"method": method, "encoder": "tfidf"}).config_hash() != config.config_hash()


def test_the_hash_of_an_own_method_has_no_defaults_of_other_parts(tmp_path: Path) -> None:
    (tmp_path / "near.py").write_text(METHOD)
    own = {"method": f"{tmp_path / 'near.py'}:METHOD"}
    config = build_config(own)
    assert build_config(own, {"parts.rec.negatives": 256}).config_hash() == config.config_hash()
    assert build_config(own, {"parts.rec.weight": 0.5}).config_hash() != config.config_hash()
    assert build_config(own, {"parts": {"near": {"weight": 0.5}}}).config_hash() != config.config_hash()
