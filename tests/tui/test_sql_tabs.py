"""The SQL screen's tabs, catalog, cells and charts, by keys and mouse."""

from __future__ import annotations

import json

import pytest
from textual.widgets import Input, Static

from sracl_tui.services import query_history
from sracl_tui.tui import sql_buffers
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.pins import pin_of
from sracl_tui.tui.preferences import FILE
from sracl_tui.tui.screens.jump import targets_of
from sracl_tui.tui.screens.runs import RunsScreen
from sracl_tui.tui.screens.sql_chart import SqlChartScreen
from sracl_tui.tui.sql_buffers import Answer, Buffer, Buffers, EditorState
from sracl_tui.tui.textual_internals import screen_lines
from sracl_tui.tui.widgets.buffer_bar import BufferBar
from sracl_tui.tui.widgets.catalog import Catalog, CatalogRows
from sracl_tui.tui.widgets.cell_dialog import CellDialog
from sracl_tui.tui.widgets.dialogs import ConfirmDialog, TextDialog
from sracl_tui.tui.widgets.table import Table, TableData
from store.publishing.publish import write_sql
from tests.support.steady_pilot import drive
from tests.tui.test_sql_screen import cells, opened, told

ENDLESS = "SELECT count(*) FROM range(10000000) a, range(10000000) b"


def titles(app) -> list[str]:
    return [buffer.title for buffer in app.screen.buffers.all]


async def ask(pilot, screen, query: str) -> None:
    screen.editor.text = query
    await pilot.press("f5")
    await pilot.quiet()


# tabs


async def test_each_tab_keeps_its_query_its_rows_and_its_edits(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "SELECT range AS n FROM range(30)")
        await pilot.press("f4", *["down"] * 20)
        await pilot.press("ctrl+r")
        assert screen.editor.text == ""
        assert screen.editor.has_focus
        assert cells(app) == []
        await pilot.press(*"FROM nowhere", "f5")
        await pilot.quiet()
        assert "nowhere" in told(app)
        assert screen.query_one("#told").has_class("trouble")
        await pilot.press("f6")
        assert screen.editor.text == "SELECT range AS n FROM range(30)"
        assert "30 rows" in told(app)
        assert not screen.query_one("#told").has_class("trouble")
        assert screen.rows.cursor == 20
        await pilot.press("f5")
        await pilot.quiet()
        assert len(cells(app)) == 30
        await pilot.press("shift+f6")
        assert screen.editor.text == "FROM nowhere"
        await pilot.press("ctrl+z")
        assert screen.editor.text != "FROM nowhere", "edits of a tab are undone in it"
        assert titles(app)[0] == "SELECT range AS n F…"


async def test_a_tab_can_be_used_while_the_query_of_another_runs(home):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot)
        await pilot.quiet()
        screen.editor.text = ENDLESS
        await pilot.press("f5", "ctrl+r", *"SELECT 7 AS seven", "f5")
        await pilot.until(lambda: not screen.busy)
        assert cells(app) == [("7",)]
        assert screen.buffers.all[0].running is not None
        await pilot.press("f6")
        assert screen.busy
        assert cells(app) != [("7",)]
        await pilot.press("escape")
        await pilot.quiet()
        assert "canceled" in told(app)
        await pilot.press("f6")
        assert cells(app) == [("7",)]
        assert told(app).startswith("1 row, ")


async def test_a_tab_whose_query_runs_is_closed_and_the_query_canceled(home):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot)
        screen.editor.text = ENDLESS
        await pilot.press("f5", "shift+f7")
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("y")
        await pilot.quiet()  # it would go on for hours
        assert not screen._statements
        assert screen.editor.text == ""
        await ask(pilot, screen, "SELECT 1 AS one")
        assert cells(app) == [("1",)]


async def test_leaving_cancels_what_runs(home):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot)
        screen.editor.text = ENDLESS
        await pilot.press("f5")
        await pilot.until(lambda: screen.buffer.running and screen.buffer.running.cancel)
        await pilot.press("f6", "ctrl+r", "escape")
        assert isinstance(app.screen, RunsScreen)
        await pilot.quiet()


