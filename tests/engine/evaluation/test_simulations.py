"""The simulations of docs/statistics.md, small: they run, and their error rates are not above what is promised by more than luck."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from benchmarks import simulate_statistics as simulation
from benchmarks.simulate_statistics import LOUD, QUIET, Design
from engine.metric_registry import find
from tests.support.commands import ROOT

DRAWS = 400
MOST = stats.binom.ppf(0.9999, DRAWS, 0.05) / DRAWS
LEAST = 1 - stats.binom.ppf(0.9999, DRAWS, 0.06) / DRAWS


@pytest.mark.parametrize("design", [Design("1 v 5", (1, 5), (LOUD, LOUD)), Design("3 v 3", (3, 3), (QUIET, QUIET))])
def test_false_alarms_and_coverage(design):
    for row in simulation.fixed(design, draws=DRAWS, users=400):
        assert float(row["false alarms"]) <= MOST
        assert float(row["coverage"]) >= LEAST


def test_seeds_are_added_without_more_false_alarms():
    for row in simulation.added(LOUD, draws=DRAWS, users=100):
        assert float(row["false alarms"]) <= MOST
        assert 3 <= float(row["mean seeds"]) <= 8


def test_the_simulated_metrics_are_the_true_ones():
    """Values against the registry's definitions, their mean against integration."""
    rng = np.random.default_rng(1)
    a, b = simulation.draw(rng, (2, 2), (LOUD, LOUD), simulation.GAIN, 3_000, 20)
    for n, shift, side in ((0, 0.0, a), (1, simulation.GAIN, b)):
        means = side.mean((1, 2))  # (2, draws)
        error = means.std(1, ddof=1) / math.sqrt(20)
        assert np.abs(means.mean(1) - simulation.true_means(shift, LOUD)).max() < 5 * error.max(), n
    ranks = simulation._ranks(a[1, 0, :, 0])
    assert find("ndcg").of_ranks(ranks, 20) == pytest.approx(a[1, 0, :, 0], abs=1e-6)
    assert find("hr").of_ranks(ranks, 20) == pytest.approx(a[0, 0, :, 0])


def test_the_command_prints_a_table():
    words = [
        sys.executable,
        "-m",
        "benchmarks.simulate_statistics",
        "--only",
        "models",
        "--draws",
        "3",
        "--users",
        "50",
    ]
    done = subprocess.run([*words, "--json"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [row["metric"] for row in json.loads(done.stdout)["models"]] == ["HR@20", "NDCG@20"]
    table = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "| 1 v 1, these two models | HR@20 |" in table
