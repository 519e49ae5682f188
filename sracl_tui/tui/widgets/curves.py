"""Curves over epochs: few round ticks, a legend that needs no color, zoom and pan, spikes kept however many points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from sracl_tui import formatting
from sracl_tui.tui.widgets import axis_ticks, braille

_COLORS = {
    True: ("#7aa2f7", "#e0af68", "#9ece6a", "#bb9af7", "#7dcfff", "#f7768e", "#c0caf5", "#ff9e64"),
    False: ("#2f55b5", "#9a5b00", "#2f6b1f", "#7b3fb0", "#006e8c", "#b3203c", "#22242e", "#a33b00"),
}
LETTERS = "abcdefgh"
SPAN = 4.0
"""Epochs that a window shows at least."""
NAME = "epoch"
WHEEL = 0.8
LEAST = Size(16, 3)
"""Columns and lines below which a plot says nothing."""
Window = tuple[float, float]


def colors_of(app: App[Any]) -> list[tuple[int, int, int]]:
    """Distinguishable colors of lines on the background of the theme."""
    return [tuple(bytes.fromhex(color[1:])) for color in _COLORS[app.current_theme.dark]]  # type: ignore[misc]


@dataclass(frozen=True, eq=False)
class Curve:
    """A labeled line; `epochs` ascend."""

    label: str
    epochs: Sequence[float] | NDArray[np.float64] | NDArray[np.int64]
    values: Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True)
class _Points:
    """A curve as arrays, without values that cannot be drawn."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @classmethod
    def of(cls, curve: Curve, *, positive: bool) -> _Points:
        x, y = np.asarray(curve.epochs, dtype=np.float64), np.asarray(curve.values, dtype=np.float64)
        good = np.isfinite(y) & (y > 0) if positive else np.isfinite(y)
        return cls(curve.label, x, y) if good.all() else cls(curve.label, x[good], y[good])


@dataclass
class _Frame:
    """What is laid out: lines of cells with the number of a style each, ready to become strips."""

    lines: list[list[tuple[str, str]]] = field(default_factory=list)
    left: int = 0
    """Columns before the plot, for the mouse."""
    columns: int = 0