async def test_a_query_that_was_never_run_is_asked_about_before_its_tab_closes(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "SELECT 1 AS one")
        await pilot.press("ctrl+r", *"SELECT 2")
        await pilot.press("shift+f7")
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("n")
        assert screen.editor.text == "SELECT 2"
        await pilot.press("shift+f7", "y")
        assert screen.editor.text == "SELECT 1 AS one"
        assert cells(app) == [("1",)]
        await pilot.press("shift+f7")
        assert app.screen is screen, "the history has this one"
        assert (titles(app), screen.editor.text, cells(app)) == (["empty"], "", [])


async def test_tabs_and_their_names_are_there_at_the_next_start(home):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot, "SELECT 1 AS one")
        await pilot.press("ctrl+r", *"FROM runs", "shift+f2", *"all runs", "enter")
        assert titles(app) == ["SELECT 1 AS one", "all runs"]
        await pilot.press("ctrl+r", *"-- a comment", "enter", *"FROM data")
        await pilot.press("f6", "f6")
        assert screen.buffer.title == "all runs"
        await pilot.press("1")
        assert screen.editor.text == "FROM runs1", "a digit is text"
    kept = json.loads((home.path / FILE).read_text())
    assert kept["query"] == "FROM runs1", "earlier versions read it"
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot)
        assert titles(app) == ["SELECT 1 AS one", "all runs", "FROM data"]
        assert screen.editor.text == "FROM runs1"
        assert cells(app) == []
        await pilot.press("escape")
        app.open_sql("SELECT 1 AS one")
        await pilot.quiet()
        assert app.screen.buffers.place == 0, "it has that query already"
        app.open_sql("SELECT 9")
        await pilot.quiet()
        assert [buffer.text for buffer in app.screen.buffers.all][:2] == ["SELECT 1 AS one", "SELECT 9"]


async def test_tabs_by_mouse(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "SELECT 1 AS one")
        bar = screen.query_one(BufferBar)
        await pilot.click(bar, offset=bar.regions()["add"].offset)
        await pilot.press(*"FROM runs")
        await pilot.click(bar, offset=bar.regions()["show 0"].offset)
        assert screen.editor.text == "SELECT 1 AS one"
        await pilot.click(bar, offset=bar.regions()["show 0"].offset, times=2)
        assert isinstance(app.screen.query_one(Input), Input)
        await pilot.press(*"first", "enter")
        assert titles(app) == ["first", "FROM runs"]
        places = {(target.x, target.y) for target in targets_of(screen)}
        line = screen_lines(screen)[bar.region.y]
        assert [line[bar.regions()[part].x :][:3] for part in ("show 1", "close", "add")] == [" 2 ", "×  ", " + "]
        parts = [region.offset + bar.region.offset for region in bar.regions().values()]
        assert {(part.x, part.y) for part in parts} <= places, "jump mode reaches every part"
        await pilot.click(bar, offset=bar.regions()["close"].offset)
        assert titles(app) == ["FROM runs"]


async def test_many_tabs_stay_in_one_line_with_the_shown_one_in_sight(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "SELECT 1 AS one")
        for _ in range(sql_buffers.MOST + 3):
            await pilot.press("ctrl+r")
        assert len(screen.buffers.all) == sql_buffers.MOST
        assert any("close one first" in text for text in pilot.told)
        bar = screen.query_one(BufferBar)
        for _ in range(sql_buffers.MOST):
            await pilot.press("f6")
            regions = bar.regions()
            assert f"show {screen.buffers.place}" in regions
            assert max(region.right for region in regions.values()) <= bar.size.width


def test_damaged_and_long_buffers_leave_the_rest():
    kept = [3, {"text": 1}, {"text": "a"}, None, {"text": "b", "name": "n\x1b[31m"}, {"text": "c", "name": 2}]
    tabs = Buffers.restore(kept, 99, "")
    assert [(one.text, one.name) for one in tabs.all] == [("a", ""), ("b", "n�[31m")]
    assert tabs.place == 1
    tabs.current.editor = EditorState("x" * (sql_buffers.LONGEST + 1))
    assert tabs.kept()[1] == {"text": "", "name": "n�[31m"}
    assert [one.text for one in Buffers.restore([], 0, "SELECT 1").all] == ["SELECT 1"]
    full = Buffers.restore([{"text": f"{n}"} for n in range(99)], 4, "new")
    assert len(full.all) == sql_buffers.MOST
    assert full.current.text == "new"


