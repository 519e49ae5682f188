"""Training in mixed precision: bfloat16 products in the encoder, everything else in float32."""

from __future__ import annotations

import pytest
import torch

from engine.config import Config
from engine.config_files import build_config
from engine.methods import sracl
from engine.models.kernel_library import SWITCH
from engine.training.trainer import LAST

PLAIN = {"dropout": 0.0, "attention_dropout": 0.0, "weight_dropout": 0.0, "epochs": 1}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mode": "sequence"},
        {"item_kind": "synthesize", "direction": "one-way", "swap": 1.0},
        {"backbone": "gru4rec"},
        {"backbone": "bert4rec"},
    ],
    ids=str,
)
def test_losses_are_those_of_float32_but_for_rounding(run, settings):
    wide, narrow = (run(**PLAIN, **settings, precision=name) for name in ("float32", "bfloat16"))
    for ours, theirs in zip(narrow.values("train"), wide.values("train"), strict=True):
        assert ours == pytest.approx(theirs, rel=0.02)
        assert ours != theirs
    assert {weight.dtype for weight in narrow.weights(LAST).values()} == {torch.float32}


def test_only_the_encoder_is_narrow_and_only_while_it_trains(prepare, world, monkeypatch):
    monkeypatch.setenv(SWITCH, "off")  # kernels of our own read the weights of a layer without calling it
    made = prepare(precision="bfloat16")
    model, seen = made.trainer.model, {}

    def note(name, function):
        def noted(*args, **settings):
            seen.setdefault(name, []).append((torch.is_autocast_enabled("cpu"), args[0].dtype))
            return function(*args, **settings)

        return noted

    model.backbone.layers[0].output.register_forward_hook(
        lambda module, given, got: seen.setdefault("layer", []).append(got.dtype)
    )
    monkeypatch.setattr(model.backbone, "scores", note("scores", model.backbone.scores))
    monkeypatch.setattr(sracl, "info_nce", note("contrast", sracl.info_nce))
    model.losses(torch.from_numpy(made.trainer._ids[:8]), made.trainer.windows).total.backward()
    assert seen == {
        "layer": [torch.bfloat16],
        "scores": [(False, torch.float32)],
        "contrast": [(False, torch.float32)] * 2,
    }
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}
    seen.clear()
    made.trainer._evaluator.validate(made.trainer.model.backbone, made.trainer._valid)
    assert seen["layer"] == [torch.float32]


def test_it_learns(run, make_dataset, make_semantics):
    dataset = make_dataset(users=60, cyclic=True, shortest=4)
    easy = {"dropout": 0.0, "attention_dropout": 0.0, "lr": 0.02, "epochs": 12, "width": 16}
    made = run(dataset=dataset, semantics=make_semantics(dataset), precision="bfloat16", **easy)
    assert made.result.test["hr@5"] > 0.9


def test_a_run_in_float32_has_the_hash_of_before_there_was_a_choice():
    assert build_config({}, {"precision": "float32"}).config_hash() == Config().config_hash()
    assert build_config({}, {"precision": "bfloat16"}).config_hash() != Config().config_hash()
