"""Find an item of a run: by number, own id, title, or words of its summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from sracl_tui import formatting
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.navigation import navigation_of
from sracl_tui.tui.rendering.item import title_of
from sracl_tui.tui.widgets.table import Column, Row, Table, TableData, lay_out
from store.errors import StoreError
from store.queries import items

COLUMNS = (
    Column("number", "item", right=True),
    Column("title", "title", flex=True, least=24),
    Column("users", "users", right=True),
    Column("raw", "id", most=16),
    Column("found", "found in its summary", most=40),
)
AT_MOST = 500


class FindItem(DeferredPaintMixin, NamedBindings, ModalScreen[int | None]):
    """Gives the number of the item that was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
        Binding("down", "to_table", "To the list", show=False),
        Binding("slash", "to_input", "Search", show=False),
    ]

    @dataclass
    class Found(Message):
        """Items that fit, laid out."""

        text: str
        grid: TableData
        trouble: str = ""

    def __init__(self, run: dict[str, Any]) -> None:
        super().__init__()
        self._run = run
        self._text = ""
        self._shown: str | None = None
        """What the list was searched for."""
        self._eager = False
        """Enter was pressed before the list was there."""

    def compose(self) -> ComposeResult:
        """Input, list, what is shown, hint."""
        with Vertical(classes="dialog tall"):
            yield Static("Find an item", classes="dialog-title")
            yield Input(placeholder="title, number, id, or words of the summary")
            yield Table(empty="looking ...")
            yield Static("", id="found-told", markup=False)
            yield Static("enter opens   down: to the list   esc: back", classes="muted")

    def on_mount(self) -> None:
        """The most frequent ones first."""
        self._search("")

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._text = event.value.strip()
        self._search(self._text)

    @work(thread=True, exclusive=True, exit_on_error=False, group="search")
    def _search(self, text: str) -> None:
        try:
            store = navigation_of(self).library.store()
            rows = items.search_items(store, self._run, text, limit=AT_MOST)
        except StoreError as error:
            self.post_message(self.Found(text, TableData(), str(error)))
            return
        lines = [
            Row(
                row["item_id"],
                (
                    str(row["item_id"]),
                    formatting.line(title_of(row, row["item_id"])),
                    f"{row['users']:,}",
                    formatting.line(row["raw_id"]),
                    formatting.line(row["found"]),
                ),
                ("strong", "", "dim", "dim", "dim"),
            )
            for row in rows
        ]
        self.post_message(self.Found(text, lay_out(COLUMNS, lines)))

    @on(Found)
    def _take(self, message: Found) -> None:
        if message.text != self._text:
            return  # an earlier search was slower than the one that followed it
        self._shown = message.text
        table, count = self.query_one(Table), len(message.grid.rows)
        table.say(formatting.line(message.trouble) or "No item fits.")
        table.show(message.grid, keep=False)
        how = "by how well they fit" if message.text else "by number of users"
        more = ", the first only: say more to find fewer" if count == AT_MOST else ""
        self.query_one("#found-told", Static).update(f"{count:,} item{'' if count == 1 else 's'} {how}{more}")
        if self._eager:
            self._choose()

    @on(Input.Submitted)
    @on(Table.Chosen)
    def _choose(self) -> None:
        self._eager = self._shown != self._text
        key = self.query_one(Table).key
        if isinstance(key, int) and not self._eager:
            self.dismiss(key)

    def action_to_table(self) -> None:
        """From the input to the list."""
        self.query_one(Table).focus()

    def action_to_input(self) -> None:
        """Back to the input."""
        self.query_one(Input).focus()

    def action_leave(self) -> None:
        """None of them."""
        self.dismiss(None)
