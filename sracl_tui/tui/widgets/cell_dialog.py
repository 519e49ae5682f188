"""One value of a result, whole."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from sracl_tui import formatting
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.rendering.query_result import CellText

BESIDE = 11
"""Lines of the dialog beside the value."""


class CellDialog(DeferredPaintMixin, NamedBindings, ModalScreen[bool]):
    """Shows a value; returns whether its whole row is wanted."""

    SECTION = "cell"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "Copy the value"),
        Binding("v", "row", "The whole row"),
        Binding("escape,q,enter", "leave", "Close"),
    ]

    def __init__(self, cell: CellText) -> None:
        super().__init__()
        self.cell = cell

    def compose(self) -> ComposeResult:
        """Column and row, type and length, the value."""
        with Vertical(classes="dialog wide"):
            yield Static(formatting.line(self.cell.title), classes="dialog-title", markup=False)
            yield Static(self.cell.facts, id="cell-facts", classes="muted", markup=False)
            with VerticalScroll(id="cell-scroll") as scroll:
                scroll.can_focus = True
                look = "muted" if self.cell.copied is None else ""
                yield Static(self.cell.shown, id="cell-value", classes=look, markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Copy (y)", id="copy", compact=True)
                yield Button("Whole row (v)", id="row", compact=True)
                yield Button("Close (esc)", id="leave", compact=True)

    def on_mount(self) -> None:
        """Focus the value, so that the keys scroll it."""
        self.on_resize()
        self.query_one("#cell-scroll").focus()

    def on_resize(self) -> None:
        """Leave room for what is beside the value."""
        self.query_one("#cell-scroll").styles.max_height = max(3, self.size.height * 9 // 10 - BESIDE)

    def action_copy(self) -> None:
        """Copy the whole value."""
        if self.cell.copied is None:
            self.notify("NULL is no value: there is nothing to copy.", severity="warning", markup=False)
        else:
            self.app.copy_to_clipboard(self.cell.copied)
            self.notify("The value copied", markup=False)

    def action_row(self) -> None:
        """Show the whole row instead."""
        self.dismiss(True)

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(False)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        {"copy": self.action_copy, "row": self.action_row}.get(event.button.id or "", self.action_leave)()
