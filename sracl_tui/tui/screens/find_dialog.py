"""A dialog that searches the users or items of a run as one types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from sracl_tui import formatting
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.navigation import navigation_of
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.widgets.field import Field
from sracl_tui.tui.widgets.table import Table, TableData
from store.database.database import Store
from store.errors import StoreError

AT_MOST = 500
"""Matches that are listed."""
NARROW = ", the first only: type more to narrow the search"
Request = TypeVar("Request")
FIND_BINDINGS: tuple[Binding, ...] = (
    Binding("escape", "leave", "Cancel"),
    Binding("down", "to_table", "To the list", show=False),
    Binding("slash", "to_input", "Search", show=False),
)
"""Each dialog lists them among its own, so that `keys.toml` names them by dialog."""


class FindDialog(DeferredPaintMixin, NamedBindings, ModalScreen[int | None], Generic[Request]):
    """Returns the ID of the chosen user or item; none when it is left by `esc`.

    `Request` is everything that a search depends on; subclasses say what it is and how it is answered.
    """

    HEADING: ClassVar[str] = ""
    PLACEHOLDER: ClassVar[str] = ""
    HINT: ClassVar[str] = ""
    NO_MATCH: ClassVar[str] = ""

    @dataclass
    class Found(Message):
        """Matches of a request, laid out, or why there are none."""

        request: Any
        data: TableData
        description: str
        trouble: str = ""

    def __init__(self) -> None:
        super().__init__()
        self._text = ""
        self._answered: Request | None = None
        """The request that the list answers."""
        self._choose_when_found = False
        """Enter was pressed before the list was complete."""

    def request(self) -> Request:
        """What to search for now; equal for equal searches."""
        raise NotImplementedError

    def search(self, store: Store, request: Request) -> tuple[TableData, str]:
        """Matches, and a line about them; called in a worker thread.

        Raises:
            StoreError: the database cannot be read.
        """
        raise NotImplementedError

    def sorted_by(self) -> tuple[str, bool] | None:
        """Column of the list's order and whether it is descending, for the mark in its title."""
        return None

    def compose(self) -> ComposeResult:
        """Field, list, a line about the list, and the keys."""
        with Vertical(classes="dialog tall"):
            yield Static(self.HEADING, classes="dialog-title")
            yield Field(placeholder=self.PLACEHOLDER)
            yield Table(empty="searching ...")
            yield Static("", id="found-told", markup=False)
            yield Static(self.HINT, classes="muted")

    def on_mount(self) -> None:
        """List everything first."""
        self.start_search()

    @on(Field.Changed)
    def _changed(self, event: Field.Changed) -> None:
        self._text = event.value.strip()
        self.start_search()

    def start_search(self) -> None:
        """Search for the current request; a search that is still running is dropped."""
        self._search(self.request())

    @work(thread=True, exclusive=True, exit_on_error=False, group="search")
    def _search(self, request: Request) -> None:
        try:
            data, description = self.search(navigation_of(self).library.store(), request)
        except StoreError as error:
            self.post_message(self.Found(request, TableData(), "", error_text(error)))
        else:
            self.post_message(self.Found(request, data, description))

    @on(Found)
    def _take(self, message: Found) -> None:
        if message.request != self.request():
            return  # an earlier search was slower than the one that followed it
        self._answered = message.request
        table = self.query_one(Table)
        table.set_empty_text(formatting.line(message.trouble) or self.NO_MATCH)
        table.show(message.data, keep=False, sorted_by=self.sorted_by())
        self.query_one("#found-told", Static).update(formatting.line(message.description))
        if self._choose_when_found:
            self._choose()

    @on(Field.Submitted)
    @on(Table.Chosen)
    def _choose(self) -> None:
        self._choose_when_found = self._answered != self.request()
        key = self.query_one(Table).key
        if isinstance(key, int) and not self._choose_when_found:
            self.dismiss(key)

    def action_to_table(self) -> None:
        """Move the focus to the list."""
        self.query_one(Table).focus()

    def action_to_input(self) -> None:
        """Move the focus to the field."""
        self.query_one(Field).focus()

    def action_leave(self) -> None:
        """Close without a choice."""
        self.dismiss(None)
