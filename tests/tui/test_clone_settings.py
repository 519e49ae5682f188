"""What the form of a cloned run changes: started as it is, it has the run's settings, whatever its method is."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.config import Config, flatten
from engine.config_files import load_config, preset_names
from engine.method_table import METHODS
from sracl_tui.tui.screens.launch import changes_of

REFUSED = {("wo-semantic", "llm-esr"), ("wo-semantic", "alpharec")}
"""Vectors of the backbone itself, for one that reads texts."""
USUAL = flatten(Config().model_dump(mode="json"))


def cloned(preset: str, settings: dict[str, object]) -> tuple[Config, Config, dict[str, object]]:
    """The config of a run, that of its clone, and what the form changes."""
    config = load_config(preset=preset, settings=settings)[0]
    stored = flatten(json.loads(config.model_dump_json()))
    changes = changes_of(stored, preset, imported=METHODS.ours)
    return config, load_config(preset=preset, settings=changes)[0], changes


@pytest.mark.parametrize("name", METHODS.ours)
def test_a_clone_changes_the_method_alone_where_the_run_did(name):
    config, clone, changes = cloned("default", {"method.name": name})
    assert clone == config
    assert set(changes) == ({"method.name"} if name != "sracl" else set())


@pytest.mark.parametrize("name", [name for name in METHODS.ours if METHODS.load(name).defaults])
def test_a_default_of_the_method_that_the_run_has_not_taken_stays_so(name):
    """Its value is that of the preset: only beside the method it is a change."""
    defaults = METHODS.load(name).defaults
    config, clone, changes = cloned("default", {"method.name": name} | {path: USUAL[path] for path in defaults})
    assert clone == config
    assert set(changes) == {"method.name", *defaults}


@given(st.sampled_from(preset_names()), st.sampled_from(list(METHODS.ours)), st.data())
def test_any_clone_has_the_settings_of_its_run(preset, name, data):
    defaults = {**{path: USUAL[path] for path in METHODS.load(name).defaults}, "train.lr": 0.25, "train.epochs": 3}
    chosen = data.draw(st.sets(st.sampled_from(sorted(defaults))))
    assume((preset, name) not in REFUSED)
    config, clone, _ = cloned(preset, {"method.name": name} | {path: defaults[path] for path in chosen})
    assert clone == config


def test_settings_that_are_gone_and_methods_that_are_not_looked_at():
    assert changes_of({"train.gone": 3, "train.lr": 0.5}, "default", imported=METHODS.ours) == {"train.lr": 0.5}
    own = {"method.name": "mine.py:METHOD", "parts.mine.weight": 0.5, "train.lr": 1e-3}
    assert changes_of(own, "default", imported=METHODS.ours) == {
        "method.name": "mine.py:METHOD",
        "parts.mine.weight": 0.5,
    }
