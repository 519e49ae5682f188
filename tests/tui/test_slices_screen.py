"""Slices on a real home: from a run, from Compare and from the list of screens, on to the users of a slice."""

from __future__ import annotations

from textual.widgets import Static

from sracl_tui.services.slices import slice_users
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.population import EveryoneScreen
from sracl_tui.tui.screens.slices import SlicesScreen
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.table import Table
from store.opening import open_store
from tests.support.steady_pilot import drive


def text(app, name: str) -> str:
    return str(app.screen.query_one(name, Static).content)


async def opened(app, pilot, *keys: str) -> SlicesScreen:
    await pilot.quiet()
    await pilot.press(*keys)
    await pilot.quiet()
    assert isinstance(app.screen, SlicesScreen)
    return app.screen


async def test_a_run_is_compared_with_the_backbone_and_the_command_says_the_same(home):
    app = SraclApp(home)
    async with drive(app, size=(140, 50)) as pilot:
        screen = await opened(app, pilot, "W")
        assert screen.found is not None
        assert "A  backbone" in text(app, "#slices-facts")
        assert "B  whole" in text(app, "#slices-facts")
        with open_store(home) as store:
            found = slice_users(store, screen.run_ids, screen.baseline_ids)
        table = screen.query_one(Table)
        expected = [one for by in found.by for one in by.slices]
        rows = [row for row in table.data.rows if row.cells[1]]
        assert [row.cells[0].strip() for row in rows] == ["all users", *(one.label for one in expected)]
        assert [row.cells[4] for row in rows[1:]] == [f"{one.difference:+.4f}" for one in expected]
        await pilot.press("y")
        ids = (screen.run_ids[0], screen.baseline_ids[0])
        assert app.clipboard == f"sracl slices {' '.join(ids)} --metric ndcg@20 --split test"
        await pilot.press("v")
        await pilot.quiet()
        assert screen.found.metric != "ndcg@20"
        await pilot.press("t")
        await pilot.quiet()
        assert screen.found.split == "valid"


async def test_a_slice_opens_its_users_and_all_come_back(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "W")
        assert screen.found is not None
        await pilot.press("j", "enter")
        await pilot.quiet()
        assert app.screen is screen  # a heading has no users
        assert "quartiles" in text(app, "#slices-told")
        await pilot.press("j", "enter")
        await pilot.quiet()
        everyone = app.screen
        assert isinstance(everyone, EveryoneScreen)
        first = screen.found.by[0].slices[0]
        assert everyone.population is not None
        assert everyone.population.ids.tolist() == first.user_ids.tolist()
        bars = everyone.query_one("#spearman-bars", Table)
        assert sum(int(row.cells[2]) for row in bars.data.rows) == first.users
        assert first.label in str(everyone.query_one("#title", Static).content)
        await pilot.press("enter", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, InspectorScreen)
        assert app.screen.found is not None
        assert app.screen.found.user_id in first.user_ids
        await pilot.press("e")
        await pilot.quiet()
        assert app.screen is everyone
        await pilot.press("a")
        await pilot.quiet()
        assert len(everyone.population) == 60
        assert everyone.disabled_reason("all")
        await pilot.press("escape")
        await pilot.quiet()
        await pilot.press("home", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, EveryoneScreen)
        assert app.screen.only is None


async def test_compare_hands_on_its_pair_and_its_split(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("space", "space", "space", "v")
        await pilot.quiet()
        screen = await opened(app, pilot, "W")
        assert screen.found is not None
        assert (len(screen.found.b_runs), len(screen.found.a_runs), screen.found.split) == (1, 2, "valid")
        assert "borrows the seed variance" in text(app, "#slices-told")


async def test_without_a_baseline_one_is_asked_for(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot, "G", "W")
        assert screen.found is None
        assert "o chooses" in screen.query_one(Table).render_line(1).text
        assert screen.disabled_reason("metric")
        await pilot.press("o")
        await pilot.quiet()
        assert isinstance(app.screen, ChoiceDialog)
        await pilot.press("enter")
        await pilot.quiet()
        assert screen.found is not None
        assert screen.found.a_runs == list(screen.baseline_ids)


async def test_it_opens_by_name_and_marked_seeds_are_refused(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await opened(app, pilot, "colon", *"slices whole", "enter")
        await pilot.press("escape")
        await pilot.quiet()
        await pilot.press("down", "space", "space", "W")
        await pilot.quiet()
        assert not isinstance(app.screen, SlicesScreen)
