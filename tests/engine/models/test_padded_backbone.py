"""An encoder for padded batches: the same numbers in every layout of a batch, trained, resumed and exported as our own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine.config import ModelConfig
from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Packed, Windows, pack_histories
from engine.data.dataset import TRAIN
from engine.errors import ConfigError, TrainingError
from engine.models.padded_backbone import blocked_attention
from engine.models.registry import build_backbone
from engine.recommend import Recommender, load_model, save_model
from engine.training.trainer import Stopped
from tests.support.commands import ROOT

OWN = f"{ROOT / 'examples' / 'padded_backbone.py'}:Encoder"
N = 6
MEAN = """
import torch
from engine.models.padded_backbone import PaddedBackbone

class Mean(PaddedBackbone):
    def encode(self, items, mask):
        x = {read}(items) * mask[..., None]
        return (x.sum(1, keepdim=True) / mask.sum(1)[:, None, None]).expand(-1, {length}, -1)
"""


def build(name: str = OWN, dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(3)
    config = ModelConfig.model_validate({"backbone": name, "width": 8, "inner": 12, "dropout": dropout})
    model = build_backbone(config, items=24, max_length=N).to(dtype)
    with torch.no_grad():
        model.item_embedding.weight.mul_(30)
    return model


def gradients(model: Any, value: torch.Tensor) -> list[torch.Tensor]:
    direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(5), dtype=value.dtype)
    return list(torch.autograd.grad((value * direction).sum(), list(model.parameters())))


def test_every_layout_gives_the_same_numbers(make_dataset) -> None:
    dataset, model = make_dataset(), build()
    ids = torch.randperm(60)[:30] + 1
    packed = model(Windows(dataset, N).pack(ids))
    padded = model(PaddedWindows(dataset, N, "cpu").pack(ids))
    assert torch.equal(packed, padded)
    for one, other in zip(gradients(model, packed), gradients(model, padded), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    batch = SharedWindows(dataset, N).gather([ids])
    assert batch.indices is not None
    shared = model.encode_at(batch.packed, batch.indices)
    alone = torch.stack([reference(model, batch.packed, int(index)) for index in batch.indices])
    torch.testing.assert_close(shared, alone, rtol=1e-9, atol=1e-12)
    last = batch.packed.last[batch.packed.restore]
    torch.testing.assert_close(model.encode_at(batch.packed, last), model(batch.packed), rtol=1e-12, atol=0)


def reference(model: Any, packed: Packed, index: int) -> torch.Tensor:
    """The state at a token, from its window up to it alone, padded by hand."""
    first = int((packed.last < index).sum())
    start = 0 if first == 0 else int(packed.last[first - 1]) + 1
    items = torch.zeros(1, N, dtype=torch.long)
    place = packed.positions[start : index + 1]
    items[0, place] = packed.items[start : index + 1]
    mask = torch.zeros(1, N, dtype=torch.bool)
    mask[0, place] = True
    return model.encode(items, mask)[0, packed.positions[index]]


def test_dropout_draws_the_same_in_every_layout(make_dataset) -> None:
    dataset, model = make_dataset(), build(dropout=0.4).train()
    ids, made = torch.randperm(60)[:30] + 1, []
    for windows in (Windows(dataset, N), PaddedWindows(dataset, N, "cpu")):
        torch.manual_seed(9)
        made.append(model(windows.pack(ids)))
    assert torch.equal(*made)


def test_padding_changes_nothing_and_is_never_nan(make_dataset) -> None:
    model = build().eval()
    histories = [torch.tensor(items).numpy() for items in ([3], [3, 9], [1, 2, 3, 4, 5, 6], [7, 1, 2, 3, 4, 5, 6])]
    with torch.no_grad():
        states = model(pack_histories(histories, N))
        model.item_embedding.weight[0] = 100.0
        changed = model(pack_histories(histories, N))
    assert torch.equal(states, changed)
    assert torch.equal(states[2], states[3]), "the window holds the last items"
    assert states.isfinite().all()


def test_vectors_take_the_place_of_items_in_every_layout(make_dataset) -> None:
    dataset, model = make_dataset(), build()
    ids, made = torch.randperm(60)[:30] + 1, []
    for windows in (Windows(dataset, N), PaddedWindows(dataset, N, "cpu")):
        packed = windows.pack(ids)
        vectors = model.item_embedding(packed.items)
        torch.testing.assert_close(model(packed, vectors), model(packed), rtol=1e-12, atol=1e-14)
        made.append(model(packed, 2 * vectors))
    torch.testing.assert_close(*made, rtol=1e-12, atol=1e-14)
    assert not torch.allclose(made[0], model(packed))


def test_blocked_attention_is_padding_and_later_items_but_never_a_whole_row() -> None:
    mask = torch.tensor([[False, False, True, True]])
    both = [[0, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
    assert blocked_attention(mask, causal=False).int().tolist() == [both]
    causal = [[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 0, 0]]
    assert blocked_attention(mask, causal=True, heads=2).int().tolist() == [causal, causal]


@pytest.mark.parametrize(
    ("read", "length", "words"),
    [("self.item_embedding", "mask.shape[1]", "self.embed"), ("self.embed", "2", "states of shape")],
)
def test_an_encoder_that_breaks_the_rules_is_refused(
    make_dataset, tmp_path, read: str, length: str, words: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MEAN.format(read=read, length=length))
    model, packed = build(f"{path}:Mean"), Windows(make_dataset(), N).pack(torch.arange(1, 9))
    with pytest.raises(ConfigError, match=words):
        model(packed, model.item_embedding(packed.items))


def test_one_that_sees_both_ways_trains_but_not_by_sequences(run, prepare, tmp_path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MEAN.format(read="self.embed", length="mask.shape[1]"))
    assert run(backbone=f"{path}:Mean", epochs=1).result.test["hr@20"] > 0
    with pytest.raises(TrainingError, match="last item only"):
        prepare(backbone=f"{path}:Mean", mode="sequence")


@pytest.mark.parametrize("settings", [{"item_kind": "synthesize"}, {"mode": "sequence"}], ids=["prefix", "sequence"])
def test_it_trains_and_resumes_bit_for_bit(run, prepare, world, tmp_path, settings) -> None:
    settings = {"backbone": OWN, "epochs": 2, "lr": 0.01, **settings}
    whole = run(**settings)
    losses = [epoch["loss_rec"] for epoch in whole.values("train")]
    assert losses[1] < losses[0]
    asked = iter([False] * 2 + [True])
    first = prepare(folder=tmp_path, stop=lambda: next(asked), **settings)
    with pytest.raises(Stopped):
        first.trainer.run()
    again = prepare(folder=tmp_path, **settings)
    torch.manual_seed(12345)
    again.trainer.resume()
    again.finish()
    assert again.equals(whole)
    assert again.result.test == whole.result.test


def test_it_is_exported_with_its_code(tmp_path) -> None:
    model = build(dtype=torch.float32).eval()
    config = ModelConfig.model_validate({"backbone": OWN, "width": 8, "inner": 12})
    names = [f"i{n}" for n in range(1, 25)]
    made = Recommender(model, config, N, names, names, {"run_id": "r"})
    save_model(made, tmp_path / "model")
    histories = [["i3"], ["i1", "i2", "i9"], names[:15]]
    assert load_model(tmp_path / "model", own_code=True).recommend(histories) == made.recommend(histories)


def test_its_loss_falls_to_that_of_a_model_that_has_learned(run, make_dataset) -> None:
    dataset = make_dataset(users=60, cyclic=True, shortest=6)
    settings = {"backbone": OWN, "dropout": 0.0, "lr": 0.01, "epochs": 25, "width": 16, "alpha": 0.0, "beta": 0.0}
    made = run(dataset=dataset, semantics=None, **settings)
    assert made.result.test["hr@5"] > 0.9, "chance is 0.21"
    assert len(dataset.anchors.ids(TRAIN)) > 100
