"""Bad weather: stores that are missing, held, damaged, replaced or too new; dead runs; small terminals; strange text."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from rich.cells import cell_len
from textual.app import App
from textual.widgets import Static

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.widgets.table import Table
from store.database.connection import open_for_writing
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.queries import runs
from tests.support.steady_pilot import SteadyPilot, drive

STRANGE = (
    "wide 🧑‍🚀👩‍👩‍👧 漢字",
    "right \u202eto left\u202c שלום عربي",
    "[red]markup[/red] [link=x]",
    "control \x1b[31m\x07\x00\x9b31m end",
    "two\nlines\ttab",
    "zero\u200bwidth cafe\u0301",
)
WRITER = """
import duckdb, sys
c = duckdb.connect(sys.argv[1]); c.execute("CREATE TABLE IF NOT EXISTS mine (x INT)"); print("held", flush=True); sys.stdin.read()
"""


def text(app: App[None]) -> list[str]:
    return [strip.text for strip in app.screen._compositor.render_strips()]


def rows(app: SraclApp) -> int:
    return len(app.screen_stack[0].query_one(Table).data.rows)


def status(app: SraclApp) -> str:
    return str(app.screen.query_one("#status", Static).render())


async def status_with(pilot: SteadyPilot, sign: str) -> str:
    """The status line as soon as it has this sign."""
    await pilot.until(lambda: sign in status(pilot.app), what=lambda: f"{sign!r} is not in {status(pilot.app)!r}")
    return status(pilot.app)


async def test_a_home_that_is_missing_is_made(tmp_path: Path):
    app = SraclApp(Home(tmp_path / "new" / "home"))
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        assert app.screen.query_one("#hint").display
        assert "0 runs" in status(app)


async def test_a_home_that_cannot_be_made_says_why(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    app = SraclApp(Home(tmp_path / "file" / "home"))
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        assert "this home cannot be made" in await status_with(pilot, "✗")
        assert "Name another folder with --home" in str(app.screen.query_one("#hint", Static).render())
        await pilot.press("2", "d", "q")
    assert app.return_code == 0


async def test_a_store_that_a_person_has_open_names_the_process(home: Home):
    app = SraclApp(home)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(home.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "held\n"
        async with drive(app, size=(120, 40)) as pilot:
            await pilot.quiet()
            assert f"process {writer.pid} has the file open for writing" in await status_with(pilot, "✗")
            assert rows(app) == 3, "journals tell of the newest runs"
            writer.communicate("")
            await status_with(pilot, "3 runs")
            await pilot.quiet()
            assert rows(app) == 3


async def test_a_store_that_is_damaged_moved_or_put_back_under_the_app(home: Home):
    whole = home.path / "whole.duckdb"
    shutil.copy(home.database, whole)
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        broken = home.path / "broken"
        broken.write_bytes(b"no database" * 1000)
        broken.replace(home.database)
        said = await status_with(pilot, "✗")
        assert "showing what was read before" in said
        assert rows(app) == 3
        await pilot.press("enter")
        await pilot.quiet()
        assert isinstance(app.screen, RunScreen), "journals are there to be read"
        assert app.screen.state == "finished"
        await pilot.press("escape", "3")
        await pilot.quiet()
        await pilot.press("escape", "1")
        whole.replace(home.database)
        assert "showing" not in await status_with(pilot, "3 runs")
        assert rows(app) == 3
        with open_store(home) as store:
            runs.rename(store, app.runs[0]["run_id"], "seen again")
        await pilot.until(lambda: app.runs[0]["name"] == "seen again")


async def test_a_database_of_a_newer_version_is_left_alone(home: Home):
    connection = open_for_writing(home.database)
    columns = [row[0] for row in connection.execute("DESCRIBE schema_version").fetchall()]
    connection.execute(
        f"INSERT INTO schema_version SELECT * REPLACE (999 AS {columns[0]}) FROM schema_version ORDER BY {columns[0]} DESC LIMIT 1"
    )
    connection.close()
    before = home.database.read_bytes()
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        assert "schema version 999" in await status_with(pilot, "✗")
        await pilot.press("2", "3", "5")
        await pilot.quiet()
    assert home.database.read_bytes() == before


async def test_a_terminal_gets_tiny_and_large_again(home: Home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        for keys in (
            [],
            ["enter"],
            ["escape", "i"],
            ["escape", "4"],
            ["escape", "space", "space", "5"],
            ["escape", "6"],
        ):
            await pilot.press(*keys)
            await pilot.quiet()
            before = text(app)
            for size in ((40, 10), (10, 4)):
                await pilot.resize_terminal(*size)
                await pilot.quiet()
                assert len(text(app)) == size[1]
                assert all(len(line) <= size[0] for line in text(app))
            await pilot.press("down", "up")
            await pilot.resize_terminal(120, 40)
            await pilot.quiet()
            after = text(app)
            assert [line[:40] for line in after[:3]] == [line[:40] for line in before[:3]]
            assert after[-1] == before[-1]


async def test_strange_names_tags_and_notes_are_shown_as_text(home: Home):
    """Of a version that did not refuse them."""
    with open_store(home) as store:
        ids = [row["run_id"] for row in runs.list_runs(store)]
    journal = Journal(home.edits)
    for run_id, name, note in zip(ids, STRANGE[:3], STRANGE[3:], strict=True):
        journal.append("run_renamed", {"run_id": run_id, "name": name})
        journal.append("run_noted", {"run_id": run_id, "note": note})
        journal.append("run_tagged", {"run_id": run_id, "add": [STRANGE[0], STRANGE[2], STRANGE[3]], "remove": []})
    journal.close()
    app = SraclApp(home)
    async with drive(app, size=(200, 40)) as pilot:
        await pilot.quiet()
        _harmless(app)
        assert any("[red]markup[/red]" in line for line in text(app))
        for keys in (
            ["enter"],
            ["escape", "c"],
            ["escape", "down", "enter"],
            ["escape", "i"],
            ["escape", "e"],
            ["escape", "t"],
        ):
            await pilot.press(*keys)
            await pilot.quiet()
            _harmless(app)
        await pilot.press("escape", "escape", "space", "space", "space", "5")
        await pilot.quiet()
        _harmless(app)
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert any("[red]" in title for title in titles)
        await pilot.press("ctrl+p", *"markup")
        await pilot.quiet()
        _harmless(app)


def _harmless(app: SraclApp) -> None:
    for line in text(app):
        assert not set(line) & set("\x1b\x07\x00\x9b\u202e\u202c\n\t"), repr(line)
    assert all(cell_len(line) == app.size.width for line in text(app))


async def test_strange_titles_and_summaries_in_the_inspector(home: Home):
    connection = open_for_writing(home.database)
    for number, title in enumerate(STRANGE):
        connection.execute(f"UPDATE items SET title = ? WHERE item_id % {len(STRANGE)} = {number}", [title])
    connection.execute("UPDATE summaries SET text = ?", ["\n".join(STRANGE)])
    connection.close()
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("i")
        await pilot.quiet()
        assert any("[red]markup[/red]" in line for line in text(app))
        _harmless(app)
        await pilot.press("tab", "tab", "enter")
        await pilot.quiet()
        _harmless(app)
