"""Every metric of a run in a grid: pages, one chart alone, and the crosshair, by keys and by mouse."""

from __future__ import annotations

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.charts import Chart, ChartsScreen
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from tests.support.steady_pilot import drive


def shown(app) -> list[Chart]:
    return [chart for chart in app.screen.query(Chart) if chart.display]


def text(chart: Chart) -> str:
    """Title and legend as they are drawn."""
    return "\n".join(chart.render_line(y).text for y in range(3))


def stored(app, run_id: str) -> dict[tuple[str, str], dict[int, float]]:
    rows = app.library.store().rows(
        "SELECT split, name, epoch, value FROM metrics WHERE run_id = ? AND subgroup = 'all' AND split IN ('train', 'valid') "
        "AND name NOT IN ('n', 'seconds')",
        [run_id],
    )
    found: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        found.setdefault((row["split"], row["name"]), {})[row["epoch"]] = row["value"]
    return found


async def test_every_metric_is_on_a_page_and_the_crosshair_reads_all(home: Home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("a")
        await pilot.quiet()
        screen = app.screen
        assert isinstance(screen, ChartsScreen)
        values = stored(app, screen.run_id)
        names = screen.names()
        assert {name for name in names if name[0] != "machine"} == set(values)
        assert len(shown(app)) == 9
        assert screen.pages == 2
        assert "finished" in str(screen.query_one(Table).data.rows[-1].cells)
        await pilot.press("left")
        for epoch in (2, 1):
            for page in range(screen.pages):
                for chart in shown(app):
                    value = values[names[chart.number]][epoch]
                    assert f" {value:.4g}  │ epoch {epoch}" in text(chart), (page, text(chart))
                await pilot.press("right_square_bracket")
            await pilot.press("left")
        await pilot.press("escape")
        assert all(chart.cross is None for chart in screen.query(Chart))
        assert "at epoch 2" in text(shown(app)[0])


async def test_one_chart_alone_and_back_to_the_run(home: Home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        await pilot.press("enter")
        await pilot.quiet()
        await pilot.press("a")
        await pilot.quiet()
        assert len(shown(app)) == 4
        await pilot.press("j", "j", "j", "j", "j", "enter")
        (chart,) = shown(app)
        assert chart.number == 5
        assert chart.size.width > 70
        await pilot.press("escape", "escape")
        await pilot.quiet()
        assert isinstance(app.screen, RunScreen)


async def test_the_pointer_moves_the_crosshair_of_all_and_a_double_click_shows_one(home: Home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("a")
        await pilot.quiet()
        last = shown(app)[-1]
        await pilot.hover(last, offset=(last.size.width - 1, 5))
        assert {chart.cross for chart in shown(app)} == {2}
        await pilot.hover(last, offset=(8, 5))
        assert {chart.cross for chart in shown(app)} == {1}
        await pilot.hover("#charts-log")
        assert {chart.cross for chart in shown(app)} == {None}
        await pilot.click(last, times=2)
        assert [chart.number for chart in shown(app)] == [8]
        await pilot.click(shown(app)[0], times=2)
        assert len(shown(app)) == 9
