"""The panes beside the list of runs: curves, facts, their widths and order, and the columns of the list."""

from __future__ import annotations

import json

import numpy as np
import pytest
from textual.widgets import Static

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.preferences import FILE, Preferences
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.screens.run_panes import FactsPane
from sracl_tui.tui.textual_internals import screen_lines
from sracl_tui.tui.widgets.arrange_dialog import ArrangeDialog
from sracl_tui.tui.widgets.curves import Curves
from sracl_tui.tui.widgets.pane_row import LEAST, Divider, PaneRow
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from tests.support.steady_pilot import drive


def plot(app, name: str) -> Curves:
    return app.screen_stack[0].query_one(f"#{name}", Curves)


def row(app) -> PaneRow:
    return app.screen_stack[0].query_one(PaneRow)


def widths(app) -> dict[str, int]:
    panes = {name: app.screen.query_one(f"#pane-{name}") for name in row(app).shown}
    assert sorted(panes.values(), key=lambda pane: pane.region.x) == list(panes.values()), "from the left"
    return {name: pane.size.width for name, pane in panes.items()}


def facts(app) -> str:
    from rich.console import Console

    console = Console(width=60, no_color=True)
    with console.capture() as capture:
        console.print(app.screen.query_one("#facts", Static).content)
    return capture.get()


@pytest.mark.parametrize("height", [40, 22, 12])
async def test_facts_that_are_laid_out_only_where_they_do_not_fit_look_like_a_whole_layout(home: Home, height: int):
    app = SraclApp(home)
    async with drive(app, size=(120, height)) as pilot:
        await pilot.quiet()
        for step in ("j", "j", "k", "space", "t", "escape", "k", 12, "j", "k", "j", 40, "j", "k", height, "j", "k"):
            if isinstance(step, int):
                await pilot.resize_terminal(120, step)
            else:
                await pilot.press(step)
            await pilot.quiet()
            pane = app.screen_stack[0].query_one(FactsPane)
            shown, room = screen_lines(app.screen), pane.max_scroll_y
            app.screen.refresh(layout=True)
            await pilot.quiet()
            assert (shown, room) == (screen_lines(app.screen), pane.max_scroll_y), step
        assert (room > 0) == (height < 25)


