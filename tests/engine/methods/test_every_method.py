"""What must hold for each of our methods: a stopped training goes on, sequence mode trains or says why not, a saved model needs no texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config import Config
from engine.errors import ConfigError, TrainingError
from engine.method_table import METHODS
from engine.models.registry import build_backbone
from engine.training.trainer import BEST, Stopped

SHORT = {
    "epochs": 2,
    "parts.mip.epochs": 1,
    "parts.intent.clusters": 3,
    "parts.aap.floor": 2,
    "parts.augmented.warmup": 0,
}
PREFIXES_ALONE = {
    "rlmrec-gen": "masks items of a prefix",
    "llm-esr": "read at a sequence's last item only",
    "alpharec": "read at a sequence's last item only",
}
"""Why a method cannot be trained on whole sequences."""


def settings_of(method: str, config: Callable[..., Config]) -> dict[str, Any]:
    """Settings of a short training, without semantics where the method reads none."""
    given: dict[str, Any] = {"method": method, **SHORT}
    return given | ({} if config(**given).needs else {"semantics": None})


@pytest.mark.parametrize("method", METHODS.ours)
def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    method: str, prepare: Any, run: Any, world: Any, small_config: Any, tmp_path: Path
) -> None:
    given = settings_of(method, small_config)
    left = iter([False] * (world.steps + 1) + [True])
    stopped = prepare(folder=tmp_path, stop=lambda: next(left), **given)
    with pytest.raises(Stopped):
        stopped.trainer.run()
    resumed = prepare(folder=tmp_path, **given)
    torch.manual_seed(12345)
    resumed.trainer.resume()
    resumed.finish()
    whole = run(**given)
    assert whole.equals(resumed)
    assert whole.values("train")[-1] == resumed.values("train")[-1]


@pytest.mark.parametrize("method", METHODS.ours)
def test_whole_sequences_are_trained_on_or_refused_with_a_reason(method: str, run: Any, small_config: Any) -> None:
    given = settings_of(method, small_config) | {"mode": "sequence", "epochs": 1}
    if method in PREFIXES_ALONE:
        with pytest.raises((ConfigError, TrainingError), match=PREFIXES_ALONE[method]):
            run(**given)
        return
    assert run(**given).values("train")[-1]["loss_rec"] > 0


@pytest.mark.parametrize("method", METHODS.ours)
def test_what_is_saved_recommends_without_texts_and_without_parts(
    method: str, run: Any, world: Any, small_config: Any
) -> None:
    trained = run(**settings_of(method, small_config) | {"epochs": 1})
    model, config = trained.trainer.model.eval(), trained.trainer.model.config
    weights = {
        name.removeprefix("backbone."): value
        for name, value in trained.weights(BEST).items()
        if name.startswith("backbone.")
    }
    backbone = build_backbone(config.model, items=len(world.dataset.items), max_length=config.data.max_length).eval()
    backbone.load_state_dict(weights)
    packed = trained.trainer.windows.pack(torch.from_numpy(world.dataset.anchors.ids(0)[:7]))
    with torch.no_grad():
        model.backbone.load_state_dict(weights)
        torch.testing.assert_close(backbone.scores(backbone(packed)), model.backbone.scores(model.backbone(packed)))
