"""What works on every screen: the line of screens, :screen and :run NAME, jump mode, F-keys, the palette, help, commands, undo."""

from __future__ import annotations

import pytest
from textual.widgets import Static

from sracl_tui.services.command_log import command_line
from sracl_tui.services.run_edits import EditHistory, TagEdit, TextEdit
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens import ABOUT, DEEPER, KEYS, PAGES, page_class, page_name
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.jump import JumpScreen, labels
from sracl_tui.tui.screens.launch import LaunchScreen
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.screens.runs import RunsScreen
from sracl_tui.tui.screens.sql import SqlScreen
from sracl_tui.tui.widgets.command_dialog import CommandDialog
from sracl_tui.tui.widgets.dialogs import HelpDialog
from sracl_tui.tui.widgets.screen_bar import ScreenBar
from sracl_tui.tui.widgets.sql_editor import SqlEditor
from sracl_tui.tui.widgets.table import Table
from store.errors import StoreError
from store.opening import open_store
from store.queries import runs
from tests.support.steady_pilot import drive


def test_every_screen_is_described_and_known_by_its_class():
    assert ABOUT.keys() == PAGES.keys() | DEEPER.keys()
    assert KEYS.keys() <= ABOUT.keys()
    for name in ABOUT:
        assert page_name(page_class(name).__new__(page_class(name))) == name


@pytest.mark.parametrize("count", [0, 1, 26, 27, 400])
def test_labels_are_different_and_none_begins_another(count):
    found = labels(count)
    assert len(set(found)) == count
    assert len({len(label) for label in found}) <= 1


def status(app) -> str:
    return str(app.screen.query_one("#status", Static).content)


