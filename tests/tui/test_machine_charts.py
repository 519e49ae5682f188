"""What a run used of its machine: on Run, on Charts, beside the list, and in `sracl show`."""

from __future__ import annotations

import json

import pytest
from textual.widgets import TabbedContent

from sracl_tui.tui.app import SraclApp
from sracl_tui.tui.screens.charts import ChartsScreen
from sracl_tui.tui.screens.run import RunScreen
from sracl_tui.tui.widgets.curves import NAME, Curves
from sracl_tui.tui.widgets.machine_charts import MachineChart
from sracl_tui.tui.widgets.pane_row import PaneRow
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.queries.machine import MEASURES, machine_points
from store.queries.runs import find_run
from tests.support.commands import sracl_inside
from tests.support.steady_pilot import drive

GIB = 2**30


def run_id(home: Home) -> str:
    with open_store(home) as store:
        return find_run(store, "whole")["run_id"]


def add_samples(home: Home, *, gpu: bool = True, count: int = 30) -> None:
    """Ten minutes of another start of the run `whole`: ninety cores and a little more from sample to sample, and a GPU."""
    journal = Journal(home.runs / run_id(home))
    journal.append("run_started", {"pid": 1, "host": "h", "boot_id": "b"})
    for n in range(1, count + 1):
        own = {"cores": 90 + n / 100, "machine_cores": 95.0, "memory_bytes": n * GIB, "machine_memory_bytes": 40 * GIB}
        of_gpu = {"gpu_memory_bytes": 3 * GIB, "machine_gpu_memory_bytes": 5 * GIB, "machine_gpu_percent": 71.5}
        journal.append(
            "machine_sampled", dict.fromkeys(MEASURES) | {"seconds": 20.0 * n} | own | (of_gpu if gpu else {})
        )
    journal.append("run_ended", {"state": "finished", "reason": None})
    journal.close()


def shown(app: SraclApp) -> dict[str, MachineChart]:
    return {chart.kind: chart for chart in app.screen.query(MachineChart) if chart.display and chart.region}


def text(chart: Curves) -> str:
    return "\n".join(chart.render_line(y).text for y in range(3))


async def test_a_real_run_has_samples_and_the_tab_shows_them(home: Home):
    run = run_id(home)
    with open_store(home) as store:
        points = machine_points(store, run)
    assert len(points["cores"]) > 0
    assert 0 < points["cores"][:, 1].max() <= 64
    assert points["memory_bytes"][:, 1].max() > 50 << 20
    app = SraclApp(home)
    async with drive(app, size=(80, 24)) as pilot:
        app.open_run(run)
        await pilot.quiet()
        assert shown(app) == {}
        await pilot.press("shift+tab")
        assert app.screen.query_one(TabbedContent).active == "machine"
        assert list(shown(app)) == ["cpu", "memory"]
        assert "CPU, cores busy" in text(shown(app)["cpu"])
        peak = points["memory_bytes"][-1, 1] / GIB
        assert f"a run {peak:.4g}" in text(shown(app)["memory"])
        assert "b machine" in text(shown(app)["memory"])


async def test_the_keys_move_the_charts_over_time_and_those_over_epochs_apart(home: Home):
    add_samples(home)
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        app.open_run(run_id(home))
        await pilot.quiet()
        await pilot.press("shift+tab")
        charts = shown(app)
        assert list(charts) == ["cpu", "memory", "gpu", "gpu-memory"]
        assert {chart.unit for chart in charts.values()} == {"minute"}
        assert "busy 71.5" in text(charts["gpu"])
        assert "a run 3  b machine 5" in text(charts["gpu-memory"])
        await pilot.press("plus", "left_curly_bracket")
        assert len({chart.window for chart in charts.values()}) == 1
        assert charts["cpu"].window is not None
        assert charts["cpu"].cross is not None
        assert {plot.window for plot in app.screen.query("#losses, #metrics").results(Curves)} == {None}
        await pilot.press("0", "tab", "plus")
        assert {chart.window for chart in charts.values()} == {None}


async def test_charts_have_the_machine_after_the_metrics_with_a_crosshair_of_its_own(home: Home):
    add_samples(home, gpu=False)
    app = SraclApp(home)
    async with drive(app, size=(200, 60)) as pilot:
        await pilot.quiet()
        await pilot.press("a")
        await pilot.quiet()
        screen = app.screen
        assert isinstance(screen, ChartsScreen)
        assert screen.names()[-2:] == [("machine", "cpu"), ("machine", "memory")]
        while screen.chosen < len(screen.names()) - 2:
            await pilot.press("j")
        charts = shown(app)
        assert list(charts) == ["cpu", "memory"]
        assert text(charts["cpu"]).startswith("› CPU")
        await pilot.press("left", "shift+left")
        assert charts["cpu"].cross == charts["memory"].cross == pytest.approx(charts["cpu"].shown[1] - 10)
        epochs = [plot for plot in screen.query(Curves) if plot.unit == NAME]
        assert {plot.cross for plot in epochs} == {None}
        await pilot.press("k", "left")
        assert {plot.cross for plot in epochs if plot.display} == {2}
        await pilot.hover(charts["memory"], offset=(charts["memory"].size.width - 1, 5))
        assert {plot.cross for plot in epochs if plot.display} == {2}, "an epoch is no minute"
        await pilot.press("escape")
        assert {plot.cross for plot in screen.query(Curves)} == {None}
        await pilot.press("j", "enter")
        assert list(shown(app)) == ["cpu"]
        assert [plot for plot in epochs if plot.display] == []
        await pilot.press("escape", "escape")
        assert not isinstance(app.screen, ChartsScreen)


async def test_a_pane_beside_the_list_is_chosen_and_follows_the_cursor(home: Home):
    add_samples(home)
    app = SraclApp(home)
    async with drive(app, size=(160, 40)) as pilot:
        await pilot.quiet()
        assert "machine" not in app.screen.query_one(PaneRow).shown
        assert shown(app) == {}
        await pilot.press("p", "G", "space", "enter")
        await pilot.quiet()
        assert app.screen.query_one(PaneRow).shown == ["list", "curves", "facts", "machine"]
        assert list(shown(app)) == ["cpu", "memory", "gpu", "gpu-memory"]
        assert "a run 30 " in text(shown(app)["memory"])
        await pilot.press("j")
        await pilot.quiet()
        assert list(shown(app)) == ["cpu", "memory"]
        assert "a run 30 " not in text(shown(app)["memory"])


async def test_a_run_without_samples_says_so(home: Home):
    run = run_id(home)
    for path in (home.runs / run).glob("events-*.jsonl"):
        path.write_text("".join(line for line in path.read_text().splitlines(True) if "machine_sampled" not in line))
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        app.open_run(run)
        await pilot.quiet()
        await pilot.press("shift+tab")
        assert "This run has no samples of its machine." in text(shown(app)["cpu"])
        assert isinstance(app.screen, RunScreen)


def test_show_has_means_and_peaks(home: Home):
    add_samples(home)
    said = sracl_inside(home.path, "show", "whole").stdout
    assert "cores on average, 90.30 at most" in said
    assert "30.00 at most" in said
    assert "GPU 71.50 % on average, 71.50 at most; GPU memory 3.00 GiB on average, 3.00 at most" in said
    use = json.loads(sracl_inside(home.path, "show", "whole", "--json").stdout)["machine_use"]
    assert use["memory_bytes"]["peak"] == 30 * GIB
    assert set(use) == set(MEASURES)
