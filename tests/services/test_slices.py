"""Which runs the screen Slices compares where none are named, and how an interval is drawn."""

from __future__ import annotations

from typing import Any, cast

import pytest

from sracl_tui.services.slices import baseline_of, sides_of
from sracl_tui.services.text_charts import interval_line
from store.run_row import ListedRun


def run(run_id: str, preset: str = "default", **other: Any) -> ListedRun:
    row = {
        "run_id": run_id,
        "preset": preset,
        "config_hash": preset,
        "dataset_name": "demo",
        "seed": 1,
        "state": "finished",
    }
    return cast(ListedRun, row | other)


def test_marked_runs_are_folded_into_a_run_and_its_baseline():
    rows = [run("a"), run("p", "backbone"), run("b", seed=2), run("q", "backbone", seed=2)]
    assert sides_of(rows, "") == (["a", "b"], ["p", "q"])
    assert sides_of(rows, "b") == (["p", "q"], ["a", "b"])
    assert sides_of([run("a"), run("c", "other")], "") == (["c"], ["a"])
    assert sides_of([run("a"), run("b", seed=2)], "") is None
    assert sides_of([run("a"), run("a2", dataset_name="office")], "") == (["a2"], ["a"])


def test_the_baseline_of_a_run_is_pinned_or_the_backbone_of_its_data():
    ours = run("a", seed=2)
    plain = [run("p1", "backbone"), run("p2", "backbone", seed=2), run("p3", "backbone", seed=2, state="failed")]
    foreign = run("x", "backbone", dataset_name="office", seed=2)
    other = run("o", "other")
    rows = [ours, foreign, other, *plain]
    assert baseline_of(rows, ours, "") == "p2"
    assert baseline_of(rows, ours, "o") == "o"
    assert baseline_of(rows, ours, "x") == "p2"
    assert baseline_of(rows, ours, "a") == "p2"
    assert baseline_of([ours, foreign, other], ours, "") is None
    assert baseline_of(rows, plain[0], "") is None


@pytest.mark.parametrize(
    ("middle", "ends", "drawn"),
    [
        (0.0, (-1.0, 1.0), "  ──●──  "),
        (1.0, (0.5, 1.5), "    |─●─ "),
        (1.9, (1.0, 9.0), "    | ──●"),
        (9.0, (8.0, 9.5), "    |   >"),
        (-9.0, (-9.5, -8.0), "<   |    "),
        (0.0, (0.0, 0.0), "    ●    "),
        (-0.1, (float("-inf"), float("inf")), "<───●───>"),
    ],
)
def test_an_interval_is_drawn_on_its_axis(middle, ends, drawn):
    line = interval_line(middle, ends, reach=2.0, width=9)
    assert line.replace("┼", "─") == drawn
