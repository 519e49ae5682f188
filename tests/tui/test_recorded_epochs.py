"""A user over the recorded epochs: in the Inspector, in `sracl inspect`, and in what a dry run says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from textual.widgets import Static

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.neighbors_pane import NeighborsPane
from sracl_tui.tui.screens.population import EveryoneScreen
from sracl_tui.tui.widgets.density_plot import DensityPlot
from store.home import Home
from store.opening import open_store
from store.queries.runs import find_run
from store.queries.users import recorded_epochs, recorded_places
from tests.support.commands import sracl_inside
from tests.support.steady_pilot import drive


def facts(app: SraclApp) -> str:
    return str(app.screen.query_one("#facts", Static).content)


def weights(app: SraclApp) -> list[float]:
    found = app.screen.query_one(NeighborsPane)._found
    assert found is not None
    return [neighbor["weight"] for neighbor in found.neighbors]


def stored(home: Home, user: int = 7) -> dict[int, dict]:
    with open_store(home) as store:
        rows = recorded_epochs(store, find_run(store, "whole")["run_id"], user)
    return {row["epoch"]: row for row in rows}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_keys_step_through_the_recorded_epochs(home: Home, size: tuple[int, int]):
    records = stored(home)
    assert list(records) == [0, 1, 2]
    app = SraclApp(home)
    async with drive(app, size=size) as pilot:
        await pilot.quiet()
        app.open_inspector(app.runs[0]["run_id"], "7")
        await pilot.quiet()
        assert isinstance(app.screen, InspectorScreen)
        best = weights(app)
        assert f"epochs: 0: {records[0]['rank']:,} " in facts(app)
        assert "step through them" in facts(app)
        for epoch in (0, 1, 2):
            await pilot.press("full_stop")
            assert weights(app) == records[epoch]["weights"]
            assert f"epoch {epoch}: {records[epoch]['rank']:,}" in facts(app)
            assert app.screen.query_one(NeighborsPane).border_title == f"Neighbors, weights of epoch {epoch}"
            assert f"{best[0]:.4f} " in str(app.screen.query_one("#neighbor-text", Static).content)
        assert records[0]["weights"] != records[2]["weights"]
        await pilot.press("comma", "right_square_bracket")
        await pilot.quiet()
        assert weights(app) == stored(home, 8)[1]["weights"], "the next user at the same epoch"
        await pilot.press("left_square_bracket")
        await pilot.quiet()
        await pilot.press("comma", "comma")
        assert weights(app) == best
        await pilot.press("comma")
        assert f"epoch 2: {records[2]['rank']:,}" in facts(app)
        await pilot.press("p")
        await pilot.quiet()
        assert weights(app) != records[2]["weights"], "a shorter prefix is not recorded"


async def test_a_run_without_neighbors_has_ranks_alone(home: Home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        app.open_inspector(app.runs[1]["run_id"], "7")
        await pilot.quiet()
        await pilot.press("full_stop")
        assert "epoch 0: " in facts(app)


async def test_a_user_that_is_not_recorded_says_so(home: Home):
    from store.publishing.publish import write_sql

    write_sql(home, "DELETE FROM user_epochs WHERE user_id = 7")
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        app.open_inspector(app.runs[0]["run_id"], "7")
        await pilot.quiet()
        assert "epochs" not in facts(app)
        await pilot.press("full_stop")
        assert pilot.told == [
            "Nothing is recorded of this user over the epochs (settings record.snapshots, record.users)."
        ]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_map_of_everyone_goes_through_the_recorded_epochs(home: Home, size: tuple[int, int]):
    app = SraclApp(home)
    async with drive(app, size=size) as pilot:
        await pilot.quiet()
        app.push_screen(EveryoneScreen(app.runs[0]["run_id"], 7))
        await pilot.quiet()
        await pilot.press("full_stop")
        assert "That is for the map" in pilot.told[-1]
        await pilot.press("tab", "tab", "tab")
        await pilot.quiet()
        rasters = [app.screen.query_one(f"#{side}-raster", DensityPlot) for side in ("own", "other")]
        all_ = len(rasters[0].grid.indices)
        best = app.runs[0]["best_epoch"]
        with open_store(home) as store:
            places = recorded_places(store, app.runs[0]["run_id"])
        for epoch in (0, 1, 2):
            await pilot.press("full_stop")
            await pilot.quiet()
            assert app.screen.query_one("#own-pane").border_title == f"h at epoch {epoch}"
            assert app.screen.query_one("#other-pane").border_title == f"h at the best epoch, {best}"
            users = app.screen.population.ids[rasters[0].grid.indices]
            assert users.tolist() == places[epoch][0].tolist()
            told = str(app.screen.query_one("#map-told", Static).content)
            assert f"{len(users)} recorded users, PCA of each epoch" in told
            same = np.allclose(rasters[0].grid.x, rasters[1].grid.x)
            assert same == (epoch == best), "each epoch has a map of its own"
        await pilot.press("full_stop")
        await pilot.quiet()
        assert app.screen.query_one("#own-pane").border_title.startswith("h, the user's own")
        assert len(rasters[0].grid.indices) == all_


def test_inspect_has_the_weights_of_an_epoch(home: Home):
    records = stored(home)
    said = sracl_inside(home.path, "inspect", "whole", "7", "--epoch", "0").stdout
    assert f"validation rank {records[0]['rank']:,} at 0, {records[1]['rank']:,} at 1" in said
    document = json.loads(sracl_inside(home.path, "inspect", "whole", "7", "--epoch", "0", "--json").stdout)
    assert [neighbor["weight"] for neighbor in document["neighbors"]] == records[0]["weights"]
    assert [record["epoch"] for record in document["recorded"]] == [0, 1, 2]
    refused = sracl_inside(home.path, "inspect", "whole", "7", "--epoch", "9", code=2)
    assert "epoch 9 of this user is not recorded" in refused.stderr
    assert "Recorded: 0, 1, 2" in refused.stderr


def test_a_dry_run_says_what_is_recorded(home: Home):
    words = ("run", "--dry-run", "--set", "max_users=60", "--set", "epochs=2", "--set", "encoder=tfidf")
    said = sracl_inside(home.path, *words).stdout
    assert "records    60 users at up to 3 epochs, at most 10 kB" in said
    document = json.loads(sracl_inside(home.path, *words, "--json").stdout)
    assert document["recorded"] == {"epochs": 3, "users": 60, "bytes": 60 * 3 * 4 * 14}
    none = json.loads(sracl_inside(home.path, *words, "--set", "record.snapshots=0", "--json").stdout)
    assert none["recorded"] == {"epochs": 0, "users": 0, "bytes": 0}
