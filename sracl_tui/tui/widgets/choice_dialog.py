"""Choose one row of a list, with a field that narrows it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from sracl_tui import formatting
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.widgets.field import Field
from sracl_tui.tui.widgets.table import Column, Row, Table, lay_out


class ChoiceDialog(DeferredPaintMixin, NamedBindings, ModalScreen[Hashable | None]):
    """Returns the key of the chosen row; none if it is left by `esc`."""

    SECTION = "choose"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
        Binding("down", "to_table", "To the list", show=False),
    ]

    def __init__(
        self,
        title: str,
        columns: Sequence[Column],
        rows: Sequence[Row],
        *,
        hint: str = "",
        current: Hashable | None = None,
    ) -> None:
        """Args: current: key of the row on which the cursor begins."""
        super().__init__()
        self._current = current
        self._title, self._columns, self._rows = title, columns, rows
        self._hint = hint or "enter chooses   down: to the list   esc: back"

    def compose(self) -> ComposeResult:
        """Title, filter, table and hint."""
        with Vertical(classes="dialog tall"):
            yield Static(formatting.line(self._title), classes="dialog-title", markup=False)
            yield Field(placeholder="words to narrow the list")
            yield Table(empty="Nothing fits.")
            yield Static(self._hint, classes="muted", markup=False)

    def on_mount(self) -> None:
        """List all rows."""
        self._draw("")
        if self._current is not None:
            self.query_one(Table).move_to(self._current)

    @on(Field.Changed)
    def _narrow(self, event: Field.Changed) -> None:
        self._draw(event.value)

    def _draw(self, text: str) -> None:
        wanted = text.lower().split()
        rows = [row for row in self._rows if all(word in " ".join(row.cells).lower() for word in wanted)]
        self.query_one(Table).show(lay_out(self._columns, rows), keep=False)

    @on(Field.Submitted)
    @on(Table.Chosen)
    def _chosen(self) -> None:
        key = self.query_one(Table).key
        if key is not None:
            self.dismiss(key)

    def action_to_table(self) -> None:
        """Move the focus to the table."""
        self.query_one(Table).focus()

    def action_leave(self) -> None:
        """Close without a choice."""
        self.dismiss(None)
