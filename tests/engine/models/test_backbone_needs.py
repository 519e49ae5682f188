"""Backbones that need text vectors: what follows for plans, hashes and the model, ours and a user's own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from engine.config import Config
from engine.config_files import build_config
from engine.data.batching.windows import Windows
from engine.data.demo import make_demo
from engine.errors import ConfigError
from engine.extension_points import BACKBONES
from engine.method_table import BACKBONE_NEEDS, METHODS, Needs, backbone_needs
from engine.methods.model import Model
from sracl_tui.runs.stages.needs import Needs as Prepared
from sracl_tui.services.method_list import describe

PLAIN = {"method": "plain"}
OWN = """
import torch
from torch import nn

from engine.method_table import Needs
from engine.models.backbone import Backbone


class Own(Backbone):
    needs = {needs}

    def __init__(self, config, *, items, max_length):
        super().__init__(config, items=items, max_length=max_length)
        self.item_embedding = nn.Embedding(items + 1, config.width, padding_idx=0)

    def before_training(self, dataset, item_vectors):
        self.given = item_vectors

    def forward(self, packed, token_vectors=None):
        return self.item_embedding(packed.items)[packed.last][packed.restore]
"""


@pytest.fixture
def own(tmp_path):
    def write(needs="Needs.ITEM_VECTORS", text=OWN):
        path = tmp_path / "own.py"
        path.write_text(text.format(needs=needs))
        return {"method": "plain", "backbone": f"{path}:Own"}

    return write


def test_what_ours_need_is_what_their_classes_say():
    assert set(BACKBONE_NEEDS) <= set(BACKBONES.ours)
    for name in BACKBONES.ours:
        assert BACKBONES.load(name).needs == backbone_needs(name), name


def test_needs_are_those_of_parts_and_backbone():
    assert build_config(PLAIN).needs == Needs.NONE
    assert build_config(PLAIN, {"backbone": "dual"}).needs == Needs.ITEM_VECTORS
    distilled = Needs.USER_VECTORS | Needs.NEIGHBORS
    assert build_config({"method": "llm-esr"}).needs == Needs.ITEM_VECTORS | distilled
    assert build_config({"method": "llm-esr", "parts.distill.weight": 0.0}).needs == Needs.ITEM_VECTORS
    assert build_config({"method": "llm-esr", "backbone": "gru4rec"}).needs == distilled


def test_what_is_prepared():
    dataset = make_demo()
    needs = Prepared.of(build_config(PLAIN, {"backbone": "dual"}), dataset)
    assert needs.textual
    assert set(needs.summary_owners()) == {"item"}
    assert not needs.user_list
    assert not needs.item_list
    whole = Prepared.of(build_config({"method": "llm-esr"}), dataset)
    assert set(whole.summary_owners()) == {"user", "item"}
    assert whole.user_list
    assert not whole.item_list
    sracl = Prepared.of(Config(), dataset)
    for kind, owners in whole.summary_owners().items():
        assert owners.tolist() == sracl.summary_owners()[kind].tolist(), "the same summaries"
    assert whole.list_id("user", "set", "encoder") == sracl.list_id("user", "set", "encoder"), "the same neighbors"


def hashes(*settings, **change):
    return [build_config(*settings, each).config_hash() for each in ({}, change)]


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({**PLAIN, "backbone": "sasrec"}, (False, False)),
        ({**PLAIN, "backbone": "dual"}, (True, False)),
        ({"method": "llm-esr"}, (True, True)),
    ],
)
def test_hashes_have_the_settings_that_are_read(settings, counts):
    for change, counted in zip(({"encoder": "tfidf"}, {"k": 3}), counts, strict=True):
        before, after = hashes(settings, **change)
        assert (before != after) == counted, change
    before, after = hashes(settings, temperature=0.5)
    assert before == after, "no contrast reads it"


def test_the_app_learns_what_ours_need_without_torch():
    code = (
        "import sys; from engine.config_files import build_config as b; c = b({'method': 'llm-esr'});"
        "assert c.needs; c.config_hash(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_method_is_listed_with_what_its_backbone_needs():
    assert describe("llm-esr")["needs"] == ["user vectors", "item vectors", "neighbors"]
    assert describe("alpharec")["needs"] == ["item vectors"]
    assert describe("plain")["needs"] == []
    rows = {row["path"]: row["default"] for row in describe("alpharec")["settings"]}
    assert (rows["model.backbone"], rows["train.lr"], rows["parts.rec.weight"]) == ("alpharec", 5e-4, 1.0)
    assert all(METHODS.load(name).family for name in METHODS.ours)


def test_vectors_of_the_backbone_itself_are_refused():
    with pytest.raises(
        ConfigError,
        match=r"semantics.vector: backbone dual reads vectors before it is trained.*; use text or item-mean",
    ):
        build_config({"method": "llm-esr", "vector": "collaborative"})
    assert build_config({"vector": "collaborative"}).needs, "as the default backbone can"


# A user's own


def test_an_own_backbone_is_given_the_vectors(own, make_dataset, make_semantics):
    dataset = make_dataset()
    config = build_config(own())
    assert config.needs == Needs.ITEM_VECTORS
    semantics, windows = make_semantics(dataset), Windows(dataset, 6)
    model: Any = Model(config, dataset=dataset, windows=windows, semantics=semantics)
    assert torch.equal(model.backbone.given, semantics.item_vectors)
    with pytest.raises(ValueError, match="backbone needs"):
        Model(config, dataset=dataset, windows=windows, semantics=None)
    without: Any = Model(
        build_config(own("Needs.NONE"), {"method": "sracl"}), dataset=dataset, windows=windows, semantics=semantics
    )
    assert without.backbone.given is None


def test_hashes_of_an_own_backbone(own):
    before, after = hashes(own(), encoder="tfidf")
    assert before != after
    before, after = hashes(own("Needs.NONE"), encoder="tfidf")
    assert before == after


@pytest.mark.parametrize("needs", ["Needs.NEIGHBORS", "Needs.ITEM_VECTORS | Needs.USER_VECTORS", "None", "True"])
def test_an_own_backbone_may_need_item_vectors_alone(own, needs):
    config = build_config(own(needs))
    with pytest.raises(ConfigError, match=r"a backbone may need Needs\.ITEM_VECTORS alone"):
        _ = config.needs


def test_code_that_cannot_be_read_is_told_where_it_matters_and_has_a_hash(own, tmp_path):
    config = build_config(own(text="{needs} = 1 +"))
    with pytest.raises(ConfigError, match="cannot be imported"):
        _ = config.needs
    assert config.config_hash()
    (tmp_path / "own.py").unlink()
    gone = Config.model_validate(config.model_dump())
    assert gone.needs == Needs.NONE
    assert gone.config_hash()
