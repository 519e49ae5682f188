"""A table that draws only the lines on the screen, whose rows can be replaced at once, and that keeps its cursor.

Ten thousand rows are shown as fast as ten. Cells are plain text with the name of a style, so nothing in them is ever
taken for markup.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from sracl_tui import formatting
from sracl_tui.tui.bindings import NamedBindings

GAP = 2
GUTTER = 2
STYLES = ("dim", "good", "bad", "warn", "live", "accent", "strong", "mark")


@dataclass(frozen=True)
class Column:
    """A column; a `flex` column takes the width that is left and is cut if there is none."""

    key: str
    title: str
    right: bool = False
    flex: bool = False
    least: int = 8
    most: int | None = None


@dataclass(frozen=True)
class Row:
    """A row: its key, texts, a style per cell, and a sign in the gutter."""

    key: Hashable
    cells: tuple[str, ...]
    styles: tuple[str, ...] = ()
    sign: str = ""

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Columns that each cell takes; measured once, however often the row is laid out."""
        return tuple(map(formatting.width, self.cells))


@dataclass(frozen=True)
class TableData:
    """Rows and the width of each column; computed in a worker, shown at once."""

    columns: tuple[Column, ...] = ()
    rows: Sequence[Row] = ()
    widths: tuple[int, ...] = ()
    index: Mapping[Any, int] = field(default_factory=dict)


def lay_out(columns: Sequence[Column], rows: Sequence[Row]) -> TableData:
    """Measure the columns; takes up to 0.1 s for 10,000 rows of ten cells."""
    widths = []
    for place, column in enumerate(columns):
        widest = max((row.widths[place] for row in rows), default=0)
        widest = max(widest, formatting.width(column.title))
        widths.append(min(widest, column.most) if column.most else widest)
    return TableData(tuple(columns), tuple(rows), tuple(widths), {row.key: place for place, row in enumerate(rows)})


def table_text(data: TableData) -> str:
    """Titles and rows as text, each column as wide as its widest cell."""
    if not data.rows:
        return ""
    cells = [[column.title for column in data.columns], *(list(row.cells) for row in data.rows)]
    signs = [" ", *(row.sign or " " for row in data.rows)]
    widths = [max(map(formatting.width, column)) for column in zip(*cells, strict=True)]
    lines = [
        f"{sign} "
        + "  ".join(
            formatting.fit(cell, wide, right=column.right)
            for cell, wide, column in zip(row, widths, data.columns, strict=True)
        )
        for sign, row in zip(signs, cells, strict=True)
    ]
    return "\n".join(line.rstrip() for line in lines)


