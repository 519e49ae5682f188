"""A neighbor of the user that is inspected: its own items and summary, the shared items marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.services.user_inspection import Inspection, inspect_user
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.navigation import navigation_of
from sracl_tui.tui.rendering import user as shown
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.widgets.table import Table
from store.errors import StoreError


class NeighborScreen(DeferredPaintMixin, NamedBindings, ModalScreen[int | None]):
    """Shows a neighbor of a user; returns its user number if the user goes there."""

    SECTION = "neighbor"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back"),
        Binding("o", "follow", "Inspect this user"),
    ]

    @dataclass
    class Read(Message):
        """The neighbor was read, or why not."""

        found: Inspection | None
        trouble: str = ""

    def __init__(self, run_id: str, home: Inspection, neighbor: dict[str, Any]) -> None:
        super().__init__()
        self._run_id, self._from, self._neighbor = run_id, home, neighbor
        self.found: Inspection | None = None

    def compose(self) -> ComposeResult:
        """Title with similarity and weight, items, and summary."""
        n = self._neighbor
        weight = "" if n["weight"] is None else f", weight {n['weight']:.4f} (#{n['weight_rank']})"
        with Vertical(classes="dialog tall"):
            yield Static(
                f"User {n['neighbor_user_id']}, neighbor of user {self._from.user_id}: "
                f"similarity {n['similarity']:.3f} (#{n['cosine_rank']}){weight}",
                classes="dialog-title",
                markup=False,
            )
            yield Table(empty="reading ...")
            with VerticalScroll(id="neighbor-summary", can_focus=False):
                yield Static("", id="neighbor-summary-text", markup=False)
            yield Static("", id="neighbor-hint", classes="muted")

    def on_mount(self) -> None:
        """Read the neighbor."""
        self.query_one(Table).focus()
        self._read()

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _read(self) -> None:
        who, position = f"#{self._neighbor['neighbor_user_id']}", self._neighbor["neighbor_position"]
        try:
            store = navigation_of(self).library.store()
            self.post_message(self.Read(inspect_user(store, self._run_id, who, position=position)))
        except (StoreError, EngineError) as error:
            self.post_message(self.Read(None, error_text(error)))

    @on(Read)
    def _show(self, message: Read) -> None:
        if message.found is None:
            self.query_one(Table).set_empty_text(formatting.line(message.trouble))
            return
        self.found = message.found
        own = {item["item_id"] for item in self._from.items}
        shared = {item["item_id"] for item in message.found.items} & own
        table = self.query_one(Table)
        table.show(shown.items_table(message.found, shared=shared), keep=False)
        table.move_to(self._neighbor["neighbor_position"])
        self.query_one("#neighbor-summary-text", Static).update(shown.summary_text(message.found.summary))
        self.query_one("#neighbor-hint", Static).update(
            f"● shared with user {self._from.user_id}: {len(shared)} items   → what follows the prefix   "
            "[@click=screen.follow]o: inspect this user[/]   [@click=screen.leave]esc: back[/]"
        )

    def action_follow(self) -> None:
        """Close, and inspect the neighbor."""
        self.dismiss(self._neighbor["neighbor_user_id"])

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
