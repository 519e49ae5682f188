"""Find an item of a run by item number, ID in the source, title, or words of its summary."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.binding import BindingType

from sracl_tui import formatting
from sracl_tui.tui.rendering.item import title_of
from sracl_tui.tui.screens.find_dialog import AT_MOST, FIND_BINDINGS, NARROW, FindDialog
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out
from store.database.database import Store
from store.queries import items
from store.run_row import StoredRun

COLUMNS = (
    Column("number", "item", right=True),
    Column("title", "title", flex=True, least=24),
    Column("users", "users", right=True),
    Column("raw", "id", most=16),
    Column("found", "found in its summary", most=40),
)


class FindItem(FindDialog[str]):
    """Items by number of users, or those that match a text by relevance."""

    HEADING = "Find an item"
    PLACEHOLDER = "title, number, ID, or words of the summary"
    HINT = "enter opens   down: to the list   esc: back"
    NO_MATCH = "No item matches."
    BINDINGS: ClassVar[list[BindingType]] = [*FIND_BINDINGS]

    def __init__(self, run: StoredRun) -> None:
        super().__init__()
        self._run = run

    def request(self) -> str:
        """The text of the field."""
        return self._text

    def search(self, store: Store, request: str) -> tuple[TableData, str]:
        """Items that match the text, or the most frequent ones."""
        rows = items.search_items(store, self._run, request, limit=AT_MOST)
        order = "by relevance" if request else "by number of users"
        description = f"{len(rows):,} item{'' if len(rows) == 1 else 's'} {order}{NARROW * (len(rows) == AT_MOST)}"
        return lay_out(COLUMNS, [_row(row) for row in rows]), description


def _row(row: dict[str, Any]) -> Row:
    cells = (
        str(row["item_id"]),
        formatting.line(title_of(row, row["item_id"])),
        f"{row['users']:,}",
        formatting.line(row["raw_id"]),
        formatting.line(row["found"]),
    )
    return Row(row["item_id"], cells, ("strong", "", "dim", "dim", "dim"))
