"""The Inspector on a real home, wide and narrow."""

from __future__ import annotations

import pytest
from textual.widgets import Input, Static

from sracl_tui.app import SraclApp
from sracl_tui.screens.find_user import FindUser
from sracl_tui.screens.inspector import InspectorScreen
from sracl_tui.screens.neighbor import NeighborScreen
from sracl_tui.widgets.table import Table


def text(app, name: str) -> str:
    return str(app.screen.query_one(name, Static).content)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_user_with_neighbors(home, settled, size):
    app = SraclApp(home)
    async with app.run_test(size=size) as pilot:
        await settled(app, pilot)
        await pilot.press("i")
        await settled(app, pilot)
        screen = app.screen
        assert isinstance(screen, InspectorScreen)
        assert screen.found is not None
        assert "user 1 " in text(app, "#facts")
        assert len(screen.query_one("#neighbors-table", Table).grid.rows) == 10
        assert "Spearman" in text(app, "#agreement")
        assert "provider" in text(app, "#summary-text")
        assert all(phase in text(app, "#neighbor-text") for phase in ("epoch 0", "best ", "last 2"))
        items = screen.query_one("#items-table", Table).grid.rows
        assert [row.sign for row in items].count("→") == 1
        await pilot.press("right_square_bracket")
        await settled(app, pilot)
        assert screen.found.user_id == 2
        await pilot.press("s")
        await settled(app, pilot)
        assert "disagreement" in text(app, "#facts")
        before = screen.found.anchor["position"]
        await pilot.press("p")
        await settled(app, pilot)
        assert screen.found.anchor["position"] == max(1, before - 1)


async def test_a_neighbor_is_opened_and_followed(home, settled):
    app = SraclApp(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        await pilot.press("i")
        await settled(app, pilot)
        inspector = app.screen
        assert isinstance(inspector, InspectorScreen)
        neighbor = inspector.neighbor
        assert neighbor is not None
        await pilot.press("enter")
        await settled(app, pilot)
        assert isinstance(app.screen, NeighborScreen)
        assert app.screen.query_one(Table).grid.rows
        await pilot.press("o")
        await settled(app, pilot)
        assert inspector.found is not None
        assert inspector.found.user_id == neighbor["neighbor_user_id"]


async def test_users_are_searched(home, settled):
    app = SraclApp(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        await pilot.press("i")
        await settled(app, pilot)
        await pilot.press("slash")
        await pilot.pause()
        assert isinstance(app.screen, FindUser)
        app.screen.query_one(Input).value = "17"
        await settled(app, pilot)
        assert app.screen.query_one(Table).key == 17
        await pilot.press("enter")
        await settled(app, pilot)
        assert app.screen.found.user_id == 17


async def test_a_backbone_run_has_no_neighbors_and_says_so(home, settled):
    app = SraclApp(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        await pilot.press("down", "i")
        await settled(app, pilot)
        assert "alpha = 0" in text(app, "#agreement")
        assert not app.screen.query_one("#neighbors-table", Table).grid.rows
