"""The tables of the database with their columns, as a tree that words narrow, and what the row under the cursor is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from sracl_tui import formatting
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.widgets.field import Field
from sracl_tui.tui.widgets.table import GUTTER, Column, Row, Table, lay_out
from store.queries.catalog import CatalogColumn, CatalogTable

MARK = 2
"""Cells of the sign that opens a table."""


class CatalogRows(Table):
    """The tree: left, right and space fold a table."""

    SECTION = "catalog"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Insert", id="table.choose"),
        Binding("space", "fold", "Open or fold", show=False),
    ]

    @dataclass
    class Folded(Message):
        """The table of the row under the cursor is to be opened, to be folded, or the other of the two (none)."""

        is_open: bool | None

    def action_slide(self, by: int) -> None:
        """Open or fold the table."""
        self.post_message(self.Folded(by > 0))

    def action_fold(self) -> None:
        """Open the table, or fold it."""
        self.post_message(self.Folded(None))

    def on_click(self, event: events.Click) -> None:
        """A click on the sign opens or folds the table; elsewhere it is that of any table."""
        offset = event.get_content_offset(self)
        if offset is not None and offset.y and GUTTER <= offset.x < GUTTER + MARK:
            self.post_message(self.Folded(None))  # comes when the cursor is there
            if event.chain > 1:
                event.prevent_default()


class Catalog(NamedBindings, Vertical):
    """A field that narrows, the tree, and the description of its row."""

    SECTION = "catalog"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "To the query", show=False),
        Binding("down", "to_rows", "To the list", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A name to insert, as a query writes it."""

        sql: str

    class Left(Message):
        """The person goes back to the query."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, classes="pane")
        self.border_title = "tables"
        self._tables: Sequence[CatalogTable] = ()
        self._open: set[str] = set()

    def compose(self) -> ComposeResult:
        """Field, tree, description."""
        yield Field(placeholder="words of a name", id="catalog-words", compact=True)
        yield CatalogRows(id="catalog-rows", empty="reading ...")
        yield Static("", id="catalog-about", markup=False)

    def show(self, tables: Sequence[CatalogTable]) -> None:
        """Show tables; what is open and the cursor stay."""
        if tables != self._tables:
            self._tables = tables
            self._draw()

    def _draw(self, *, keep: bool = True) -> None:
        rows = list(self._rows(self.query_one(Field).value.lower().split()))
        table = self.query_one(CatalogRows)
        table.set_empty_text("Nothing fits." if self._tables else "reading ...")
        table.show(lay_out((Column("name", "name", flex=True), Column("kind", "type", most=14)), rows), keep=keep)
        self._describe()

    def _rows(self, words: Sequence[str]) -> Iterator[Row]:
        """Tables and the columns of open ones; with words those that have all of them in their name."""
        for table in self._tables:
            fits = all(word in table.name.lower() for word in words)
            columns = table.columns
            if not fits:
                columns = [one for one in columns if all(word in f"{table.name}.{one.name}".lower() for word in words)]
                if not columns:
                    continue
            is_open = table.name in self._open or not fits
            text = f"{'▾' if is_open else '▸'} {formatting.line(table.name)}"
            yield Row((table.name, None), (text, "view" if table.is_view else "table"), ("strong", "dim"))
            for one in columns if is_open else ():
                cells = (f"    {formatting.line(one.name)}", formatting.line(one.kind))
                yield Row((table.name, one.name), cells, ("", "dim"))

    def _here(self) -> tuple[CatalogTable, CatalogColumn | None] | None:
        """Table and column under the cursor."""
        if not isinstance(key := self.query_one(CatalogRows).key, tuple):
            return None
        table = next(one for one in self._tables if one.name == key[0])
        return table, next((one for one in table.columns if one.name == key[1]), None)

    @on(Table.Highlighted)
    def _describe(self) -> None:
        here, about = self._here(), ""
        if here is not None:
            table, column = here
            if column is None:
                about = f"{table.name}: {table.comment}" if table.comment else table.name
            else:
                about = f"{column.name} {column.kind}{': ' if column.comment else ''}{column.comment}"
        self.query_one("#catalog-about", Static).update(formatting.text(about))

    @on(CatalogRows.Folded)
    def _fold(self, message: CatalogRows.Folded) -> None:
        if (here := self._here()) is None:
            return
        table, _ = here
        is_open = table.name in self._open
        if message.is_open != is_open:
            self._open ^= {table.name}
            self._draw()
            self.query_one(CatalogRows).move_to((table.name, None))

    @on(Field.Changed)
    def _narrow(self) -> None:
        self._draw(keep=False)

    @on(Field.Submitted)
    @on(Table.Chosen)
    def _choose(self, event: Message) -> None:
        event.stop()
        if (here := self._here()) is not None:
            table, column = here
            self.post_message(self.Chosen(table.sql if column is None else column.sql))

    def action_to_rows(self) -> None:
        """Go from the field to the list."""
        self.query_one(CatalogRows).focus()

    def action_leave(self) -> None:
        """Go back to the query."""
        self.post_message(self.Left())

    def enter(self) -> None:
        """Focus the field that narrows."""
        self.query_one(Field).focus()
