"""The list of runs while runs begin, go on, end and die: from their journals, at the first poll after they tell of it."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from textual.app import App

from sracl_tui.services import store_session
from sracl_tui.services.store_session import Snapshot, StoreSession
from sracl_tui.tui.app import POLL_SECONDS, SraclApp
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.widgets.table import Table
from store.errors import StoreError
from store.journal.journal import Journal, RunLock, Tail
from store.journal.processes import boot_id
from store.opening import open_store
from store.queries import runs
from store.run_row import ListedRun
from tests.support.steady_pilot import SteadyPilot, drive

CREATED: dict[str, Any] = {
    "kind": "train",
    "name": "night",
    "preset": "backbone",
    "group_name": None,
    "config": {"data": {"dataset": "demo"}, "train": {"epochs": 10}},
    "config_hash": "0" * 16,
    "seed": 3,
    "tags": [],
    "note": "",
}
STARTED = {"pid": os.getpid(), "host": os.uname().nodename, "boot_id": boot_id()}
EPOCH = {"step": 2, "seconds": 2.0, "evaluate_seconds": 0.0, "improved": True, "bad_epochs": 0}


class Night:
    """A run that the test plays."""

    def __init__(self, home, run_id: str) -> None:
        self.folder = home.run_folder(run_id)
        self.folder.mkdir(parents=True)
        self.lock = RunLock(self.folder)
        self.lock.acquire()
        self.journal = Journal(self.folder)
        self.journal.append("run_created", {"run_id": run_id, **CREATED})
        self.journal.append("run_started", STARTED)

    def epoch(self, number: int, value: float) -> None:
        metrics = [{"split": "valid", "name": "mrr@10", "value": value, "subgroup": "all"}]
        self.journal.append("epoch_finished", {"epoch": number, "metrics": metrics, **EPOCH})


def cells(app: SraclApp, run_id: str) -> dict[str, str]:
    grid = app.screen_stack[0].query_one(Table).data
    at = grid.index.get(run_id)
    return {} if at is None else dict(zip((c.key for c in grid.columns), grid.rows[at].cells, strict=True))


class Watched:
    """The app's list of runs, and what each of its polls found."""

    def __init__(self, app: SraclApp, pilot: SteadyPilot) -> None:
        self._app, self._pilot = app, pilot
        self._polls: list[tuple[float, list[ListedRun]]] = []
        self._poll = app.library.poll
        app.library.poll = self._look

    def _look(self) -> Snapshot:
        began = time.monotonic()
        found = self._poll()
        self._polls.append((began, found.rows))
        return found

    async def shows(self, run_id: str, column: str, text: str) -> None:
        """Wait until a cell has what was just written; the first poll that begins from now on must have found it."""
        written = time.monotonic()
        await self._pilot.until(
            lambda: text in cells(self._app, run_id).get(column, "") and self._polls and self._polls[-1][0] > written,
            what=lambda: cells(self._app, run_id),
        )
        found = [_facts(rows, run_id) for began, rows in self._polls if began > written]
        assert found == [found[-1]] * len(found), "a poll did not find what was there"


def _facts(rows: list[ListedRun], run_id: str) -> tuple[object, ...]:
    row = next((row for row in rows if row["run_id"] == run_id), None)
    return () if row is None else (row["state"], row["epoch"], row.get("progress"))


async def test_a_run_is_in_the_list_from_its_first_line_to_its_death(home, monkeypatch):
    app = SraclApp(home)
    intervals = []
    monkeypatch.setattr(app, "set_interval", lambda *words: intervals.append(words) or App.set_interval(app, *words))
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        assert (POLL_SECONDS, app.refresh_runs) in intervals
        assert POLL_SECONDS <= 0.5, "so that what is written is shown within a second"
        before = home.database.stat().st_ino
        looked = Watched(app, pilot)
        night = Night(home, "night-1")
        await looked.shows("night-1", "state", "● running")
        assert cells(app, "night-1")["data"] == "demo"
        night.journal.append("stage_started", {"stage": "vectors", "total": 200})
        night.journal.append("stage_progress", {"stage": "vectors", "done": 50, "total": 200})
        await looked.shows("night-1", "epoch", "vectors 25 %")
        night.journal.append("stage_finished", {"stage": "vectors", "seconds": 1.0})
        night.epoch(1, 0.1)
        await looked.shows("night-1", "epoch", "1/10 10 %")
        assert cells(app, "night-1")["time"] == "18 s left"
        night.journal.append("step_finished", {"epoch": 2, "step": 3, "steps_per_epoch": 2, "done": 1, "loss": 0.5})
        await looked.shows("night-1", "epoch", "1/10 15 %")
        assert "3 runs, ● 1 live" not in str(app.screen.query_one("#status").render())
        assert "4 runs, ● 1 live" in str(app.screen.query_one("#status").render())
        assert home.database.stat().st_ino == before, "nothing was published meanwhile"
        night.lock.release()
        await looked.shows("night-1", "state", "✗ killed")
        await pilot.until(lambda: home.database.stat().st_ino != before)
        with open_store(home, ingest=False) as store:
            assert runs.find_run(store, "night-1")["state"] == "killed"