def test_results_of_many_tabs_are_bounded(monkeypatch):
    monkeypatch.setattr(sql_buffers, "MOST_CELLS", 10)

    def answered(rows: int) -> Buffer:
        return Buffer(answer=Answer("q", None, TableData((None,), [None] * rows)))  # type: ignore[arg-type]

    tabs = Buffers([answered(6), answered(3), answered(500), answered(5)])
    tabs.bound(tabs.all[2])
    assert [one.answer.cells for one in tabs.all] == [0, 3, 500, 5]
    assert "F5" in tabs.all[0].told


# catalog


async def test_a_narrow_screen_has_the_catalog_in_the_place_of_the_query(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "SELECT 1 AS one")
        catalog, rows = screen.query_one(Catalog), screen.query_one(CatalogRows)
        assert not catalog.display
        screen.editor.text = ""
        await pilot.press("f2")
        assert catalog.display
        assert not screen.editor.is_on_screen
        await pilot.press(*"run_results", "down")
        assert rows.has_focus
        assert [row.cells[1] for row in rows.data.rows] == ["view"]
        await pilot.press("up", "f2", "f2", *["backspace"] * 20, *"anchors", "down")
        await pilot.press("right", "down", "down")
        about = str(screen.query_one("#catalog-about", Static).content)
        name = rows.key[1]
        [description] = app.library.store().rows(
            "SELECT comment FROM duckdb_columns() WHERE table_name = 'anchors' AND column_name = $1", [name]
        )
        assert description["comment"] in about
        await pilot.press("enter")
        assert screen.editor.text == name
        assert screen.editor.has_focus
        assert not screen.editor.choosing
        assert not catalog.display
        await pilot.press("f2", "escape")
        assert not catalog.display
        assert screen.editor.has_focus
        assert app.screen is screen
        for key in ("f4", "f5", "f6", "ctrl+r"):
            await pilot.press("f2")
            assert catalog.display
            await pilot.press(key)
            assert not catalog.display, key
        await pilot.quiet()


async def test_a_wide_screen_has_it_beside_until_it_is_hidden(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot, "SELECT 1 AS one")
        catalog, rows = screen.query_one(Catalog), screen.query_one(CatalogRows)
        assert catalog.display
        assert screen.editor.has_focus
        place = rows.line_of(("runs", None))
        assert place is not None
        before = len(rows.data.rows)
        rows.move_to(("runs", None))
        await pilot.pause()
        place = rows.line_of(("runs", None))
        await pilot.click(rows, offset=(2, place.y))
        assert len(rows.data.rows) > before, "a click on the sign opens it"
        await pilot.press("left")
        assert len(rows.data.rows) == before
        await pilot.resize_terminal(80, 24)
        await pilot.quiet()
        assert not catalog.display
        await pilot.resize_terminal(120, 40)
        await pilot.quiet()
        assert catalog.display
        await pilot.press("f2", "f2")
        assert not catalog.display
        assert screen.editor.has_focus
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        assert not screen.query_one(Catalog).display


async def test_a_table_that_is_published_appears_and_is_inserted_in_quotation_marks(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot, "SELECT 1 AS one")
        rows = screen.query_one(CatalogRows)
        rows.move_to(("runs", None))
        write_sql(home, """CREATE TABLE "my table" AS SELECT 5 AS n; COMMENT ON TABLE "my table" IS 'Mine, chr \x1b'""")
        app.refresh_runs(now=True)
        await pilot.until(lambda: ("my table", None) in rows.data.index)
        assert rows.key == ("runs", None), "the cursor stays"
        screen.editor.text = "FROM "
        screen.editor.move_cursor(screen.editor.document.end)
        await pilot.press("f2", *"my")
        assert str(screen.query_one("#catalog-about", Static).content) == "my table: Mine, chr �"
        await pilot.press("enter", "f5")
        await pilot.quiet()
        assert screen.editor.text == 'FROM "my table"'
        assert cells(app) == [("5",)]


