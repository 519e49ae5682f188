"""A screen of panes: beside each other where it is wide, as tabs where it is narrow."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widgets import Tab, Tabs

from sracl_tui.tui.screens.base import BaseScreen


class PanesPage(BaseScreen):
    """A screen whose panes have the ids in PANES; focusing a pane focuses its widget."""

    PANES: ClassVar[dict[str, str]] = {}
    """Id of a pane, and of the widget in it that takes focus."""
    FIRST_PANE: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "pane(1)", "Next pane", show=False, priority=True),
        Binding("shift+tab", "pane(-1)", "Previous pane", show=False, priority=True),
    ]

    def pane_tabs(self) -> Tabs:
        """One tab per pane, for narrow terminals."""
        return Tabs(*(Tab(name.title(), id=f"tab-{name}") for name in self.PANES), active=f"tab-{self.FIRST_PANE}")

    def on_mount(self) -> None:
        """Show the main pane."""
        self.query_one(Tabs).can_focus = False
        self.show_pane(self.FIRST_PANE)

    def action_pane(self, by: int) -> None:
        """Show the next pane."""
        names = list(self.PANES)
        self.show_pane(names[(names.index(self._pane) + by) % len(names)])

    def show_pane(self, name: str) -> None:
        """Focus a pane; in a narrow terminal show it in place of the others."""
        self._pane = name
        for pane in self.PANES:
            self.query_one(f"#{pane}").set_class(pane == name, "shown")
        with self.prevent(Tabs.TabActivated):  # else tabs and panes would set each other without end
            self.query_one(Tabs).active = f"tab-{name}"
        self.call_after_refresh(self.query_one(f"#{self.PANES[name]}").focus)

    @on(Tabs.TabActivated)
    def _tab(self, event: Tabs.TabActivated) -> None:
        name = (event.tab.id or "").removeprefix("tab-")
        if name in self.PANES and name != self._pane and event.tabs.active == event.tab.id:
            self.show_pane(name)
