"""What all screens have: header, status line, footer, help from their own bindings, reasons for what is not possible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from sracl_tui import formatting
from sracl_tui.tui.bindings import EVERYWHERE, NamedBindings
from sracl_tui.tui.deferred_paint import PAUSE_SECONDS, DeferredPaintMixin
from sracl_tui.tui.navigation import Navigation, navigation_of
from sracl_tui.tui.widgets.dialogs import HelpDialog
from sracl_tui.tui.widgets.key_bar import KeyBar
from sracl_tui.tui.widgets.link import Link
from sracl_tui.tui.widgets.status_line import StatusLine, StoreStatus

if TYPE_CHECKING:
    from sracl_tui.services.store_session import StoreSession


WIDTHS = ((0, "-narrow"), (100, "-wide"))
HEIGHTS = ((0, "-short"), (30, "-tall"))
"""From how many columns and rows on a screen has which class."""
HEAR_SECONDS = 1.0


class BaseScreen(DeferredPaintMixin, NamedBindings, Screen[None]):
    """A screen of the app."""

    SECTION = "app"
    ALSO_HEARD = EVERYWHERE
    NAME: ClassVar[str] = ""
    ABOUT: ClassVar[str] = ""
    HORIZONTAL_BREAKPOINTS = [*WIDTHS]  # noqa: RUF012 - an instance variable of Screen
    VERTICAL_BREAKPOINTS = [*HEIGHTS]  # noqa: RUF012
    _left = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
    ]

    @classmethod
    def opening(cls, app: Navigation) -> BaseScreen:
        """The screen as its number key opens it.

        Raises:
            Unavailable: there is nothing to show, and why.
        """
        return cls()

    @property
    def sracl(self) -> Navigation:
        """The app."""
        return navigation_of(self)

    @property
    def library(self) -> StoreSession:
        """The store, for worker threads."""
        return self.sracl.library

    def compose(self) -> ComposeResult:
        """Title, body, status, keys."""
        self._fit()
        with Horizontal(id="head"):
            yield Link("‹", "screen.back", id="head-back")
            yield Static(self.NAME, id="title", markup=False)
            yield Link("≡", "app.command_palette", id="head-palette")
        yield from self.body()
        yield StatusLine()
        yield KeyBar(show_command_palette=False)

    async def drain_messages(self) -> None:
        """Handle what waits, then take no message of ours any more: the widgets that it is for are about to go."""
        heard = asyncio.Event()
        self._left = self.call_later(heard.set)
        if self._left:
            with suppress(TimeoutError):
                await asyncio.wait_for(heard.wait(), HEAR_SECONDS)

    def after_refresh(self, do: Callable[[], object]) -> None:
        """Do something when the screen is drawn, unless it is left by then."""
        self.call_after_refresh(lambda: None if self._left else do())

    def check_message_enabled(self, message: Message) -> bool:
        """Whether a message is taken."""
        ours = isinstance(message, events.Timer) or type(message).__module__.startswith("sracl_tui.")
        return not (self._left and ours) and super().check_message_enabled(message)

    def _fit(self) -> None:
        """The classes of this size from the start: Textual would lay everything out once without them."""
        width, height = self.app.size
        for breaks, length in ((WIDTHS, width), (HEIGHTS, height)):
            self.add_class(max(one for one in breaks if one[0] <= length)[1], update=False)

    @on(events.ScreenResume)
    @on(events.Resize)
    async def _let_others(self) -> None:
        """Let others have the event loop between the steps in which Textual draws a screen."""
        await asyncio.sleep(PAUSE_SECONDS)

    def body(self) -> ComposeResult:
        """What lies between title and status line."""
        yield from ()

    def on_mount(self) -> None:
        """Show what is known of the home."""
        self.tell(self.sracl.facts)

    def set_title(self, text: str) -> None:
        """Set the title line."""
        self.query_one("#title", Static).update(formatting.line(f"{self.NAME}  {text}"))

    def tell(self, facts: StoreStatus) -> None:
        """Show facts in the status line."""
        for found in self.query(StatusLine):
            found.tell(facts)

    def runs_read(self) -> None:
        """The app has read the runs anew; `self.sracl.runs` has them."""

    def disabled_reason(self, action: str) -> str:
        """Why an action is not possible now; empty where it is."""
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Dim what is not possible."""
        return None if self.is_mounted and self.disabled_reason(action) else True

    def on_key(self, event: events.Key) -> None:
        """A key whose action is not possible says why."""
        active = self.active_bindings.get(event.key)
        if active is not None and not active.enabled and active.node is self:
            reason = self.disabled_reason(active.binding.action.partition("(")[0])
            if reason:
                self.notify(reason, title=f"{active.binding.description}: not now", severity="warning", markup=False)
                event.stop()

    def action_back(self) -> None:
        """One level back."""
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()

    def action_help(self) -> None:
        """The keys of this screen."""
        found: dict[str, tuple[str, str, str]] = {}
        for node, binding, enabled, _ in self.active_bindings.values():
            if binding.description and not binding.system:
                keys = self.app.get_key_display(binding)
                name = f"{binding.action}/{binding.description}"
                if name in found:
                    keys = f"{found[name][0]} {keys}"
                why = "" if enabled or node is not self else self.disabled_reason(binding.action.partition("(")[0])
                found[name] = (keys, binding.description, why)
        self.app.push_screen(HelpDialog(f"{self.NAME}: keys", self.ABOUT, list(found.values())))

    def copy(self, text: str, what: str) -> None:
        """Put a text on the clipboard and say so."""
        self.app.copy_to_clipboard(text)
        self.notify(f"{what} copied", markup=False)
