"""Everyone on a real home: histograms, density, maps; their buckets and cells lead to users and on to the Inspector."""

from __future__ import annotations

import math

import numpy as np
import pytest
from textual.widgets import Input, Static, TabbedContent

from sracl_tui.services import projections
from sracl_tui.services.population import ORDERS, NeighborWeights, Population
from sracl_tui.services.population import read_population as read_population
from sracl_tui.services.user_inspection import inspect_user
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.population import EveryoneScreen
from sracl_tui.tui.widgets.density_plot import DensityPlot
from sracl_tui.tui.widgets.table import Table
from store.opening import open_store
from store.queries import runs
from tests.support.steady_pilot import drive


def text(app, name: str) -> str:
    return str(app.screen.query_one(name, Static).content)


async def opened(app, pilot) -> EveryoneScreen:
    await pilot.quiet()
    await pilot.press("i")
    await pilot.quiet()
    await pilot.press("e")
    await pilot.quiet()
    assert isinstance(app.screen, EveryoneScreen)
    return app.screen


@pytest.fixture
def whole(home):
    with open_store(home) as store:
        run = next(row for row in runs.list_runs(store) if row["name"] == "whole")
        yield store, runs.find_run(store, run["run_id"])


def test_the_measures_of_all_are_those_of_each(whole):
    store, run = whole
    population = read_population(store, run)
    assert len(population) == 60
    for place in range(0, 60, 7):
        found = inspect_user(store, run["run_id"], str(population.ids[place]))
        assert population.raw_id(place) == found.raw_id
        assert population.ranks[place] == found.ranks["test"]
        assert population.lengths[place] == found.anchor["length"]
        weights = [n["weight"] for n in found.neighbors]
        row = population.neighbor_weights.rows.tolist().index(place)
        assert population.neighbor_weights.weights[row].tolist() == pytest.approx(weights)
        assert population.neighbor_weights.similarity[row].tolist() == pytest.approx(
            [n["similarity"] for n in found.neighbors]
        )
        assert population.entropy[place] == pytest.approx(found.entropy, abs=1e-5)
        if found.spearman is None:
            assert math.isnan(population.spearman[place])
        else:
            assert population.spearman[place] == pytest.approx(found.spearman)


def test_orders_begin_with_the_extreme_and_end_with_those_without_the_measure(whole):
    store, run = whole
    population = read_population(store, run, second_run=run["run_id"])
    assert population.changed is not None
    assert not population.changed.any()  # a run beside itself
    known = np.flatnonzero(~np.isnan(population.spearman))
    first = population.order("disagreement")[0]
    assert population.spearman[first] == population.spearman[known].min()
    assert population.ranks[population.order("missed")[0]] == population.ranks.max()
    assert population.entropy[population.order("flat")[0]] == population.entropy.max()
    for name in ORDERS:
        assert sorted(population.order(name)) == list(range(60))
        assert population.place_in(name, int(population.ids[population.order(name)[5]])) == 5
    blank = Population(
        population.ids, population.raw_ids, *([np.full(60, np.nan)] * 5), NeighborWeights(*([np.zeros((0, 0))] * 4))
    )
    assert blank.order("peaked").tolist() == list(range(60))


def test_histograms_count_everybody_once():
    values = np.array([-1.0, -0.2, 0.0, 0.1, 1.0, np.nan])
    found = projections.histogram(values, projections.edges(-1, 1, 10), missing="why", marks={"here": 0.1})
    assert len(found) == 11
    assert sorted(place for bucket in found for place in bucket.indices.tolist()) == list(range(6))
    assert found[0].label == "-1.0 to -0.8"
    assert found[0].indices.tolist() == [0]
    assert found[4].indices.tolist() == [1]
    assert found[5].indices.tolist() == [2, 3]
    assert found[5].note == "here"
    assert found[9].indices.tolist() == [4]
    assert (found[10].label, found[10].indices.tolist(), found[10].note) == ("not defined", [5], "why")


