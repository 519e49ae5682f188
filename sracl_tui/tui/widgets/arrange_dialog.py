"""Choose which of some entries are shown, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from sracl_tui import formatting
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.widgets.table import Column, Row, Table, lay_out

_COLUMNS = (Column("shown", "shown"), Column("title", "name", flex=True, least=16))


class ArrangeDialog(DeferredPaintMixin, NamedBindings, ModalScreen[list[str] | None]):
    """Returns the keys of the entries to show, in their order; none if it is left by `esc`."""

    SECTION = "arrange"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
        Binding("space", "switch", "Show or hide"),
        Binding("K", "move(-1)", "Earlier"),
        Binding("J", "move(1)", "Later"),
        Binding("z", "reset", "Default"),
    ]

    def __init__(
        self,
        title: str,
        entries: Mapping[str, str],
        shown: Sequence[str],
        *,
        default: Sequence[str],
        always: Collection[str] = (),
    ) -> None:
        """Args:
        entries: title by key.
        always: keys of entries that cannot be hidden.
        """
        super().__init__()
        self._title, self._entries, self._default, self._always = title, entries, list(default), always
        self._begin_with(shown)

    def _begin_with(self, shown: Sequence[str]) -> None:
        self._shown = {key for key in shown if key in self._entries} | set(self._always)
        known = [key for key in dict.fromkeys(shown) if key in self._entries]
        self._order = [*known, *(key for key in self._entries if key not in known)]

    def compose(self) -> ComposeResult:
        """Title, list, buttons."""
        with Vertical(classes="dialog tall"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Table()
            yield Static("space shows or hides, K J move, z default, enter keeps, esc cancels", classes="muted")
            with Horizontal(classes="buttons"):
                for name, text in (("toggle", "Show/hide"), ("up", "Up"), ("down", "Down"), ("reset", "Default")):
                    yield Button(text, id=name, compact=True)
                yield Button("Keep", id="keep", variant="primary", compact=True)
                yield Button("Cancel", id="leave", compact=True)

    def on_mount(self) -> None:
        """List the entries."""
        for button in self.query(Button):
            button.active_effect_duration = 0  # else a click within that time after another one does nothing
        self._draw()
        self.query_one(Table).focus()

    def _draw(self) -> None:
        rows = [
            Row(key, ("✓" if key in self._shown else "-", formatting.line(self._entries[key])), ("accent", ""))
            for key in self._order
        ]
        self.query_one(Table).show(lay_out(_COLUMNS, rows))

    @on(Button.Pressed, "#toggle")
    def action_switch(self) -> None:
        """Show or hide the entry under the cursor."""
        key = self.query_one(Table).key
        if key in self._always:
            self.notify(f"{self._entries[str(key)]} is always shown.", severity="warning", markup=False)
        elif isinstance(key, str):
            self._shown ^= {key}
            self._draw()

    def action_move(self, by: int) -> None:
        """Move the entry under the cursor up or down."""
        key = self.query_one(Table).key
        if isinstance(key, str):
            place = self._order.index(key)
            to = min(max(0, place + by), len(self._order) - 1)
            self._order.insert(to, self._order.pop(place))
            self._draw()

    @on(Button.Pressed, "#up")
    def _up(self) -> None:
        self.action_move(-1)

    @on(Button.Pressed, "#down")
    def _down(self) -> None:
        self.action_move(1)

    @on(Button.Pressed, "#reset")
    def action_reset(self) -> None:
        """Show what is shown by default."""
        self._begin_with(self._default)
        self._draw()

    @on(Button.Pressed, "#keep")
    def _keep(self) -> None:
        self.dismiss([key for key in self._order if key in self._shown])

    @on(Table.Chosen)
    def _chosen(self) -> None:
        self._keep()

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        """Change nothing."""
        self.dismiss(None)
