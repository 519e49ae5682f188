"""The pane of the Inspector with what the model recommends, and where the target stands in it."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.services.user_inspection import Inspection
from sracl_tui.services.user_recommendations import At, Recommended, recommended
from sracl_tui.tui.navigation import navigation_of
from sracl_tui.tui.rendering import recommended as shown
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.widgets.table import Table
from store.errors import StoreError

TURNS: tuple[At, ...] = ("test", "valid", "prefix")


class RecommendedPane(Vertical):
    """A table of the first items by rank and a line about the target; `ask` fills it from the run's model."""

    @dataclass
    class Answered(Message):
        """The model has answered, or why it cannot."""

        asked: tuple[str, int, int, str | None, At]
        found: Recommended | None
        reason: str = ""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self.at: At = "test"
        self.shown: Recommended | None = None
        self._asked: tuple[str, int, int, str | None, At] | None = None
        self._found: Inspection | None = None
        self._second_run: str | None = None

    def compose(self) -> ComposeResult:
        """The table and the line."""
        yield Table(id="recommended-table", empty="loading the model ...")
        yield Static("", id="recommended-text", markup=False)

    def on_mount(self) -> None:
        """Say after which history."""
        self._show_title()

    def _show_title(self) -> None:
        self.border_title = f"Recommended {shown.WHERE[self.at]}"

    def turn(self) -> None:
        """Show the recommendations after the next kind of history."""
        self.at = TURNS[(TURNS.index(self.at) + 1) % len(TURNS)]
        self._show_title()
        if self._found is not None:
            self.ask(self._found, self._second_run)

    def ask(self, found: Inspection, second_run: str | None) -> None:
        """Ask the model of the run, and of a second one, for a user's items."""
        self._found, self._second_run = found, second_run
        position = found.anchor["position"] if found.anchor else 0
        self._asked = (found.run_id, found.user_id, position, second_run, self.at)
        self._ask(self._asked, found)

    @work(thread=True, exclusive=True, exit_on_error=False, group="recommended")
    def _ask(self, asked: tuple[str, int, int, str | None, At], found: Inspection) -> None:
        app = navigation_of(self)
        try:
            answer = recommended(app.library.store(), app.scoring, found, asked[4], second_run=asked[3])
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Answered(asked, None, error_text(error)))
        else:
            self.post_message(self.Answered(asked, answer))

    @on(Answered)
    def _show(self, message: Answered) -> None:
        if message.asked != self._asked:
            return  # another user or run is shown by now
        message.stop()
        table, text = self.query_one("#recommended-table", Table), self.query_one("#recommended-text", Static)
        second_run = message.asked[3]
        found = self.shown = message.found
        if found is None:
            table.set_empty_text(formatting.line(message.reason.splitlines()[0]))
            table.show(shown.recommended_table(Recommended(self.at, ())), keep=False)
            text.update("")
            return
        table.set_empty_text("")
        table.show(shown.recommended_table(found, beside=bool(second_run)), keep=False)
        if found.target is not None:
            table.move_to(found.target.item_id)
        name = navigation_of(self).name_of(second_run) if second_run else ""
        text.update(shown.recommended_text(found, ("", name) if name else None))
