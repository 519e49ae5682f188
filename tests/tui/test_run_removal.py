"""Runs are removed, brought back and deleted from the list of runs."""

from __future__ import annotations

from textual.widgets import Static

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.screens.run_removal import TrashDialog
from sracl_tui.tui.widgets.dialogs import ConfirmDialog
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from store.journal.journal import Journal, RunLock
from store.maintenance import trash
from store.opening import open_store
from store.publishing.publish import publish
from store.queries.runs import find_run
from tests.support.steady_pilot import drive


def spend(home: Home, name: str) -> None:
    with open_store(home) as store:
        run_id = find_run(store, name)["run_id"]
    journal = Journal(home.runs / run_id)
    call = {"key": ["k"], "attempt": [1], "sent_at": [1.0], "status": [200], "usd": [1.25]}
    journal.append("api_called", {"provider": "deepseek", "model": "m"}, columns=call, durable=True)
    journal.close()
    publish(home)


def text(app: SraclApp) -> str:
    return "\n".join(str(one.content) for one in app.screen.query(Static))


async def listed(app: SraclApp, pilot, count: int) -> None:
    app.refresh_runs(now=True)
    await pilot.until(lambda: len(app.runs) == count)
    await pilot.quiet()


async def test_runs_are_removed_restored_and_deleted(home):
    spend(home, "whole")
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        await pilot.press("space", "space")
        await pilot.quiet()
        await pilot.press("D")
        await pilot.quiet()
        assert isinstance(app.screen, ConfirmDialog)
        said = text(app)
        assert "Remove 2 runs (" in said
        assert "whole" in said
        assert "$1.25 spent on calls stays in the costs." in said
        assert "neighbor lists stay" in said
        button = app.screen.query_one("#yes")
        assert app.screen.region.contains_region(button.region), "no button is out of sight"
        await pilot.press("n")
        await pilot.quiet()
        assert len(app.runs) == 3
        await pilot.press("D")
        await pilot.quiet()
        await pilot.press("y")
        await pilot.quiet()
        await listed(app, pilot, 1)
        assert pilot.told[-1] == "2 runs removed; ctrl+z or U brings back"
        await pilot.press("ctrl+z")
        await pilot.quiet()
        await listed(app, pilot, 3)
        await pilot.press("g", "space", "space", "D")
        await pilot.quiet()
        await pilot.press("y")
        await pilot.quiet()
        await listed(app, pilot, 1)
        assert app.status.usd == 1.25
        assert "marked" not in text(app)
        await pilot.press("U")
        await pilot.quiet()
        assert isinstance(app.screen, TrashDialog)
        assert "Trash: 2 runs" in text(app)
        assert "whole" in [row.cells[0] for row in app.screen.query_one(Table).data.rows]
        await pilot.press("a")
        await pilot.quiet()
        await listed(app, pilot, 3)
        assert pilot.told[-1] == "2 runs restored"
        await pilot.press("delete")
        await pilot.quiet()
        await pilot.press("y")
        await pilot.quiet()
        await listed(app, pilot, 2)
        await pilot.press("U")
        await pilot.quiet()
        await pilot.press("E")
        await pilot.quiet()
        assert "Delete 1 run for good?" in text(app)
        await pilot.press("y")
        await pilot.quiet()
        assert "1 run deleted for good" in pilot.told[-1]
        await pilot.press("U")
        await pilot.quiet()
        assert "Trash: 0 runs" in text(app)
        await pilot.press("enter", "a", "escape")
        await pilot.quiet()
    assert not list(home.trash.iterdir())


async def test_a_live_run_says_why_and_an_open_screen_outlives_its_run(home):
    folder = home.run_folder("night-1")
    journal, lock = Journal(folder), RunLock(folder)
    lock.acquire()
    created = {"kind": "train", "name": "night", "preset": "default", "group_name": None, "config": {}, "tags": []}
    journal.append("run_created", {"run_id": "night-1", **created, "config_hash": "0" * 16, "seed": 1, "note": ""})
    journal.append("run_started", {"pid": 1, "host": "here", "boot_id": "x"})
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        await pilot.press("D")
        assert pilot.told == ["Run night is running: stop it first (x)."]
        journal.append("run_ended", {"state": "failed", "reason": "no longer a number", "timings": {}})
        journal.close()
        lock.release()
        publish(home)
        app.refresh_runs(now=True)
        await pilot.until(lambda: any(row["state"] == "failed" for row in app.runs))
        app.open_run("night-1")
        await pilot.quiet()
        assert isinstance(app.screen, RunScreen)
        with open_store(home) as store:
            trash.remove(store, [find_run(store, "night-1")])
        await listed(app, pilot, 3)
        await pilot.press("i", "c", "u", "x")
        await pilot.quiet()
        app.action_go("runs")
        await pilot.quiet()
        assert "night" not in [row["name"] for row in app.runs]
        await pilot.quiet()
