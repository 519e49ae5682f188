"""Costs on a home whose calls went to a server on loopback, and its figures against the database."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, Static, TabbedContent

from engine.events import StageProgress
from sracl_tui.services import cost_report
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.costs import TABS, CostsScreen
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.widgets.bar_chart import Chart
from sracl_tui.tui.widgets.dialogs import PromptDialog
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from store.journal.journal import Journal, RunLock
from store.opening import open_store
from store.queries import costs
from tests.support.commands import sracl_inside
from tests.support.openai_server import Behavior, Server
from tests.support.shared_homes import written_once
from tests.support.steady_pilot import drive

ROOT = Path(__file__).resolve().parents[2]
PROVIDERS = """
[fake]
base_url = "{url}"
model = "m"
structured = "schema"
prices = {{input = 1.0, output = 2.0, cached = 0.1}}
[odd]
base_url = "{url}"
model = "n"
structured = "schema"
"""


def sracl(home: Path, *words: str) -> Any:
    return sracl_inside(home, *words)


@pytest.fixture(scope="session")
def paid(tmp_path_factory) -> Path:
    """A home with a capped job, a job of unknown price with stand-ins, and a run that trained on summaries."""

    def write(home: Path) -> None:
        server = Server(Behavior(first={"500": 3, "refused": 9})).start()
        (home / "providers.toml").write_text(PROVIDERS.format(url=server.url))
        few = ("--set", "max_users=30", "--headless")
        train = ("--set", "encoder=tfidf", "--set", "epochs=1", "--set", "threads=1", "--set", "unit=user", *few)
        sracl(home, "summarize", "--provider", "odd", "--unit", "user", "--kind", "user", *few)
        sracl(home, "run", "--preset", "backbone", *train)
        sracl(home, "run", "--name", "trained", "--set", "provider=fake", *train)
        sracl(home, "summarize", "--provider", "fake", "--budget", "0.03", *few)
        server.stop()

    return written_once(tmp_path_factory, "tui-paid", write)


@pytest.fixture
def home(paid, tmp_path) -> Home:
    shutil.copytree(paid, tmp_path / "home")
    return Home(tmp_path / "home")


def text(app: SraclApp, name: str) -> str:
    return str(app.screen.query_one(name, Static).content)


async def opened(app: SraclApp, pilot) -> CostsScreen:
    await pilot.quiet()
    app.action_go("costs")
    await pilot.quiet()
    assert isinstance(app.screen, CostsScreen)
    return app.screen


async def test_every_table_sums_to_what_the_command_says(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        for by in TABS:
            told = json.loads(sracl(home.path, "costs", "--by", by, "--json").stdout)
            rows = screen.query_one(f"#{by}-table", Table).data.rows
            assert [row.cells for row in rows] == [cost_report.cells(by, row) for row in told["rows"]], by
            if by != "gain":
                assert sum(row["usd"] or 0 for row in told["rows"]) == pytest.approx(told["usd"])
                assert sum(row["calls"] for row in told["rows"]) == told["total"]["calls"]
                assert sum(row["fallbacks"] for row in told["rows"]) == told["total"]["fallbacks"] > 0
                assert sum(row["failed"] for row in told["rows"]) == told["total"]["failed"] >= 12
        assert f"{told['total']['fallbacks']} rule-based texts" in text(app, "#sums")
        assert f"{told['total']['unpriced']} of unknown price" in text(app, "#sums")
        assert "caches saved $" in text(app, "#sums")
        assert f"{cost_report.dollars(told['usd'])} spent" in text(app, "#title")
        assert app.status.usd == pytest.approx(told["usd"]), "the status line has the known dollars too"


async def test_a_price_that_is_not_known_is_never_zero(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        rows = {row.cells[0]: row.cells for row in screen.query_one("#provider-table", Table).data.rows}
        assert rows["odd"][1] == "unknown"
        assert not any("$0.00" in cell for cell in rows["odd"])
        assert rows["fake"][1].startswith("$0.0")


async def test_a_cap_a_gain_and_the_plot_of_days(home):
    with open_store(home) as store:
        (capped,) = (row for row in costs.spending(store, "run") if row["cap"] is not None)
        (gained,) = costs.gains(store)
    assert capped["usd"] <= capped["cap"] == 0.03
    assert gained["name"] == "trained"
    assert gained["usd"] > 0
    assert gained["gain"] == pytest.approx(gained["ndcg"] - gained["backbone"])
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot)
        assert f"budget left {cost_report.left_text(capped)}" in text(app, "#sums")
        assert screen.days[1] == [pytest.approx(app.status.usd)]
        assert screen.query_one("#spend-plot", Chart).display
        await pilot.press("tab", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, RunScreen), "a run is opened from its row"
        await pilot.press("escape")
        await pilot.press("tab", "y")
        assert app.clipboard == "sracl costs --by provider"
        for _ in range(5):
            await pilot.press("tab")
        assert screen.query_one(TabbedContent).active == "run"


@pytest.mark.parametrize(
    ("method", "counts"),
    [
        ({"name": "sracl", "parts": None}, True),
        ({"name": "plain", "parts": None}, True),
        ({"name": "duorec", "parts": None}, False),
        ({"name": "sracl", "parts": ["rec", "same_target"]}, False),
        ({"name": "/mine.py:METHOD", "parts": None}, False),
    ],
    ids=lambda value: value.get("name", "") if isinstance(value, dict) else "",
)
def test_a_gain_is_measured_against_plain_backbones_alone(home, method, counts):
    with open_store(home) as store:
        (before,) = costs.gains(store)
    patch = json.dumps({"method": method} | ({"loss": {"alpha": 0.1}} if method["name"] == "plain" else {}))
    where = "config ->> '$.loss.alpha' = '0.0' AND config ->> '$.loss.beta' = '0.0'"
    sracl(home.path, "sql", "--write", f"UPDATE runs SET config = json_merge_patch(config, '{patch}') WHERE {where}")
    with open_store(home) as store:
        (after,) = costs.gains(store)
    assert before["backbone"] is not None
    assert after["backbone"] == (before["backbone"] if counts else None)


async def test_the_next_run_is_priced_by_its_dry_run(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await opened(app, pilot)
        await pilot.press("p")
        assert isinstance(app.screen, PromptDialog)
        app.screen.query_one(Input).value = "provider=openai unit=every-4 max_users=30"
        await pilot.press("enter")
        await pilot.quiet()
        found = sracl(
            home.path, "summarize", "--provider", "openai", "--unit", "every-4", "--set", "max_users=30", "--dry-run", "--json"
        )  # fmt: skip
        high = json.loads(found.stdout)["usd"]["high"]
        assert cost_report.dollars(high) in text(app, "#next")
        await pilot.press("p")
        app.screen.query_one(Input).value = "provider=nobody"
        await pilot.press("enter")
        await pilot.quiet()
        assert "no provider 'nobody'" in text(app, "#next")


async def test_a_live_job_tells_its_calls_retries_and_dollars(home):
    with open_store(home) as store:
        capped = next(row for row in costs.spending(store, "run") if row["cap"] is not None)
    folder = home.run_folder(capped["run_id"])
    lock, journal = RunLock(folder), Journal(folder)
    lock.acquire()
    journal.append("run_started", {"pid": os.getpid(), "host": "here"})
    journal.append("stage_started", {"stage": "summaries", "total": 900})
    detail = "131.0 calls/s, 64 in flight, 12 retries, $0.4200"
    event = StageProgress(stage="summaries", done=40, total=900, detail=detail)
    journal.append(event.name, event.payload())
    app = SraclApp(home)
    try:
        async with drive(app, size=(120, 40)) as pilot:
            screen = await opened(app, pilot)
            app.runs = [row | ({"state": "running"} if row["run_id"] == capped["run_id"] else {}) for row in app.runs]
            screen._poll()
            await pilot.quiet()
            assert "40 of 900 summaries, 131.0 calls/s, 64 in flight, 12 retries, $0.4200" in text(app, "#live")
            app.open_run(capped["run_id"])
            await pilot.quiet()
            assert "12 retries, $0.4200" in text(app, "#progress")
    finally:
        journal.close()
        lock.release()


async def test_an_empty_home_says_that_nothing_was_spent(tmp_path):
    app = SraclApp(Home(tmp_path))
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot)
        assert "no call was made yet" in text(app, "#sums")
        assert not screen.query_one("#spend-plot").display


def test_days_without_a_call_are_shown_and_only_the_last_ones() -> None:
    rows = [{"day": "2026-03-02", "usd": 2.0}, {"day": "2026-02-27", "usd": None}, {"day": "2024-01-01", "usd": 9.0}]
    days, spent = cost_report.by_day(rows[:2])
    assert days == ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    assert spent == [0.0, 0.0, 0.0, 2.0]
    days, spent = cost_report.by_day(rows)
    assert len(days) == len(spent) == cost_report.DAYS
    assert sum(spent) == 2.0