def test_edges_are_round_and_hold_all():
    for low, high in ((2.263, 2.3026), (0.0, 2.3026), (-1.0, 1.0), (5.0, 5.0), (1e-7, 3e-7)):
        bounds = projections.edges(low, high, 10)
        assert bounds[0] <= low
        assert bounds[-1] >= high - 1e-12
        assert 1 <= len(bounds) - 1 <= 12


def test_a_cloud_counts_every_point_in_the_cell_that_it_is_found_in():
    rng = np.random.default_rng(2)
    made = projections.point_grid(rng.normal(size=500), rng.normal(size=500), np.arange(500))
    for columns, lines in ((40, 9), (1, 1), (113, 30)):
        cells = made.cells(columns, lines)
        assert cells.shape == (lines, columns)
        assert cells.sum() == 500
        for line, column in zip(*np.nonzero(cells), strict=True):
            assert len(made.inside(int(column), int(line), columns, lines)) == cells[line, column]
    top = np.argmax(made.y)
    assert made.cells(1, 30)[0, 0] >= 1
    assert top in made.inside(0, 0, 1, 30)


def test_pca_keeps_what_two_directions_hold(whole):
    rng = np.random.default_rng(3)
    flat = rng.normal(size=(80, 2)) * (3, 1)
    own = np.concatenate([flat, np.zeros((80, 5))], axis=1).astype(np.float32)
    turned = np.linalg.qr(rng.normal(size=(7, 7)))[0].astype(np.float32)
    found = projections.Vectors(np.arange(80), own @ turned + 4, None, ("h", "-"), ({}, {}))
    drawn = projections.principal_map(found)
    assert "100% of the variance of h" in drawn.description
    assert drawn.grids[1] is None
    # A second training of the same, in axes of its own, is turned back onto the first.
    back = projections._turned(own @ turned + 4, own)
    assert np.allclose(back, own, atol=1e-3)


def test_the_map_measures_what_the_run_did_not(whole):
    store, run = whole
    population = read_population(store, run)
    found = projections.vectors(store, run, population)
    assert found.a is not None
    assert found.b is not None
    assert found.a.shape == found.b.shape == (len(found.indices), 64)
    now = [projections._measures(store, "unknown", "h", side) for side in (found.a, found.b)]
    for measured, known in zip(now, found.measures, strict=True):
        for name, value in measured.items():
            assert value == pytest.approx(known[name], rel=1e-3), name


def test_t_sne_places_a_sample(whole):
    store, run = whole
    population = read_population(store, run)
    drawn = projections.neighbor_map(projections.vectors(store, run, population))
    assert drawn.description.startswith("t-SNE of 60 of 60 users")
    assert [len(side.x) for side in drawn.grids if side] == [60, 60]


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_bars_lead_to_their_users_and_on_to_the_inspector(home, size):
    app = SraclApp(home)
    async with drive(app, size=size) as pilot:
        screen = await opened(app, pilot)
        bars, users = screen.query_one("#spearman-bars", Table), screen.query_one("#spearman-users", Table)
        assert sum(int(row.cells[2]) for row in bars.data.rows) == 60
        assert len(bars.data.rows) >= (20 if size[1] > 30 else 10)
        await pilot.press("home")
        while not int(bars.data.rows[bars.cursor].cells[2]):
            await pilot.press("down")
        await pilot.quiet()
        assert len(users.data.rows) == int(bars.data.rows[bars.cursor].cells[2])
        assert "mean" in text(app, "#spearman-told")
        await pilot.press("enter", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, InspectorScreen)
        assert app.screen.found is not None
        assert app.screen.found.user_id == users.key
        assert app.screen.found.spearman == pytest.approx(np.nanmin(screen.population.spearman))  # type: ignore[union-attr]
        await pilot.press("e")  # back to the same screen, not a second one
        await pilot.quiet()
        assert app.screen is screen
        assert screen.user_id == users.key


