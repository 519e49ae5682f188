"""Without color every state is told by glyph and word; `--once` prints one frame; `--keys` a template."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.strip import Strip

from sracl_tui.formatting import GLYPHS
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.widgets.curves import Curve, Curves
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from store.journal.journal import Journal, RunLock
from store.journal.processes import boot_id
from store.publishing.publish import publish
from tests.support.steady_pilot import drive

ROOT = Path(__file__).resolve().parents[2]
STATES = ("running", "stopping", "finished", "failed", "stopped", "killed", "lost", "queued")
CREATED: dict[str, Any] = {
    "kind": "train",
    "preset": "backbone",
    "group_name": None,
    "config": {"data": {"dataset": "demo"}, "train": {"epochs": 10}},
    "config_hash": "0" * 16,
    "seed": 3,
    "tags": [],
    "note": "",
}


def play(home: Home, state: str) -> RunLock:
    """A run in a state."""
    folder = home.run_folder(f"r-{state}")
    folder.mkdir(parents=True)
    lock = RunLock(folder)
    lock.acquire()
    journal = Journal(folder)
    journal.append("run_created", {"run_id": folder.name, "name": f"r-{state}", **CREATED})
    if state != "queued":
        boot = "another" if state == "lost" else boot_id()
        journal.append("run_started", {"pid": os.getpid(), "host": os.uname().nodename, "boot_id": boot})
    if state == "stopping":
        journal.append("stopping", {"reason": "SIGTERM"})
    if state in ("finished", "failed", "stopped"):
        journal.append("run_ended", {"state": state, "reason": None, "timings": {}})
    journal.close()
    if state not in ("running", "stopping", "queued"):
        lock.release()
    return lock


def sracl_tui(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SRACL_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-P", "-m", "sracl_tui", *words], capture_output=True, text=True, env=environment, timeout=120
    )


def assert_gray(strips: Iterable[Strip]) -> None:
    for strip in strips:
        for segment in strip:
            for color in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                if color is not None and color.triplet is not None:
                    assert len(set(color.triplet)) == 1, f"{segment.text!r} has a color: {color}"


@pytest.mark.parametrize(
    ("keys", "screen"),
    [
        ("a", "charts"), ("enter i", "inspector"), ("enter i w", "what-if"), ("enter i e", "everyone"), ("space down space v", "compare"),
        ("f8 s e t t i n g s enter", "settings"), ("f8 f i n d i n g s enter", "findings"), ("f8 s q l enter", "sql"),
        ("f8 c o s t s enter", "costs"), ("f8 s t u d y enter", "study"), ("n", "launch"), ("question_mark", "help"),
    ],
)  # fmt: skip
async def test_no_screen_has_a_color_where_none_is_wanted(home, monkeypatch, keys: str, screen: str):
    monkeypatch.setenv("NO_COLOR", "1")
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        first = type(app.screen)
        for key in keys.split():
            await pilot.press(key)
            await pilot.quiet()
        assert type(app.screen) is not first
        assert screen.replace("-", "") in type(app.screen).__name__.lower()
        assert_gray(app.screen._compositor.render_strips())


async def test_all_states_marks_and_curves_are_told_apart_without_color(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    home = Home(tmp_path)
    home.create()
    locks = [play(home, state) for state in STATES]
    publish(home)
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await pilot.until(lambda: all(any(row["state"] == state for row in app.runs) for state in STATES))
        await pilot.press("space", "b")
        await pilot.quiet()
        strips = app.screen._compositor.render_strips()
        assert_gray(strips)
        end = app.screen.query_one(Table).region.right  # behind it are the facts of the run under the cursor
        lines = [strip.text[:end] for strip in strips]
        for state in STATES:
            assert sum(f" {GLYPHS[state]} {state} " in line for line in lines) == 1, state
        assert len({GLYPHS[state] + state for state in STATES}) == len(STATES)
        signs = [line[:2].strip() for line in lines if any(f" {state} " in line for state in STATES)]
        assert len(signs) == len(STATES)
        assert any("*" in sign for sign in signs)
        assert any("=" in sign for sign in signs)
        assert any("›" in sign for sign in signs)
    for lock in locks:
        lock.release()


async def test_curves_have_letters_without_color(home, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        await pilot.quiet()
        await pilot.press("enter")
        await pilot.quiet()
        plot = app.screen.query_one("#losses", Curves)
        plot.draw("loss", [Curve(f"run {n}", np.arange(1, 9), np.full(8, float(n))) for n in range(8)])
        await pilot.pause()
        shown = "".join(strip.text for strip in app.screen._compositor.render_strips())
        assert all(f"{letter} run {n}" in shown for n, letter in enumerate("abcd"))


def test_once_prints_a_frame_of_the_list(home):
    done = sracl_tui(home.path, "--once", "--size", "100x20")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["sracl", "Runs", "F8", "Screens", "≡"]
    assert sum("✓ finished" in line for line in lines) == 3
    assert all(len(line) <= 100 for line in lines)
    assert "\x1b" not in done.stdout
    assert not (home.path / "ui.json").exists(), "a frame for CI leaves no trace"


def test_once_of_an_empty_home_and_of_one_that_cannot_be(tmp_path):
    done = sracl_tui(tmp_path / "new", "--once")
    assert done.returncode == 0
    assert "No runs here yet" in done.stdout
    (tmp_path / "file").write_text("")
    done = sracl_tui(tmp_path / "file", "--once")
    assert done.returncode == 4
    assert "cannot be made" in done.stderr
    assert "Traceback" not in done.stderr


def test_keys_prints_a_file_of_all_keys(tmp_path):
    done = sracl_tui(tmp_path, "--keys")
    assert done.returncode == 0
    assert tomllib.loads(done.stdout)["runs"]["filter"] == "slash"
