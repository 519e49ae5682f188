"""The app's own work: a curve of a million points, a list of 10,000 runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from textual.app import App, ComposeResult

import sracl_tui
from benchmarks.many import make_runs
from sracl_tui.runs.run_state import smooth
from sracl_tui.services import run_filter, run_list
from sracl_tui.services.store_session import StoreSession
from sracl_tui.tui.rendering import run_list as run_table
from sracl_tui.tui.widgets.curves import Curve, Curves
from store.home import Home

POINTS = 1_000_000


class Plot(App[None]):
    """A screen with nothing but a plot."""

    CSS_PATH = [Path(sracl_tui.__file__).parent / "tui" / "styles" / "app.tcss"]  # noqa: RUF012

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"dim": "#808080"}

    def compose(self) -> ComposeResult:
        yield Curves()


@pytest.fixture(scope="module")
def library(request: pytest.FixtureRequest) -> StoreSession:
    """10,000 runs, kept between two benchmarks."""
    home = Home(Path(str(request.config.cache.mkdir("sracl"))) / "many")  # pyright: ignore
    if not home.database.exists():
        make_runs(home, 10_000)
    library = StoreSession(home)
    library.read()
    return library


@pytest.mark.parametrize("strength", [0.0, 0.95], ids=["raw", "smoothed"])
def test_curve_of_a_million_points(benchmark, strength):
    values = np.random.default_rng(1).random(POINTS)
    values[654_321] = 9.0
    epochs = np.arange(1.0, POINTS + 1)

    def draw(plot: Curves) -> None:
        plot.draw("loss", [Curve("loss", epochs, smooth(values, strength))])
        for y in range(plot.size.height):
            plot.render_line(y)

    async def run() -> None:
        app = Plot()
        async with app.run_test(size=(120, 40)):
            benchmark(draw, app.query_one(Curves))

    asyncio.run(run())


def test_sort_and_filter_10_000_runs(benchmark, library):
    rows, painter = library.poll().rows, run_table.RunTableBuilder()
    told = painter.differences(rows)

    def lay(column: str = "ndcg") -> None:
        chosen = run_filter.select(rows, run_filter.parse("state:finished ndcg@20>0.01"))
        lines = run_list.sort_groups(run_list.group_runs(chosen, folded=False), column, descending=True)
        painter.table(lines, marked=set(), baseline=None, differences=told)

    lay("name")
    benchmark(lay)


def test_look_where_nothing_has_changed(benchmark, library):
    benchmark(library.poll)
