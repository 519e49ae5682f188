"""The list of runs while runs begin, go on, end and die: from their journals, within a second."""

from __future__ import annotations

import os
import time
from typing import Any

from sracl_tui.services.store_session import StoreSession
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.widgets.table import Table
from store.journal.journal import Journal, RunLock, Tail
from store.journal.processes import boot_id
from store.opening import open_store
from store.queries import runs
from tests.support.steady_pilot import drive

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


async def shown(app: SraclApp, pilot, run_id: str, column: str, text: str) -> float:
    """Seconds until a cell of the list has this text."""
    begun = time.monotonic()
    await pilot.until(lambda: text in cells(app, run_id).get(column, ""), what=lambda: cells(app, run_id))
    return time.monotonic() - begun


async def test_a_run_is_in_the_list_from_its_first_line_to_its_death(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        before = home.database.stat().st_ino
        night = Night(home, "night-1")
        waits = [await shown(app, pilot, "night-1", "state", "● running")]
        assert cells(app, "night-1")["data"] == "demo"
        night.journal.append("stage_started", {"stage": "vectors", "total": 200})
        night.journal.append("stage_progress", {"stage": "vectors", "done": 50, "total": 200})
        waits.append(await shown(app, pilot, "night-1", "epoch", "vectors 25 %"))
        night.journal.append("stage_finished", {"stage": "vectors", "seconds": 1.0})
        night.epoch(1, 0.1)
        waits.append(await shown(app, pilot, "night-1", "epoch", "1/10 10 %"))
        assert cells(app, "night-1")["time"] == "18 s left"
        night.journal.append("step_finished", {"epoch": 2, "step": 3, "steps_per_epoch": 2, "done": 1, "loss": 0.5})
        waits.append(await shown(app, pilot, "night-1", "epoch", "1/10 15 %"))
        assert "3 runs, ● 1 live" not in str(app.screen.query_one("#status").render())
        assert "4 runs, ● 1 live" in str(app.screen.query_one("#status").render())
        assert home.database.stat().st_ino == before, "nothing was published meanwhile"
        night.lock.release()
        waits.append(await shown(app, pilot, "night-1", "state", "✗ killed"))
        assert sorted(waits)[2] < 1.0, "the median: the machine may be busy for a moment"
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
        assert await shown(app, pilot, "night-2", "state", "✓ finished") < 3
        assert cells(app, "night-2")["time"] == "5.0 s"


def looked(library: StoreSession) -> list[dict[str, Any]]:
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
