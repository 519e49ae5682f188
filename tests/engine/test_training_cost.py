"""The rule of thumb for the time of a step, against the measured steps in docs/methods.md."""

from __future__ import annotations

import re

import pytest

from engine.config_files import build_config
from engine.extension_points import BACKBONES
from engine.method_table import METHODS, PARTS
from engine.training_cost import BACKBONE_STEPS, PART_PASSES, multiply_adds
from tests.support.commands import ROOT

OFFICE = {"tokens": 7.98, "items": 2420}
"""What the steps were measured on."""
MEASURED = dict(
    re.findall(
        r"^\| `([\w-]+)`(?:, main training)? \|[^|]*\| ([\d.]+) \|",
        (ROOT / "docs" / "methods.md").read_text(),
        re.MULTILINE,
    )
)
"""Steps of each method in steps of the plain one, as text."""


def work(stage: int | None = None, **settings: object) -> float:
    config = build_config(settings)
    return multiply_adds(config, **OFFICE, stage=None if stage is None else config.definition.stages[stage])


@pytest.mark.parametrize("method", METHODS.ours)
def test_the_rule_is_within_a_factor_of_one_and_a_half_of_what_was_measured(method: str) -> None:
    ratio = work(method=method) / work(method="plain")
    assert 1 / 1.5 < ratio / float(MEASURED[method]) < 1.5


def test_a_pretraining_and_other_backbones_are_as_measured() -> None:
    text = (ROOT / "docs" / "methods.md").read_text()
    (pretraining,) = re.findall(r"^\| `s3rec`, pretraining \|[^|]*\| ([\d.]+) \|", text, re.MULTILINE)
    without = {"method": "s3rec", "parts.aap.weight": 0, "parts.map.weight": 0}
    assert 1 / 1.5 < work(stage=0, **without) / work(method="plain") / float(pretraining) < 1.5
    assert set(BACKBONE_STEPS) == set(BACKBONES.ours)
    assert {*PART_PASSES, "inter", "distill"} == set(PARTS)


def test_it_grows_with_width_neighbors_window_and_items() -> None:
    plain, full = work(method="plain"), work()
    assert work(method="plain", width=256) / plain > 3
    assert 1.3 < work(k=20) / full < 2
    assert work(alpha=0.0) < full
    config = build_config({"method": "plain"})
    assert multiply_adds(config, tokens=40, items=2420) > 3 * plain
    assert multiply_adds(config, tokens=7.98, items=100_000) > 8 * plain
    assert work(method="plain", mode="sequence") < plain
    assert work(method="mclrec", **{"parts.augmented.weight": 0, "parts.meta.weight": 0}) == pytest.approx(2 * plain)
