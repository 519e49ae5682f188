"""The first screen, driven by a pilot on a real home."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import DataTable, Static

from sracl_tui.app import SraclApp
from store.home import Home
from store.journal import Journal, RunLock
from store.publish import publish

CREATED = {
    "kind": "train",
    "name": "mine",
    "preset": "backbone",
    "group_name": None,
    "config": {"data": {"dataset": "demo"}},
    "config_hash": "0" * 16,
    "seed": 3,
    "tags": ["night"],
    "note": "",
}


async def settled(app: SraclApp, pilot) -> None:
    await app.workers.wait_for_complete()
    await pilot.pause()


async def test_an_empty_home_says_how_to_begin(tmp_path: Path):
    app = SraclApp(Home(tmp_path))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(app, pilot)
        assert app.screen.query_one("#hint").display
        assert not app.screen.query_one(DataTable).display
        assert "0 runs" in str(app.screen.query_one("#status", Static).content)


async def test_a_new_run_appears_with_state_and_word(tmp_path: Path):
    home = Home(tmp_path)
    app = SraclApp(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(app, pilot)
        folder = home.run_folder("night-1")
        journal, lock = Journal(folder), RunLock(folder)
        lock.acquire()
        journal.append("run_created", {"run_id": "night-1", **CREATED})
        journal.append("run_started", {"pid": 1, "host": "here", "boot_id": "x"})
        publish(home)
        await pilot.press("r")
        await settled(app, pilot)
        table = app.screen.query_one(DataTable)
        cells = [str(cell) for cell in table.get_row_at(0)]
        assert cells[0] == "mine"
        assert "● running" in cells
        assert "night" in cells
        lock.release()
        journal.append(
            "run_ended", {"state": "failed", "reason": "the loss is no longer a number", "timings": {"total": 3.0}}
        )
        journal.close()
        publish(home)
        await pilot.press("r")
        await settled(app, pilot)
        assert "✗ failed" in [str(cell) for cell in table.get_row_at(0)]
        assert table.row_count == 1


async def test_q_leaves(tmp_path: Path):
    app = SraclApp(Home(tmp_path))
    async with app.run_test() as pilot:
        await pilot.press("q")
    assert app.return_code == 0
