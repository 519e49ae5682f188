"""Figures: their data against SQL and plain numpy, what is drawn against the data, and files that are the same every time."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from engine.errors import ConfigError
from sracl_tui.services.figures import catalog, cost, epochs, forest, k_curve, user, vector_map, weights
from sracl_tui.services.figures.drawing import epochs as drawn_epochs
from sracl_tui.services.figures.drawing import intervals, style
from sracl_tui.services.figures.forest import Forest, ForestPanel, ForestRow
from sracl_tui.services.figures.options import FigureOptions
from sracl_tui.services.figures.vector_map import MapSide, VectorMap
from sracl_tui.services.paired_tests import EqualPair
from store.home import Home
from store.opening import open_store
from store.queries.pace import pace
from tests.support.commands import sracl_inside
from tests.support.figure_home import KS, SEEDS, USERS, WHOLE, ranks_of, write_figure_home
from tests.support.shared_homes import written_once

NONE = FigureOptions()
MADE = {
    "forest": (["ks"], NONE),
    "k-curve": (["ks"], NONE),
    "epochs": (["plain", "whole"], NONE),
    "weights": (["whole"], NONE),
    "user": (["whole"], FigureOptions(user="7")),
    "map": (["plain", "whole"], NONE),
    "cost": (["ks"], NONE),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    home = written_once(tmp_path_factory, "figures", write_figure_home)
    with open_store(Home(home)) as opened:
        yield opened


def ndcg(ranks: np.ndarray) -> float:
    return float(np.mean([1 / np.log2(rank + 1) if rank <= 20 else 0.0 for rank in ranks]))


# Data


def test_forest_has_the_differences_from_the_baseline(store):
    found = forest.collect(store, ["ks"], NONE)
    (panel,) = found.panels
    assert [(row.label, row.n) for row in panel.rows] == [(f"k{k}", "n = 3") for k in KS]
    bare = ndcg(ranks_of(0, 1))
    for k, row in zip(KS, panel.rows, strict=True):
        assert row.estimate == pytest.approx(np.mean([ndcg(ranks_of(k, seed)) for seed in SEEDS]) - bare)
        assert row.low < row.estimate < row.high
    assert "bare has 1" in found.note
    assert "one seed" in found.note
    assert "validation ranks of 60 users" in found.title
    other = forest.collect(store, ["ks"], FigureOptions(metric="HR@5", baseline="k5", split="test"))
    assert "test ranks" in other.title
    assert {row.label for row in other.panels[0].rows} == {"k1", "k20", "bare"}
    hits = [np.mean([(ranks_of(k, seed) <= 5).mean() for seed in SEEDS]) for k in (1, 5)]
    assert other.panels[0].rows[0].estimate == pytest.approx(hits[0] - hits[1])
    assert forest.collect(store, ["ks"], FigureOptions(metric="mrr@10")).panels[0].axis == "difference in MRR@10"


def test_forest_says_which_pair_was_not_tested(store, monkeypatch):
    real = forest.compare_runs

    def compare(*words, **named):
        found = real(*words, **named)
        kept = [test for test in found.tests if test.b != "k5"]
        return dataclasses.replace(found, tests=kept, equal=[EqualPair("bare", "k5", "ranks", "k5 ranks like bare")])

    monkeypatch.setattr(forest, "compare_runs", compare)
    found = forest.collect(store, ["ks"], NONE)
    assert [row.label for row in found.panels[0].rows] == ["k1", "k20"]
    assert "k5 ranks like bare." in found.note
    assert "k5 ranks like bare." in cost.collect(store, ["ks"], NONE).note
    monkeypatch.setattr(forest, "compare_runs", lambda *a, **n: dataclasses.replace(compare(*a, **n), tests=[]))
    with pytest.raises(ConfigError, match="no difference to show: k5 ranks like bare"):
        forest.collect(store, ["ks"], NONE)


def test_k_curve_has_means_with_t_intervals_over_seeds(store):
    found = k_curve.collect(store, ["ks"], NONE)
    (line,) = found.lines
    assert line.ks == list(KS)
    for k, point in zip(KS, line.points, strict=True):
        values = store.rows(
            "SELECT avg(CASE WHEN u.rank <= 20 THEN 1 / log2(u.rank + 1) ELSE 0 END) AS v FROM user_ranks u JOIN runs r "
            "USING (run_id) WHERE split = 'valid' AND CAST(config ->> '$.retrieval.k' AS INTEGER) = ? AND group_name = 'ks' "
            "AND name <> 'bare-1' GROUP BY run_id",
            [k],
        )
        values = np.array([row["v"] for row in values])
        assert len(values) == point.seeds == 3
        assert point.mean == pytest.approx(values.mean())
        low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
        assert (point.low, point.high) == pytest.approx((low, high))
    assert list(found.references) == ["bare, one seed"]
    level = found.references["bare, one seed"]
    assert (level.mean, level.low) == (pytest.approx(ndcg(ranks_of(0, 1))), None)


def test_epochs_have_mean_and_spread_as_far_as_all_seeds_have_trained(store):
    found = epochs.collect(store, ["ks"], NONE)
    one = next(one for one in found.sets if one.label == "k5")
    assert [(curve.seed, curve.best_epoch, len(curve.epochs)) for curve in one.curves] == [
        (1, 1, 3),
        (2, 2, 3),
        (3, 3, 5),
    ]
    rows = store.rows(
        "SELECT m.epoch, avg(value) AS mean, stddev_samp(value) AS sd FROM metrics m JOIN runs r USING (run_id) WHERE "
        "r.name LIKE 'k5-%' AND m.split = 'valid' AND m.name = 'mrr@10' GROUP BY m.epoch HAVING count(*) = 3 ORDER BY m.epoch"
    )
    assert one.epochs.tolist() == [row["epoch"] for row in rows] == [1, 2, 3]
    assert one.mean == pytest.approx([row["mean"] for row in rows])
    assert one.sd == pytest.approx([row["sd"] for row in rows])
    bare = next(one for one in found.sets if one.label == "bare")
    assert bare.sd is None
    loss = epochs.collect(store, ["k5-1"], FigureOptions(metric="loss"))
    assert loss.sets[0].mean.tolist() == [9.0 - epoch - 1 / 8 for epoch in (1, 2, 3)]
    assert loss.note.startswith("One seed each.")
    assert epochs.collect(store, ["whole"], FigureOptions(metric="train.loss_cs")).axis == "L_CS"


def test_weights_counts_every_neighbor_in_its_cell(store):
    found = weights.collect(store, ["whole"], NONE)
    rows = store.rows(f"SELECT similarity, weight FROM neighbor_weights WHERE run_id = '{WHOLE}' AND phase = 'best'")
    pairs = np.array([(row["similarity"], row["weight"]) for row in rows])
    assert found.counts.sum() == len(rows) == 10 * USERS
    assert found.even == pytest.approx(0.1)
    for x, y in ((20, 13), (24, 14), (47, 0)):
        left, right, low, high = *found.x_edges[x : x + 2], *found.y_edges[y : y + 2]
        right = np.inf if x == 47 else right
        inside = (pairs[:, 0] >= left) & (pairs[:, 0] < right) & (pairs[:, 1] >= low) & (pairs[:, 1] < high)
        assert found.counts[x, y] == inside.sum()
    assert found.counts[20:25, 10:16].sum() > 20
    order = pairs[np.argsort(pairs[:, 0], kind="stable")]
    least = len(rows) // weights.BANDS
    first = order[: least + 1] if len(rows) % weights.BANDS else order[:least]
    assert found.centers[0] == pytest.approx(np.median(first[:, 0]))
    assert found.quartiles[1, 0] == pytest.approx(np.median(first[:, 1]), abs=2e-3)  # equal similarities may be swapped
    assert "600 neighbors of 60 users; one seed (seed 1), epoch 6." in found.note


def test_user_has_the_rows_of_the_database(store):
    found = user.collect(store, ["whole"], FigureOptions(user="7"))
    rows = store.rows(
        f"SELECT * FROM neighbor_weights WHERE run_id = '{WHOLE}' AND phase = 'best' AND user_id = 7 ORDER BY cosine_rank"
    )
    ours = [(one.similarity_rank, one.similarity, one.weight_rank, one.weight) for one in found.neighbors]
    assert ours == [(row["cosine_rank"], row["similarity"], row["weight_rank"], row["weight"]) for row in rows]
    for one, row in zip(found.neighbors, rows, strict=True):
        assert one.label.startswith(f"{row['neighbor_user_id']}  {row['neighbor_last_title'][:20]}")
    assert "one seed" in found.note
    assert user.collect(store, ["whole"], FigureOptions(user="customer-007")) == found


def test_map_is_the_principal_plane_of_both_runs_together(store):
    found = vector_map.collect(store, ["whole", "plain"], NONE)
    assert [side.label for side in found.sides] == ["plain", "whole"], "the backbone comes first"
    folders = ("20260101-090000-0001", WHOLE)
    tables = [
        pq.read_table(store.home.run_folder(run_id) / "user_vectors.parquet").sort_by("anchor_id") for run_id in folders
    ]
    plain, whole = (np.array(table["h"].to_pylist()) for table in tables)
    left, _, right = np.linalg.svd((whole - whole.mean(0)).T @ (plain - plain.mean(0)))
    turned = (whole - whole.mean(0)) @ left @ right + plain.mean(0)
    both = np.concatenate([plain, turned])
    axes = np.linalg.svd(both - both.mean(0), full_matrices=False)[2][:2]
    for side, vectors in zip(found.sides, (plain, turned), strict=True):
        expected = (vectors - both.mean(0)) @ axes.T
        signs = np.sign((side.points * expected).sum(0))
        assert np.abs(side.points - signs * expected).max() < 3 * np.ptp(side.points) / 4096
    stored = store.rows(
        f"SELECT value FROM metrics WHERE run_id = '{WHOLE}' AND subgroup = 'h' AND name = 'effective_rank'"
    )
    assert found.sides[1].measures["effective_rank"] == stored[0]["value"]
    assert "one seed each (1 and 1)" in found.note
    alone = vector_map.collect(store, ["whole"], NONE)
    assert [side.label.partition(",")[0] for side in alone.sides] == ["h", "h+"]


def test_many_configurations_are_drawn_and_each_looks_otherwise(store):
    """A grid has more of them than there are colors."""
    looks = [style.look(place) for place in range(64)]
    assert len({(one["color"], one["marker"]) for one in looks}) == 64
    assert len({(one["color"], str(one["linestyle"])) for one in looks[:32]}) == 32
    curve, price = k_curve.collect(store, ["ks"], NONE), cost.collect(store, ["ks"], NONE)
    curves = epochs.collect(store, ["plain", "whole"], NONE)
    lines = [dataclasses.replace(curve.lines[0], label=f"line {number}") for number in range(20)]
    points = [dataclasses.replace(price.points[0], label=f"point {number}") for number in range(20)]
    sets = [dataclasses.replace(curves.sets[0], label=f"set {number}") for number in range(20)]
    for draw, data, word in (
        (intervals.k_curve, dataclasses.replace(curve, lines=lines), "line"),
        (intervals.cost, dataclasses.replace(price, points=points), "point"),
        (drawn_epochs.epochs, dataclasses.replace(curves, sets=sets), "set"),
    ):
        svg = style.render(draw, data, "svg").decode()
        assert [number for number in range(20) if f">{word} {number}" not in svg] == []


def test_intervals_of_several_lines_stand_beside_each_other(store):
    curve = k_curve.collect(store, ["ks"], NONE)
    for ks in ([1, 5, 20], [1, 2, 3]):
        line = dataclasses.replace(curve.lines[0], ks=ks)
        made = intervals.k_curve(dataclasses.replace(curve, lines=[line] * 3))
        drawn = [one.get_xdata().tolist() for one in made.axes[0].lines if one.get_marker() in style.MARKERS]
        assert drawn[1] == pytest.approx(ks)
        assert [a < b < c for a, b, c in zip(*drawn, strict=True)] == [True] * 3
        assert all(last < first for last, first in zip(drawn[2], drawn[0][1:], strict=False)), "nearest to their own k"
    alone = intervals.k_curve(curve).axes[0].lines
    assert next(one.get_xdata().tolist() for one in alone if one.get_marker() == "o") == curve.lines[0].ks


def test_cost_is_that_of_the_epoch_that_was_kept(store):
    found = cost.collect(store, ["ks"], NONE)
    seconds = [2.0 * seed * seed for seed in SEEDS]
    for point in found.points:
        assert (point.cost, point.cost_sd, point.seeds) == (np.mean(seconds), np.std(seconds, ddof=1), 3)
    assert (found.baseline.label, found.baseline.cost, found.baseline.cost_sd) == ("bare", 8.0, None)
    rows = forest.collect(store, ["ks"], NONE).panels[0].rows
    assert [(point.gain, point.low, point.high) for point in found.points] == [
        (r.estimate, r.low, r.high) for r in rows
    ]
    for name, value in {"step": 0.4, "memory": 102.0, "usd": 0.0}.items():
        options = FigureOptions(cost=name)  # type: ignore[arg-type]
        assert cost.collect(store, ["ks"], options).points[0].cost == pytest.approx(value)


def test_pace_of_a_recorded_run(store):
    rows = store.rows(f"SELECT value FROM metrics WHERE run_id = '{WHOLE}' AND split = 'train' AND name = 'seconds'")
    seconds = [row["value"] for row in rows]
    found = pace(store, [WHOLE])[WHOLE]
    assert found["seconds_train"] == found["seconds_to_best"] == pytest.approx(sum(seconds))
    assert found["seconds_per_step"] == pytest.approx(np.median(seconds) / 2)
    assert found["peak_memory"] == 707973120 / 2**20


# What cannot be shown


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("bars", ["ks"], "there is no figure 'bars'"),
        ("weights", ["plain-1"], "no inter-user contrast (alpha = 0): it weighs no neighbors"),
        ("weights", ["plain"], "the figure weights is of one run; plain has 2"),
        ("weights", ["whole", "sharp"], "is of one run; these are 2"),
        ("weights", ["too-cold"], "keeps no weights"),
        ("user", ["whole"], "no user is named"),
        ("user", ["plain-1", "--user", "7"], "weighs no neighbors"),
        ("user", ["whole", "--user", "999"], "there is no user '999'"),
        ("k-curve", ["plain", "whole"], "these runs have one k"),
        ("forest", ["plain"], "no two configurations with the same users"),
        ("forest", ["ks", "--metric", "hr@7"], "hr@7 cannot be tested"),
        ("epochs", ["whole", "--metric", "loss_xy"], "no curve of L_XY"),
        ("epochs", ["too-cold"], "finished no epoch"),
        ("map", ["ks"], "one configuration or two; these runs have 4"),
        ("map", ["k1-1"], "keeps no vectors"),
        ("cost", ["plain"], "no difference to show"),
        ("weights", ["whole", "--user", "7"], "takes no --user"),
        ("weights", ["whole", "--out", "x.jpg"], "does not say the format"),
        ("weights", ["whole", "--bundle"], "a file of its own"),
        ("forest", ["nobody"], "there is no run 'nobody'"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_sentence(store, tmp_path, name, words, said):
    out = [] if "--out" in words else ["--out", tmp_path / "x.svg"]
    done = sracl_inside(store.home.path, "export", "--figure", name, *words, *out, code=2)
    assert said in done.stderr.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_an_unknown_figure_lists_what_there_is_and_what_it_needs(store, tmp_path):
    with pytest.raises(ConfigError) as caught:
        catalog.check("bars", ["ks"], NONE, tmp_path / "x.svg")
    for name, kind in catalog.FIGURES.items():
        assert f"{name}: {kind.about}. Needs {kind.needs}." in str(caught.value)
    text = sracl_inside(store.home.path, "export", "--help").stdout
    assert all(name in text for name in catalog.FIGURES)


def test_without_matplotlib_one_sentence_says_how_to_install_it(store, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    done = sracl_inside(store.home.path, "export", "ks", "--figure", "forest", "--out", tmp_path / "x.svg", code=2)
    assert "drawn by matplotlib, which is not installed" in done.stderr
    assert "pip install matplotlib" in done.stderr


def test_options_of_figures_are_refused_elsewhere(store, tmp_path):
    done = sracl_inside(store.home.path, "export", "whole", "--user", "7", "--out", tmp_path / "x.csv", code=2)
    assert "--user is of a figure" in done.stderr


# Files


@pytest.mark.parametrize("name", MADE)
def test_a_figure_is_the_same_file_whatever_a_person_has_set(store, tmp_path, name):
    words, options = MADE[name]
    catalog.write(store, name, words, options, tmp_path / "a.svg")
    with mpl.rc_context({"font.size": 30, "axes.grid": True, "svg.hashsalt": "other", "svg.fonttype": "path"}):
        catalog.write(store, name, words, options, tmp_path / "b.svg")
        assert mpl.rcParams["font.size"] == 30, "and theirs stays as it was"
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert "<dc:date>" not in text
    shown = " ".join("".join(part.itertext()) for part in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text"))
    shown = shown.casefold()
    assert "demo[:60]" in shown
    assert "one seed" in shown
    assert re.search(r"\b60 users|\bn = 3\b|10 neighbors|seeds", shown)


def test_numbers_have_minus_signs_and_names_their_hyphens():
    """Of a map: uniformity is negative, and a label is a name."""
    sides = [MapSide("SRA-CL, a-b", np.arange(6.0).reshape(3, 2), {"effective_rank": 2.5, "uniformity": -1.25})]
    text = catalog.drawn("maps.vector_map", VectorMap("a-b", sides, ""), "svg").decode()
    assert "SRA-CL, a-b" in text
    assert "effective rank 2.5, uniformity \u22121.25" in text


@pytest.mark.parametrize(("ending", "start"), [("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_other_formats(store, tmp_path, ending, start):
    files = [tmp_path / f"{place}.{ending}" for place in range(2)]
    for file in files:
        sracl_inside(store.home.path, "export", "whole", "--figure", "user", "--user", "7", "--out", file)
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert first.startswith(start)


def draw(data: Forest):
    """The axes of a forest plot."""
    seen = []

    def kept(given):
        seen.append(intervals.forest(given))
        return seen[0]

    style.render(kept, data, "svg")
    return seen[0].axes


def test_rows_of_a_study_have_intervals_and_margins_to_scale():
    rows = [
        ForestRow(
            label="gain", estimate=0.004, low=0.002, high=0.006, margin=0.001, verdict="supported, but negligible"
        ),
        ForestRow(label="placebo", estimate=-0.001, low=-0.03, high=None, margin=0.001, verdict="undecided"),
    ]
    seconds = ForestRow(label="cost", estimate=0.21, low=0.1, high=0.3, margin=0.05, verdict="contradicted")
    data = Forest(
        title="Claims", note="", panels=[ForestPanel(axis="NDCG@20", rows=rows), ForestPanel(axis="s", rows=[seconds])]
    )
    first, second = draw(data)
    bands = [(patch.get_x(), patch.get_width(), patch.get_y()) for patch in first.patches]
    assert bands == [pytest.approx((-0.001, 0.002, place - 0.43)) for place in range(2)]
    lines = {tuple(line.get_ydata()): line.get_xdata() for line in first.lines if len(line.get_xdata()) == 2}
    assert lines[0, 0] == pytest.approx([0.002, 0.006])
    reach = first.get_xlim()[1]
    assert lines[1, 1] == pytest.approx([-reach, reach]), "beyond the axis on both sides"
    dots = {line.get_ydata()[0]: line for line in first.lines if line.get_marker() == "o"}
    assert [dots[place].get_xdata()[0] for place in (0, 1)] == [0.004, -0.001]
    assert [dots[place].get_markerfacecolor() for place in (0, 1)] == ["#0072B2", "white"], "hollow: not decided"
    assert second.lines[1].get_color() == "#D55E00"
    texts = [text.get_text() for text in first.texts]
    assert texts == ["+0.0040 [+0.0020, +0.0060]  supported, but negligible", "\u22120.0010  undecided"]


def test_names_are_drawn_as_they_are():
    name = "a$_b$<&>\u4e2d"
    row = ForestRow(label=name, estimate=0.1, low=0.0, high=0.2)
    text = catalog.drawn(
        "intervals.forest", Forest(title=name, note=name, panels=[ForestPanel(axis="x", rows=[row])]), "svg"
    )
    words = ["".join(part.itertext()) for part in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
    assert words.count(name) == 3


def test_every_kind_takes_options_that_exist():
    fields = {field.name for field in dataclasses.fields(FigureOptions)}
    assert all(kind.options <= fields for kind in catalog.FIGURES.values())
    assert set(MADE) == set(catalog.FIGURES)
    for kind in catalog.FIGURES.values():
        assert (Path(catalog.__file__).parent / f"{kind.module}.py").is_file()


def test_matplotlib_is_imported_by_what_draws_alone():
    """The app, and commands that draw nothing, neither need it nor wait for it."""
    package = Path(catalog.__file__).parents[2]
    users = {
        path for path in package.rglob("*.py") if re.search(r"^\s*(import|from) matplotlib", path.read_text(), re.M)
    }
    assert users
    assert {path.parent for path in users} == {Path(style.__file__).parent}
