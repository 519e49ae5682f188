"""A person who leaves a screen before it is there."""

from __future__ import annotations

import asyncio

import pytest

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens import PAGES
from sracl_tui.tui.screens.runs import RunsScreen
from tests.support.steady_pilot import drive


@pytest.mark.parametrize("turns", [0, 1, 2, 4, 8, 16])
async def test_left_before_it_is_there(home, turns):
    """After so many turns of the event loop; in the middle of a mount is where Textual's own tabs once fell."""
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        app.preferences.run_tab = "settings"
        for page in (*PAGES, "item", "everyone", "slices", "study"):
            app.action_go(page)
            for _ in range(turns):
                await asyncio.sleep(0)
            app.action_go("runs")
        await pilot.quiet()
        assert isinstance(app.screen, RunsScreen)
        await pilot.press("2")
        await pilot.quiet()
        assert app.screen.query_one("#run-tabs").active == "settings"
