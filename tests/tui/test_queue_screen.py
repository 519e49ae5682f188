"""The Queue screen on a real home, with a real worker."""

from __future__ import annotations

import os
import signal
from unittest.mock import patch

import pytest
from textual.widgets import Static

from engine.config_files import load_config
from sracl_tui.runs.execution import queue
from sracl_tui.runs.request import RunRequest, new_run_id
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.queue import QueueScreen
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.dialogs import ConfirmDialog
from sracl_tui.tui.widgets.table import Table
from store.queue import Queue
from tests.support.shared_homes import published_by_another
from tests.support.steady_pilot import drive


@pytest.fixture(autouse=True)
def _no_worker_is_left(home):
    yield
    Queue(home).pause()
    for pid in Queue(home).slots().values():
        os.kill(pid, signal.SIGTERM)


def put(home, *names: str) -> list[str]:
    words = ("max_users=60", "epochs=1", "threads=1")
    config, preset = load_config(preset="backbone", settings={"dataset": "demo"}, assignments=words)
    requests = [RunRequest(run_id=new_run_id(), config=config, preset=preset, name=name) for name in names]
    return [request.run_id for request in queue.enqueue(home, requests)[0]]


def names(app) -> list[str]:
    return [row.cells[1] for row in app.screen.query_one(Table).data.rows]


async def opened(app, pilot) -> QueueScreen:
    await pilot.quiet()
    app.action_go("queue")
    await pilot.quiet()
    assert isinstance(app.screen, QueueScreen)
    return app.screen


async def test_an_empty_queue_says_how_to_fill_it(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot)
        assert "nothing is queued" in str(screen.query_one("#queue-facts", Static).content)
        await pilot.press("x")
        assert pilot.told == ["There is no run under the cursor."]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_what_waits_is_moved_removed_and_paused(home, size):
    put(home, "first [red]", "second", "third")
    app = SraclApp(home)
    async with drive(app, size=size) as pilot:
        screen = await opened(app, pilot)
        assert names(app) == ["first [red]", "second", "third"]
        assert "No workers: p starts them." in str(screen.query_one("#queue-facts", Static).content)
        await pilot.press("J")
        await pilot.quiet()
        assert names(app) == ["second", "first [red]", "third"]
        await pilot.press("end", "t")
        await pilot.quiet()
        assert names(app) == ["third", "second", "first [red]"]
        await pilot.press("x")
        await pilot.pause()
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("y")
        await pilot.quiet()
        assert [e["name"] for e in screen.found["entries"] if e["entry"] == "waiting"] == ["second", "first [red]"]
        assert {e["name"]: e["state"] for e in screen.found["entries"]}["third"] == "stopped"
        screen.query_one(Table).move_to(screen.found["entries"][-1]["run_id"])
        assert "is done" in screen.disabled_reason("top")


async def test_p_starts_a_worker_and_a_run_ends_before_the_eyes(home):
    (run_id,) = put(home, "only")
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)

        def state() -> str:
            return next(entry["state"] for entry in screen.found["entries"] if entry["run_id"] == run_id)

        with published_by_another(home):  # it ends when the test has looked
            await pilot.press("p")
            await pilot.until(lambda: state() == "running", 90, what=state)
        await pilot.until(lambda: state() == "finished", 90, what=state)


async def test_a_second_p_pauses(home):
    put(home, "a")
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        with Queue(home).slot("cpu-0"):
            screen.action_refresh()
            await pilot.quiet()
            assert str(os.getpid()) in str(screen.query_one("#queue-facts", Static).content)
            await pilot.press("p")
            await pilot.quiet()
            assert Queue(home).paused
            assert "paused" in str(screen.query_one("#title", Static).content)


async def test_o_chooses_what_executes_the_runs(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("o")
        await pilot.quiet()
        assert isinstance(app.screen, ChoiceDialog)
        assert "processes of this machine" in str(app.screen.query_one(Table).data.rows[0].cells)
        await pilot.press(*"slurm", "enter")
        await pilot.quiet()
        assert Queue(home).executor == "slurm"
        assert app.shown_command == "sracl queue start --on slurm"
        (home.path / "cluster.toml").write_text("[slurm]\njobs = 0\n")
        with patch.object(screen, "notify") as notify:
            await pilot.press("o", *"slurm", "enter")
            await pilot.quiet()
        assert "slurm.jobs" in notify.call_args.args[0]
