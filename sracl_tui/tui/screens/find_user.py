"""Find a user of a run by user number, ID in the source, title of an item, or words of a summary; sorted by any measure."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from textual import on
from textual.binding import Binding, BindingType

from sracl_tui.services.population import ORDERS, Population
from sracl_tui.tui.rendering.user_table import CHANGED, COLUMNS, FOUND, population_table
from sracl_tui.tui.screens.find_dialog import AT_MOST, FIND_BINDINGS, NARROW, FindDialog
from sracl_tui.tui.widgets.table import Table, TableData
from store.database.database import Store
from store.queries import users
from store.run_row import StoredRun

SORTS = {
    "number": ("number",),
    "rank": ("rank", "missed"),
    "spearman": ("disagreement",),
    "entropy": ("peaked", "flat"),
    "changed": ("changed",),
}
DESCENDING = ("flat", "missed", "changed")


class FindUser(FindDialog[tuple[str, str]]):
    """All users, or those that match a text; a request is the text and one of ORDERS."""

    HEADING = "Find a user"
    PLACEHOLDER = "number, ID, title of an item, or words of the summary"
    HINT = "enter opens   down: to the list   there s, or a click on a title: sort"
    NO_MATCH = "No user matches."
    BINDINGS: ClassVar[list[BindingType]] = [*FIND_BINDINGS, Binding("s", "sort", "Sort")]

    def __init__(self, run: StoredRun, population: Population, order: str) -> None:
        super().__init__()
        self._run, self._population = run, population
        self._order = order

    def request(self) -> tuple[str, str]:
        """The text of the field, and the order."""
        return self._text, self._order

    def search(self, store: Store, request: tuple[str, str]) -> tuple[TableData, str]:
        """All users in the order, or those that match; ORDERS' `number` sorts matches by relevance."""
        text, order = request
        population = self._population
        columns = (*COLUMNS, *((CHANGED,) if population.changed is not None else ()), FOUND)
        if not text:
            indices = population.order(order)
            return population_table(population, indices, columns=columns), _count_text(len(indices), order)
        rows = users.search_users(store, self._run, text, limit=AT_MOST)
        found = {row["user_id"]: row["found"] for row in rows}
        indices = np.searchsorted(population.ids, np.fromiter(found, np.int64, len(found)))
        if order != "number":
            rank = np.empty(len(population), np.int64)
            rank[population.order(order)] = np.arange(len(population))
            indices = indices[np.argsort(rank[indices], kind="stable")]
        description = _count_text(len(indices), "found" if order == "number" else order)
        data = population_table(population, indices, columns=columns, found=found)
        return data, description + NARROW * (len(rows) == AT_MOST)

    def sorted_by(self) -> tuple[str, bool]:
        """The column of the order."""
        column = next(key for key, orders in SORTS.items() if self._order in orders)
        return column, self._order in DESCENDING

    @on(Table.HeaderClicked)
    def _sort_by(self, message: Table.HeaderClicked) -> None:
        orders = SORTS.get(message.key, ())
        if orders:
            after = orders.index(self._order) + 1 if self._order in orders else 0
            self._sort(orders[after % len(orders)])

    def _sort(self, order: str) -> None:
        self._order = order
        self.start_search()

    def action_sort(self) -> None:
        """Sort by the next order."""
        names = [order for orders in SORTS.values() for order in orders]
        if self._population.changed is None:
            names.remove("changed")
        self._sort(names[(names.index(self._order) + 1) % len(names)])


def _count_text(count: int, order: str) -> str:
    return f"{count:,} user{'' if count == 1 else 's'} {ORDERS.get(order, 'by relevance')}"
