"""The screen of settings, and the colors that color-blind people can tell apart."""

from __future__ import annotations

import itertools
import json
from dataclasses import fields

import numpy as np
import pytest

from sracl_tui.runs.alerts.alerts import Alert
from sracl_tui.tui import notifications
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.preference_list import SETTINGS
from sracl_tui.tui.preferences import FILE, Preferences
from sracl_tui.tui.screens.settings import ARRANGED, SettingsScreen
from sracl_tui.tui.themes import CURVES, THEMES
from sracl_tui.tui.widgets.pane_row import PaneRow
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from tests.support.steady_pilot import drive

REMEMBERED = {
    "filter", "sort", "descending", "baseline", "metric", "loss", "compare_metric", "launch_drafts", "run", "query",
    "data_sort", "data_descending", "import_folder", "queries", "query_tab", "catalog",
}  # fmt: skip
"""Preferences that are where one was, not how one likes it."""
CONFUSED = {
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
"""What linear RGB becomes: Machado, Oliveira and Fernandes, A physiologically-based model, 2009, severity 1."""


async def open_settings(app, pilot) -> Table:
    await pilot.quiet()
    await pilot.press("f10")
    await pilot.quiet()
    assert isinstance(app.screen, SettingsScreen)
    return app.screen.query_one("#settings-list", Table)


def test_every_preference_is_a_setting_or_remembers_where_one_was():
    names = [setting.name for setting in SETTINGS]
    assert len(set(names)) == len(names)
    assert {each.name for each in fields(Preferences)} == set(names) | REMEMBERED
    standard = Preferences()
    for setting in SETTINGS:
        assert setting.help.endswith("."), setting.name
        if setting.choices:
            assert getattr(standard, setting.name) in setting.choices
        else:
            assert not getattr(standard, setting.name)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_each_setting_is_changed_kept_and_taken_back_by_keys(home: Home, size):
    app = SraclApp(home)
    async with drive(app, size=size) as pilot:
        table = await open_settings(app, pilot)
        for setting in SETTINGS:
            table.move_to(setting.name)
            before = getattr(app.preferences, setting.name)
            if setting.name in ARRANGED:
                await pilot.press("enter", "j", "space", "enter")
            elif setting.choices:
                await pilot.press("enter", *(["down", "down", "enter"] if len(setting.choices) > 2 else []))
            else:
                app.preferences.pane_widths = {"list": 30}
                await pilot.press("enter")
            await pilot.quiet()
            assert isinstance(app.screen, SettingsScreen), setting.name
            assert getattr(app.preferences, setting.name) != before, setting.name
        assert app.theme == "sracl-light-colorblind"
        assert "curves" not in app.screen_stack[0].query_one(PaneRow)._order
    kept = json.loads((home.path / FILE).read_text())
    again = SraclApp(home)
    async with drive(again, size=size) as pilot:
        assert again.theme == "sracl-light-colorblind"
        table = await open_settings(again, pilot)
        assert sum(row.sign == "*" for row in table.data.rows) == len(SETTINGS)
        assert all(getattr(again.preferences, setting.name) == kept[setting.name] for setting in SETTINGS)
        table.move_to("palette")
        await pilot.press("z")
        assert again.theme == "sracl-light"
        await pilot.press("z")
        assert pilot.told == ["It is the default already."]
        await pilot.press("Z")
        assert all(getattr(again.preferences, each.name) == getattr(Preferences(), each.name) for each in SETTINGS)
        assert again.theme == "sracl-dark"


async def test_a_setting_is_changed_by_mouse(home: Home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        table = await open_settings(app, pilot)
        await pilot.click(table, offset=(6, 3))
        await pilot.click(table, offset=(6, 3), times=2)
        assert app.preferences.palette == "colorblind"
        assert app.theme == "sracl-dark-colorblind"


async def test_another_palette_keeps_the_theme_of_this_start(tmp_path):
    app = SraclApp(Home(tmp_path), theme="sracl-light")
    async with drive(app, size=(80, 24)) as pilot:
        table = await open_settings(app, pilot)
        table.move_to("palette")
        await pilot.press("enter")
        assert app.theme == "sracl-light-colorblind"
        await pilot.press("enter", "ctrl+t")
        assert app.theme == app.preferences.theme == "sracl-dark"


@pytest.mark.parametrize(
    ("notices", "told"), [("all", ["b", "a"]), ("trouble", ["b"]), ("none", [])], ids=["all", "trouble", "none"]
)
async def test_runs_notify_of_what_was_chosen(tmp_path, notices, told):
    app = SraclApp(Home(tmp_path))
    app.preferences.notices = notices
    async with drive(app, size=(80, 24)) as pilot:
        alerts = [Alert("failed", "r", "r", "b", {}), Alert("finished", "r", "r", "a", {})]
        notifications.show_alerts(app, alerts)
        assert pilot.told == told


def linear(color: str) -> np.ndarray:
    values = np.array([*bytes.fromhex(color[1:])]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(linear(color) @ [0.2126, 0.7152, 0.0722]) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(colors: tuple[str, ...], kind: str) -> float:
    """The least distance of two colors as a color-blind person sees them."""
    seen = [lab(np.array(CONFUSED[kind]) @ linear(color)) for color in colors]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_colors_stand_out_from_the_background(theme):
    curves = CURVES["colorblind" if "colorblind" in theme.name else "standard", theme.dark]
    assert theme.background is not None
    assert len(set(curves)) == 8
    assert min(contrast(color, theme.background) for color in curves) >= 2.5
    for color in (theme.success, theme.warning, theme.error):
        assert color is not None
        assert contrast(color, theme.background) >= 4.5


@pytest.mark.parametrize("dark", [True, False], ids=["dark", "light"])
@pytest.mark.parametrize("kind", CONFUSED)
def test_color_blind_people_tell_the_colors_of_the_palette_apart(dark, kind):
    theme = next(each for each in THEMES if each.dark is dark and "colorblind" in each.name)
    assert theme.success is not None
    assert theme.error is not None
    assert nearest((theme.success, theme.error), kind) > 40
    assert nearest(CURVES["colorblind", dark], kind) > 10
    assert nearest(CURVES["colorblind", dark], kind) > nearest(CURVES["standard", dark], kind)
