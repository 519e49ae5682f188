"""A substitute of the item that is inspected: its own summary, with its origin, and the text that it was made from."""

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

from sracl_tui import formatting
from sracl_tui.services.item_inspection import ItemInspection
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.navigation import navigation_of
from sracl_tui.tui.rendering import item as shown
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.rendering.user import summary_text
from store.errors import StoreError
from store.queries import users


class SubstituteScreen(DeferredPaintMixin, NamedBindings, ModalScreen[int | None]):
    """Shows a substitute; returns its item ID if the user goes there."""

    SECTION = "substitute"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back"),
        Binding("o", "follow", "Go to this item"),
    ]

    @dataclass
    class Read(Message):
        """The summary of the substitute was read."""

        summary: dict[str, Any] | None
        trouble: str = ""

    def __init__(self, found: ItemInspection, substitute: dict[str, Any]) -> None:
        super().__init__()
        self._found, self._one = found, substitute

    def compose(self) -> ComposeResult:
        """Title, similarity and weight, the summary, and the text it was made from."""
        one, item = self._one, self._found.item
        weight = "" if one["weight"] is None else f", weight {one['weight']:.4f} (#{one['weight_rank']})"
        with Vertical(classes="dialog tall"):
            yield Static(formatting.line(shown.title_of(one, one["neighbor_id"])), classes="dialog-title", markup=False)
            yield Static(
                formatting.line(
                    f"substitute of {shown.title_of(item, item['item_id'])}: similarity {one['similarity']:.3f} "
                    f"(#{one['cosine_rank']}){weight}; {one['users']:,} users have it, {one['shared']:,} have both"
                ),
                classes="muted",
                markup=False,
            )
            with VerticalScroll() as scroll:
                scroll.can_focus = True
                yield Static("reading ...", id="substitute-summary", markup=False)
            yield Static(
                "[@click=screen.follow]o: go to this item[/]   [@click=screen.leave]esc: back[/]",
                id="substitute-hint",
                classes="muted",
            )

    def on_mount(self) -> None:
        """Read the summary."""
        self._read()

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _read(self) -> None:
        try:
            store = navigation_of(self).library.store()
            self.post_message(self.Read(users.summary(store, self._found.run["item_set_id"], self._one["neighbor_id"])))
        except StoreError as error:
            self.post_message(self.Read(None, error_text(error)))

    @on(Read)
    def _show(self, message: Read) -> None:
        text = summary_text(message.summary, of="item")
        if message.trouble:
            text.append(f"\n{formatting.text(message.trouble)}")
        text.append("\n\nKnown of the item\n", "bold").append(formatting.text(self._one["text"]) or "nothing")
        self.query_one("#substitute-summary", Static).update(text)

    def action_follow(self) -> None:
        """Close, and show the substitute as an item."""
        self.dismiss(self._one["neighbor_id"])

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