async def test_curves_and_facts_follow_the_cursor_and_the_marks(home: Home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        row_ = app.runs[0]
        stored = app.library.store().rows(
            "SELECT epoch, value FROM metrics WHERE run_id = ? AND split = 'valid' AND name = 'mrr@10' AND subgroup = 'all' ORDER BY epoch",
            [row_["run_id"]],
        )
        (curve,) = plot(app, "beside-metric")._curves
        assert curve.label == "whole"
        assert np.array_equal(curve.x, [one["epoch"] for one in stored])
        assert np.array_equal(curve.y, [one["value"] for one in stored])
        assert [one.label for one in plot(app, "beside-loss")._curves] == ["all", "L_rec", "L_CS", "L_IS"]
        assert f"HR@20 {row_['test_hr_20']:.4f}" in facts(app)
        await pilot.press("j")
        await pilot.quiet()
        second = app.runs[1]
        assert app.name_of(second["run_id"]) in facts(app)
        assert plot(app, "beside-metric")._curves[0].label == app.name_of(second["run_id"])
        await pilot.press("space", "space", "g")
        await pilot.quiet()
        names = [app.name_of(run["run_id"]) for run in app.runs[1:3]]
        assert [one.label for one in plot(app, "beside-metric")._curves] == names
        assert all("alpha=0.0" in name for name in names), "nobody named them"
        assert "whole" in facts(app)
        await pilot.press("plus", "V", "L", "w", "o")
        assert plot(app, "beside-metric")._title == "validation HR@20, smoothed 0.5"
        assert plot(app, "beside-loss")._title == "training loss all, smoothed 0.5, log"


async def test_panes_are_sized_hidden_ordered_and_remembered(home: Home):
    app = SraclApp(home)
    async with drive(app, size=(130, 40)) as pilot:
        await pilot.quiet()
        before = widths(app)
        assert sum(before.values()) == 130
        await pilot.press("less_than_sign", "less_than_sign")
        assert widths(app) == before | {"list": before["list"] - 4, "curves": before["curves"] + 4}
        await pilot.press("tab", "tab", "greater_than_sign")
        assert row(app).focused_pane == "facts"
        assert widths(app)["facts"] == before["facts"] + 2
        divider = app.screen.query_one("#pane-facts").query_one(Divider)
        now = widths(app)
        await pilot.mouse_down(divider)
        await pilot.hover(divider, offset=(-5, 3))
        await pilot.mouse_up(divider)
        assert widths(app) == now | {"curves": now["curves"] - 5, "facts": now["facts"] + 5}
        await pilot.press(*["greater_than_sign"] * 40)
        assert widths(app)["curves"] == LEAST
        await pilot.press("p")
        await pilot.quiet()
        assert isinstance(app.screen, ArrangeDialog)
        await pilot.press("space")
        assert pilot.told[-1] == "list of runs is always shown."
        await pilot.press("j", "space", "j", "K", "K", "enter")
        await pilot.quiet()
        assert row(app).shown == ["facts", "list"]
        kept = widths(app)
    again = SraclApp(home)
    async with drive(again, size=(130, 40)) as pilot:
        await pilot.quiet()
        assert row(again).shown == ["facts", "list"]
        assert widths(again) == kept


async def test_a_narrow_terminal_has_the_list_alone(home: Home):
    app = SraclApp(home)
    async with drive(app, size=(119, 30)) as pilot:
        await pilot.quiet()
        assert widths(app) == {"list": 119}
        await pilot.press("greater_than_sign")
        assert pilot.told == ["Only the list is shown: p shows panes, from 120 columns on."]
        await pilot.resize_terminal(120, 30)
        await pilot.quiet()
        assert list(widths(app)) == ["list", "curves", "facts"]
        assert plot(app, "beside-metric")._curves


async def test_columns_are_chosen_and_ordered_with_the_mouse(home: Home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        table = app.screen.query_one(Table)
        every = [column.key for column in table.data.columns]
        await pilot.press("C")
        await pilot.quiet()
        dialog = app.screen.query_one(Table)
        await pilot.click(dialog, offset=(6, 1 + every.index("state")))
        await pilot.click("#toggle")
        await pilot.click(dialog, offset=(6, 1 + every.index("hr")))
        for _ in range(3):
            await pilot.click("#up")
        await pilot.click("#keep")
        await pilot.quiet()
        assert [column.key for column in table.data.columns] == [
            "hr",
            *(key for key in every if key not in ("state", "hr")),
        ]
        first = table.data.rows[0]
        assert first.cells[:2] == (f"{app.runs[0]['test_hr_20']:.4f}", "whole")
        assert len(first.styles) == len(first.cells)
        await pilot.press("C", "G", "space", "enter")  # valid MRR@10, which is measured but not shown by default
        await pilot.quiet()
        assert table.data.columns[-1].key == "valid.mrr@10"
        assert table.data.rows[0].cells[-1] == f"{app.runs[0]['valid_mrr_10']:.4f}"
        await pilot.press("C", "z", "enter")
        await pilot.quiet()
        assert [column.key for column in table.data.columns] == every
        assert app.preferences.columns == []


@pytest.mark.parametrize(
    "values",
    [
        {"columns": [1], "panes": [None], "pane_widths": {"list": 0}},
        {"columns": ["no such"], "panes": ["no such", "facts", "facts"], "pane_widths": {"facts": -3, "list": "x"}},
        {"columns": {}, "panes": "list", "pane_widths": [1]},
    ],
)
async def test_damaged_choices_are_as_good_as_none(home: Home, values):
    (home.path / FILE).write_text(json.dumps(values))
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        assert "list" in row(app).shown
        assert len(app.screen.query_one(Table).data.columns) >= 10
        assert app.preferences.pane_widths == Preferences().pane_widths


async def test_a_run_without_a_name_is_called_by_what_differs(home: Home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        run = app.runs[0]
        run["name"] = run["run_id"]
        assert app.name_of(run["run_id"]).endswith(f"·{run['run_id'][-4:]}")
        app.open_run(run["run_id"])
        await pilot.quiet()
        assert isinstance(app.screen, RunScreen)
        called = app.name_of(run["run_id"])
        assert called in str(app.screen.query_one("#title", Static).content)
        app.open_inspector(run["run_id"])
        await pilot.quiet()
        assert str(app.screen.query_one("#title", Static).content) == f"Inspector  {called} on demo[:60]"
        for key in ("ctrl+p", "f8"):
            await pilot.press(key, *called[:4])
            lines = screen_lines(app.screen)
            assert any(called in line for line in lines), key
            assert not any(run["run_id"] in line for line in lines), key
            await pilot.press("escape")
        app.open_inspector(app.runs[1]["run_id"])
        await pilot.quiet()
        await pilot.press("o")
        assert called in [row.cells[0] for row in app.screen.query_one(Table).data.rows]
