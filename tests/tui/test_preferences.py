"""What the app keeps between two starts, and that a damaged file is as good as none."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.preferences import FILE, Preferences
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from tests.support.steady_pilot import drive


async def test_the_next_start_looks_like_the_last(home: Home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("S")
        await pilot.quiet()
        await pilot.press("down", "b", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, RunScreen)
        chosen = app.screen.run_id
        await pilot.press("w", "o", "v", "p", "l", "tab")
        await pilot.quiet()
        await pilot.press("ctrl+t", "escape")
    again = SraclApp(home)
    async with drive(again, size=(120, 40)) as pilot:
        await pilot.quiet()
        assert again.theme == "sracl-light"
        assert again.screen.query_one(Table).key == chosen
        grid = again.screen.query_one(Table).data
        assert grid.rows[grid.index[chosen]].sign == "="
        assert again.screen.query_one(Table).sorted_by == ("created", False)
        await pilot.press("2")
        await pilot.quiet()
        screen = again.screen
        assert isinstance(screen, RunScreen)
        assert screen.run_id == chosen
        assert screen.query_one("TabbedContent").active == "log"  # type: ignore[attr-defined]
        assert not screen.query_one("#metrics").display
        assert screen.query_one("#losses")._title == "training loss all, smoothed 0.5, log"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        "null",
        '{"sort": 3, "folded": 1, "smoothing": true}',
        json.dumps(
            asdict(Preferences()) | dict.fromkeys(("sort", "plots", "metric", "loss", "run_tab", "run"), "no such")
        ),
        json.dumps(
            {"smoothing": -(10**9), "theme": "\x1b[31m", "baseline": "[red]", "compare_metric": "x", "filter": "a:[b]"}
        ),
    ],
)
async def test_a_damaged_file_is_as_good_as_none(home: Home, text: str):
    (home.path / FILE).write_text(text)
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        if "a:[b]" in text:
            app.screen.query_one("#filter").value = ""  # type: ignore[attr-defined]
            await pilot.quiet()
        assert len(app.screen.query_one(Table).data.rows) == 3
        await pilot.press("s", "f", "f", "2")
        await pilot.quiet()
        assert isinstance(app.screen, RunScreen)
        await pilot.press("p", "l", "v", "w", "tab", "tab", "escape")
    assert json.loads((home.path / FILE).read_text())["theme"].startswith("sracl-")


async def test_a_home_that_cannot_be_written_is_no_trouble(home: Home, monkeypatch):
    (home.path / FILE).mkdir()
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        await pilot.press("S", "q")
    assert app.return_code == 0