class Curves(Widget):
    """Line plots over epochs, with zoom and pan."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"curves--title", "curves--axis", "curves--best"}

    @dataclass
    class Moved(Message):
        """Another range of epochs is shown; none for all."""

        curves: Curves
        window: Window | None

        @property
        def control(self) -> Curves:
            return self.curves

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.window: Window | None = None
        """Epochs on show; none: all of them."""
        self._title, self._log, self._mark = "", False, None
        self._curves: list[_Points] = []
        self._frame: tuple[Size, bool, _Frame] | None = None
        self._styled: tuple[Style, dict[str, Style]] | None = None
        self._dragged: float | None = None

    def draw(self, title: str, curves: Sequence[Curve], *, log: bool = False, mark: int | None = None) -> None:
        """Show curves.

        Args:
            log: logarithmic values; those that are not positive are left out.
            mark: an epoch to mark with a vertical line.
        """
        before = self.extent
        self._title, self._log, self._mark = title, log, mark
        self._curves = [points for curve in curves[:8] if len((points := _Points.of(curve, positive=log)).x)]
        if self.window is not None and before is not None and (now := self.extent) is not None:
            new = now[1] - before[1]
            if new > 0 and self.window[1] >= before[1]:  # a window on the newest epochs keeps following them
                self.window = self.window[0] + new, self.window[1] + new
        self._renew()

    @property
    def extent(self) -> Window | None:
        """First and last epoch of all curves; none without curves."""
        if not self._curves:
            return None
        return min(float(c.x[0]) for c in self._curves), max(float(c.x[-1]) for c in self._curves)

    @property
    def shown(self) -> Window:
        """First and last visible epoch."""
        low, high = self.window or self.extent or (0.0, 1.0)
        return low, max(high, low + 1.0)

    def show_window(self, window: Window | None) -> None:
        """Show a range of epochs, none for all; posts no message."""
        if window != self.window:
            self.window = window
            self._renew()

    def zoom(self, factor: float, *, at: float | None = None) -> None:
        """Show `factor` times as many epochs, around one of them or the middle."""
        low, high = self.shown
        at = (low + high) / 2 if at is None else at
        self._go(at - (at - low) * factor, at + (high - at) * factor)

    def pan(self, share: float) -> None:
        """Move the window by a share of its width."""
        low, high = self.shown
        self._go(low + share * (high - low), high + share * (high - low), keep=True)

    def _go(self, low: float, high: float, *, keep: bool = False) -> None:
        """To epochs of the curves, not fewer than a few; `keep` the width at the ends."""
        if (extent := self.extent) is None:
            return
        first, last = extent
        span = min(max(high - low, SPAN), last - first)
        middle = (low + high) / 2
        low = low if keep or high - low == span else middle - span / 2
        low = min(max(low, first), last - span)
        window = None if span >= last - first else (low, low + span)
        if window != self.window:
            self.show_window(window)
            self.post_message(self.Moved(self, window))

    def _renew(self) -> None:
        self._frame = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """A line of the plot, laid out once for all lines."""
        dark = self.app.current_theme.dark
        if self._frame is None or self._frame[:2] != (self.size, dark):
            self._frame, self._styled = (self.size, dark, self._lay_out(self.size)), None
        frame = self._frame[2]
        if y == 0 or self._styled is None:  # a widget whose colors have changed is drawn from its first line on
            self._styled = self.rich_style, {}
        base, styles = self._styled
        if y >= len(frame.lines):
            return Strip.blank(self.size.width, base)
        segments = []
        for text, name in frame.lines[y]:
            if name not in styles:
                styles[name] = base + self._style(name, dark)
            segments.append(Segment(text, styles[name]))
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _style(self, name: str, dark: bool) -> Style:
        if name.isdigit():
            return Style(color=_COLORS[dark][int(name)])
        if name.startswith("letter"):
            return Style(color=_COLORS[dark][int(name[6:])], bold=True)
        return self.get_component_rich_style(f"curves--{name}", partial=True) if name else Style()

    def _lay_out(self, size: Size) -> _Frame:
        width, height = size
        text = f", {self.window[0]:,.0f}-{self.window[1]:,.0f}" if self.window else ""
        frame = _Frame([[(formatting.fit(self._title + text, width), "title")]])
        window = self.shown
        curves = [part for curve in self._curves if len((part := _inside(curve, window)).x)]
        if not curves:
            text = "nothing to draw here" if self._curves or self._log else "waiting for the first epoch"
            frame.lines.append([(f"  {text}", "axis")])
            return frame
        frame.lines += _legend(self._curves, self._mark, width, most=max(1, height // 4))
        rows = height - len(frame.lines) - 2
        if width < LEAST.width or rows < LEAST.height:
            return frame
        limits = self._limits(curves, window)
        found = (
            axis_ticks.logarithmic(*limits, max(2, rows // 3))
            if self._log
            else axis_ticks.linear(*limits, max(2, rows // 3))
        )
        named = axis_ticks.labels(found)
        frame.left = max(map(formatting.width, named)) + 1
        frame.columns = max(2, width - frame.left)
        places = braille.row_of(np.log10(found) if self._log else np.array(found), limits=limits, rows=rows * 4) // 4
        sides = dict(zip(places.tolist(), named, strict=True))
        for row, cells in enumerate(self._body(window, limits, rows, frame.columns)):
            label = sides.get(row)
            edge = f"{label or '':>{frame.left - 1}}{'┤' if label is not None else '│'}"
            frame.lines.append([(edge, "axis"), *cells])
        frame.lines += _bottom(window, frame.left, frame.columns)
        return frame

    def _limits(self, curves: Sequence[_Points], window: Window) -> Window:
        """Least and greatest value on show, with a little room; as log10 on a logarithmic scale."""
        low, high = min(float(c.y.min()) for c in curves), max(float(c.y.max()) for c in curves)
        if self._log:
            low, high = float(np.log10(low)), float(np.log10(high))
        room = 0.03 * (high - low) or 0.5 * abs(low) or 0.5
        return low - room, high + room

    def _body(self, window: Window, limits: Window, rows: int, columns: int) -> list[list[tuple[str, str]]]:
        """The plot itself: each line as runs of text with the name of a style."""
        patterns = np.zeros((rows, columns), dtype=np.uint8)
        owner = np.full((rows, columns), -1, dtype=np.int64)
        letters: dict[tuple[int, int], int] = {}
        for number, curve in enumerate(self._curves):
            merged = braille.merge(curve.x, curve.y, window=window, columns=columns * 2)
            merged = merged.log10() if self._log else merged
            cells = braille.cells(braille.dots(merged, limits=limits, rows=rows * 4, columns=columns * 2))
            patterns |= cells
            owner[cells > 0] = number
            if len(self._curves) > 1:
                letters |= _letters(cells, number, len(self._curves))
        text = np.where(patterns > 0, patterns.astype(np.uint32) + 0x2800, ord(" "))
        mark = self._mark_column(window, columns)
        lines = []
        for row in range(rows):
            chars = [chr(code) for code in text[row].tolist()]
            names = [str(number) if number >= 0 else "" for number in owner[row].tolist()]
            if mark is not None and chars[mark] == " ":
                chars[mark], names[mark] = "┊", "best"
            for column in range(columns):
                if (number := letters.get((row, column))) is not None:
                    chars[column], names[column] = LETTERS[number], f"letter{number}"
            lines.append(_runs(chars, names))
        return lines

    def _mark_column(self, window: Window, columns: int) -> int | None:
        if self._mark is None or not window[0] <= self._mark <= window[1]:
            return None
        return round((self._mark - window[0]) / (window[1] - window[0]) * (columns * 2 - 1)) // 2

    def _epoch_at(self, x: int) -> float:
        """The epoch at a column of the widget."""
        frame = self._frame[2] if self._frame else _Frame()
        low, high = self.shown
        share = (x - frame.left) / max(1, frame.columns - 1)
        return low + min(1.0, max(0.0, share)) * (high - low)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in around the pointer."""
        event.stop()
        self.zoom(WHEEL, at=self._epoch_at(event.x))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out around the pointer."""
        event.stop()
        self.zoom(1 / WHEEL, at=self._epoch_at(event.x))

    def on_mouse_scroll_left(self, event: events.MouseScrollLeft) -> None:
        """Pan to earlier epochs."""
        event.stop()
        self.pan(-0.1)

    def on_mouse_scroll_right(self, event: events.MouseScrollRight) -> None:
        """Pan to later epochs."""
        event.stop()
        self.pan(0.1)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to drag."""
        if self.window is not None:
            self._dragged = self._epoch_at(event.x)
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Pan while dragging."""
        if self._dragged is not None:
            low, high = self.shown
            by = self._dragged - self._epoch_at(event.x)
            self._go(low + by, high + by, keep=True)

    def on_mouse_up(self) -> None:
        """End dragging."""
        self._dragged = None
        self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        """A double click shows all epochs."""
        if event.chain == 2 and self.window is not None:
            self.show_window(None)
            self.post_message(self.Moved(self, None))


def _inside(curve: _Points, window: Window) -> _Points:
    start, end = np.searchsorted(curve.x, window[0] - 1e-9), np.searchsorted(curve.x, window[1] + 1e-9, side="right")
    return _Points(curve.label, curve.x[start:end], curve.y[start:end])


def _legend(curves: Sequence[_Points], mark: int | None, width: int, *, most: int) -> list[list[tuple[str, str]]]:
    """Letter, name and newest value of each curve, on at most `most` lines."""
    parts = [
        (f"{LETTERS[n]} " if len(curves) > 1 else "", f"{formatting.line(c.label)} {float(c.y[-1]):.4g}", n)
        for n, c in enumerate(curves)
    ]
    lines: list[list[tuple[str, str]]] = [[]]
    room = width
    for sign, text, number in parts:
        taken = formatting.width(sign + text) + 2
        if taken > room and lines[-1]:
            lines.append([])
            room = width
        text = formatting.fit(text, min(formatting.width(text), max(1, room - formatting.width(sign))))
        lines[-1] += [(sign or "─ ", f"letter{number}"), (f"{text}  ", str(number))]
        room -= taken
    if mark is not None and room >= 14:
        lines[-1].append((f"┊ best {mark}", "best"))
    return lines[:most]


def _letters(cells: NDArray[np.uint8], number: int, count: int) -> dict[tuple[int, int], int]:
    """Cells where a curve's line shows its letter, spread so that the letters of other curves fit between."""
    columns = cells.shape[1]
    every = max(count * 3, columns // 5)
    found = {}
    for column in range(round(every * (number + 0.5) / count), columns, every):
        drawn = np.flatnonzero(cells[:, column])
        if len(drawn):
            found[int(drawn[len(drawn) // 2]), column] = number
    return found


def _runs(chars: list[str], names: list[str]) -> list[tuple[str, str]]:
    """Group adjacent cells of one style."""
    runs: list[tuple[str, str]] = []
    start = 0
    for place in range(1, len(chars) + 1):
        if place == len(chars) or names[place] != names[start]:
            runs.append(("".join(chars[start:place]), names[start]))
            start = place
    return runs


def _bottom(window: Window, left: int, columns: int) -> list[list[tuple[str, str]]]:
    """The axis of epochs, with labels that keep off each other."""
    low, high = window
    wide = max(9, len(f"{high:,.0f}") + 3)
    axis, labels = ["─"] * columns, [" "] * (columns + left)
    end = 0
    for epoch in axis_ticks.whole(low, high, max(1, columns // wide)):
        column = round((epoch - low) / (high - low) * (columns * 2 - 1)) // 2
        text = f"{epoch:,}"
        start = min(max(end, left + column - len(text) // 2), left + columns - len(text))
        if 0 <= column < columns and start >= end:
            axis[column] = "┬"
            labels[start : start + len(text)] = text
            end = start + len(text) + 1
    if len(labels) - end > len(NAME):
        labels[-len(NAME) :] = NAME
    return [[(" " * (left - 1) + "└" + "".join(axis), "axis")], [("".join(labels), "axis")]]
