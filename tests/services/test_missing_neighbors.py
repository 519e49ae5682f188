"""Why a run has no neighbors or substitutes: told for every method, also of runs from before there were methods."""

from __future__ import annotations

import pytest

from engine.config_files import build_config
from engine.method_table import METHODS
from sracl_tui.services.missing_neighbors import why_none


def why(part: str, *, found: bool = False, **settings: object) -> str:
    config = build_config(settings).model_dump(mode="json")
    return why_none(config, part, without="weighs nothing", found=found)


def test_a_contrast_that_is_on_needs_no_sentence():
    assert why("inter") == why("intra") == ""
    assert why("inter", **{"method.parts": ["rec", "same_target", "inter"]}) == ""


def test_one_that_is_off_names_its_weight():
    assert why("inter", alpha=0) == "This run has no inter-user contrast (alpha = 0): it weighs nothing."
    assert why("intra", beta=0) == "This run has no intra-user contrast (beta = 0): it weighs nothing."


@pytest.mark.parametrize("name", [name for name in METHODS.ours if name != "sracl"])
def test_a_method_without_it_is_named(name):
    assert why("inter", method=name) == f"The method {name} weighs nothing."
    assert why("intra", **{"method.parts": ["rec", "inter"]}) == "The combination rec + inter weighs nothing."


def test_a_run_of_an_earlier_version_and_a_method_whose_file_is_gone():
    config = build_config({"alpha": 0}).model_dump(mode="json")
    del config["method"], config["parts"]
    assert "alpha = 0" in why_none(config, "inter", without="weighs nothing", found=False)
    gone = {"method": {"name": "/gone/mine.py:METHOD", "parts": None}, "loss": {"alpha": 0.1, "beta": 0.1}}
    assert (
        why_none(gone, "inter", without="weighs nothing", found=False)
        == "The method /gone/mine.py:METHOD weighs nothing."
    )
    assert why_none(gone, "inter", without="weighs nothing", found=True) == ""
