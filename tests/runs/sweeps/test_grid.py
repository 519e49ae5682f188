"""Grids and draws."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from sracl_tui.runs.sweeps.grid import grid


def test_every_combination_is_there_once():
    made = grid(["alpha=0.05,0.1", "pool=others,train", "k=5"])
    assert [variant.settings for variant in made] == [
        {"alpha": alpha, "pool": pool, "k": 5} for alpha in (0.05, 0.1) for pool in ("others", "train")
    ]
    assert made[0].name == "alpha=0.05,pool=others,k=5"


def test_draws_keep_to_their_ranges_and_repeat():
    words = ["lr=1e-4..1e-2:log", "k=5..50", "dropout=0.1..0.5", "pool=others,train"]
    made = grid(words, 40)
    assert len({variant.name for variant in made}) == 40
    for settings in (variant.settings for variant in made):
        assert 1e-4 <= settings["lr"] <= 1e-2
        assert settings["k"] in range(5, 51)
        assert 0.1 <= settings["dropout"] <= 0.5
    below = sum(variant.settings["lr"] < 1e-3 for variant in made)
    assert 10 <= below <= 30, "half of a logarithmic range lies below its geometric mean"
    assert [v.settings for v in grid(words, 40)] == [v.settings for v in made]


def test_a_small_grid_gives_no_draw_twice():
    assert len(grid(["k=5,10"], 9)) == 2


@pytest.mark.parametrize(
    ("words", "trials", "match"),
    [
        (["k"], None, "not KEY=VALUE"),
        (["k=5", "k=6"], None, "twice"),
        (["lr=1e-4..1e-2"], None, "--trials"),
        (["lr=1..0"], 3, "no range"),
        (["lr=0..1:log"], 3, "no range"),
        (["k=" + ",".join(map(str, range(200))), "item_k=" + ",".join(map(str, range(200)))], None, "40,000"),
    ],
)
def test_what_makes_no_sense_is_refused(words, trials, match):
    with pytest.raises(ConfigError, match=match):
        grid(words, trials)
