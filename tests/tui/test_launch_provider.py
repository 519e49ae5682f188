"""Launch says at once what a chosen provider needs: its key, or the small model of this machine."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Static

from sracl_tui.services import local_llm
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.launch import LaunchScreen
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from tests.support.steady_pilot import SteadyPilot, drive


async def choose(pilot: SteadyPilot, provider: str) -> str:
    """Type a provider into the form; returns the preview."""
    table = pilot.app.screen.query_one("#form", Table)
    rows = [row.key for row in table.data.rows]
    await pilot.press("g", *["down"] * rows.index("semantics.provider"), "enter", *["delete", "backspace"] * 10)
    await pilot.press(*provider, "enter")
    await pilot.quiet()
    return " ".join(str(pilot.app.screen.query_one("#preview", Static).content).split())


async def test_without_a_key_the_small_model_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    monkeypatch.setattr(local_llm, "missing", lambda: ["xllamacpp"])
    app = SraclApp(Home(tmp_path))
    async with drive(app, size=(140, 48)) as pilot:
        await pilot.quiet()
        app.action_go("launch")
        await pilot.quiet()
        assert isinstance(app.screen, LaunchScreen)
        told = await choose(pilot, "deepseek")
        assert "DEEPSEEK_API_KEY is not set" in told
        assert "No key? A small model on this machine needs none: `sracl llm install`" in told
        told = await choose(pilot, "llamacpp")
        assert "`sracl llm install` installs a small model" in told
        assert "set llm to smollm2" in told
        assert "is not set" not in await choose(pilot, "titles")


def test_what_a_provider_needs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-x")
    monkeypatch.setattr(local_llm, "missing", list)
    assert local_llm.advice("offline", tmp_path) == ""
    assert local_llm.advice("deepseek", tmp_path) == ""
    assert local_llm.advice("llamacpp", tmp_path).startswith("`sracl llm serve` in another shell")
    monkeypatch.delenv("DEEPSEEK_API_KEY")
    assert "No key?" in local_llm.advice("deepseek", tmp_path)
