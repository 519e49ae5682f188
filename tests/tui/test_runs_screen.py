"""Runs, Run and Launch, driven by a pilot on real homes."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from textual.widgets import Input, Static

from sracl_tui.services.run_follower import RunFollower
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.launch import LaunchScreen
from sracl_tui.tui.screens.run import POLL_SECONDS, RunScreen
from sracl_tui.tui.screens.runs import RunsScreen
from sracl_tui.tui.widgets.dialogs import ConfirmDialog, HelpDialog, PromptDialog
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from store.journal.journal import Journal, RunLock
from store.publishing.publish import publish
from tests.support.steady_pilot import drive

CREATED = {
    "kind": "train",
    "name": "night [red]",
    "preset": "backbone",
    "group_name": None,
    "config": {"data": {"dataset": "demo"}},
    "config_hash": "0" * 16,
    "seed": 3,
    "tags": [],
    "note": "",
}


def table(app) -> Table:
    return app.screen.query_one(Table)


async def fill(app, pilot, key: str, text: str) -> None:
    """Set a field of the form under the eyes."""
    app.screen.query_one("#form", Table).move_to(key)
    await pilot.press("enter")
    app.screen.query_one(Input).value = text
    await pilot.press("enter")


async def test_an_empty_home_says_how_to_begin(tmp_path: Path):
    app = SraclApp(Home(tmp_path))
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        assert app.screen.query_one("#hint").display
        assert "0 runs" in str(app.screen.query_one("#status", Static).content)
        await pilot.press("x")
        assert pilot.told == ["There is no run under the cursor."]


async def test_runs_are_filtered_folded_and_edited(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        assert len(table(app).data.rows) == 3
        assert "✓ finished" in table(app).data.rows[0].cells
        await pilot.press("f")
        await pilot.quiet()
        assert len(table(app).data.rows) == 2
        assert "n=2" in table(app).data.rows[1].cells[3]
        await pilot.press("b")
        await pilot.quiet()
        assert table(app).data.rows[1].cells[3][0] in "+-"
        await pilot.press("slash")
        app.screen.query_one("#filter", Input).value = "preset:backbone"
        await pilot.quiet()
        assert len(table(app).data.rows) == 1
        await pilot.press("enter", "escape", "e")
        await pilot.quiet()
        assert isinstance(app.screen, PromptDialog)
        app.screen.query_one(Input).value = "a [bold] note"
        await pilot.press("enter")
        await pilot.quiet()
        app.refresh_runs()
        await pilot.quiet()
        assert "a [bold] note" in [row["note"] for row in app.runs]


async def test_a_live_run_is_followed_within_a_second(home, monkeypatch):
    reads: list[tuple[float, int]] = []

    def read(follower: RunFollower) -> bool:
        began = time.monotonic()
        changed = follow(follower)
        reads.append((began, follower.runs["night-1"].epoch))
        return changed

    follow = RunFollower.read
    monkeypatch.setattr(RunFollower, "read", read)
    folder = home.run_folder("night-1")
    journal, lock = Journal(folder), RunLock(folder)
    lock.acquire()
    journal.append("run_created", {"run_id": "night-1", **CREATED})
    journal.append("run_started", {"pid": 1, "host": "here", "boot_id": "x"})
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        app.open_run("night-1")
        await pilot.quiet()
        screen = app.screen
        assert isinstance(screen, RunScreen)
        assert "● running" in str(screen.query_one("#title", Static).content)
        assert POLL_SECONDS <= 0.5, "so that what is written is shown within a second"
        for number in (1, 2, 3):
            metrics = [{"split": "valid", "name": "mrr@10", "value": 0.25, "subgroup": "all"}]
            epoch = {"step": 2, "seconds": 1.0, "evaluate_seconds": 0.1, "improved": True, "bad_epochs": 0}
            journal.append("epoch_finished", {"epoch": number, **epoch, "metrics": metrics})
            written = time.monotonic()
            await pilot.until(lambda: screen.live.epoch == number and reads[-1][0] > written)  # noqa: B023
            assert {epoch for began, epoch in reads if began > written} == {number}, "the first read has found it"
        assert "MRR@10 0.2500" in screen.query_one("#log-table", Table).data.rows[-1].cells[1]
        await pilot.press("x")
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("n")
        journal.append("run_ended", {"state": "failed", "reason": "no longer a number", "timings": {}})
        journal.close()
        lock.release()
        await pilot.until(lambda: "✗ failed" in str(screen.query_one("#title", Static).content))


async def test_a_form_refuses_starts_and_shows_the_run(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.press("down", "c")
        await pilot.quiet()
        form = app.screen
        assert isinstance(form, LaunchScreen)
        assert form.changes["train.epochs"] == 2
        await fill(app, pilot, "model.heads", "3")
        assert "does not divide" in form.errors["model.heads"]
        assert form.disabled_reason("start")
        await fill(app, pilot, "model.heads", "2")
        form.action_preview()
        await pilot.quiet()
        assert "to do" in str(form.query_one("#preview", Static).content)
        await pilot.press("ctrl+s")
        await pilot.quiet()
        screen = app.screen
        assert isinstance(screen, RunScreen)
        await pilot.until(lambda: screen.state == "finished")


async def test_help_lists_the_keys_and_q_leaves(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        await pilot.press("question_mark")
        await pilot.quiet()
        assert isinstance(app.screen, HelpDialog)
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert "Filter" in titles
        assert "Run whole" in titles
        await pilot.press("q")
    assert app.return_code == 0


async def test_the_first_run_of_a_home_leaves_the_keys_to_the_list(written, tmp_path):
    """The field of the filter is hidden: it must not take the focus that the empty list does not."""
    home = Home(tmp_path / "new")
    app = SraclApp(home)
    async with drive(app, size=(100, 30)) as pilot:
        await pilot.quiet()
        assert app.runs == []
        await pilot.press("tab")
        assert not isinstance(app.focused, Input)
        shutil.copytree(written / "runs", home.runs, dirs_exist_ok=True)
        publish(home)
        app.refresh_runs()
        await pilot.quiet()
        await pilot.press("2")
        await pilot.quiet()
        await pilot.press("escape", "space")
        await pilot.quiet()
        assert isinstance(app.screen, RunsScreen)
        assert app.screen.marked
        assert isinstance(app.focused, Table)