# cells


@pytest.mark.parametrize(
    ("value", "fact", "shown"),
    [
        ("NULL::VARCHAR", "NULL", "NULL"),
        ("''", "an empty text", ""),
        ("'NULL'", "4 letters", "NULL"),
        ("'a' || chr(27) || '[31m' || chr(10) || 'b'", "VARCHAR, 8 letters", "a�[31m\nb"),
        ("""'{"a":{"b":[1,2]},"c":"x, y"}'::JSON""", "JSON", '{\n  "a": {\n    "b": [1,2]\n  },\n  "c": "x, y"\n}'),
        ("""'[{"a":1.50}]'""", "VARCHAR", '[\n  {\n    "a": 1.50\n  }\n]'),
        ("{'k': ['one, two', 'it''s'], 'n': NULL}", "STRUCT", None),
        ("[0.5, 1]", "DECIMAL", "[0.5, 1.0]"),
        ("'{no json'", "8 letters", "{no json"),
        ("repeat('x', 60000)", "60,000 letters", "x" * 50_000),
    ],
)
async def test_a_cell_is_shown_whole(home, value, fact, shown):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await opened(app, pilot, f"SELECT 1 AS one, {value} AS told")
        await pilot.press("f4", "right", "enter")
        assert isinstance(app.screen, CellDialog)
        assert app.screen.cell.title == "told, row 1"
        assert fact in app.screen.cell.facts
        if shown is not None:
            assert str(app.screen.query_one("#cell-value", Static).content) == shown
        else:
            assert app.screen.cell.shown.startswith("{\n  'k': [")
            assert "one, two" in app.screen.cell.shown
            assert app.screen.cell.shown.endswith("'n': NULL\n}")
        app.copy_to_clipboard("before")
        await pilot.press("y")
        if value.startswith("NULL"):
            assert app.clipboard == "before"
        elif value.startswith("repeat"):
            assert len(app.clipboard) == 60_000
        else:
            whole = app.library.store().user_sql(f"SELECT {value} AS told", form="texts")
            assert app.clipboard == whole.to_pylist()[0]["told"].replace("\x1b", "�")
        await pilot.press("v")
        assert isinstance(app.screen, TextDialog)
        await pilot.press("escape")
        assert app.screen.query_one("#rows").has_focus