async def test_screens_are_visible_and_a_click_or_a_name_opens_them(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        bar = app.screen.query_one(ScreenBar)
        assert bar.display
        assert "sracl" in str(app.screen.query_one("#head-product", Static).content)
        await pilot.click(ScreenBar, offset=bar.regions()["sql"].offset)
        await pilot.quiet()
        assert isinstance(app.screen, SqlScreen)
        editor = app.screen.query_one(SqlEditor)
        text = editor.text
        await pilot.press("f8")
        assert isinstance(app.screen, CommandDialog)
        await pilot.press(*"run whol", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, RunScreen)
        assert app.row_of(app.screen.run_id)["name"] == "whole"
        assert editor.text == text, "the keys went to the list of screens"
        await pilot.press("colon", *"inspector whole", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, InspectorScreen)
        await pilot.press("colon", *":sql", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, SqlScreen)
        await pilot.press("f8", *"no such screen")
        assert app.screen.query_one(Table).data.rows == ()
        await pilot.press("enter", "escape")
        assert isinstance(app.screen, SqlScreen)


async def test_a_small_terminal_has_the_list_of_screens_one_key_away(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        assert not app.screen.query_one(ScreenBar).display
        await pilot.click("#head-screens")
        rows = app.screen.query_one(Table).data.rows
        assert [row.cells[0].lower() for row in rows] == [*PAGES, *DEEPER]
        assert [row.cells[1] for row in rows][: len(PAGES)] == list("123456789")
        await pilot.press("down", "down", "down", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, LaunchScreen)


async def test_jump_mode_labels_what_a_click_activates(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        table = app.screen.query_one(Table)
        await pilot.press("f9")
        assert isinstance(app.screen, JumpScreen)
        targets = app.screen.targets
        row = next(label for label, target in targets.items() if target.y == table.region.y + 3)
        await pilot.press(*row)
        await pilot.quiet()
        assert isinstance(app.screen, RunsScreen)
        assert table.cursor == 2
        await pilot.press("ctrl+o")
        bar = app.screen_stack[0].query_one(ScreenBar)
        data = next(
            label
            for label, target in app.screen.targets.items()
            if (target.x, target.y) == bar.regions()["data"].translate(bar.region.offset).offset
        )
        await pilot.press(*data)
        await pilot.quiet()
        assert page_name(app.screen) == "data"
        await pilot.press("f9", "1")
        assert page_name(app.screen) == "data", "a letter without a label closes the labels and does nothing else"
        await pilot.press("f9", "escape", "1")
        assert isinstance(app.screen, RunsScreen)
        await pilot.press("f9")
        headers = [label for label, target in app.screen.targets.items() if target.y == table.region.y]
        assert len(headers) > 3
        await pilot.press(*headers[3])
        await pilot.quiet()
        assert app.preferences.sort == "hr"


async def test_f1_and_help_show_the_keys_of_the_screen_first(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("slash", "f1")
        assert isinstance(app.screen, HelpDialog)
        assert app.preferences.filter == ""
        await pilot.press("escape", "escape", "question_mark")
        headings = [str(line.content).strip() for line in app.screen.query(".help-heading").results(Static)]
        assert headings == ["On Runs", "Everywhere", "In a table"]
        keys = [str(line.content) for line in app.screen.query(".help-keys").results(Static)]
        assert "i  Inspect" in keys[0]
        assert "f1 Help" in " ".join(keys[1].split())
        assert "Page down" in keys[2]


async def test_the_palette_has_one_line_a_command(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        await pilot.press("ctrl+p")
        rows = app.screen.query_one(Table).data.rows
        named = {row.cells[0]: row.cells for row in rows}
        assert named["Filter"][1] == "/"
        assert named["Stop"][2].startswith("not now: ")
        assert {"Everyone", "Study", "Theme", "Run whole"} <= named.keys()
        assert "Focus Next" not in named
        await pilot.press(*"fold", "enter")
        await pilot.quiet()
        assert app.preferences.folded


async def test_edits_show_their_command_and_are_taken_back(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        run = app.screen.run
        row = lambda: app.row_of(run["run_id"])  # noqa: E731

        async def settle() -> None:
            await pilot.quiet()
            app.refresh_runs(now=True)
            await pilot.quiet()

        await pilot.press("m", *["backspace"] * len(run["name"]), *"office one", "enter")
        await settle()
        assert row()["name"] == "office one"
        command = command_line(("rename", run["run_id"], "office one"))
        assert f"y copies: {command}" == status(app)
        await pilot.press("y")
        assert app.clipboard == command
        await pilot.press("j")
        assert "copies" not in status(app)
        await pilot.press("k", "y")
        assert app.clipboard == run["run_id"], "without a command the key is the screen's"
        await pilot.press("t", *"paper -none", "enter")
        await settle()
        await pilot.press("e", *"a note", "enter")
        await settle()
        assert (row()["tags"], row()["note"]) == (["paper"], "a note")
        await pilot.press("f12")
        lines = [cells.cells[1] for cells in app.screen.query_one(Table).data.rows]
        assert lines == [
            f"sracl note {run['run_id']} 'a note'",
            f"sracl tag {run['run_id']} paper",
            command,
        ]
        await pilot.press("down", "j", "enter")
        assert app.clipboard == lines[1]
        for _ in range(3):
            await pilot.press("ctrl+z")
            await settle()
        assert (row()["name"], row()["tags"], row()["note"]) == (run["name"], [], "")
        await pilot.press("ctrl+z")
        assert "Nothing to undo" in pilot.told[-1]
        assert app.commands.commands[-1].line == command_line(("rename", run["run_id"], run["name"]))


def test_an_edit_changes_only_what_it_must_and_its_inverse_takes_that_back(home):
    with open_store(home) as store:
        run_id = runs.list_runs(store)[0]["run_id"]
        runs.tag(store, run_id, add=("kept", "old"))
        edit = TagEdit.of(run_id, ["kept", "old"], ["kept", "new", "-old", "-absent"])
        assert edit == TagEdit(run_id, ("new",), ("old",))
        assert edit.words() == ("tag", run_id, "--", "new", "-old")
        edit.apply(store)
        assert runs.find_run(store, run_id)["tags"] == ["kept", "new"]
        edit.inverse().apply(store)
        assert runs.find_run(store, run_id)["tags"] == ["kept", "old"]
        first = TextEdit(run_id, "note", "", "one")
        first.apply(store)
        runs.note(store, run_id, "by someone else")
        with pytest.raises(StoreError, match="'by someone else' meanwhile"):
            first.inverse().apply(store)
        assert runs.find_run(store, run_id)["note"] == "by someone else"


def test_a_group_of_edits_is_taken_back_last_first():
    history = EditHistory()
    history.add("nothing", [])
    assert history.pop() is None
    edits = [TextEdit("a", "note", "", "x"), TextEdit("a", "note", "x", "y")]
    history.add("note of a", edits)
    assert history.newest == "note of a"
    assert history.pop() == ("note of a", (edits[1].inverse(), edits[0].inverse()))
    assert history.newest == ""
