"""Find a user of a run: by number, own id, title of an item, or words of the summary; sorted by any measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from sracl_tui.inspector import in_order
from sracl_tui.widgets import words
from sracl_tui.widgets.table import Column, Row, Table, lay_out
from store import inspection
from store.errors import StoreError

COLUMNS = (
    Column("number", "user", right=True),
    Column("raw", "id", most=24),
    Column("length", "items", right=True),
    Column("rank", "rank", right=True),
    Column("spearman", "Spearman", right=True),
    Column("entropy", "entropy", right=True),
    Column("found", "found", flex=True, least=16),
)
SORTS = {
    "number": ("number",),
    "rank": ("rank", "missed"),
    "spearman": ("disagreement",),
    "entropy": ("peaked", "flat"),
}


class FindUser(ModalScreen[int | None]):
    """Gives the number of the user that was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
        Binding("down", "to_table", "To the list", show=False),
        Binding("s", "sort", "Sort"),
        Binding("slash", "to_input", "Search", show=False),
    ]

    @dataclass
    class Found(Message):
        """Users that fit."""

        rows: list[dict[str, Any]] | None
        trouble: str = ""

    def __init__(self, run: dict[str, Any], users: list[dict[str, Any]], order: str) -> None:
        super().__init__()
        self._run, self._users = run, users
        self._order = order
        self._found: dict[int, str] | None = None

    def compose(self) -> ComposeResult:
        """Input, list, hint."""
        with Vertical(classes="dialog tall"):
            yield Static("Find a user", classes="dialog-title")
            yield Input(placeholder="number, id, title of an item, or words of the summary")
            yield Table(empty="No user fits.")
            yield Static("enter opens   down: to the list   s or a click on a title: sort   esc: back", classes="muted")

    def on_mount(self) -> None:
        """All users first."""
        self._draw()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._search(event.value.strip())

    @work(thread=True, exclusive=True, exit_on_error=False, group="search")
    def _search(self, text: str) -> None:
        from sracl_tui.app import SraclApp

        if not text:
            self.post_message(self.Found(None))
            return
        try:
            store = cast(SraclApp, self.app).library.store()
            self.post_message(self.Found(inspection.search_users(store, self._run, text)))
        except StoreError as error:
            self.post_message(self.Found([], str(error)))

    @on(Found)
    def _take(self, message: Found) -> None:
        self._found = None if message.rows is None else {row["user_id"]: row["found"] for row in message.rows}
        self.query_one(Table).say(words.line(message.trouble) or "No user fits.")
        self._draw()

    def _draw(self) -> None:
        users = self._users
        if self._found is not None:
            known = {user["user_id"]: user for user in users}
            users = [known[number] for number in self._found if number in known]
        if self._found is None or self._order != "number":
            users = in_order(users, self._order)
        rows = [
            Row(
                user["user_id"],
                (
                    str(user["user_id"]),
                    words.line(user["raw_id"]),
                    str(user["length"] or "-"),
                    "-" if user["rank"] is None else f"{user['rank']:,}",
                    words.signed(user["spearman"], 2),
                    words.decimal(user["entropy"], 3),
                    words.line((self._found or {}).get(user["user_id"], "")),
                ),
                ("strong", "dim", "", "", "", "", "dim"),
            )
            for user in users
        ]
        column = next(key for key, orders in SORTS.items() if self._order in orders)
        self.query_one(Table).show(
            lay_out(COLUMNS, rows), keep=False, sorted_by=(column, self._order in ("flat", "missed"))
        )

    @on(Input.Submitted)
    @on(Table.Chosen)
    def _choose(self) -> None:
        key = self.query_one(Table).key
        if isinstance(key, int):
            self.dismiss(key)

    @on(Table.HeaderClicked)
    def _sort_by(self, message: Table.HeaderClicked) -> None:
        orders = SORTS.get(message.key, ())
        if orders:
            at = orders.index(self._order) + 1 if self._order in orders else 0
            self._order = orders[at % len(orders)]
            self._draw()

    def action_sort(self) -> None:
        """The next order."""
        names = [order for orders in SORTS.values() for order in orders]
        self._order = names[(names.index(self._order) + 1) % len(names)]
        self._draw()

    def action_to_table(self) -> None:
        """From the input to the list."""
        self.query_one(Table).focus()

    def action_to_input(self) -> None:
        """Back to the input."""
        self.query_one(Input).focus()

    def action_leave(self) -> None:
        """Nobody."""
        self.dismiss(None)
