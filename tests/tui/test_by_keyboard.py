"""The app with the keyboard alone, from the list of runs through every screen and back, with a real run on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, Static

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.compare import CompareScreen
from sracl_tui.tui.screens.costs import CostsScreen
from sracl_tui.tui.screens.data import DataScreen
from sracl_tui.tui.screens.find_user import FindUser
from sracl_tui.tui.screens.import_dataset import ImportScreen
from sracl_tui.tui.screens.inspector import InspectorScreen
from sracl_tui.tui.screens.item import ItemScreen
from sracl_tui.tui.screens.item_neighbor import SubstituteScreen
from sracl_tui.tui.screens.launch import LaunchScreen
from sracl_tui.tui.screens.population import EveryoneScreen
from sracl_tui.tui.screens.queue import QueueScreen
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.screens.runs import RunsScreen
from sracl_tui.tui.screens.sql import SqlScreen
from sracl_tui.tui.screens.user_neighbor import NeighborScreen
from sracl_tui.tui.widgets.dialogs import ConfirmDialog
from sracl_tui.tui.widgets.table import Table
from tests.support.steady_pilot import SteadyPilot, drive

SECONDS = 90.0


class Person:
    """Presses keys, each when what the one before has started is done, and looks; `app` is only read."""

    def __init__(self, pilot: SteadyPilot) -> None:
        self.app, self._pilot = pilot.app, pilot

    @property
    def screen(self) -> Any:
        """What is on top."""
        return self.app.screen

    async def press(self, *keys: str) -> None:
        """Keys, or `'texts to type`."""
        for key in keys:
            await self._pilot.press(*(key[1:] if key.startswith("'") else (key,)))
            await self._pilot.quiet()

    async def wait_for(self, seen) -> None:
        await self._pilot.until(seen, SECONDS)

    async def down_to(self, key: str) -> None:
        """The cursor of the form onto a row."""
        table = self.screen.query_one("#form", Table)
        await self.press(*["down"] * [row.key for row in table.data.rows].index(key))
        assert table.key == key

    async def until_focused(self, widget: str) -> None:
        """Wait until the keys go where the screen wants them; Textual moves the focus by messages of its own."""
        await self._pilot.until(
            lambda: self.app.focused and self.app.focused.id == widget, what=lambda: self.app.focused
        )

    def at(self, screen: type) -> bool:
        return isinstance(self.screen, screen)


@pytest.fixture
def ratings(tmp_path) -> Path:
    rows = (f"{user},i{(user + place) % 7},{86_400 * (user + place)}" for user in range(9) for place in range(6))
    (tmp_path / "ratings.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    return tmp_path / "ratings.csv"


async def test_from_the_list_through_every_screen(home, ratings, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        person = Person(pilot)
        await person.press("slash", "'whole", "enter")
        assert person.screen.run["name"] == "whole"
        await look_at_users(person)
        await compare(person)
        await import_a_file(person, ratings)
        await start_stop_and_resume(person)
        await ask_by_sql(person)
        await person.press("8")
        assert person.at(CostsScreen)
        await person.press("9")
        assert person.at(QueueScreen)
        await person.press("ctrl+p", "'Data", "enter")
        assert person.at(DataScreen)
        await person.press("ctrl+t", "1")
        assert app.theme == "sracl-light"
        assert person.at(RunsScreen)
        await person.press("q")
    assert app.return_code == 0


async def look_at_users(person: Person) -> None:
    """A user, a neighbor, its user, an item and a substitute, everybody."""
    await person.press("enter")
    assert person.at(RunScreen)
    await person.press("i")
    first = person.screen.found.user_id
    await person.press("right_square_bracket")
    assert person.screen.found.user_id != first
    await person.press("j", "enter")
    assert person.at(NeighborScreen)
    neighbor = person.screen.query_one(Static)
    assert "neighbor of user" in str(neighbor.content)
    await person.press("o")
    assert person.at(InspectorScreen)
    await person.press("slash")
    assert person.at(FindUser)
    await person.press("'17", "enter")
    assert person.screen.found.user_id == 17
    await person.press("I")
    assert person.at(ItemScreen)
    await person.press("enter")
    assert person.at(SubstituteScreen)
    await person.press("escape", "escape", "e")
    assert person.at(EveryoneScreen)
    await person.press("tab", "tab", "tab", "enter", "escape", "escape", "1")
    assert person.at(RunsScreen)


async def compare(person: Person) -> None:
    """Two runs, and the user who won most."""
    await person.press("escape", "g", "space", "j", "space", "v")
    assert person.at(CompareScreen)
    await person.press("tab", "tab", "enter")
    assert person.at(InspectorScreen)
    assert person.screen.second_run
    await person.press("escape", "escape")
    assert person.at(RunsScreen)


async def import_a_file(person: Person, path: Path) -> None:
    """A path is typed, the data set is there."""
    await person.press("6", "n")
    assert person.at(ImportScreen)
    await person.press("slash", f"'{path}", "enter", "ctrl+s")
    await person.wait_for(lambda: person.at(DataScreen) and person.screen.row)
    assert person.screen.row["name"] == "ratings"
    assert person.screen.row["interactions"] == 54
    await person.until_focused("sets")
    await person.press("escape")
    assert person.at(RunsScreen), (person.screen, person.app.focused)


async def start_stop_and_resume(person: Person) -> None:
    """A clone with two values changed, a real process."""
    await person.press("g")
    while person.screen.run["name"] != "whole":
        await person.press("j")
    await person.press("c", "d")
    assert person.at(LaunchScreen)
    await person.down_to("train.epochs")
    await person.press("enter", *["backspace"] * 3, "'40", "enter", "g")
    await person.down_to("name")
    await person.press("enter", "'by hand", "enter")
    assert person.screen.changes["train.epochs"] == 40
    await person.press("ctrl+s")
    assert person.at(RunScreen)
    screen = person.screen
    await person.wait_for(lambda: screen.live.epoch >= 2)
    await person.press("x")
    assert person.at(ConfirmDialog)
    await person.press("y")
    await person.wait_for(lambda: screen.state == "stopped")
    epoch = screen.live.epoch
    assert epoch < 40
    await person.press("u")
    await person.wait_for(lambda: screen.state == "running" and screen.live.epoch > epoch)
    await person.press("x", "y")
    await person.wait_for(lambda: screen.state == "stopped")
    await person.press("1")


async def ask_by_sql(person: Person) -> None:
    """What was started is in the store."""
    await person.press("7", "f7", "delete", "'SELECT state FROM runs WHERE name = 'by hand'", "f5")
    assert person.at(SqlScreen)
    await person.wait_for(lambda: "1 row" in str(person.screen.query_one("#told", Static).content))
    assert [row.cells for row in person.screen.query_one("#rows", Table).data.rows] == [("stopped",)]
    assert not isinstance(person.app.focused, Input)
    await person.press("escape", "1")
