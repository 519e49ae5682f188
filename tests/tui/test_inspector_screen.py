"""The Inspector on a real home, wide and narrow."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from textual.widgets import Input, Static

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.rendering.user import summary_text
from sracl_tui.tui.rendering.user_table import population_table
from sracl_tui.tui.screens.find_user import FindUser
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.user_neighbor import NeighborScreen
from sracl_tui.tui.widgets.table import Table
from tests.support.steady_pilot import drive


def text(app, name: str) -> str:
    return str(app.screen.query_one(name, Static).content)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_user_with_neighbors(home, size):
    app = SraclApp(home)
    async with drive(app, size=size) as pilot:
        await pilot.quiet()
        await pilot.press("i")
        await pilot.quiet()
        screen = app.screen
        assert isinstance(screen, InspectorScreen)
        assert screen.found is not None
        assert "user 1 " in text(app, "#facts")
        assert len(screen.query_one("#neighbors-table", Table).data.rows) == 10
        assert "Spearman" in text(app, "#agreement")
        assert "provider" in text(app, "#summary-text")
        assert all(phase in text(app, "#neighbor-text") for phase in ("epoch 0", "best ", "last 2"))
        items = screen.query_one("#items-table", Table).data.rows
        assert [row.sign for row in items].count("→") == 1
        await pilot.press("right_square_bracket")
        await pilot.quiet()
        assert screen.found.user_id == 2
        await pilot.press("s")
        await pilot.quiet()
        assert "disagreement" in text(app, "#facts")
        before = screen.found.anchor["position"]
        await pilot.press("p")
        await pilot.quiet()
        assert screen.found.anchor["position"] == max(1, before - 1)


async def test_a_neighbor_is_opened_and_followed(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("i")
        await pilot.quiet()
        inspector = app.screen
        assert isinstance(inspector, InspectorScreen)
        neighbor = inspector.neighbor
        assert neighbor is not None
        await pilot.press("enter")
        await pilot.quiet()
        assert isinstance(app.screen, NeighborScreen)
        assert app.screen.query_one(Table).data.rows
        await pilot.press("o")
        await pilot.quiet()
        assert inspector.found is not None
        assert inspector.found.user_id == neighbor["neighbor_user_id"]


async def test_users_are_searched(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("i")
        await pilot.quiet()
        await pilot.press("slash")
        await pilot.pause()
        assert isinstance(app.screen, FindUser)
        app.screen.query_one(Input).value = "17"
        await pilot.quiet()
        assert app.screen.query_one(Table).key == 17
        await pilot.press("enter")
        await pilot.quiet()
        assert app.screen.found.user_id == 17


async def test_a_backbone_run_has_no_neighbors_and_says_so(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("down", "i")
        await pilot.quiet()
        assert "alpha = 0" in text(app, "#agreement")
        assert not app.screen.query_one("#neighbors-table", Table).data.rows


async def test_enter_waits_for_the_search_that_was_typed(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("i")
        await pilot.quiet()
        await pilot.press("slash", "4", "2", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, InspectorScreen)
        assert app.screen.found is not None
        assert app.screen.found.user_id == 42


async def test_users_are_sorted_by_what_changed_beside_a_second_run(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        rows = {row["name"]: row["run_id"] for row in app.runs}
        other = next(run_id for name, run_id in rows.items() if name != "whole")
        app.open_inspector(rows["whole"], "1", second_run=other)
        await pilot.quiet()
        await pilot.press("slash")
        await pilot.quiet()
        assert isinstance(app.screen, FindUser)
        await pilot.press("down", "s", "s", "s", "s", "s", "s")
        await pilot.quiet()
        table = app.screen.query_one(Table)
        assert table.sorted_by == ("changed", True)
        changes = [float(row.cells[6]) for row in table.data.rows]
        assert changes == sorted(changes, reverse=True)
        assert changes[0] > 0
        assert "60 users by change of the test target's rank" in text(app, "#found-told")


async def test_a_hundred_thousand_users_are_written_when_they_are_drawn(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("i")
        await pilot.quiet()
        few = app.screen.population
        times = 2_000
        many = replace(
            few,
            ids=np.arange(1, 60 * times + 1, dtype=np.int32),
            raw_ids=pa.chunked_array(few.raw_ids.chunks * times),
            **{name: np.tile(getattr(few, name), times) for name in ("lengths", "ranks", "spearman", "entropy")},
            _orders={},
        )
        made = []
        grid = population_table(many, many.order("disagreement"))
        grid.rows._make, make = lambda at: made.append(at) or make(at), grid.rows._make
        app.push_screen(FindUser(app.screen.run, many, "number"))
        await pilot.quiet()
        table = app.screen.query_one(Table)
        assert len(table.data.rows) == 120_000
        table.show(grid, keep=False)
        await pilot.press("down", "end")
        await pilot.quiet()
        assert table.key == many.ids[many.order("disagreement")[-1]]
        assert len(set(made)) < 200


def test_a_summary_that_stands_in_for_a_model_says_so_first():
    row = dict.fromkeys(("tokens_in", "tokens_out", "tokens_cached", "usd", "finish_reason", "run_id", "model"))
    row |= {"text": "[red]calm[/red]", "provider": "deepseek", "prompt_version": "p1", "unit": "every-4"}
    row |= {"fallback": True, "created_at": datetime(2026, 1, 2, 3, 4)}
    said = summary_text(row).plain
    assert said.startswith("! fallback: the model failed")
    assert "[red]calm[/red]" in said
    assert "one per 4 prefixes" in said
    assert "price unknown" in said
    assert "fallback" not in summary_text(row | {"fallback": False}).plain


@pytest.mark.parametrize("missing", [("found",), ("population",), ("found", "population")], ids="-".join)
async def test_no_key_needs_what_is_not_read_yet(home, missing):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("i")
        await pilot.quiet()
        screen = app.screen
        assert isinstance(screen, InspectorScreen)
        for binding in InspectorScreen.BINDINGS:
            for key in binding.key.split(","):
                for name in missing:
                    setattr(screen, name, None)
                await pilot.press(key)
                while app.screen is not screen:
                    app.pop_screen()
                    await pilot.pause()
        assert app.return_code is None, "the app has ended"
