"""The SQL screen on a real store: run, complete, cancel, save, remember."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from textual.widgets import Input, Static

from sracl_tui.services import query_history
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.rendering.query_result import MOST, details, table_of
from sracl_tui.tui.screens.sql import SqlScreen
from sracl_tui.tui.widgets.cell_dialog import CellDialog
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.dialogs import PromptDialog, TextDialog
from sracl_tui.tui.widgets.sql_editor import SqlEditor, complete
from sracl_tui.tui.widgets.table import Table
from store.database.person_sql import Cancel
from store.errors import QueryFailed, StoreError
from store.opening import open_store
from store.queries.sql_words import SqlWords
from tests.support.steady_pilot import drive

VOCABULARY = {"runs": ["run_id", "name"], "metrics": ["run_id", "test_ndcg_20"], "vectors.vectors": ["sha256"]}


def told(app) -> str:
    return str(app.screen.query_one("#told", Static).content)


def cells(app) -> list[tuple[str, ...]]:
    return [row.cells for row in app.screen.query_one("#rows", Table).data.rows]


async def opened(app, pilot, query: str | None = None) -> SqlScreen:
    await pilot.quiet()
    app.action_go("sql")
    await pilot.quiet()
    screen = app.screen
    assert isinstance(screen, SqlScreen)
    if query is not None:
        screen.query_one(SqlEditor).text = query
        await pilot.press("f5")
        await pilot.quiet()
    return screen


async def test_the_first_query_shows_the_runs(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await opened(app, pilot)
        assert sorted(row[1] for row in cells(app)) == ["backbone", "backbone", "default"]
        assert "3 rows" in told(app)


async def test_rows_are_text_and_null_is_told_apart(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await opened(app, pilot, "SELECT '[red]x[/]' AS a, NULL AS b, chr(27) || '[31m' AS c, 0.5 AS d, 7 AS e")
        assert cells(app) == [("[red]x[/]", "NULL", "�[31m", "0.5", "7")]
        row = app.screen.query_one("#rows", Table).data.rows[0]
        assert row.styles[1] == "dim"
        assert row.styles[0] == ""
        await pilot.press("f4", "y")
        assert app.clipboard.split("\t")[:2] == ["[red]x[/]", "NULL"]
        await pilot.press("v")
        assert isinstance(app.screen, TextDialog)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT nothing FROM runs", "nothing"),
        ("DELETE FROM runs", "read-only"),
        ("COPY runs TO 'x.csv'", "disabled"),
        ("FROM read_csv('/etc/passwd')", "disabled"),
        ("ATTACH 'other.db'", "disabled"),
        ("UPDATE EXTENSIONS", "StatementType"),
    ],
)
async def test_what_is_refused_says_why(home, query, reason):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot, query)
        assert reason in told(app)
        assert screen.query_one("#told").has_class("trouble")
        assert not screen.busy
        assert query_history.read(home)[0].failed


async def test_values_that_python_cannot_hold_leave_a_screen_that_goes_on(home):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot, "FROM test_all_types()")
        assert told(app).startswith("3 rows, ")
        assert not screen.busy
        await pilot.press("f4")
        for _ in screen.rows.data.columns:
            await pilot.press("enter")
            assert isinstance(app.screen, CellDialog)
            await pilot.press("escape", "right")
        await pilot.press("v")
        assert isinstance(app.screen, TextDialog)


async def test_esc_when_the_query_has_just_ended_changes_nothing(home):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot, "SELECT 42 AS found")
        kept: list[Cancel] = []
        app.library.store().user_sql("SELECT 1", started=kept.append)
        screen._begin(screen.buffer).keep(kept[0])
        await pilot.press("escape")
        screen._tick()  # cancels a query whose connection is closed
        assert app.is_running


async def test_a_query_that_takes_too_long_is_canceled(home):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot)
        screen.query_one(SqlEditor).text = "SELECT count(*) FROM range(10000000) a, range(10000000) b"
        await pilot.press("f5")
        assert screen.busy
        await pilot.press("f5")  # refused, not started twice
        await pilot.press("escape")
        await pilot.quiet()
        assert "canceled" in told(app)
        assert app.screen is screen, "esc cancels; it does not leave"
        await pilot.press("escape")
        assert app.screen is not screen


async def test_more_rows_than_are_shown_are_saved_whole(home, tmp_path):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        await opened(app, pilot, f"SELECT range AS n FROM range({MOST + 5})")
        assert len(cells(app)) == MOST
        assert "more rows" in told(app)
        await pilot.press("ctrl+s")
        assert isinstance(app.screen, PromptDialog)
        app.screen.query_one(Input).value = str(tmp_path / "all.parquet")
        await pilot.press("enter")
        await pilot.quiet()
        assert parquet.read_table(tmp_path / "all.parquet").num_rows == MOST + 5
        assert f"{MOST + 5:,} rows written to" in told(app)


async def test_names_complete_while_one_types(home):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot)
        editor = screen.query_one(SqlEditor)
        editor.text = ""
        await pilot.press(*"FROM run_r")
        assert editor.choosing
        await pilot.press("tab")
        assert editor.text == "FROM run_results"
        assert not editor.choosing
        assert editor.has_focus
        await pilot.press("space", *"WHERE test_hr_", "escape")
        assert not editor.choosing
        assert app.screen is screen, "the first esc closes the list"
        second = complete(editor.text, "test_hr", editor.vocabulary)[1].text
        await pilot.press("backspace", "down", "up", "down", "tab")
        assert editor.text == f"FROM run_results WHERE {second}"


async def test_tables_and_history_come_back_into_the_editor(home):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot, "SELECT 1 AS one")
        editor = screen.query_one(SqlEditor)
        editor.text = "FROM "
        editor.move_cursor(editor.document.end)
        await pilot.press("f2", *"journal_off", "enter")
        await pilot.quiet()
        assert editor.text == "FROM journal_offsets"
        assert editor.has_focus
        await pilot.press("f3")
        assert isinstance(app.screen, ChoiceDialog)
        await pilot.press(*"one", "enter")
        await pilot.quiet()
        assert editor.text == "SELECT 1 AS one"


async def test_a_query_is_laid_out_and_goes_through_another_editor(home, monkeypatch, tmp_path):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot, "select 42 as kept from runs")
        editor = screen.query_one(SqlEditor)
        await pilot.press("ctrl+l")
        assert editor.text == "SELECT 42 AS kept\nFROM runs"
        await pilot.press("ctrl+z")
        assert editor.text == "select 42 as kept from runs", "ctrl+z in the editor brings it back"
        file = tmp_path / "editor"
        file.write_text(
            f"#!{sys.executable}\nimport sys\nassert sys.argv[1].endswith('.sql')\nopen(sys.argv[1], 'a').write('\\nLIMIT 1\\n')\n"
        )
        file.chmod(0o700)
        monkeypatch.setattr(app, "suspend", nullcontext)
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", str(file))
        await pilot.press("f10")
        assert editor.text == "select 42 as kept from runs\nLIMIT 1"
        monkeypatch.setenv("EDITOR", "no-such-editor")
        await pilot.press("f10")
        assert "not installed" in told(app)
        assert editor.text.endswith("LIMIT 1")


async def test_the_query_is_there_at_the_next_start(home):
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        await opened(app, pilot, "SELECT 42 AS kept")
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        screen = await opened(app, pilot)
        assert screen.query_one(SqlEditor).text == "SELECT 42 AS kept"
        assert cells(app) == [], "it may be expensive: nothing runs by itself"


def test_completion_knows_tables_columns_and_aliases():
    names = [one.text for one in complete("SELECT ru FROM runs", "ru", VOCABULARY)]
    assert names[:2] == ["run_id", "runs"]
    assert [one.text for one in complete("SELECT r. FROM runs AS r", "r.", VOCABULARY)] == ["r.run_id", "r.name"]
    assert [one.text for one in complete("FROM metrics", "metrics.test", VOCABULARY)] == ["metrics.test_ndcg_20"]
    assert [one.text for one in complete("", "vectors.v", VOCABULARY)] == ["vectors.vectors"]
    assert "test_ndcg_20" in [one.text for one in complete("FROM metrics", "ndcg", VOCABULARY)]
    assert "SELECT" in [one.text for one in complete("", "sel", VOCABULARY, SqlWords(("FROM", "SELECT")))]
    assert [one.text for one in complete("", "co", {}, SqlWords(("COLUMN",), ("COPY",), ("count",)))] == [
        "COLUMN",
        "count",
        "COPY",
    ]


def test_a_row_is_shown_whole():
    table = pa.table({"a": ["one\ntwo"], "long": ["x" * 500], "none": pa.array([None], pa.string())})
    shown = details(table, 0)
    assert "x" * 500 in shown
    assert "two" in shown.splitlines()[1]
    assert "NULL" in shown
    assert len(table_of(table).rows[0].cells[1]) == 200


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_rows_are_saved_in_each_format(home, tmp_path, ending):
    path = tmp_path / f"rows.{ending}"
    with open_store(home) as store:
        rows = store.save_sql("SELECT run_id, name, {'a': [1, 2]} AS nested FROM runs ORDER BY run_id", path)
        names = [row["name"] for row in store.rows("SELECT name FROM runs ORDER BY run_id")]
    assert rows == 3
    if ending == "parquet":
        table = parquet.read_table(path)
        assert table["nested"].to_pylist()[0] == {"a": [1, 2]}
        assert table["name"].to_pylist() == names
    elif ending == "json":
        assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == names
    else:
        assert path.read_text().splitlines()[0] == "run_id,name,nested"
        assert len(path.read_text().splitlines()) == 4


def test_a_file_that_cannot_be_saved_is_not_there(home, tmp_path):
    with open_store(home) as store:
        with pytest.raises(StoreError, match="format"):
            store.save_sql("SELECT 1", tmp_path / "rows.xls")
        with pytest.raises(QueryFailed, match="Conversion"):
            store.save_sql("SELECT CAST('x' || range AS INTEGER) FROM range(9)", tmp_path / "rows.csv")
        with pytest.raises(StoreError, match="cannot be written"):
            store.save_sql("SELECT 1", tmp_path / "no folder" / "rows.csv")
    assert list(tmp_path.glob("*rows*")) == []


def test_history_keeps_each_query_once_and_survives_damage(home):
    for number in range(3):
        query_history.add(home, "SELECT 1", rows=number)
    query_history.add(home, "SELECT 2")
    with (home.path / query_history.FILE).open("a") as file:
        file.write("{broken\n")
    assert [(one.query, one.rows) for one in query_history.read(home)] == [("SELECT 2", 0), ("SELECT 1", 2)]
