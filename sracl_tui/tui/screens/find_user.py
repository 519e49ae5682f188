"""Find a user of a run: by number, own id, title of an item, or words of the summary; sorted by any measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from sracl_tui import formatting
from sracl_tui.services.population import ORDERS, Population
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.navigation import navigation_of
from sracl_tui.tui.rendering.user_table import CHANGED, COLUMNS, FOUND, population_table
from sracl_tui.tui.widgets.table import Table, TableData
from store.errors import StoreError
from store.queries import users

SORTS = {
    "number": ("number",),
    "rank": ("rank", "missed"),
    "spearman": ("disagreement",),
    "entropy": ("peaked", "flat"),
    "changed": ("changed",),
}
DESCENDING = ("flat", "missed", "changed")
AT_MOST = 500


class FindUser(DeferredPaintMixin, NamedBindings, ModalScreen[int | None]):
    """Gives the number of the user that was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
        Binding("down", "to_table", "To the list", show=False),
        Binding("s", "sort", "Sort"),
        Binding("slash", "to_input", "Search", show=False),
    ]

    @dataclass
    class Found(Message):
        """Users that fit, laid out."""

        asked: tuple[str, str]
        grid: TableData
        told: str
        trouble: str = ""

    def __init__(self, run: dict[str, Any], population: Population, order: str) -> None:
        super().__init__()
        self._run, self._population = run, population
        self._order = order
        self._text = ""
        self._shown: tuple[str, str] | None = None
        """Text and order of what is in the list."""
        self._eager = False
        """Enter was pressed before the list was there."""

    def compose(self) -> ComposeResult:
        """Input, list, what is shown, hint."""
        with Vertical(classes="dialog tall"):
            yield Static("Find a user", classes="dialog-title")
            yield Input(placeholder="number, id, title of an item, or words of the summary")
            yield Table(empty="looking ...")
            yield Static("", id="found-told", markup=False)
            yield Static("enter opens   down: list   in it s, or a click on a title: sort", classes="muted")

    def on_mount(self) -> None:
        """All users first."""
        self._search(self._text, self._order)

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._text = event.value.strip()
        self._search(self._text, self._order)

    @work(thread=True, exclusive=True, exit_on_error=False, group="search")
    def _search(self, text: str, order: str) -> None:
        population = self._population
        columns = (*COLUMNS, *((CHANGED,) if population.changed is not None else ()), FOUND)
        if not text:
            indices = population.order(order)
            grid = population_table(population, indices, columns=columns)
            self.post_message(self.Found((text, order), grid, _told(len(indices), order)))
            return
        try:
            rows = users.search_users(navigation_of(self).library.store(), self._run, text, limit=AT_MOST)
        except StoreError as error:
            self.post_message(self.Found((text, order), TableData(), "", str(error)))
            return
        found = {row["user_id"]: row["found"] for row in rows}
        indices = np.searchsorted(population.ids, np.fromiter(found, np.int64, len(found)))
        if order != "number":
            rank = np.empty(len(population), np.int64)
            rank[population.order(order)] = np.arange(len(population))
            indices = indices[np.argsort(rank[indices], kind="stable")]
        grid = population_table(population, indices, columns=columns, found=found)
        more = ", the first only: say more to find fewer" if len(rows) == AT_MOST else ""
        told = _told(len(indices), "found" if order == "number" else order) + more
        self.post_message(self.Found((text, order), grid, told))

    @on(Found)
    def _take(self, message: Found) -> None:
        if message.asked != (self._text, self._order):
            return  # an earlier search was slower than the one that followed it
        self._shown = message.asked
        table = self.query_one(Table)
        table.say(formatting.line(message.trouble) or "No user fits.")
        column = next(key for key, orders in SORTS.items() if self._order in orders)
        table.show(message.grid, keep=False, sorted_by=(column, self._order in DESCENDING))
        self.query_one("#found-told", Static).update(formatting.line(message.told))
        if self._eager:
            self._choose()

    @on(Input.Submitted)
    @on(Table.Chosen)
    def _choose(self) -> None:
        self._eager = self._shown != (self._text, self._order)
        key = self.query_one(Table).key
        if isinstance(key, int) and not self._eager:
            self.dismiss(key)

    @on(Table.HeaderClicked)
    def _sort_by(self, message: Table.HeaderClicked) -> None:
        orders = SORTS.get(message.key, ())
        if orders:
            at = orders.index(self._order) + 1 if self._order in orders else 0
            self._sort(orders[at % len(orders)])

    def _sort(self, order: str) -> None:
        self._order = order
        self._search(self._text, order)

    def action_sort(self) -> None:
        """The next order."""
        names = [order for orders in SORTS.values() for order in orders]
        if self._population.changed is None:
            names.remove("changed")
        self._sort(names[(names.index(self._order) + 1) % len(names)])

    def action_to_table(self) -> None:
        """From the input to the list."""
        self.query_one(Table).focus()

    def action_to_input(self) -> None:
        """Back to the input."""
        self.query_one(Input).focus()

    def action_leave(self) -> None:
        """Nobody."""
        self.dismiss(None)


def _told(count: int, order: str) -> str:
    return f"{count:,} user{'' if count == 1 else 's'} {ORDERS.get(order, 'by how well they fit')}"
