"""Compare on a real home, and the Inspector with a second run beside the first."""

from __future__ import annotations

from textual.widgets import Static, TabbedContent

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.compare import CompareScreen
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.runs import RunsScreen
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.table import Table
from tests.support.steady_pilot import drive


def text(app, name: str) -> str:
    return str(app.screen.query_one(name, Static).content)


async def compared(app, pilot) -> CompareScreen:
    await pilot.quiet()
    await pilot.press("space", "space", "space")
    await pilot.quiet()
    await pilot.press("v")
    await pilot.quiet()
    assert isinstance(app.screen, CompareScreen)
    return app.screen


async def test_marked_runs_are_compared(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await compared(app, pilot)
        assert screen.found is not None
        assert [one.size for one in screen.found.sets] == [2, 1]
        assert "A  backbone" in text(app, "#facts")
        assert "B  whole" in text(app, "#facts")
        settings = screen.query_one("#settings-table", Table).data.rows
        assert "loss.alpha" in [row.cells[0] for row in settings]
        assert all(row.cells[0] != "train.seed" for row in settings)
        tests = screen.query_one("#tests-table", Table).data.rows
        assert [row.cells[1] for row in tests] == [test.metric.upper() for test in screen.found.tests]
        assert len(tests) == 6
        assert "single seed" in text(app, "#notes")
        await pilot.press("t")
        await pilot.quiet()
        assert screen.found.split == "test"
        await pilot.press("y")
        assert app.clipboard == f"sracl compare {' '.join(screen.run_ids)} --split test"


async def test_winners_and_losers_open_in_the_inspector_beside_each_other(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await compared(app, pilot)
        await pilot.press("tab", "tab")
        await pilot.quiet()
        assert screen.query_one(TabbedContent).active == "users"
        table = screen.query_one("#users-table", Table)
        assert len(table.data.rows) == 60
        gains = [float(row.cells[4]) for row in table.data.rows]
        assert [abs(gain) for gain in gains] == sorted((abs(gain) for gain in gains), reverse=True)
        await pilot.press("s")
        await pilot.quiet()
        assert float(table.data.rows[0].cells[4]) == max(gains)
        user = table.key
        await pilot.press("enter")
        await pilot.quiet()
        inspector = app.screen
        assert isinstance(inspector, InspectorScreen)
        assert inspector.found is not None
        assert inspector.second is not None
        assert inspector.found.user_id == inspector.second.user_id == user
        assert {inspector.run_id, inspector.second_run} <= set(screen.run_ids)
        assert "A whole" in text(app, "#agreement")
        assert "alpha = 0" in text(app, "#agreement")  # the backbone weighs no neighbors, and that is said


async def test_a_second_run_is_chosen_and_taken_away(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("i")
        await pilot.quiet()
        screen = app.screen
        assert isinstance(screen, InspectorScreen)
        await pilot.press("o")
        assert isinstance(app.screen, ChoiceDialog)
        await pilot.press(*"backbone", "enter")
        await pilot.quiet()
        assert screen.second_run is not None
        assert (app.row_of(screen.second_run) or {})["preset"] == "backbone"
        orders = set()
        for _ in range(7):
            await pilot.press("s")
            await pilot.quiet()
            orders.add(screen.order)
        assert "changed" in orders
        await pilot.press("o", "down", "enter")
        await pilot.quiet()
        assert screen.second_run is None
        assert screen.order != "changed"


async def test_comparing_needs_two_runs_and_says_so(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        assert isinstance(app.screen, RunsScreen)
        assert "space" in app.screen.disabled_reason("versus")
        await pilot.press("5")
        await pilot.quiet()
        assert isinstance(app.screen, RunsScreen)


async def test_what_is_not_fair_is_refused_with_a_reason(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        twice = [row["run_id"] for row in app.runs if row["preset"] == "backbone"]
        app.push_screen(CompareScreen([twice[0], "no-such-run"]))
        await pilot.quiet()
        assert "no run 'no-such-run'" in text(app, "#facts")
        assert app.screen.disabled_reason("pair")
