"""Full garbage collections wait until nobody does."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from sracl_tui.tui import gc_scheduler
from sracl_tui.tui.app import SraclApp
from tests.support.steady_pilot import drive


@pytest.fixture(autouse=True)
def _the_tests_own_exemption() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.freeze()


def test_a_schedule_that_was_not_started_leaves_the_collector_alone() -> None:
    before = gc.get_threshold()
    gc.freeze()
    frozen = gc.get_freeze_count()
    gc_scheduler.GcScheduler().stop()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() > frozen - 1000, "they are not frozen any more"


def test_all_is_collected_when_nobody_waits(monkeypatch):
    now, full = [1000.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(gc, "collect", lambda: full.append(now[0]))
    collector = gc_scheduler.GcScheduler()
    now[0] += gc_scheduler.APART_SECONDS + 1
    collector.touch()
    assert not collector.collect_if_idle(), "a key was just pressed"
    now[0] += gc_scheduler.IDLE_SECONDS + 1
    assert collector.collect_if_idle()
    now[0] += gc_scheduler.IDLE_SECONDS + 1
    assert not collector.collect_if_idle(), "it was just done"
    assert full == [1000.0 + gc_scheduler.APART_SECONDS + 1 + gc_scheduler.IDLE_SECONDS + 1]


async def test_the_app_leaves_the_collector_as_it_was(home, monkeypatch):
    before = gc.get_threshold()
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        assert gc.get_threshold() == gc_scheduler.YOUNG
        touches: list[float] = []
        monkeypatch.setattr(app.collector, "touch", lambda: touches.append(1.0))
        await pilot.press("j")
        assert touches
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
