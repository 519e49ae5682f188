"""The Textual app: its screens, bindings and style. It trains nothing; it reads what runs write."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from sracl_tui.screens.runs import RunsScreen
from store.home import Home


class SraclApp(App[None]):
    """The workbench."""

    TITLE = "sracl"
    CSS_PATH = "styles/app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True),
    ]

    def __init__(self, home: Home) -> None:
        super().__init__()
        self.home = home

    def on_mount(self) -> None:
        """Open the first screen."""
        self.push_screen(RunsScreen(self.home))
