"""Curves: merged points keep their spikes, ticks are round and few, smoothing, zoom and pan by key and wheel."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from textual.app import App, ComposeResult

import sracl_tui
from sracl_tui.runs.run_state import smooth
from sracl_tui.tui.widgets import axis_ticks, braille
from sracl_tui.tui.widgets.curves import Curve, Curves


class Plot(App[None]):
    CSS_PATH = [Path(sracl_tui.__file__).parent / "tui" / "styles" / "app.tcss"]  # noqa: RUF012

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"dim": "#808080"}

    def compose(self) -> ComposeResult:
        yield Curves()


def text(app: App[None]) -> list[str]:
    return [strip.text for strip in app.screen._compositor.render_strips()]


def epoch_labels(app: App[None]) -> list[int]:
    return [int(word.replace(",", "")) for word in text(app)[-1].split() if word != "epoch"]


def test_every_column_keeps_its_least_and_greatest_value():
    values = np.random.default_rng(1).normal(size=9_973)
    epochs = np.arange(1.0, len(values) + 1)
    merged = braille.merge(epochs, values, window=(1.0, len(values)), columns=120)
    step = (len(values) - 1) / 119
    for place, column in enumerate(merged.columns):
        own = values[np.abs(epochs - 1 - column * step) < step / 2]
        assert merged.least[place] == own.min()
        assert merged.greatest[place] == own.max()


async def test_a_lone_spike_among_a_million_points_is_drawn_in_time():
    values = np.full(1_000_000, 0.5)
    values[654_321] = 3.0
    curve = Curve("loss", np.arange(1.0, 1_000_001), values)
    app = Plot()
    async with app.run_test(size=(120, 40)) as pilot:
        plot = app.query_one(Curves)
        seconds = []
        for _ in range(5):
            begun = time.perf_counter()
            plot.draw("loss", [curve])
            for y in range(plot.size.height):
                plot.render_line(y)
            seconds.append(time.perf_counter() - begun)
        assert min(seconds) < 0.1
        await pilot.pause()
        lines = text(app)
        top = next(line for line in lines if any("⠀" < char <= "⣿" for char in line))
        place = next(at for at, char in enumerate(top) if "⠀" < char <= "⣿")
        left = lines[-2].index("└") + 1
        assert place - left == pytest.approx(0.654321 * (119 - left), abs=1.5)


async def test_several_curves_are_told_apart_without_color():
    epochs = np.arange(1, 41)
    curves = [Curve(f"run [red]{n}", epochs, np.linspace(1 + n, 0.5 + n, 40)) for n in range(3)]
    app = Plot()
    async with app.run_test(size=(80, 24)) as pilot:
        app.query_one(Curves).draw("loss", curves, mark=20)
        await pilot.pause()
        lines = text(app)
        assert "a run [red]0 0.5" in lines[1]
        assert "c run [red]2 2.5" in lines[1]
        body = lines[3:-2]  # below the legend
        rows = {letter: {y for y, line in enumerate(body) if letter in line} for letter in "abc"}
        assert max(rows["c"]) < min(rows["b"])
        assert max(rows["b"]) < min(rows["a"])
        assert sum("┊" in line for line in body) > 10


async def test_labels_of_the_epochs_never_touch():
    app = Plot()
    async with app.run_test(size=(80, 24)) as pilot:
        for last in (1, 2, 3, 10, 99, 1000, 123_456):
            epochs = np.linspace(1, last, min(last, 500))
            app.query_one(Curves).draw("loss", [Curve("a", epochs, 1 / epochs)])
            await pilot.pause()
            found = epoch_labels(app)
            assert found == sorted(set(found))
            assert len(found) <= 16
            assert all(1 <= epoch <= max(2, last) for epoch in found)


async def test_zoom_and_pan_by_key_wheel_and_drag():
    app = Plot()
    async with app.run_test(size=(80, 24)) as pilot:
        plot = app.query_one(Curves)
        curve = Curve("a", np.arange(1, 101), np.arange(100.0))
        plot.draw("loss", [curve])
        plot.zoom(0.5)
        assert plot.window == (25.75, 75.25)
        plot.pan(10)
        assert plot.window == (50.5, 100.0)
        grown = Curve("a", np.arange(1, 111), np.arange(110.0))
        plot.draw("loss", [grown])
        assert plot.window == (60.5, 110.0), "who looks at the newest epochs goes on to do so"
        for _ in range(12):
            plot.zoom(0.5)
        assert plot.window is not None
        assert plot.window[1] - plot.window[0] == 4
        for _ in range(12):
            plot.zoom(2)
        assert plot.window is None
        await pilot.pause()
        from textual.events import MouseScrollUp

        app.screen._forward_event(MouseScrollUp(plot, 79, 12, 0, -1, 0, False, False, False, 79, 12))
        await pilot.pause()
        assert plot.window is not None
        low, high = plot.window
        assert high == pytest.approx(110, abs=1), "the epoch under the pointer stays there"
        await pilot.mouse_down(plot, offset=(20, 12))
        await pilot.hover(plot, offset=(40, 12))
        await pilot.mouse_up(plot, offset=(40, 12))
        assert plot.window[0] < low


async def test_a_logarithmic_scale_leaves_out_what_is_not_positive():
    app = Plot()
    async with app.run_test(size=(80, 24)) as pilot:
        plot = app.query_one(Curves)
        plot.draw("loss", [Curve("a", [1, 2, 3, 4], [1000.0, 0.0, float("nan"), 0.01])], log=True)
        await pilot.pause()
        sides = [line.split("┤")[0].strip() for line in text(app) if "┤" in line]
        assert {"100", "1"} <= {side.rstrip("0").rstrip(".") or side for side in sides} | set(sides)
        plot.draw("loss", [Curve("a", [1, 2], [-1.0, 0.0])], log=True)
        await pilot.pause()
        assert "nothing to draw here" in text(app)[1]


@pytest.mark.parametrize("size", [(1, 1), (8, 3), (20, 6), (40, 10)])
async def test_no_size_is_too_small(size):
    app = Plot()
    async with app.run_test(size=size) as pilot:
        app.query_one(Curves).draw("loss", [Curve("a", [1, 2, 3], [3.0, 2.0, 1.0])], mark=2)
        await pilot.pause()
        assert len(text(app)) == size[1]


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.0, 1.0, 6, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.021, 0.15, 3, [0.05, 0.1, 0.15]),
        (3.5, 13.7, 3, [5.0, 10.0]),
        (2.0, 2.0, 3, [2.0]),
    ],
)
def test_ticks_are_round(low, high, most, expected):
    assert axis_ticks.linear(low, high, most) == pytest.approx(expected)


def test_logarithmic_ticks_fit_few_and_many_decades():
    assert axis_ticks.logarithmic(-2.0, 3.0, 6) == pytest.approx([0.01, 0.1, 1, 10, 100, 1000])
    assert (
        axis_ticks.logarithmic(0.0, 1.0, 3) == pytest.approx([1, 3, 10])
        or len(axis_ticks.logarithmic(0.0, 1.0, 3)) <= 3
    )
    assert len(axis_ticks.logarithmic(-9.0, 9.0, 5)) <= 5


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 5000])
@pytest.mark.parametrize("strength", [0.0, 0.5, 0.95])
def test_smoothing_is_the_corrected_moving_average(count, strength):
    values = np.random.default_rng(count).normal(size=count)
    total = weight = 0.0
    expected = []
    for value in values:
        total, weight = strength * total + (1 - strength) * value, strength * weight + 1 - strength
        expected.append(total / weight)
    assert smooth(values, strength) == pytest.approx(np.array(expected))


def test_smoothing_keeps_gaps_as_gaps():
    found = smooth([1.0, float("nan"), 3.0], 0.5)
    assert np.isnan(found[1])
    assert found[[0, 2]] == pytest.approx([1.0, 7 / 3])
