"""Whatever parts a method combines, each parameter is in one optimizer and moves, or the combination is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.config import Config
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN, Dataset
from engine.errors import ConfigError
from engine.method_table import METHODS, PARTS, Step
from engine.methods.model import Model
from engine.methods.semantics import Semantics
from engine.training.optimizer import Optimizers

MAIN = [name for name in PARTS if name not in ("rec", "mip", "sp", "aap", "map")]
"""Parts that `method.parts` can add to the main training."""
SETTINGS = {"dropout": 0.0, "attention_dropout": 0.0, "parts.intent.clusters": 3, "parts.aap.floor": 2}


def combinations(method: str) -> list[list[str]]:
    """Its own parts, these with all others, and, where several updates are made of a batch, with single ones."""
    own = list(METHODS.load(method).parts)
    others = [name for name in MAIN if name not in own]
    one_by_one = [[*own, name] for name in ("inter", "align", "reconstruct")] if method == "mclrec" else []
    return [own, *one_by_one, [*own, *others], [*own, *(name for name in others if name != "reconstruct")]]


@pytest.fixture(scope="module")
def world() -> dict[str, object]:
    return {}


@pytest.fixture
def model_of(
    make_dataset: Callable[..., Dataset],
    make_semantics: Callable[..., Semantics],
    small_config: Callable[..., Config],
    world: dict[str, object],
) -> Callable[..., Model]:
    if not world:
        dataset = make_dataset(longest=9, items=12)
        world.update(dataset=dataset, windows=Windows(dataset, 6), semantics=make_semantics(dataset))
    dataset, windows, semantics = (world[name] for name in ("dataset", "windows", "semantics"))

    def make(**given: object) -> Model:
        torch.manual_seed(1)
        parts = given.get("method.parts", ())
        pair = {"parts.intent.pair": "augmented"} if "augmented" in parts else {}  # pyright: ignore
        config = small_config(**SETTINGS | pair | given)
        model = Model(config, dataset=dataset, windows=windows, semantics=semantics)  # pyright: ignore
        return model.train()

    return make


def trained(model: Model, dataset: Dataset, windows: Windows) -> list[str]:
    """Trains all stages and the main training for two batches; names of the parameters that are as before."""
    before = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN)[:24])
    for stage in (*(stage for stage, _ in model.stages), None):
        optimizers = Optimizers(model.groups(), lr=0.01, weight_decay=0.0)
        model.before_epoch(1, lambda ids: model.backbone(windows.pack(ids)).detach(), stage)
        for _ in range(2):
            notes: dict[str, object] = {}
            for step in model.definition.steps if stage is None else (Step(),):
                if model.active(stage, step):
                    total = model.losses(ids, windows, stage=stage, step=step, notes=notes).total
                    optimizers.zero_grad()
                    total.backward()
                    optimizers.step(step.updates)
    return [name for name, value in model.named_parameters() if name in before and bool((value == before[name]).all())]


@pytest.mark.parametrize("method", METHODS.names())
def test_every_combination_trains_all_that_it_has(
    method: str, model_of: Callable[..., Model], world: dict[str, object]
) -> None:
    backbone = METHODS.load(method).defaults.get("model.backbone", "")
    for parts in combinations(method):
        given = {"method": method, "method.parts": parts}
        if backbone and "reconstruct" in parts:
            with pytest.raises(ConfigError, match=f"part reconstruct .*backbone {backbone}"):
                model_of(**given)
            continue
        model = model_of(**given)
        grouped = [parameter for group in model.groups().values() for parameter in group]
        names = {id(value): name for name, value in model.named_parameters() if value.requires_grad}
        assert sorted(map(id, grouped)) == sorted(names), "each in one group"
        still = trained(model, world["dataset"], world["windows"])  # pyright: ignore
        if (
            "inter" not in parts
        ):  # nothing weighs neighbors; it is kept where it was, for checkpoints of earlier versions
            still = [name for name in still if not name.startswith("synthesizer.")]
        assert still == [], f"{method} with {parts}"


def test_the_projection_of_align_is_updated_with_the_encoder_of_mclrec(model_of: Callable[..., Model]) -> None:
    """MCLRec updates the parts' own parameters by the loss of its augmenters alone."""
    model = model_of(**{"method": "mclrec", "method.parts": ["rec", "augmented", "meta", "align"]})
    names = {id(value): name for name, value in model.named_parameters()}
    groups = {kind: {names[id(value)].rsplit(".", 2)[0] for value in values} for kind, values in model.groups().items()}
    assert {name for name in groups["own"] if name.startswith("parts.")} == {
        "parts.meta.first.layers",
        "parts.meta.second.layers",
    }
    assert "parts.align.projection" in groups["encoder"]
    assert not any(name.startswith("backbone") for name in groups["own"])


OWN = """
from engine.methods.base import Method, Step
FROZEN_MASK = Method(
    parts=("rec", "augmented"),
    steps=(Step(("rec",), "encoder"), Step(("augmented",), "own")),
)
FROZEN_ENCODER = Method(parts=("rec", "align"), steps=(Step(updates="own"),))
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("FROZEN_MASK", "no update by a batch trains augmentation.mask: let augmented count in a step"),
        (
            "FROZEN_ENCODER",
            "no update by a batch trains backbone.item_embedding.weight: let align, rec count in a step",
        ),
    ],
)
def test_a_method_whose_steps_leave_parameters_untrained_is_refused(
    model_of: Callable[..., Model], tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    model = model_of(method=f"{tmp_path / 'own.py'}:{name}")
    with pytest.raises(ConfigError, match=words):
        model.groups()
