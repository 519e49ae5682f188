"""The app with the mouse alone: open, go back, reach every screen and action, answer and leave a dialog."""

from __future__ import annotations

from textual.widgets._footer import FooterKey

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens import PAGES, page_title
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.screens.runs import RunsScreen
from sracl_tui.tui.screens.user_neighbor import NeighborScreen
from sracl_tui.tui.widgets.command_dialog import CommandDialog
from sracl_tui.tui.widgets.dialogs import PromptDialog
from sracl_tui.tui.widgets.table import Table
from tests.support.steady_pilot import drive


async def click_row(app, pilot, place: int, *, times: int = 1) -> None:
    await pilot.click(app.screen.query(Table).first(), offset=(6, 1 + place), times=times)


async def click_footer(pilot, description: str) -> None:
    key = next(key for key in pilot.app.screen.query(FooterKey) if key.description == description)
    await pilot.click(key)


async def test_open_and_go_back(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await click_row(app, pilot, 1, times=2)
        await pilot.quiet()
        assert isinstance(app.screen, RunScreen)
        assert app.screen.run_id == app.runs[1]["run_id"]
        await pilot.click("#head-back")
        await pilot.quiet()
        assert isinstance(app.screen, RunsScreen)
        whole = next(place for place, row in enumerate(app.runs) if row["name"] == "whole")
        await click_row(app, pilot, whole)
        await click_footer(pilot, "Inspect")
        await pilot.quiet()
        assert isinstance(app.screen, InspectorScreen)


async def test_the_palette_has_every_screen(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        await pilot.click("#head-palette")
        await pilot.quiet()
        assert isinstance(app.screen, CommandDialog)
        names = [row.cells[0] for row in app.screen.query_one(Table).data.rows]
        for page in PAGES:
            assert any(name.startswith(page_title(page)) for name in names), page


async def test_a_sort_a_dialog_and_a_click_beside_it(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        table = app.screen.query_one(Table)
        before = table.sorted_by
        await pilot.click(table, offset=(4, 0))
        await pilot.quiet()
        assert app.screen.query_one(Table).sorted_by != before
        app.screen.action_note()
        await pilot.pause()
        assert isinstance(app.screen, PromptDialog)
        await pilot.click(app.screen, offset=(1, 1))
        await pilot.quiet()
        assert isinstance(app.screen, RunsScreen)
        app.screen.action_note()
        await pilot.pause()
        app.screen.query_one("Input").value = "kept by a click"
        await pilot.click("#keep")
        await pilot.quiet()
        app.refresh_runs()
        await pilot.quiet()
        assert any(row["note"] == "kept by a click" for row in app.runs)


async def click_palette(app, pilot, name: str) -> None:
    await pilot.click("#head-palette")
    await pilot.quiet()
    table = app.screen.query_one(Table)
    place = next(place for place, row in enumerate(table.data.rows) if row.cells[0] == name)
    table.scroll_to(y=place, animate=False)  # what a wheel does
    await pilot.pause()
    await pilot.click(table, offset=(3, 1 + place - int(table.scroll_y)), times=2)
    await pilot.quiet()


async def test_every_screen_and_back(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        for page in PAGES:
            if page in ("runs", "compare"):
                continue
            await click_palette(app, pilot, page_title(page))
            assert type(app.screen).__name__.lower() == f"{page}screen"
            await pilot.click("#head-back")
            await pilot.quiet()
            assert isinstance(app.screen, RunsScreen)


async def test_from_a_user_to_a_neighbor(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        app.open_inspector(next(row["run_id"] for row in app.runs if row["name"] == "whole"), "7")
        await pilot.quiet()
        neighbors = app.screen.query_one("#neighbors-table", Table)
        await pilot.click(neighbors, offset=(6, 3), times=2)
        await pilot.quiet()
        assert isinstance(app.screen, NeighborScreen)
        there = app.screen._neighbor["neighbor_user_id"]
        hint = app.screen.query_one("#neighbor-hint")
        await pilot.click(hint, offset=(str(hint.render()).index("o: inspect") + 2, 0))
        await pilot.quiet()
        assert isinstance(app.screen, InspectorScreen)
        assert app.screen.found.user_id == there
