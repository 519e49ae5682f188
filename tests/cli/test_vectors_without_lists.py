"""A method that reads semantic vectors and no neighbors: its texts are written and encoded, and nothing is retrieved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.config_files import build_config
from engine.data.dataset import TRAIN
from engine.data.demo import make_demo
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
    dataset = make_demo()
    needs = Needs.of(build_config(settings), dataset)
    assert not needs.user_list
    assert not needs.item_list
    expected = dataset.anchors.representing if unit == "user" else dataset.anchors.ids(TRAIN)
    assert needs.vector_anchors.tolist() == expected.tolist()


def test_the_hash_of_an_own_method_has_no_defaults_of_other_parts(tmp_path: Path) -> None:
    (tmp_path / "near.py").write_text(METHOD)
    own = {"method": f"{tmp_path / 'near.py'}:METHOD"}
    config = build_config(own)
    assert build_config(own, {"parts.rec.negatives": 256}).config_hash() == config.config_hash()
    assert build_config(own, {"parts.rec.weight": 0.5}).config_hash() != config.config_hash()
    assert build_config(own, {"parts": {"near": {"weight": 0.5}}}).config_hash() != config.config_hash()
