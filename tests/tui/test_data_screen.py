"""Data and Import, driven by a pilot on real homes, with sets that were really imported."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from textual.widgets import Input, Static, Tabs

from engine.data.importing import ImportOptions
from sracl_tui.services.dataset_import import import_into
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.data import DataScreen
from sracl_tui.tui.screens.import_dataset import ImportScreen
from sracl_tui.tui.screens.import_progress import ImportProgress
from sracl_tui.tui.screens.launch import LaunchScreen
from sracl_tui.tui.screens.runs import RunsScreen
from sracl_tui.tui.widgets.bar_chart import Chart
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.dialogs import ConfirmDialog, PromptDialog
from sracl_tui.tui.widgets.file_picker import Files
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.queries import datasets
from tests.support.shared_homes import published_by_another
from tests.support.steady_pilot import drive

DAY = 86_400
TITLES = ["Red [red]pen[/red]", "日本のノート 🎉", "מחברת אדומה", "plain \x1b[31mpad\x07", "&lt;b&gt; bold"]
CREATED = {
    "kind": "train",
    "name": "night [red]",
    "preset": "backbone",
    "group_name": None,
    "config": {"data": {"dataset": "shop"}},
    "config_hash": "0" * 16,
    "seed": 3,
    "tags": [],
    "note": "",
}


@pytest.fixture(autouse=True)
def children(monkeypatch):
    """A child process finds the packages of this checkout."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a shop's files, and a home with two sets of it and a run that uses the second."""
    place = tmp_path_factory.mktemp("made")
    folder, home = place / "shop", Home(place / "home")
    folder.mkdir()
    rows = [
        f"u{user},i{(user + n) % 5},{1_600_000_000 + (user * 30 + n // 2) * DAY}"
        for user in range(12)
        for n in range(6)
    ]
    (folder / "shop.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    (folder / "items.csv").write_text("item,title\n" + "".join(f"i{n},{title}\n" for n, title in enumerate(TITLES)))
    (folder / "notes.md").write_text("not data")
    for name, longest in (("[red]日本 🎉", 5), ("shop", None)):
        import_into(home, folder, name=name, options=ImportOptions(max_length=longest, items=folder / "items.csv"))
    journal = Journal(home.runs / "night-1")
    journal.append("run_created", {"run_id": "night-1", **CREATED})
    with open_store(home) as store:
        row = datasets.get(store, "shop")
    used = {"dataset_id": row["dataset_id"], "dataset_name": "shop", "dataset_sha256": row["sha256"]}
    journal.append("dataset_used", used)
    journal.close()
    open_store(home).close()
    return place


@pytest.fixture
def shop(made: Path) -> Path:
    """12 users, 5 items with strange titles, two years, ties."""
    return made / "shop"


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Home:
    """Two sets; a run uses the second."""
    return Home(shutil.copytree(made / "home", tmp_path / "home"))


def content(app, name: str) -> str:
    """What a widget shows, as plain text."""
    console = Console(width=300, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(app.screen.query_one(name, Static).content, markup=False)
    return captured.get()


def drawn(app, name: str) -> str:
    return app.screen.query_one(f"#{name}-chart", Chart).render().plain


def sets(app) -> Table:
    return app.screen.query_one("#sets", Table)


def shown_row(app) -> dict[str, Any]:
    """The data set under the cursor."""
    assert isinstance(app.screen, DataScreen)
    assert app.screen.row is not None
    return app.screen.row


async def opened(app, pilot) -> DataScreen:
    await pilot.quiet()
    await pilot.press("6")
    await pilot.quiet()
    assert isinstance(app.screen, DataScreen)
    return app.screen


async def importing(app, pilot, folder: Path) -> ImportScreen:
    """The import screen with its cursor on the first file of a folder."""
    app.preferences.import_folder = str(folder)
    await opened(app, pilot)
    await pilot.press("n")
    await pilot.quiet()
    assert isinstance(app.screen, ImportScreen)
    return app.screen


async def test_an_empty_home_says_what_to_do(tmp_path):
    app = SraclApp(Home(tmp_path))
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot)
        assert screen.query_one("#hint").display
        assert "press n" in content(app, "#hint")
        assert not screen.query_one("#panes").display
        await pilot.press("x")
        assert pilot.told == ["There is no data set under the cursor."]


async def test_facts_and_plots_with_strange_texts(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        assert [row.cells[0] for row in sets(app).data.rows] == ["[red]日本 🎉", "shop"]
        facts = content(app, "#facts-text")
        assert "[red]日本 🎉" in facts
        assert "12 interactions beyond the maximum length" in facts
        for title in ("Red [red]pen[/red]", "日本のノート 🎉", "מחברת אדומה", "plain pad", "<b> bold"):
            assert title in facts
        assert "\x1b[31mpad" not in facts
        assert drawn(app, "lengths").split()[:2] == ["5", "12"]
        await pilot.press("j")
        await pilot.quiet()
        facts = content(app, "#facts-text")
        assert "1 run: night [red]" in facts
        assert "median 6, mean 6.0" in facts
        assert drawn(app, "lengths").split()[:2] == ["6", "12"]
        assert drawn(app, "ties").split()[:2] == ["2", "36"]
        assert "2020" in drawn(app, "times")
        assert screen.query_one("#times").border_subtitle == "interactions by month"
        assert sum(int(line.split()[1]) for line in drawn(app, "popularity").splitlines()) == 5


async def test_narrow_panes_by_key_and_mouse(home):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await opened(app, pilot)
        assert sets(app).data.rows[0].cells[-1] == "shop.csv (csv)"
        seen = []
        for _ in range(5):
            seen.append([pane for pane in ("facts", "lengths", "popularity", "times", "ties") if shown(screen, pane)])
            await pilot.press("tab")
            await pilot.quiet()
        assert seen == [["facts"], ["lengths"], ["popularity"], ["times"], ["ties"]]
        assert drawn(app, "ties").startswith("timestamps by interactions\n")
        await pilot.click("#tab-times")
        await pilot.quiet()
        assert screen.query_one(Tabs).active == "tab-times"
        assert shown(screen, "times")
        assert drawn(app, "times").startswith("interactions by month\n")
        await pilot.resize_terminal(40, 10)
        await pilot.quiet()
        await pilot.resize_terminal(120, 40)
        await pilot.quiet()
        assert all(shown(screen, pane) for pane in ("facts", "lengths", "ties"))
        assert len(sets(app).data.columns) == 8


def shown(screen, pane: str) -> bool:
    return screen.query_one(f"#{pane}").region.area > 0


async def test_sort_filter_and_copy(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("s", "s", "s")  # users, items, interactions
        await pilot.quiet()
        assert [row.cells[0] for row in sets(app).data.rows] == ["shop", "[red]日本 🎉"]
        assert app.preferences.data_sort == "interactions"
        await pilot.press("S")
        assert sets(app).data.rows[1].cells[0] == "shop"
        await pilot.press("slash", *"日本", "enter")
        await pilot.quiet()
        assert len(sets(app).data.rows) == 1
        await pilot.press("Y")
        assert app.clipboard == "sracl data show '[red]日本 🎉'"
        await pilot.press("y")
        assert app.clipboard == "[red]日本 🎉"
        await pilot.press("slash", *"zz")
        await pilot.quiet()
        assert not sets(app).data.rows
        assert screen.disabled_reason("launch")
        await pilot.press("escape")
        await pilot.quiet()
        assert len(sets(app).data.rows) == 2
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_launch_and_runs_with_the_set(home):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await opened(app, pilot)
        await pilot.press("l")
        await pilot.quiet()
        assert isinstance(app.screen, LaunchScreen)
        assert app.screen.config is not None
        assert app.screen.config.data.dataset == "[red]日本 🎉"
        await pilot.press("6")
        await pilot.quiet()
        await pilot.press("r")
        assert pilot.told == ["No run uses it."]
        await pilot.press("down", "r")
        await pilot.quiet()
        assert isinstance(app.screen, RunsScreen)
        assert app.screen.query_one("#filter", Input).value == "data=shop"
        assert len(app.screen.query_one(Table).data.rows) == 1


async def test_removing_asks_and_what_runs_use_stays(home, monkeypatch):
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("down", "x")
        assert "Run night [red] uses it" in pilot.told[0]
        await pilot.press("up", "x")
        assert isinstance(app.screen, ConfirmDialog)
        assert "[red]日本 🎉" in str(app.screen.query_one(".dialog-title", Static).content)
        await pilot.press("n", "x", "y")
        await pilot.quiet()
        assert [row["name"] for row in screen.sets.values()] == ["shop"]
        assert sets(app).key == next(iter(screen.sets))
        monkeypatch.setattr(
            screen, "runs_of", lambda row: []
        )  # of runs that the list does not know yet the store itself does
        await pilot.press("x", "y")
        await pilot.quiet()
        assert "1 run was made with 'shop': " in pilot.told[-1]
        assert len(screen.sets) == 1


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_an_import_from_the_file_to_the_list(home, shop, size):
    app = SraclApp(home)
    async with drive(app, size=size) as pilot:
        screen = await importing(app, pilot, shop)
        files = screen.query_one(Files)
        assert [row.key for row in files.data.rows] == ["..", "items.csv", "shop.csv"]
        assert screen.query_one("#files").border_subtitle == "1 other files"
        assert "shop.csv" in content(app, "#what")  # of the folder, the one file with interactions
        assert "items.csv" in content(app, "#what")
        await pilot.press("down")
        await pilot.quiet()
        assert "column with the user ids" in content(app, "#what") or "not recognized" in content(app, "#what")
        assert screen.disabled_reason("start")
        await pilot.press("down", "enter")
        await pilot.quiet()
        assert app.focused is screen.query_one("#form")
        assert screen.draft.name == "shop-2"
        await pilot.until(lambda: screen.kept is not None)
        assert "keeps 12 users, 5 items, 72 interactions of 72 rows" in " ".join(content(app, "#kept").split())
        screen.query_one("#form", Table).move_to("items")
        await pilot.press("enter")
        assert app.screen.query_one(Input).value == str(shop / "items.csv")  # proposed, as it lies beside
        await pilot.press("enter")
        await pilot.until(lambda: screen.kept is not None and screen.kept.with_text == 5)
        screen.query_one("#form", Table).move_to("max_length")
        await pilot.press("enter")
        assert isinstance(app.screen, PromptDialog)
        app.screen.query_one(Input).value = "none at all"
        await pilot.press("enter")
        await pilot.quiet()
        assert "max_length: must be a whole number" in screen.disabled_reason("start")
        assert "✗ must be" in screen.query_one("#form", Table).data.rows[3].cells[2]
        await pilot.press("enter")
        app.screen.query_one(Input).value = "4"
        await pilot.press("enter")
        await pilot.until(lambda: screen.kept is not None and screen.kept.interactions == 48)
        assert "drops 24 interactions beyond the maximum length" in content(app, "#kept")
        await pilot.press("y")
        assert (
            app.clipboard == f"sracl data import {shop}/shop.csv --name shop-2 --max-length 4 --items {shop}/items.csv"
        )
        with published_by_another(home):  # the import ends when the test has looked
            await pilot.press("ctrl+s")
            assert isinstance(app.screen, ImportProgress)
        await pilot.until(lambda: isinstance(app.screen, DataScreen))
        await pilot.quiet()
        row = shown_row(app)
        assert (row["name"], row["interactions"]) == ("shop-2", 48)
        assert len(app.screen_stack) == 2
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_columns_are_chosen_and_errors_stand_at_their_fields(home, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("customer,sku,when\n" + "".join(f"c{n % 9},s{n % 4},{n}\n" for n in range(900)) + "c1,,7\n")
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await importing(app, pilot, tmp_path)
        await pilot.press("slash")
        field = screen.query_one("#path", Input)
        field.value = str(tmp_path / "lo")
        await pilot.until(lambda: field._suggestion == str(path))
        field.cursor_position = len(field.value)
        await pilot.press("right", "enter")
        await pilot.quiet()
        assert field.value == str(path)
        assert app.focused is screen.query_one("#form")
        assert "there is no column with the user ids" in screen.draft.errors["user_column"]
        assert "its columns are customer, sku, when" in content(app, "#what")
        assert screen.query_one("#rows", Table).data.rows[1].cells == ("c1", "s1", "1")
        for key, name in (("format", "csv"), ("user_column", "customer"), ("item_column", "sku")):
            screen.query_one("#form", Table).move_to(key)
            await pilot.press("enter")
            assert isinstance(app.screen, ChoiceDialog)
            await pilot.press(*name, "enter")
            await pilot.quiet()
        assert screen.draft.errors == {}
        heads = [column.title for column in screen.query_one("#rows", Table).data.columns]
        assert heads == ["customer = user", "sku = item", "when"]
        screen.query_one("#form", Table).move_to("name")
        await pilot.press("enter")
        app.screen.query_one(Input).value = "shop"
        await pilot.press("enter")
        assert "name: there is a data set of this name" in screen.disabled_reason("start")
        await pilot.press("z")
        assert screen.draft.name == "log"
        await pilot.press("ctrl+s")
        await pilot.until(lambda: app.screen is screen)
        await pilot.quiet()
        assert "log.csv:902" in content(app, "#what")
        assert "is empty" in content(app, "#what")
        with open_store(home) as store:
            assert len(datasets.listed(store)) == 2


async def test_a_canceled_import_stores_nothing(home, shop):
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await importing(app, pilot, shop)
        with published_by_another(home):
            await pilot.press("ctrl+s")
            assert isinstance(app.screen, ImportProgress)
            progress = app.screen
            await pilot.until(lambda: "5 of 5: storing" in str(progress.query_one("#step", Static).content))
            await pilot.press("escape")
            await pilot.until(lambda: app.screen is screen)
        assert pilot.told == ["Import canceled, nothing was saved."]
        with open_store(home) as store:
            assert len(datasets.listed(store)) == 2
        assert not list(home.path.glob("*.new-*"))
        await pilot.press("ctrl+s")  # what is there already is refused with a reason, at the name
        await pilot.until(lambda: "name" in screen.draft.errors and app.screen is screen)
        assert "the same content is stored already, as 'shop'" in screen.disabled_reason("start")


EVENTS = "user,item,time,event,rating\n" + "".join(
    f"u{n % 4},i{n % 3},{1_600_000_000 + n * DAY},{('buy', 'view')[n % 2]},{n % 5 + 1}\n" for n in range(40)
)
READING = {
    "only": (EVENTS, {"only": "event=buy; event=hire"}, 20, "u0 i0 2020-09-13 12:26:40"),
    "min_rating": (EVENTS, {"min_rating": "4"}, 16, "u3 i0 2020-09-16 12:26:40"),
    "bad_rows": (
        EVENTS + "u1,i1,,buy,3\nu2,,1600000000,buy,3\n",
        {"bad_rows": "drop"},
        40,
        "u0 i0 2020-09-13 12:26:40",
    ),
    "delimiter": (EVENTS.replace(",", ";"), {"delimiter": ";"}, 40, "u0 i0 2020-09-13 12:26:40"),
    "tab": (EVENTS.replace(",", "\t"), {"delimiter": "tab"}, 40, "u0 i0 2020-09-13 12:26:40"),
    "headerless": (
        "".join(f"u{n % 4},i{n % 3},{n % 5 + 1}.0,{1_600_000_000 + n * DAY}\n" for n in range(40)),
        {"format": "ratings"},
        40,
        "u0 i0 2020-09-13 12:26:40",
    ),
    "time_format": (
        "user,item,time\n" + "".join(f"u{n % 4},i{n % 3},{n % 9 + 1:02d}/03/2020 10:{n:02d}\n" for n in range(40)),
        {"time_format": "%d/%m/%Y %H:%M"},
        40,
        "u0 i0 2020-03-01 10:00:00",
    ),
    "unit": (
        "user,item,time\n" + "".join(f"u{n % 4},i{n % 3},{(1_600_000_000 + n) * 1000}\n" for n in range(40)),
        {"time_format": "ms"},
        40,
        "u0 i0 2020-09-13 12:26:40",
    ),
    "columns": (
        "buyer,sku,moment\n" + "".join(f"u{n % 4},i{n % 3},{1_600_000_000 + n}\n" for n in range(40)),
        {"user_column": "buyer", "item_column": "sku", "time_column": "moment"},
        40,
        "u0 i0 2020-09-13 12:26:40",
    ),
}


async def _set(app, pilot, screen: ImportScreen, key: str, value: str) -> None:
    """Set an option as a person does: move to it, enter, choose or type, enter."""
    screen.query_one("#form", Table).move_to(key)
    await pilot.press("enter")
    await pilot.quiet()
    if isinstance(app.screen, PromptDialog):
        app.screen.query_one(Input).value = value
    else:
        assert isinstance(app.screen, ChoiceDialog)
        await pilot.press(*value.replace("_", " ").split(" ")[0])
    await pilot.press("enter")
    await pilot.until(lambda: app.screen is screen)
    await pilot.quiet()


@pytest.mark.parametrize("case", READING)
async def test_every_option_of_reading_can_be_used(home, tmp_path, case):
    text, options, kept, first = READING[case]
    path = tmp_path / "files" / "log.csv"
    path.parent.mkdir()
    path.write_text(text)
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        screen = await importing(app, pilot, path.parent)
        screen.show_source(path)
        await pilot.quiet()
        screen._show_pane("options")
        await pilot.quiet()
        for key, value in options.items():
            await _set(app, pilot, screen, key, value)
        assert screen.draft.errors == {}
        await pilot.press("v")
        await pilot.until(lambda: screen.kept is not None)
        await pilot.press("r")
        await pilot.quiet()
        rows = screen.query_one("#rows", Table).data
        assert [column.title for column in rows.columns] == ["user", "item", "time (UTC)", "title"]
        assert " ".join(rows.rows[0].cells).strip() == first
        await pilot.press("ctrl+s")
        await pilot.until(lambda: isinstance(app.screen, DataScreen))
        await pilot.quiet()
        row = shown_row(app)
        assert (row["name"], row["interactions"]) == ("log", kept)


async def test_two_candidate_columns_are_a_question(home, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(
        "user_id,video_id,time,timestamp\n"
        + "".join(f"u{n % 4},i{n % 3},{1_500_000_000 + n},{1_600_000_000 + n}\n" for n in range(40))
    )
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await importing(app, pilot, tmp_path)
        screen.show_source(path)
        await pilot.quiet()
        assert "time_column" in screen.draft.errors
        assert "time_column" in screen.disabled_reason("start")
        assert "timestamp" in content(app, "#what")
        screen._show_pane("options")
        await pilot.quiet()
        await _set(app, pilot, screen, "time_column", "timestamp")
        assert screen.draft.errors == {}
        await pilot.until(lambda: not screen.disabled_reason("count"))
        await pilot.press("v")
        await pilot.until(lambda: screen.kept is not None)
        assert screen.kept is not None
        assert screen.kept.first[0]["time"] == "2020-09-13 12:26:40"