async def test_a_run_that_goes_on_or_dies_while_watched_says_so(home):
    night = Night(home, "night-2")
    night.epoch(1, 0.1)
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        app.open_run("night-2")
        await pilot.quiet()
        screen = app.screen
        assert isinstance(screen, RunScreen)
        assert screen.state == "running"
        night.lock.release()
        await pilot.until(lambda: "✗ killed" in str(screen.query_one("#title").render()))
        assert "ended without a word" in str(screen.query_one("#progress").render())
        night.lock.acquire()
        night.journal = Journal(night.folder)
        night.journal.append("run_started", STARTED)
        night.journal.append("run_resumed", {"epoch": 1, "step": 2, "best_epoch": 1})
        await pilot.until(lambda: screen.state == "running")
        night.journal.append("run_ended", {"state": "finished", "reason": None, "timings": {"total": 5.0}})
        night.lock.release()
        await pilot.until(lambda: screen.state == "finished")
        await pilot.press("escape")
        await pilot.until(lambda: "✓ finished" in cells(app, "night-2")["state"])
        assert cells(app, "night-2")["time"] == "5.0 s"


def looked(library: StoreSession) -> list[ListedRun]:
    library.read()
    return library.poll().rows


def test_only_rows_that_differ_are_read_again(home):
    library = StoreSession(home)
    first = looked(library)
    assert looked(library) is first
    with open_store(home) as store:
        runs.tag(store, first[0]["run_id"], add=("kept",))
    second = looked(library)
    assert second[0]["tags"] == ["kept"]
    assert [a is b for a, b in zip(first, second, strict=True)] == [False, True, True]
    library.close()


def test_a_folder_without_a_line_is_a_run_that_waits_or_could_not_start(home):
    library = StoreSession(home)
    known = len(looked(library))
    folder = home.run_folder("20990101-000000-abcd")
    folder.mkdir()
    assert len(looked(library)) == known, "an empty folder is no run"
    (folder / "settings.toml").write_text('preset = "backbone"\n[train]\nseed = 7\n')
    row = looked(library)[0]
    assert (row["state"], row["seed"], row["preset"]) == ("queued", 7, "backbone")
    (folder / "launch.log").write_text("Traceback\nImportError: no [torch]\n")
    os.utime(folder / "launch.log", (1.0, 1.0))
    row = looked(library)[0]
    assert (row["state"], row["reason"]) == ("failed", "ImportError: no [torch]")
    library.close()


def test_a_tail_passes_over_what_it_need_not_decode(tmp_path):
    journal = Journal(tmp_path)
    tail = Tail(tmp_path, skip={"summaries_made"})
    journal.append("summaries_made", {"set": 1}, columns={"text": ['"event":"epoch_finished"'] * 50})
    journal.append("epoch_finished", {"said": '"event":"summaries_made"' * 20})
    assert [line.event for line in tail.read()] == ["epoch_finished"]
    assert tail.read() == []


def test_a_thread_that_has_the_store_goes_on_when_it_is_opened_anew(home, monkeypatch):
    monkeypatch.setattr(store_session, "CATCH_UP_SECONDS", 0.0)
    library = StoreSession(home)
    held = library.store()
    library.read()
    assert library.store() is not held
    assert held.tuples("SELECT 1") == [(1,)]
    library.read()
    with pytest.raises(StoreError, match="closed"):
        held.tuples("SELECT 1")
    library.close()
