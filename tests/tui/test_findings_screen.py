"""Findings: pinned on every screen, listed, opened where they were, edited, removed, brought back, exported."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.widgets import Static

from engine.errors import CheckpointError
from sracl_tui.services.scoring import ScoringProcess
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.navigation import Unavailable
from sracl_tui.tui.pins import _PINS, WHAT_IF, Pin, open_place, picture, pin_of
from sracl_tui.tui.screens import DEEPER, PAGES
from sracl_tui.tui.screens.findings import FindingsScreen
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.sql import SqlScreen
from sracl_tui.tui.screens.what_if import WhatIfScreen
from sracl_tui.tui.widgets.dialogs import ConfirmDialog, PromptDialog
from sracl_tui.tui.widgets.sql_editor import SqlEditor
from sracl_tui.tui.widgets.table import Table
from sracl_tui.tui.widgets.text_dialog import EditDialog, TextBox
from store.opening import open_store
from store.queries import findings
from tests.support.steady_pilot import SteadyPilot, drive


def pinned(home) -> list[findings.Finding]:
    with open_store(home) as store:
        return findings.list_findings(store)


async def pin(pilot: SteadyPilot, note: str, key: str = "N") -> None:
    await pilot.press(key)
    await pilot.quiet()
    assert isinstance(pilot.app.screen, PromptDialog), pilot.told
    await pilot.press(*note, "enter")
    await pilot.quiet()


async def listed(app: SraclApp, pilot: SteadyPilot) -> FindingsScreen:
    app.action_go("findings")
    await pilot.quiet()
    assert isinstance(app.screen, FindingsScreen)
    return app.screen


@pytest.fixture
def no_model(monkeypatch):
    """No process loads models: what needs one says that there is none."""

    def ask(self, question):
        raise CheckpointError("no model")

    monkeypatch.setattr(ScoringProcess, "ask", ask)


def whole(app: SraclApp) -> str:
    return next(row["run_id"] for row in app.runs if row["name"] == "whole")


def test_every_screen_says_what_it_is():
    assert _PINS.keys() == PAGES.keys() | DEEPER.keys() | {WHAT_IF}


async def test_a_user_is_pinned_found_and_opened_again(home, no_model):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        app.open_inspector(whole(app), "7")
        await pilot.quiet()
        await pilot.press("P")
        await pilot.quiet()
        position = app.screen.found.anchor["position"]
        await pin(pilot, "ties decide here")
        [made] = pinned(home)
        assert (made["screen"], made["user_id"], made["run_ids"]) == ("inspector", 7, [whole(app)])
        assert made["command"].startswith(f"sracl inspect {whole(app)} '#7'")
        assert "Items, oldest first" in made["content"]
        assert "no live run" not in made["content"], "the status line is not pinned"
        assert app.screen.query_one("#status", Static).content == f"y copies: sracl findings show {made['finding_id']}"
        screen = await listed(app, pilot)
        assert "ties decide here" in str(screen.query_one("#finding-facts", Static).content)
        await pilot.press("slash", *"decide inspector", "enter")
        await pilot.quiet()
        assert [row.cells[2] for row in screen.query_one(Table).data.rows] == ["ties decide here"]
        await pilot.press("enter")
        await pilot.quiet()
        assert isinstance(app.screen, InspectorScreen)
        assert (app.screen.found.user_id, app.screen.found.anchor["position"]) == (7, position)


async def test_a_query_is_pinned_from_the_editor_and_comes_back(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        app.action_go("sql")
        await pilot.quiet()
        app.screen.query_one(SqlEditor).text = "SELECT 42 AS answer"
        await pilot.press("f5")
        await pilot.quiet()
        await pilot.press("N")
        assert "N" in app.screen.query_one(SqlEditor).text.replace("SELECT", ""), "a letter is text in the editor"
        await pin(pilot, "an answer", key="ctrl+n")
        [made] = pinned(home)
        assert made["command"] == "sracl sql 'SELECT 42 AS answer'"
        assert "42" in made["content"]
        await listed(app, pilot)
        await pilot.press("enter")
        await pilot.quiet()
        assert isinstance(app.screen, SqlScreen)
        assert app.screen.query_one(SqlEditor).text == "SELECT 42 AS answer"


async def test_a_changed_user_is_pinned_with_changes_and_ranks_and_opened_with_them(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        for key in ("i", "w"):
            await pilot.quiet()
            await pilot.press(key)
        await pilot.quiet()
        screen = app.screen
        assert isinstance(screen, WhatIfScreen)
        await pilot.press("space", "tab", "tab", "plus")
        await pilot.quiet()
        bench, ranked = screen.bench, screen.answer.now.model.items
        await pin(pilot, "without the first")
        [made] = pinned(home)
        assert "2 changes" in made["content"]
        assert "left out" in made["content"]
        assert "cos(h, h+)" in made["content"]
        await listed(app, pilot)
        await pilot.press("enter")
        await pilot.quiet()
        assert isinstance(app.screen, WhatIfScreen)
        assert app.screen.bench == bench
        assert app.screen.answer.now.model.items == ranked
        await pilot.press("u")
        assert app.screen.bench == screen.states[0], "u takes it back"


async def test_notes_and_removals_are_taken_back(home, monkeypatch, tmp_path):
    findings.add(home, note="before", command="sracl runs", content="a picture")
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        screen = await listed(app, pilot)
        await pilot.press("e")
        await pilot.quiet()
        assert isinstance(app.screen, EditDialog)
        editor = tmp_path / "editor"
        editor.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[1], 'a').write(' and after')\n")
        editor.chmod(0o700)
        monkeypatch.setattr(app, "suspend", nullcontext)
        monkeypatch.delenv("VISUAL", raising=False)
        for wrong, reason in (("no-such-editor", "not installed"), ("false", "exit code 1")):
            monkeypatch.setenv("EDITOR", wrong)
            await pilot.press("f10")
            await pilot.quiet()
            assert reason in str(app.screen.query_one("#problem", Static).content)
        monkeypatch.setenv("EDITOR", str(editor))
        await pilot.press("f10")
        await pilot.quiet()
        assert app.screen.query_one(TextBox).text == "before and after"
        await pilot.press("enter", *"two", "ctrl+s")
        await pilot.quiet()
        assert screen.finding["note"] == "before and after\ntwo"
        await pilot.press("x")
        await pilot.quiet()
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("y")
        await pilot.quiet()
        assert screen.found == []
        await pilot.press("ctrl+z")
        await pilot.quiet()
        assert [one["note"] for one in screen.found] == ["before and after\ntwo"]
        await pilot.press("ctrl+z")
        await pilot.quiet()
        assert [one["note"] for one in screen.found] == ["before"]
        lines = [one.line.split()[2] for one in app.commands.commands]
        assert lines == ["note", "remove", "restore", "note"]
        await pilot.press("enter")
        await pilot.quiet()
        assert "belongs to no screen" in pilot.told[-1]


async def test_what_is_listed_is_exported_by_the_mouse(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for note in ("one <b>", "two"):
        findings.add(home, note=note, content="x" * 300)
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        screen = await listed(app, pilot)
        await pilot.click("#findings-table", offset=(5, 2))
        assert screen.finding["note"] == "one <b>"
        await pilot.press("slash", *"one", "enter")
        await pilot.quiet()
        key = next(key for key in screen.query("FooterKey") if key.description == "Export")
        await pilot.click(key)
        await pilot.click("#keep")
        await pilot.quiet()
        page = (tmp_path / "findings.html").read_text()
        assert "one &lt;b&gt;" in page
        assert "two" not in page
        line = app.commands.commands[-1].line
        assert line.startswith("sracl findings export 2")
        assert Path(line.split()[-1]) == tmp_path / "findings.html"


class Gone:
    """An app whose list has no run."""

    def row_of(self, run_id: str) -> None:
        return None


def test_a_finding_of_a_run_that_is_gone_says_so():
    for screen, run_ids, reason in (
        ("compare", ["r1", "r2"], "Run r1 is not in the list"),
        ("inspector", [], "names no run"),
        ("", ["r1"], "belongs to no screen"),
    ):
        with pytest.raises(Unavailable, match=reason):
            open_place(Gone(), of(Pin(screen, tuple(run_ids))))


def of(pin: Pin) -> findings.Finding:
    """The finding that a pin becomes."""
    kept = {name: getattr(pin, name) for name in ("screen", "user_id", "item_id")}
    return kept | {"finding_id": "f", "run_ids": list(pin.run_ids), "place": json.loads(json.dumps(pin.place))}


READ = ("compare", "slices", "data", "item")
"""Screens that are pinned with what they have read."""


async def test_screens_are_pinned_and_opened_where_they_were(home, no_model):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("space", "down", "space")  # for Compare and Slices
        for name in READ:
            app.action_go(name)
            await pilot.quiet()
            made = pin_of(app.screen)
            assert made.words, name
            assert picture(app.screen), name
            app.action_go("runs")
            open_place(app, of(made))
            await pilot.quiet()
            assert type(app.screen).__name__ == (PAGES | DEEPER)[name]
            assert pin_of(app.screen) == made


async def test_screens_are_pinned_before_they_have_read_anything(home, no_model):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        assert pin_of(app.screen).words == ("runs",)
        for name in (*PAGES, *DEEPER):
            if name in ("runs", "inspector", "sql", *READ):
                continue
            app.action_go(name)
            await pilot.pause()
            if name in ("findings", "settings"):
                await pilot.press("N")
                assert ("list of findings" if name == "findings" else "no finding") in pilot.told[-1]
            else:
                assert pin_of(app.screen).words, name
