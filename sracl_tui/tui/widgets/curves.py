"""Curves over epochs: few round ticks, a legend that needs no color, zoom and pan, spikes kept however many points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from sracl_tui import formatting
from sracl_tui.tui.themes import CURVES, palette_of
from sracl_tui.tui.widgets import axis_ticks, braille
from sracl_tui.tui.widgets.curve_layout import EPOCHS, Points, Window, bottom, inside, legend, letters_of, runs
from sracl_tui.tui.widgets.curve_layout import LETTERS as LETTERS
from sracl_tui.tui.widgets.curve_layout import NAME as NAME
from sracl_tui.tui.widgets.curve_layout import Axis as Axis
from sracl_tui.tui.widgets.curve_layout import Curve as Curve

SPAN = 4.0
"""Epochs that a window shows at least."""
WHEEL = 0.8
LEAST = Size(16, 3)
"""Columns and lines below which a plot says nothing."""


@dataclass
class _Frame:
    """What is laid out: lines of cells with the number of a style each, ready to become strips."""

    lines: list[list[tuple[str, str]]] = field(default_factory=list)
    top: int = 0
    """First line of the plot itself."""
    rows: int = 0
    left: int = 0
    """Columns before the plot, for the mouse."""
    columns: int = 0


class Curves(Widget):
    """Line plots over epochs, with zoom and pan."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"curves--title", "curves--axis", "curves--best", "curves--cross"}

    @dataclass
    class Moved(Message):
        """Another range of epochs is shown; none for all."""

        curves: Curves
        window: Window | None

        @property
        def control(self) -> Curves:
            return self.curves

    @dataclass
    class Pointed(Message):
        """The pointer is over another whole epoch; none: it has left the plot."""

        curves: Curves
        at: int | None

        @property
        def control(self) -> Curves:
            return self.curves

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.axis = EPOCHS
        """What the curves are over."""
        self.cross: float | None = None
        """Epoch of the crosshair; none without one."""
        self.window: Window | None = None
        """Epochs on show; none: all of them."""
        self._title, self._log, self._mark, self._empty = "", False, None, ""
        self._curves: list[Points] = []
        self._frame: tuple[Size, str, _Frame] | None = None
        self._colors: tuple[str, ...] = ()
        self._styled: tuple[Style, dict[str, Style]] | None = None
        self._dragged: float | None = None

    def draw(
        self,
        title: str,
        curves: Sequence[Curve],
        *,
        log: bool = False,
        mark: int | None = None,
        empty: str = "waiting for the first epoch",
    ) -> None:
        """Show curves.

        Args:
            empty: what stands there without any point.
            log: logarithmic values; those that are not positive are left out.
            mark: an epoch to mark with a vertical line.
        """
        before = self.extent
        self._title, self._log, self._mark, self._empty = title, log, mark, empty
        self._curves = [points for curve in curves[:8] if len((points := Points.of(curve, positive=log)).x)]
        if self.window is not None and before is not None and (now := self.extent) is not None:
            new = now[1] - before[1]
            if new > 0 and self.window[1] >= before[1]:  # a window on the newest epochs keeps following them
                self.window = self.window[0] + new, self.window[1] + new
        self._renew()

    @property
    def unit(self) -> str:
        """What stands at the end of the lower axis."""
        return self.axis.unit

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

    def show_cross(self, at: float | None) -> None:
        """Show the crosshair at an epoch and the values there, or the newest values without one; posts no message."""
        if at != self.cross:
            self.cross = at
            self.refresh()

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
        theme = self.app.theme
        if self._frame is None or self._frame[:2] != (self.size, theme):
            self._frame, self._styled = (self.size, theme, self._lay_out(self.size)), None
            self._colors = CURVES[palette_of(theme), self.app.current_theme.dark]
        frame = self._frame[2]
        if y == 0 or self._styled is None:  # a widget whose colors have changed is drawn from its first line on
            self._styled = self.rich_style, {}
        base, styles = self._styled
        if y >= len(frame.lines):
            return Strip.blank(self.size.width, base)
        line, column = frame.lines[y], self._cross_column(frame)
        if column is not None and 0 < y < frame.top:
            most = frame.top - 1
            found = legend(self._curves, None, self.size.width, most=most, at=self.cross, axis=self.axis)
            line = found[y - 1] if y <= len(found) else []
        segments = []
        for text, name in line:
            if name not in styles:
                styles[name] = base + self._style(name)
            segments.append(Segment(text, styles[name]))
        strip = Strip(segments).adjust_cell_length(self.size.width, base)
        if column is None or not frame.top <= y < frame.top + frame.rows:
            return strip
        cross = Segment("│", base + self._style("cross"))
        return Strip.join([strip.crop(0, column), Strip([cross]), strip.crop(column + 1)])

    def _cross_column(self, frame: _Frame) -> int | None:
        """The column of the widget in which the crosshair stands; none without one in the window."""
        low, high = self.shown
        if self.cross is None or not frame.columns or not low <= self.cross <= high:
            return None
        return frame.left + round((self.cross - low) / (high - low) * (frame.columns * 2 - 1)) // 2

    def _style(self, name: str) -> Style:
        if name.isdigit():
            return Style(color=self._colors[int(name)])
        if name.startswith("letter"):
            return Style(color=self._colors[int(name[6:])], bold=True)
        return self.get_component_rich_style(f"curves--{name}", partial=True) if name else Style()

    def _lay_out(self, size: Size) -> _Frame:
        width, height = size
        text = f", {self.axis.text(self.window[0])}-{self.axis.text(self.window[1])}" if self.window else ""
        frame = _Frame([[(formatting.fit(self._title + text, width), "title")]])
        window = self.shown
        curves = [part for curve in self._curves if len((part := inside(curve, window)).x)]
        if not curves:
            text = "nothing to draw here" if self._curves or self._log else self._empty
            frame.lines.append([(f"  {text}", "axis")])
            return frame
        frame.lines += legend(self._curves, self._mark, width, most=max(1, height // 4), axis=self.axis)
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
        frame.top, frame.rows = len(frame.lines), rows
        for row, cells in enumerate(self._body(window, limits, rows, frame.columns)):
            label = sides.get(row)
            edge = f"{label or '':>{frame.left - 1}}{'┤' if label is not None else '│'}"
            frame.lines.append([(edge, "axis"), *cells])
        frame.lines += bottom(window, frame.left, frame.columns, self.axis)
        return frame

    def _limits(self, curves: Sequence[Points], window: Window) -> Window:
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
                letters |= letters_of(cells, number, len(self._curves))
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
            lines.append(runs(chars, names))
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
        """Pan while dragging; else move the crosshair."""
        if self._dragged is not None:
            low, high = self.shown
            by = self._dragged - self._epoch_at(event.x)
            self._go(low + by, high + by, keep=True)
        elif self.extent is not None and (at := round(self._epoch_at(event.x))) != self.cross:
            self.post_message(self.Pointed(self, at))

    def on_leave(self) -> None:
        """Without the pointer there is no crosshair."""
        if self.cross is not None:
            self.post_message(self.Pointed(self, None))

    def on_mouse_up(self) -> None:
        """End dragging."""
        self._dragged = None
        self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        """A double click shows all epochs."""
        if event.chain == 2 and self.window is not None:
            self.show_window(None)
            self.post_message(self.Moved(self, None))
