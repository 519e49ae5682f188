"""The Study screen on a home in which a tiny study was run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from textual.widgets import Static

from sracl_tui.studies.judging import Judgement
from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.navigation import Unavailable
from sracl_tui.tui.rendering.study import PLOT, plot_line
from sracl_tui.tui.screens.compare import CompareScreen
from sracl_tui.tui.screens.runs import RunsScreen
from sracl_tui.tui.screens.study import StudyScreen
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.dialogs import ConfirmDialog
from sracl_tui.tui.widgets.table import Table
from store.home import Home
from store.opening import open_store
from store.queries import runs
from store.queries.studies import declare
from store.queue import Queue
from tests.studies.conftest import STUDY
from tests.studies.test_report import judged
from tests.support.commands import sracl_inside
from tests.support.inside_queue import inside_queue
from tests.support.shared_homes import written_once
from tests.support.steady_pilot import drive


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Home:
    """A copy of a home in which the study was run."""

    def write(folder: Path) -> None:
        (folder / "studies").mkdir(parents=True)
        (folder / "studies" / "tiny.toml").write_text(STUDY)
        with inside_queue():
            sracl_inside(folder, "study", "run", "tiny", "--headless")

    return Home(Path(shutil.copytree(written_once(tmp_path_factory, "study", write), tmp_path / "home")))


async def opened(app, pilot) -> StudyScreen:
    await pilot.quiet()
    await pilot.press("0")
    await pilot.quiet()
    assert isinstance(app.screen, StudyScreen)
    return app.screen


def said(screen: StudyScreen, name: str) -> str:
    return str(screen.query_one(f"#{name}", Static).content)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_claims_are_judged_and_lead_to_their_runs_and_users(home, size):
    app = SraclApp(home)
    async with drive(app, size=size) as pilot:
        screen = await opened(app, pilot)
        assert screen.study_name == "tiny", "the study of the newest run"
        assert "4 runs: 4 finished" in said(screen, "study-facts")
        table = screen.query_one(Table)
        ends = {c.key: x + len(c.title) for c, x in zip(table.data.columns, table.title_offsets(), strict=True)}
        assert all(ends[key] <= 80 for key in ("verdict", "claim", "seeds", "plot", "difference", "p")), ends
        rows = table.data.rows
        assert [row.cells[1] for row in rows] == ["gain", "tail", "rank", "llm"]
        assert [row.cells[0] for row in rows][2:] == ["+ supported", ". not run"]
        assert screen.figure_words() == ["tiny", "--figure", "forest"]
        assert "SRA-CL gains." in said(screen, "study-claim")
        await pilot.press("j")
        assert "question: Who gains?" in said(screen, "study-claim")
        await pilot.press("G")
        assert "not run: there is none here" in said(screen, "study-claim")
        await pilot.press("o")
        assert pilot.told[-1:] == ["No run of this claim is finished."]
        await pilot.press("g", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, CompareScreen)
        assert app.screen.found is not None
        assert app.screen.found.split == "test"
        assert [one.size for one in app.screen.found.sets] == [2, 2]
        await pilot.press("escape")
        assert app.screen is screen
        await pilot.press("j", "j", "enter")
        await pilot.quiet()
        assert isinstance(app.screen, RunsScreen)
        assert len(app.screen.query_one(Table).data.rows) == 2


async def test_missing_runs_are_priced_and_put_into_the_queue(home, monkeypatch):
    from sracl_tui.runs.execution import queue

    monkeypatch.setattr(queue, "start_workers", lambda home: {})
    path = home.path / "studies" / "tiny.toml"
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("R")
        assert pilot.told[-1:] == ["No run is missing."]
        path.write_text(STUDY.replace("first = 2", "first = 3").replace("cap = 3", "cap = 4"))
        await pilot.press("r")
        await pilot.quiet()
        assert "2 to be run" in said(screen, "study-facts")
        await pilot.press("R")
        await pilot.quiet()
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("y")
        await pilot.quiet()
        assert len(Queue(home).waits()) == 2
        assert "2 queued" in said(screen, "study-facts")
        with open_store(home) as store:
            assert {row["group_name"] for row in runs.list_runs(store)} == {"study-tiny"}


async def test_another_study_is_chosen_and_a_report_written(home):
    (home.path / "studies" / "bad.toml").write_text("title = 1\n")
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("w")
        await pilot.quiet()
        assert "SRA-CL gains." in (home.path / "studies" / "tiny.html").read_text()
        await pilot.press("s")
        await pilot.quiet()
        assert isinstance(app.screen, ChoiceDialog)
        await pilot.press(*"baselines", "enter")
        await pilot.quiet()
        assert screen.study_name == "baselines"
        assert "none of its claims can be run here" in said(screen, "study-facts")
        assert "there is no data set office" in said(screen, "study-claim")
        await pilot.press("s")
        await pilot.quiet()
        await pilot.press(*"bad", "enter")
        await pilot.quiet()
        assert "studies/bad.toml" in said(screen, "study-facts").replace("\n", "")


def marks(one: Judgement, reach: float) -> str:
    line = plot_line(one, reach)
    assert len(line) == PLOT
    return line


def test_the_plot_of_characters_puts_what_is_claimed_on_the_right():
    middle = PLOT // 2
    assert marks(judged("higher", [3.0, 3.001], 1.0), 6.0).index("●") > middle
    assert marks(judged("lower", [3.0, 3.001], 1.0), 6.0).index("●") < middle
    nothing = marks(judged("equal", [0.0, 0.0], 1.0), 6.0)
    assert nothing[middle] == "●"
    assert nothing.count(":") == 2
    wide = marks(judged("higher", [-5.0, 5.0], 1.0), 2.0)
    assert (wide[0], wide[-1]) == ("<", ">")
    beyond = marks(judged("higher", [50.0, 50.1], 1.0), 2.0)
    assert "●" not in beyond
    assert beyond[-1] == ">"


async def test_a_study_is_read_where_it_was_run_and_on_another_data_set(home):
    claim = {"claim": "gain", "dataset": "shop", "sentence": "s", "fingerprint": "f", "seeds": 2}
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("d")
        await pilot.quiet()
        assert isinstance(app.screen, ChoiceDialog)
        await pilot.press(*"demo", "enter")
        await pilot.quiet()
        assert screen.plan.datasets == ("demo",)
        assert "4 runs: 4 finished" in said(screen, "study-facts")
        with pytest.raises(Unavailable, match="when the study is opened"):
            screen.figure_words()
        declare(home, study="quick", sha256="0" * 64, text="", claims=[claim])
        screen.study_name, screen.named = "quick", ()
        screen.action_refresh()
        await pilot.quiet()
        assert screen.plan.datasets == ("shop",), "it was run on no other"
        assert screen._others == ("shop",)
    assert json.loads(sracl_inside(home.path, "study", "show", "quick", "--json").stdout)["datasets"] == ["shop"]
    declare(home, study="quick", sha256="0" * 64, text="", claims=[{**claim, "dataset": "demo"}])
    assert json.loads(sracl_inside(home.path, "study", "show", "quick", "--json").stdout)["datasets"] == ["demo"]