class Table(NamedBindings, ScrollView, can_focus=True):
    """A table with a cursor that draws only the visible rows."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"table--{name}" for name in (*STYLES, "header", "sorted", "cursor", "blurred-cursor", "cell", "plain")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "jump(0)", "First row", show=False),
        Binding("end,G", "jump(-1)", "Last row", show=False),
        Binding("left,h", "slide(-8)", "Scroll left", show=False),
        Binding("right,l", "slide(8)", "Scroll right", show=False),
        Binding("enter", "choose", "Open"),
    ]

    @dataclass
    class Highlighted(Message):
        """The cursor has moved to another row."""

        table: Table
        key: Hashable

        @property
        def control(self) -> Table:
            return self.table

    @dataclass
    class Chosen(Message):
        """A row was opened by key or double click."""

        table: Table
        key: Hashable

        @property
        def control(self) -> Table:
            return self.table

    @dataclass
    class HeaderClicked(Message):
        """The title of a column was clicked."""

        table: Table
        key: str

        @property
        def control(self) -> Table:
            return self.table

    def __init__(
        self, *, id: str | None = None, classes: str | None = None, empty: str = "", cells: bool = False
    ) -> None:
        """Args: cells: the cursor is on a cell of its row; left and right move it."""
        super().__init__(id=id, classes=classes)
        self.data = TableData()
        self.cursor = 0
        self.column = 0
        """Number of the column under the cursor, in a table of `cells`."""
        self._cells = cells
        self.sorted_by: tuple[str, bool] | None = None
        self._empty = empty
        self._widths: tuple[int, ...] = ()

    def show(self, data: TableData, *, keep: bool = True, sorted_by: tuple[str, bool] | None = None) -> None:
        """Replace the rows; the cursor stays on its row if it still exists.

        Args:
            sorted_by: key of a column and whether it is descending, for the mark in its title.
        """
        before, shown = self.key, self.data
        look = (self.sorted_by, self._widths, self.cursor, self.column, self.scroll_offset)
        self.data, self.sorted_by = data, sorted_by
        place = data.index.get(before, min(self.cursor, len(data.rows) - 1)) if keep else 0
        self.cursor = max(0, place)
        self.column = min(self.column, max(0, len(data.columns) - 1)) if keep else 0
        self._measure()
        if not keep:
            self.scroll_to(0, 0, animate=False)
        self._keep_in_sight()
        if look == (sorted_by, self._widths, self.cursor, self.column, self.scroll_offset):
            self._refresh_changed(shown)
        else:
            self.refresh()
        if self.key != before and self.key is not None:
            self.post_message(self.Highlighted(self, self.key))

    def set_empty_text(self, text: str) -> None:
        """Set the text that a table without rows shows."""
        if text != self._empty:
            self._empty = text
            self.refresh()

    @property
    def key(self) -> Hashable | None:
        """Key of the row under the cursor; none in an empty table."""
        return self.data.rows[self.cursor].key if self.cursor < len(self.data.rows) else None

    def move_to(self, key: Hashable) -> None:
        """Move the cursor to the row with a key, if there is one."""
        if key in self.data.index:
            self._go(self.data.index[key])

    def action_move(self, by: int) -> None:
        """Move the cursor by rows."""
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by pages."""
        self._go(self.cursor + by * max(1, self.scrollable_content_region.height - 2))

    def action_jump(self, to: int) -> None:
        """Move the cursor to the first or last row."""
        self._go(0 if to == 0 else len(self.data.rows) - 1)

    def action_slide(self, by: int) -> None:
        """Scroll sideways, or move the cursor to the next cell."""
        if self._cells:
            self.go_to_column(self.column + (1 if by > 0 else -1))
        else:
            self.scroll_relative(x=by, animate=False)

    def go_to_column(self, column: int) -> None:
        """Move the cursor to a column, which comes in sight."""
        self.column = max(0, min(column, len(self.data.columns) - 1))
        lefts = list(self._lefts())
        if self._widths:
            start, end = lefts[self.column], lefts[self.column] + self._widths[self.column]
            left, width = self.scroll_offset.x, self.scrollable_content_region.width
            if start - GUTTER < left:
                self.scroll_to(x=start - GUTTER, animate=False, force=True)
            elif end > left + width:
                self.scroll_to(x=min(end - width, start - GUTTER), animate=False, force=True)
        self.refresh()

    def action_choose(self) -> None:
        """Open the row under the cursor."""
        if self.key is not None:
            self.post_message(self.Chosen(self, self.key))

    def _go(self, place: int) -> None:
        place = max(0, min(place, len(self.data.rows) - 1))
        if place != self.cursor and self.data.rows:
            self._refresh_rows([self.cursor, place])
            self.cursor = place
            self._keep_in_sight()  # a table that scrolls is painted anew
            self.post_message(self.Highlighted(self, self.data.rows[place].key))

    def _refresh_changed(self, before: TableData) -> None:
        """Paint the rows in sight that differ from those before, in a table that is otherwise the same."""
        rows, top = self.data.rows, self.scroll_offset.y
        if self.data.columns != before.columns or len(rows) != len(before.rows) or not rows:
            self.refresh()
            return
        sight = range(top, min(len(rows), top + self.size.height))
        self._refresh_rows([place for place in sight if rows[place] != before.rows[place]])

    def _refresh_rows(self, places: Iterable[int]) -> None:
        """Paint rows by their numbers."""
        top = self.scroll_offset.y
        lines = [Region(0, place + 1 - top, self.size.width, 1) for place in places if place >= top]
        if lines:
            self.refresh(*lines)

    def _keep_in_sight(self) -> None:
        height = self.scrollable_content_region.height - 1
        top = self.scroll_offset.y
        if height > 0 and not top <= self.cursor < top + height:
            target = self.cursor if self.cursor < top else self.cursor - height + 1
            self.scroll_to(y=target, animate=False, force=True)

    def _measure(self) -> None:
        data = self.data
        widths = list(data.widths)
        spare = self._room() - GUTTER - sum(widths) - GAP * max(0, len(widths) - 1)
        for place, column in enumerate(data.columns):
            if column.flex:
                wanted = widths[place] + spare
                taken = max(column.least, wanted)
                spare -= taken - widths[place]
                widths[place] = taken
        self._widths = tuple(widths)
        total = GUTTER + sum(widths) + GAP * max(0, len(widths) - 1)
        self.virtual_size = Size(max(total, 1), len(data.rows) + 1)

    def _room(self) -> int:
        """Columns for the rows beside a vertical scrollbar if they need one, whether it is there already or not."""
        region = self.scrollable_content_region
        height = region.height + self.scrollbar_size_horizontal  # that of a bar that is not shown is 0
        needed = 0 < height <= len(self.data.rows)  # and a line for the titles
        return region.width + self.scrollbar_size_vertical - needed * self.styles.scrollbar_size_vertical

    def on_resize(self) -> None:
        """Distribute the width among the columns again."""
        self._measure()
        self._keep_in_sight()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to a row, open it on a double click; a click on a title posts `HeaderClicked`."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            self._click_header(offset.x + self.scroll_offset.x)
            return
        place = offset.y - 1 + self.scroll_offset.y
        if place < len(self.data.rows):
            again = place == self.cursor and event.chain > 1
            self._go(place)
            if self._cells and (column := self._column_at(offset.x + self.scroll_offset.x)) is not None:
                self.go_to_column(column)
            if again:
                self.action_choose()

    def _click_header(self, x: int) -> None:
        if (column := self._column_at(x)) is not None:
            self.post_message(self.HeaderClicked(self, self.data.columns[column].key))

    def _column_at(self, x: int) -> int | None:
        """Number of the column at a place of the whole table."""
        for column, (start, wide) in enumerate(zip(self._lefts(), self._widths, strict=False)):
            if start <= x < start + wide + GAP:
                return column
        return None

    def _lefts(self) -> Iterator[int]:
        """Where each column begins."""
        return accumulate((wide + GAP for wide in self._widths[:-1]), initial=GUTTER)

    def title_offsets(self) -> list[int]:
        """Where each title begins on the screen, relative to the table."""
        return [left - self.scroll_offset.x for left in self._lefts()] if self._widths else []

    def render_line(self, y: int) -> Strip:
        """One line of the screen: the titles, or a row."""
        region, left = self.scrollable_content_region, self.scroll_offset.x
        plain = self.get_component_rich_style("table--plain")
        if y == 0:
            segments = self._header()
            base = self.get_component_rich_style("table--header")
        else:
            place = y - 1 + self.scroll_offset.y
            if place >= len(self.data.rows):
                text = self._empty if y == 1 and not self.data.rows else ""
                style = self.get_component_rich_style("table--dim")
                return Strip([Segment(f"  {text}", style)]).adjust_cell_length(region.width, plain)
            segments, base = self._row(place, plain)
        strip = Strip(segments)
        return strip.crop(left, left + region.width).adjust_cell_length(region.width, base)

    def _header(self) -> list[Segment]:
        style = self.get_component_rich_style("table--header")
        chosen = self.get_component_rich_style("table--sorted")
        segments = [Segment(" " * GUTTER, style)]
        for column, wide in zip(self.data.columns, self._widths, strict=True):
            title, look = column.title, style
            if self.sorted_by and self.sorted_by[0] == column.key:
                title, look = title + ("↓" if self.sorted_by[1] else "↑"), chosen
            segments += [Segment(formatting.fit(title, wide, right=column.right), look), Segment(" " * GAP, style)]
        return segments

    def _row(self, place: int, plain: Style) -> tuple[list[Segment], Style]:
        row = self.data.rows[place]
        here = place == self.cursor
        base = plain
        if here:
            base = self.get_component_rich_style("table--cursor" if self.has_focus else "table--blurred-cursor")
        pointer = "›" if here and self.has_focus else " "
        mark = self.get_component_rich_style("table--mark", partial=True)
        segments = [Segment(pointer, base), Segment(row.sign or " ", base + mark)]
        paints = {
            name: self.get_component_rich_style(f"table--{name}", partial=True) for name in set(row.styles) if name
        }
        for at, (column, wide) in enumerate(zip(self.data.columns, self._widths, strict=True)):
            paint = paints.get(row.styles[at]) if at < len(row.styles) else None
            style = base + paint if paint is not None else base
            if self._cells and here and self.has_focus and at == self.column:
                style = self.get_component_rich_style("table--cell")
            segments += [
                Segment(formatting.fit(row.cells[at], wide, right=column.right), style),
                Segment(" " * GAP, base),
            ]
        return segments, base

    def watch_has_focus(self, value: bool) -> None:
        """Redraw: the cursor of a focused table has another color."""
        super().watch_has_focus(value)
        self.refresh()

    def line_of(self, key: Hashable) -> Region | None:
        """Region of a row relative to the table, for tests and the mouse."""
        place = self.data.index.get(key)
        y = None if place is None else place + 1 - self.scroll_offset.y
        return None if y is None else Region(0, y, self.size.width, 1)
