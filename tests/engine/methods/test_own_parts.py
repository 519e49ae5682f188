"""Parts of a method that is not ours: what they may give, and what is refused with the part's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import ConfigError, TrainingError
from engine.method_table import METHODS, problem_of_method
from tests.engine.conftest import Run

HEAD = """
import torch
from pydantic import Field
from engine.methods.base import Method, Part, PartSettings, View

class Settings(PartSettings):
    temperature: float = Field(default=0.25, gt=0)

class Other(Part):
    name = "other"
    settings = Settings
    scales = ("parts.other.temperature",)
    {body}
METHOD = Method(parts=("rec", Other))
"""
LOSS = "def loss(self, batch, hidden):\n        return hidden[0].sum()\n"
VIEWS = "def views(self, batch):\n        return [batch.view()]\n"
KEEPS = (
    "def __init__(self, settings, *, context):",
    "    super().__init__(settings, context=context)",
    "    self.encoder = context.backbone",
)


@pytest.fixture
def of_body(prepare: Callable[..., Run], tmp_path: Path) -> Callable[..., Run]:
    """A training with a part whose class has this body."""

    def make(*body: str, **settings: Any) -> Run:
        path = tmp_path / "own.py"
        path.write_text(HEAD.format(body="\n    ".join(body)))
        return prepare(semantics=None, method=f"{path}:METHOD", **settings)

    return make


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ((VIEWS, "def loss(self, batch, hidden): return hidden[0]"), "its loss is Tensor of shape"),
        ((VIEWS, "def loss(self, batch, hidden): return 0.5"), "its loss is float: it is one number"),
        ((VIEWS, "def loss(self, batch, hidden): return None"), "its loss is None: it is one number"),
        ((VIEWS, "def loss(self, batch, hidden): return torch.zeros((), dtype=int)"), "its loss is Tensor of shape"),
        ((LOSS, "def views(self, batch): return batch.view()"), "views gives View: it gives a list or tuple of View"),
        ((LOSS, "def views(self, batch): return [batch.ids]"), "views gives list: it gives a list or tuple of View"),
        ((LOSS, "def views(self, batch): return [View(batch.ids / 2)]"), "a view has the sequences Tensor of shape"),
        ((LOSS, "def views(self, batch): return [View(None)]"), "a view has the sequences None"),
        ((LOSS, VIEWS, "def metrics(self): return {'loss_rec': 1.0}"), "it measures 'loss_rec', a name that is taken"),
        ((LOSS, VIEWS, *KEEPS), "holds the backbone as a module of its own"),
        ((LOSS, VIEWS, "def __init__(self, settings, *, context): 1 / 0"), "other cannot be built: ZeroDivisionError"),
    ],
)
def test_what_a_part_must_not_give_is_refused(of_body: Callable[..., Run], body: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        of_body(*body, epochs=1).finish()
    assert words in caught.value.message
    assert "part other" in caught.value.message


def test_a_loss_that_is_no_number_names_its_own_settings(of_body: Callable[..., Run]) -> None:
    body = VIEWS, "def loss(self, batch, hidden): return hidden[0].sum() / 0"
    with pytest.raises(TrainingError) as caught:
        of_body(*body, epochs=1).finish()
    assert "loss_other" in caught.value.message
    assert "parts.other.temperature = 0.25" in str(caught.value.where)


def test_weight_0_is_the_plain_training(of_body: Callable[..., Run], run: Callable[..., Run]) -> None:
    off = of_body(VIEWS, LOSS, **{"parts.other.weight": 0})
    off.finish()
    plain = run(method="plain", semantics=None)
    assert all(
        torch.equal(value, plain.weights("last.safetensors")[key])
        for key, value in off.weights("last.safetensors").items()
    )
    assert [set(values) for values in off.values("train")] == [{"loss", "loss_rec", "loss_other"}] * 2


def test_ours_pass_the_check_of_others() -> None:
    for name in METHODS.ours:
        assert problem_of_method(METHODS.load(name)) is None
