"""The key that writes the figure on the screen: the command that it runs, where the file goes, and what it says instead."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.errors import ConfigError
from sracl_tui.services.figures.process import export_in_process, figure_path
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens import figure_page
from sracl_tui.tui.screens.compare import CompareScreen
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from tests.support.figure_home import WHOLE, write_figure_home
from tests.support.shared_homes import written_once
from tests.support.steady_pilot import drive

PLAIN = "20260101-090000-0001"


@pytest.fixture(scope="module")
def drawn_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    written = written_once(tmp_path_factory, "figures", write_figure_home)
    return Home(Path(shutil.copytree(written, tmp_path_factory.mktemp("figures") / "home")))


async def test_the_key_writes_what_is_shown_in_the_inspector(drawn_home):
    app = SraclApp(drawn_home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        app.open_inspector(WHOLE, "7")
        await pilot.quiet()
        await pilot.press("ctrl+s")
        await pilot.quiet()
        path, command = pilot.told[-1], app.commands.commands[-1].line
        assert command == f"sracl export {WHOLE} --figure user --user 7 --out {path}"
        assert Path(path).name.startswith("user-whole-7-")
        assert "Neighbors of user 7" in Path(path).read_text()
        assert Path(path).parent == drawn_home.path / "figures"
        await pilot.press("p")
        await pilot.quiet()
        await pilot.press("ctrl+s")
        assert pilot.told[-1] == "The figure is of the longest training prefix: P leads there."


async def test_each_screen_names_the_figure_of_its_chart(drawn_home, monkeypatch):
    asked: list[list[str]] = []

    def export(home: Home, words: list[str], path: Path) -> None:
        asked.append(list(words))
        if "weights" in words:
            raise ConfigError("matplotlib is missing")

    monkeypatch.setattr(figure_page, "export_in_process", export)
    app = SraclApp(drawn_home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        app.preferences.run_tab, app.preferences.plots, app.preferences.metric = "curves", "both", ""

        async def write(*keys: str) -> list[str]:
            for key in (*keys, "ctrl+s"):
                await pilot.press(key)
                await pilot.quiet()
            return asked[-1]

        app.open_run(WHOLE)
        await pilot.quiet()
        assert await write() == [WHOLE, "--figure", "epochs", "--metric", "valid.mrr@10"]
        assert await write("p") == [WHOLE, "--figure", "epochs", "--metric", "train.loss"]
        await write("tab")
        assert pilot.told[-1] == "The curves are a figure: tab goes there."
        app.push_screen(screen := CompareScreen([PLAIN, WHOLE]))
        await pilot.quiet()
        assert screen.found is not None
        assert await write() == [PLAIN, WHOLE, "--figure", "forest", "--split", "valid", "--baseline", PLAIN]
        assert (await write("tab"))[2:4] == ["--figure", "epochs"]
        await write("tab")
        assert pilot.told[-1] == "Users are a table: the other tabs are figures."
        assert (await write("tab"))[2:6] == ["--figure", "cost", "--split", "valid"]
        costs = [row.cells for row in screen.query_one("#costs-table", Table).data.rows]
        steps = [one.resources["seconds_per_step"][0] for one in screen.found.sets]
        assert [cells[2].strip() for cells in costs] == [f"{seconds:.4f}" for seconds in steps]
        app.open_everyone(WHOLE)
        await pilot.quiet()
        await write()
        assert pilot.told[-1] == "Weight by similarity and Map, by tab, are figures."
        assert await write("tab", "tab") == [WHOLE, "--figure", "weights"]
        assert pilot.told[-1] == "matplotlib is missing"
        await write("w")
        assert pilot.told[-1] == "The figure is of the weights of the best epoch: w goes there."
        assert await write("tab") == [WHOLE, "--figure", "map"]
    assert len(asked) == 7


def test_a_figure_has_one_place_and_a_failed_one_says_why(drawn_home):
    words = [PLAIN, "--figure", "weights"]
    first = figure_path(drawn_home, words, name="weights-a/b: c")
    assert first == figure_path(drawn_home, words, name="weights-a/b: c")
    assert first.name.startswith("weights-a-b-c-")
    assert first != figure_path(drawn_home, [*words, "--metric", "hr@5"], name="weights-a/b: c")
    with pytest.raises(ConfigError, match="weighs no neighbors"):
        export_in_process(drawn_home, words, first)
    assert not first.exists()
