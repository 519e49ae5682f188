"""A model on its own: saved, loaded, asked."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from engine.config import ModelConfig
from engine.data.batching.windows import Windows, pack_histories
from engine.errors import CheckpointError, ConfigError, DataError
from engine.models.registry import build_backbone
from engine.recommend import ABOUT, WEIGHTS, Recommender, load_model, save_model
from tests.support.commands import ROOT

EXAMPLE = ROOT / "examples" / "own_backbone.py"
N = 6


@pytest.fixture
def make():
    def build(backbone="sasrec", items=24):
        torch.manual_seed(0)
        config = ModelConfig.model_validate({"backbone": backbone, "width": 8, "inner": 12})
        model = build_backbone(config, items=items, max_length=N).eval()
        names = [f"i{n}" for n in range(1, items + 1)]
        return Recommender(model, config, N, names, [f"Item {n}" for n in names], {"run_id": "r"})

    return build


@pytest.mark.parametrize("backbone", ["sasrec", "gru4rec", "bert4rec", f"{EXAMPLE}:Decay"], ids=lambda name: name[-10:])
def test_a_saved_model_recommends_the_same(make, tmp_path, backbone):
    model = make(backbone)
    save_model(model, tmp_path / "m")
    again = load_model(tmp_path / "m", own_code=True)
    histories = [["i3"], ["i1", "i2", "i9"], [f"i{n}" for n in range(1, 15)]]
    assert again.recommend(histories) == model.recommend(histories)
    assert again.about == model.about
    assert again.titles == model.titles


def test_the_best_items_are_those_of_all_scores(make):
    model = make()
    histories = [np.array([3]), np.array([1, 2, 9]), np.arange(1, 15)]
    ids, scores = model.top(histories, k=5)
    for row, history in enumerate(histories):
        alone = model.scores([history])[0].tolist()
        expected = sorted(range(1, 25), key=lambda item: (-alone[item - 1], item))[:5]
        assert ids[row].tolist() == expected
        assert scores[row].tolist() == pytest.approx([alone[item - 1] for item in expected], rel=1e-5)


def test_histories_are_packed_as_windows_are(make_dataset):
    dataset = make_dataset()
    ids = torch.randperm(40) + 1
    ours = pack_histories([dataset.history(int(anchor)) for anchor in ids], N)
    windows = Windows(dataset, N).pack(ids)
    for name in ("items", "positions", "last", "restore"):
        assert torch.equal(getattr(ours, name), getattr(windows, name)), name
    assert ours.blocks == windows.blocks


def test_what_is_seen_is_left_out(make):
    model = make(items=5)
    (found,) = model.recommend([["i1", "i2", "i2", "i5"]], k=20, mask_seen=True)
    assert {item for item, _ in found} == {"i3", "i4"}
    assert [len(row) for row in model.recommend([["i1"], ["i2"]], k=20)] == [5, 5]
    assert model.recommend([["i1", "i2", "i3", "i4", "i5"]], mask_seen=True) == [[]]


def test_equal_scores_stand_by_number(make):
    model = make(items=9)
    with torch.no_grad():
        model.backbone.item_embedding.weight[1:] = 0.0
    ids, _ = model.top([np.array([4])], k=9)
    assert ids.tolist() == [list(range(1, 10))]


def test_more_histories_than_fit_at_once(make, monkeypatch):
    model = make()
    histories = [np.array([1 + n % 24, 1 + n % 7]) for n in range(50)]
    whole = model.top(histories, k=3)[0]
    monkeypatch.setattr("engine.recommend.BATCH", 7)
    assert np.array_equal(model.top(histories, k=3)[0], whole)
    assert model.top([], k=3)[0].shape == (0, 3)


@pytest.mark.parametrize(("histories", "words"), [([[]], "is empty"), ([["i1", "x"]], "not known .* 'x'")])
def test_a_history_that_cannot_be(make, histories, words):
    with pytest.raises(DataError, match=words):
        make().recommend(histories)


def test_code_in_a_folder_is_run_when_asked_for_only(make, tmp_path):
    save_model(make(f"{EXAMPLE}:Decay"), tmp_path / "m")
    assert str(tmp_path) not in (tmp_path / "m" / ABOUT).read_text()
    with pytest.raises(ConfigError, match="code of its own"):
        load_model(tmp_path / "m")


def test_a_folder_that_is_not_empty_is_left_alone(make, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(CheckpointError, match="not empty"):
        save_model(make(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("damage", ["none", "no weights", "cut weights", "no json", "format", "width", "fields"])
def test_a_folder_that_is_no_model(make, tmp_path, damage):
    folder = tmp_path / "m"
    if damage != "none":
        save_model(make(), folder)
        document = json.loads((folder / ABOUT).read_text())
        if damage == "no weights":
            (folder / WEIGHTS).unlink()
        if damage == "cut weights":
            (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-50])
        if damage == "no json":
            (folder / ABOUT).write_text("{")
        if damage == "format":
            (folder / ABOUT).write_text(json.dumps(document | {"format": "other"}))
        if damage == "width":
            document["model"]["width"] = 16
            (folder / ABOUT).write_text(json.dumps(document))
        if damage == "fields":
            del document["items"]
            (folder / ABOUT).write_text(json.dumps(document))
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value.where)


@pytest.mark.parametrize("ties", ["worst", "best"])
@pytest.mark.parametrize("mask_seen", [False, True])
def test_items_are_ranked_as_the_evaluation_ranks_targets(make, ties, mask_seen):
    model = make()
    history = np.array([3, 1, 5])
    hidden = model.encode([history])[0]
    seen = history if mask_seen else None
    found = model.rank(hidden, [1, 4, 24], k=5, seen=seen, ties=ties)
    scores = model.backbone.scores(hidden[None])[0].tolist()
    hidden_from_all = set(history.tolist()) if mask_seen else set()
    for item, rank, own in zip([1, 4, 24], found.ranks, found.own_scores, strict=True):
        others = [scores[n - 1] for n in range(1, 25) if n != item and n not in hidden_from_all]
        assert own == scores[item - 1]
        assert rank == 1 + sum(score >= own if ties == "worst" else score > own for score in others)
    kept = [n for n in range(1, 25) if n not in hidden_from_all]
    assert found.items == sorted(kept, key=lambda n: (-scores[n - 1], n))[:5]


def test_equal_scores_rank_worst_or_best(make):
    model = make()
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.zero_()
    hidden = model.encode([np.array([3])])[0]
    assert model.rank(hidden, [7], k=3, ties="worst").ranks == [24]
    assert model.rank(hidden, [7], k=3, ties="best").ranks == [1]
    assert model.rank(hidden, [7], k=3, seen=np.array([1, 2]), ties="worst").ranks == [22]
    assert model.rank(hidden, [], k=3, seen=np.arange(1, 23)).items == [23, 24]
