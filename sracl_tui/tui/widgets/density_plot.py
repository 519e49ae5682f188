"""A cloud of points as cells of four shades, with a cursor that looks into a cell."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from sracl_tui import formatting
from sracl_tui.services.population import RowIndices
from sracl_tui.services.projections import GRAIN, PointGrid
from sracl_tui.tui.bindings import NamedBindings

SHADES = " ·░▒▓█"
"""None, one point, then more by the logarithm of their number."""
AXIS = 7
"""Columns for the values at the left."""
NO_POINTS = np.zeros(0, np.int64)


class DensityPlot(NamedBindings, Widget, can_focus=True):
    """A scatter plot as counts per cell, in shades of one color; more points are darker."""

    SECTION = "raster"
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"raster--{name}" for name in ("point", "axis", "mark", "cursor", "line")}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1, 0)", "Left", show=False),
        Binding("right,l", "move(1, 0)", "Right", show=False),
        Binding("up,k", "move(0, -1)", "Up", show=False),
        Binding("down,j", "move(0, 1)", "Down", show=False),
        Binding("n", "next(1)", "Next cell with points", show=False),
        Binding("N", "next(-1)", "Cell with points before", show=False),
        Binding("enter", "choose", "Open"),
    ]

    @dataclass
    class Highlighted(Message):
        """The cursor has moved to another cell."""

        plot: DensityPlot
        points: RowIndices
        """Of the cloud."""

        @property
        def control(self) -> DensityPlot:
            return self.plot

    @dataclass
    class Chosen(Message):
        """A cell was opened by key or double click."""

        plot: DensityPlot

        @property
        def control(self) -> DensityPlot:
            return self.plot

    def __init__(self, *, id: str | None = None, axes: tuple[str, str] | None = None, empty: str = "") -> None:
        """Args: axes: what goes from left to right and from low to high; none for a map, whose values mean nothing."""
        super().__init__(id=id)
        self.grid: PointGrid | None = None
        self._axes, self._empty = axes, empty
        self._shades = SHADES if axes else SHADES.replace("·", "•")  # a map has few points, and they shall be seen
        self._cursor: tuple[float, float] | None = None
        """Column and line as shares of the plane: it stays where it is when the terminal is resized."""
        self._marked: RowIndices = NO_POINTS
        self._level: tuple[float, str] | None = None

    def show(self, grid: PointGrid | None, *, level: tuple[float, str] | None = None, empty: str = "") -> None:
        """Draw points.

        Args:
            level: a value of the vertical axis to mark with a line, and its label.
            empty: text to show without points.
        """
        self.grid, self._level, self._empty = grid, level, empty or self._empty
        self._marked, self._cursor = NO_POINTS, None
        self.refresh()

    def mark(self, points: RowIndices) -> None:
        """Mark points with a sign."""
        self._marked = points
        self.refresh()

    @property
    def plane(self) -> tuple[int, int]:
        """Columns and lines of the plot's cells."""
        side, below = (AXIS, 2) if self._axes else (0, 0)
        return max(1, self.size.width - side), max(1, self.size.height - below)

    @property
    def cell(self) -> tuple[int, int] | None:
        """Column and line of the cursor; none before it is first moved."""
        if self._cursor is None:
            return None
        columns, lines = self.plane
        return min(columns - 1, int(self._cursor[0] * columns)), min(lines - 1, int(self._cursor[1] * lines))

    def points(self) -> RowIndices:
        """Points of the cloud in the cell under the cursor."""
        if self.grid is None or self.cell is None:
            return NO_POINTS
        return self.grid.inside(*self.cell, *self.plane)

    def ranges(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Values that the cell under the cursor spans, from left to right and from low to high."""
        if self.grid is None or self.cell is None:
            return None
        (column, line), (columns, lines) = self.cell, self.plane
        x = self.grid.x_at(column / columns), self.grid.x_at((column + 1) / columns)
        y = self.grid.y_at(1 - (line + 1) / lines), self.grid.y_at(1 - line / lines)
        return x, y

    def _go(self, column: int, line: int) -> None:
        columns, lines = self.plane
        column, line = max(0, min(columns - 1, column)), max(0, min(lines - 1, line))
        self._cursor = (column + 0.5) / columns, (line + 0.5) / lines
        self.refresh()
        self.post_message(self.Highlighted(self, self.points()))

    def _start(self) -> tuple[int, int]:
        """The cell with the most points."""
        columns, lines = self.plane
        if self.grid is None:
            return 0, 0
        line, column = divmod(int(self.grid.cells(columns, lines).argmax()), columns)
        return column, line

    def action_move(self, right: int, down: int) -> None:
        """Move the cursor by cells; the first time to the cell with the most points."""
        if self.grid is not None:
            if self.cell is None:
                self._go(*self._start())
            else:
                self._go(self.cell[0] + right, self.cell[1] + down)

    def action_next(self, by: int) -> None:
        """Move to the next or previous cell with points, line by line."""
        if self.grid is None:
            return
        columns, lines = self.plane
        filled = np.flatnonzero(self.grid.cells(columns, lines).ravel())
        if len(filled):
            column, line = self.cell or (0, 0)
            at = line * columns + column
            place = np.searchsorted(filled, at, side="right") if by > 0 else np.searchsorted(filled, at) - 1
            line, column = divmod(int(filled[place % len(filled)]), columns)
            self._go(column, line)

    def action_choose(self) -> None:
        """Open the cell under the cursor."""
        if self.cell is None:
            self.action_move(0, 0)
        if self.grid is not None:
            self.post_message(self.Chosen(self))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to a cell; a double click opens it."""
        offset = event.get_content_offset(self)
        if offset is None or self.grid is None:
            return
        columns, lines = self.plane
        column = offset.x - (AXIS if self._axes else 0)
        if 0 <= column < columns and offset.y < lines:
            again = self.cell == (column, offset.y) and event.chain > 1
            self._go(column, offset.y)
            if again:
                self.action_choose()

    def render_line(self, y: int) -> Strip:
        """One line: values at the left, cells, or what goes from left to right below them."""
        wide, plain = self.size.width, self.rich_style
        columns, lines = self.plane
        axis = plain + self.get_component_rich_style("raster--axis", partial=True)
        if self.grid is None:
            text = textwrap.wrap(formatting.line(self._empty), max(10, wide - 2))
            return Strip([Segment(formatting.fit(f" {text[y] if y < len(text) else ''}", wide), axis)])
        if y >= lines:
            return Strip([Segment(formatting.fit(self._below(y - lines, columns), wide), axis)])
        segments = self._cells(y, plain)
        if self._axes:
            segments.insert(0, Segment(self._axis_label(y, lines), axis))
        return Strip(segments, wide)

    def _cells(self, y: int, plain: Style) -> list[Segment]:
        assert self.grid is not None
        columns, lines = self.plane
        counts = self.grid.cells(columns, lines)
        most = math.log(max(16, int(counts.max())))  # a few points are no crowd, where all cells have few
        levels = np.ceil(np.log(np.maximum(counts[y], 1)) / most * (len(SHADES) - 2)).astype(int) + (counts[y] > 0)
        signs = [self._shades[level] for level in levels]
        styles = ["point"] * columns
        if self._level is not None and y == self._level_line(lines):
            for at, sign in enumerate(signs):
                if sign == " ":
                    signs[at], styles[at] = "╌", "line"
        for column in self._marked_columns(y):
            signs[column], styles[column] = "◆", "mark"
        if self.cell is not None and self.cell[1] == y:
            column = self.cell[0]
            signs[column], styles[column] = "┼", "cursor"
        paints = {name: plain + self.get_component_rich_style(f"raster--{name}", partial=True) for name in set(styles)}
        return list(Segment.simplify(Segment(sign, paints[style]) for sign, style in zip(signs, styles, strict=True)))

    def _marked_columns(self, y: int) -> set[int]:
        assert self.grid is not None
        columns, lines = self.plane
        points = self._marked[lines - 1 - self.grid.y[self._marked] * lines // GRAIN == y]
        return set((self.grid.x[points] * columns // GRAIN).tolist())

    def _level_line(self, lines: int) -> int:
        assert self.grid is not None
        assert self._level is not None
        low, high = self.grid.y_range
        return lines - 1 - int((self._level[0] - low) / (high - low) * lines)

    def _axis_label(self, y: int, lines: int) -> str:
        """Values at the top, in the middle, at the bottom; the name of the line."""
        assert self.grid is not None
        if self._level is not None and y == self._level_line(lines):
            return formatting.fit(self._level[1], AXIS - 1, right=True) + "┤"
        if y in (0, lines // 2, lines - 1):
            value = self.grid.y_at(1 - (y + 0.5) / lines)
            return f"{value:>{AXIS - 1}.3f}┤"
        return " " * (AXIS - 1) + "│"

    def _below(self, number: int, columns: int) -> str:
        assert self.grid is not None
        assert self._axes is not None
        if number == 0:
            left, middle, right = (f"{self.grid.x_at(share):.2f}" for share in (0.0, 0.5, 1.0))
            gap = columns - len(left) - len(middle) - len(right)
            return " " * AXIS + left + " " * max(1, gap // 2) + middle + " " * max(1, gap - gap // 2) + right
        most = int(self.grid.cells(*self.plane).max())
        return f"{self._axes[1]} ↑  {self._axes[0]} →   · 1, █ {most:,}"
