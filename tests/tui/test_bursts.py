"""Keys that come together, as SSH sends what was typed fast: each takes effect after the one before."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Input

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.launch import LaunchScreen
from sracl_tui.tui.screens.runs import RunsScreen
from sracl_tui.tui.widgets.dialogs import PromptDialog
from sracl_tui.tui.widgets.field import Field
from sracl_tui.tui.widgets.sql_editor import SqlEditor
from tests.support.steady_pilot import SteadyPilot, drive, key_event

EDITS = ("backspace", "left", "right", "home", "end", "delete", "ctrl+w", "ctrl+k", "ctrl+u")


async def burst(pilot: SteadyPilot, *keys: str) -> None:
    """All keys at once."""
    for key in keys:
        pilot.app.post_message(key_event(key))
    await pilot.quiet()


def typed(text: str, keys: list[str]) -> str:
    """What a field has after some keys, one by one."""
    at = len(text)
    for key in keys:
        before, after = text[:at], text[at:]
        words = before.rstrip().rpartition(" ")
        text, at = {
            "backspace": (before[:-1] + after, max(0, at - 1)),
            "delete": (before + after[1:], at),
            "left": (text, max(0, at - 1)),
            "right": (text, min(len(text), at + 1)),
            "home": (text, 0),
            "end": (text, len(text)),
            "ctrl+u": (after, 0),
            "ctrl+k": (before, at),
            "ctrl+w": (
                (before[: before.rstrip().rfind(" ") + 1] if words else "") + after,
                before.rstrip().rfind(" ") + 1,
            ),
        }.get(key, (before + key + after, at + 1))
    return text


class Fields(App[None]):
    """Textual's field beside ours."""

    def compose(self) -> ComposeResult:
        yield Field("12345678", id="ours")
        yield SqlEditor("12345678", id="editor")


@asynccontextmanager
async def fields() -> AsyncIterator[tuple[SteadyPilot, Field, SqlEditor]]:
    app = Fields()
    async with drive(app, size=(60, 12)) as pilot:
        await pilot.quiet()
        yield pilot, app.query_one(Field), app.query_one(SqlEditor)


async def test_backspaces_and_digits_that_come_together_give_the_digits():
    async with fields() as (pilot, field, editor):
        field.focus()
        await pilot.quiet()
        await burst(pilot, *["backspace"] * 8, *"640")
        assert field.value == "640"
        editor.focus()
        editor.move_cursor(editor.document.end)
        await pilot.quiet()
        await burst(pilot, *["backspace"] * 8, *"640", "left", "5")
        assert editor.text == "6450"


@pytest.mark.parametrize("seed", range(6))
async def test_any_burst_gives_what_the_keys_give_one_by_one(seed):
    draw = random.Random(seed)
    keys = [draw.choice((*EDITS, *"ab 12")) for _ in range(40)]
    async with fields() as (pilot, field, _):
        field.focus()
        await pilot.quiet()
        field.cursor_position = len(field.value)
        await burst(pilot, *keys)
        assert field.value == typed("12345678", keys)


def test_every_field_is_ours():
    """Textual's own, in any module, would lose the order."""
    from sracl_tui.tui import keymap

    keymap.bindings()  # imports every screen and widget
    waiting, found = [Input], []
    while waiting:
        waiting += (cls := waiting.pop()).__subclasses__()
        found.append(cls)
    assert [cls for cls in found if cls.__module__.startswith("sracl_tui.") and not issubclass(cls, Field)] == []
    from pathlib import Path

    import sracl_tui.tui

    for path in Path(sracl_tui.tui.__file__).parent.rglob("*.py"):
        assert path.name == "field.py" or "Input(" not in path.read_text(), path


async def test_what_follows_the_key_that_opens_a_dialog_goes_into_it(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        await burst(pilot, "4", *["down"] * 3)
        screen = app.screen
        assert isinstance(screen, LaunchScreen)
        screen.query_one("#form").move_to("train.epochs")
        await burst(pilot, "enter", "backspace", "backspace", "backspace", *"40", "enter", "down", "enter")
        assert isinstance(app.screen, PromptDialog)
        assert screen.changes["train.epochs"] == 40
        await burst(pilot, "escape", "1", "slash", *"whole 2")
        assert isinstance(app.screen, RunsScreen)
        assert app.preferences.filter == "whole 2"