async def test_the_cursor_goes_from_cell_to_cell_and_keeps_in_sight(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        columns = ", ".join(f"'a value of some length' AS column_{number}" for number in range(12))
        screen = await opened(app, pilot, f"SELECT {columns} FROM range(3)")
        table = screen.query_one("#rows", Table)
        await pilot.press("f4", *["right"] * 20, "down")
        assert (table.cursor, table.column) == (1, 11)
        assert table.scroll_offset.x > 0
        await pilot.press("enter")
        assert app.screen.cell.title == "column_11, row 2"
        await pilot.press("escape", *["left"] * 20)
        assert (table.column, table.scroll_offset.x) == (0, 0)
        await pilot.click(table, offset=(30, 3), times=2)
        assert isinstance(app.screen, CellDialog)
        assert app.screen.cell.title == "column_1, row 3"


# charts


async def test_numbers_over_a_number_are_lines(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        query = "SELECT 10 - range AS x, range * 2 AS twice, 'no' AS word, NULL::INTEGER AS nothing FROM range(5)"
        screen = await opened(app, pilot, query)
        await pilot.press("ctrl+g")
        await pilot.quiet()
        chart = app.screen
        assert isinstance(chart, SqlChartScreen)
        assert chart.chart.names == ("twice", "nothing")
        curve = chart.chart.curves(None)[0]
        assert list(curve.epochs) == [6, 7, 8, 9, 10]
        assert list(curve.values) == [8, 6, 4, 2, 0]
        assert "sorted by x" in str(chart.query_one("#chart-notes", Static).content)
        assert pin_of(chart).words == ("sql", query), "a finding of it is that of its query"
        await pilot.press("v")
        assert chart.only == 0
        await pilot.press("left", "left")
        assert chart.query_one("#chart-lines").cross == 9
        await pilot.press("escape", "escape")
        assert app.screen is screen
        assert len(cells(app)) == 5
        assert query_history.read(home)[0].query == query


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_numbers_beside_texts_are_bars(home, size):
    app = SraclApp(home)
    async with drive(app, size=size) as pilot:
        await opened(app, pilot, "SELECT * FROM (VALUES ('a', 4, -1), ('b', 2, 1), (NULL, NULL, 0)) AS t(name, n, m)")
        await pilot.press("ctrl+g")
        await pilot.quiet()
        table = app.screen.query_one("#chart-bars", Table)
        rows = [row.cells for row in table.data.rows]
        assert [row[0] for row in rows] == ["a", "b", "NULL"]
        assert [row[1] for row in rows] == ["4", "2", "-"]
        assert rows[0][2].count("█") // 2 == rows[1][2].count("█") > 2
        assert rows[2][2].strip() == ""
        assert rows[0][4].rstrip().endswith("█")
        assert rows[1][4].startswith(" " * len(rows[0][4].rstrip()))
        assert table.virtual_size.width <= size[0]
        await pilot.press("v", "v")
        assert [column.title for column in app.screen.query_one("#chart-bars", Table).data.columns][:2] == ["name", "m"]
        await pilot.press("plus")
        assert "Bars have no axis" in pilot.told[-1]


async def test_times_make_an_axis_of_times(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await opened(app, pilot, "SELECT DATE '2020-01-31' + (range * 31)::INT AS day, range AS n FROM range(30)")
        await pilot.press("ctrl+g")
        await pilot.quiet()
        lines = screen_lines(app.screen)
        assert any("2020-07" in line and "2021-01" in line for line in lines[-4:])
        await pilot.press("left")
        assert any("2022-07-18" in line for line in screen_lines(app.screen)), "the last day"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT 'a' AS a, 'b' AS b", "No column of the result is a number"),
        ("SELECT 1 AS a, 2 AS b WHERE false", "no row"),
        ("SELECT 1 AS a, NULL::INTEGER AS b", "no number in any row"),
        ("SELECT NULL::INTEGER AS a, 1 AS b", "no value in any row"),
    ],
)
async def test_what_cannot_be_drawn_is_said_in_words(home, query, reason):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot, query)
        await pilot.press("ctrl+g")
        await pilot.quiet()
        assert app.screen is screen
        assert reason in pilot.told[-1]
        await pilot.press("ctrl+r", "ctrl+g")
        assert "no rows to draw" in pilot.told[-1]


async def test_a_chart_of_too_many_rows_says_how_many_are_drawn(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot, "SELECT range AS n, range % 7 AS m FROM range(100001)")
        await pilot.press("ctrl+g")
        await pilot.quiet()
        notes = str(app.screen.query_one("#chart-notes", Static).content)
        assert notes == "only the first 100,000 of more than 100,000 rows"
        await pilot.press("escape")
        await ask(pilot, screen, "SELECT 'n' || range AS n, range AS m FROM range(5000)")
        await pilot.press("ctrl+g")
        await pilot.quiet()
        assert str(app.screen.query_one("#chart-notes", Static).content) == "only the first 1,000 of 5,000 rows"
        assert len(app.screen.query_one("#chart-bars", Table).data.rows) == 1_000


async def test_names_that_have_to_be_quoted_complete_as_that(home):
    write_sql(home, 'CREATE TABLE "my notes" (day DATE, "order" TEXT)')
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot)
        editor = screen.editor
        for typed in ("FROM my", 'FROM "my'):
            editor.text = ""
            await pilot.press(*typed, "tab")
            assert editor.text == 'FROM "my notes"'
        await pilot.press(*" WHERE ord", "tab")
        assert editor.text == 'FROM "my notes" WHERE "order"'