async def test_entropy_marks_log_k_and_has_two_ranges(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("tab")
        await pilot.quiet()
        bars = screen.query_one("#entropy-bars", Table)
        assert [row.cells[3] for row in bars.data.rows if row.cells[3]] == ["◂ log 10"]
        assert "log 10 = 2.303" in text(app, "#entropy-told")
        near = bars.data.rows[0].cells[0]
        await pilot.press("z")
        await pilot.quiet()
        assert bars.data.rows[0].cells[0].startswith("0.0 to ")
        assert bars.data.rows[0].cells[0] != near
        before = text(app, "#entropy-told")
        await pilot.press("w", "w")
        await pilot.quiet()
        assert screen.phase == "initial"
        assert "before training (epoch 0)" in text(app, "#entropy-told")
        assert text(app, "#entropy-told") != before


async def test_density_looks_into_a_cell_by_key_and_by_mouse(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("tab", "tab")
        await pilot.quiet()
        plot, users = screen.query_one("#density-raster", DensityPlot), screen.query_one("#density-users", Table)
        assert plot.grid is not None
        assert plot.grid.cells(*plot.plane).sum() == 600
        await pilot.press("right")  # the fullest cell first
        await pilot.quiet()
        assert len(plot.points()) == plot.grid.cells(*plot.plane).max()
        assert len(users.data.rows) == len(set(plot.grid.indices[plot.points()].tolist()))
        assert f"{len(plot.points())} neighbors of" in text(app, "#density-told")
        assert "1/10" in "".join(plot.render_line(y).text for y in range(plot.size.height))
        await pilot.press("n")
        await pilot.quiet()
        assert len(plot.points()) >= 1
        lines, columns = np.nonzero(plot.grid.cells(*plot.plane))
        await pilot.click(plot, offset=(int(columns[0]) + 8, int(lines[0])))
        await pilot.quiet()
        assert plot.cell == (columns[0], lines[0])
        assert len(users.data.rows) >= 1
        await pilot.press("u")
        assert users.has_focus


async def test_the_map_shows_both_vectors_and_where_a_cell_went(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("shift+tab")
        await pilot.quiet()
        assert screen.query_one(TabbedContent).active == "map"
        own, other = screen.query_one("#own-raster", DensityPlot), screen.query_one("#other-raster", DensityPlot)
        assert own.grid is not None
        assert other.grid is not None
        assert "◆" in "".join(own.render_line(y).text for y in range(own.size.height))  # user 1, whom we came from
        assert "effective rank" in text(app, "#map-told")
        assert "PCA: 2 of 64" in text(app, "#map-told")
        await pilot.press("right")
        await pilot.quiet()
        assert other._marked.tolist() == own.points().tolist()
        assert len(screen.query_one("#map-users", Table).data.rows) == len(own.points())
        await pilot.press("o")
        await pilot.quiet()
        app.screen.query_one(Input).focus()
        await pilot.press("enter")
        await pilot.quiet()
        assert "turned to fit" in text(app, "#map-told")
        assert str(screen.query_one("#other-pane").border_title).startswith("B, h in")


async def test_a_run_without_weights_says_so_and_still_maps_its_vectors(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("down", "i")
        await pilot.quiet()
        await pilot.press("e")
        await pilot.quiet()
        screen = app.screen
        bars = screen.query_one("#spearman-bars", Table)
        assert not bars.data.rows
        assert "alpha = 0" in bars.render_line(1).text
        await pilot.press("tab", "tab")
        await pilot.quiet()
        assert "alpha = 0" in screen.query_one("#density-raster", DensityPlot).render_line(0).text
        await pilot.press("tab")
        await pilot.quiet()
        assert screen.query_one("#own-raster", DensityPlot).grid is not None
        other = screen.query_one("#other-raster", DensityPlot)
        said = " ".join(other.render_line(y).text.strip() for y in range(other.size.height))
        assert "it makes no h+. o sets a second run beside it." in said
        (home.run_folder(screen.run_id) / "user_vectors.parquet").unlink()
        screen._map()
        await pilot.quiet()
        assert "keeps no vectors" in text(app, "#map-told")


async def test_the_palette_opens_it_from_anywhere(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("ctrl+p")
        await pilot.press(*"Everyone")
        await pilot.quiet()
        await pilot.press("enter")
        await pilot.quiet()
        assert isinstance(app.screen, EveryoneScreen)
