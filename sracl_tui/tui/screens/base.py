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
from sracl_tui.tui.help import help_of
from sracl_tui.tui.navigation import Navigation, navigation_of
from sracl_tui.tui.screens import KEYS, page_name, page_title
from sracl_tui.tui.widgets.key_bar import KeyBar
from sracl_tui.tui.widgets.link import Link
from sracl_tui.tui.widgets.screen_bar import ScreenBar
from sracl_tui.tui.widgets.status_line import StatusLine, StoreStatus

if TYPE_CHECKING:
    from sracl_tui.services.store_session import StoreSession


WIDTHS = ((0, "-narrow"), (100, "-wide"))
HEIGHTS = ((0, "-short"), (30, "-tall"))
"""From how many columns and rows on a screen has which class."""
HEAR_SECONDS = 1.0
PRODUCT = "sracl"


class BaseScreen(DeferredPaintMixin, NamedBindings, Screen[None]):
    """A screen with title, body, status line and key bar; disabled actions have a reason."""

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
        Binding("f1", "help", "Help", show=False, id="app.help"),
    ]

    @classmethod
    def opening(cls, app: Navigation) -> BaseScreen:
        """The screen that the number key opens.

        Raises:
            Unavailable: there is nothing to show; the message says why.
        """
        return cls()

    @property
    def sracl(self) -> Navigation:
        """The app, as far as screens may use it."""
        return navigation_of(self)

    @property
    def library(self) -> StoreSession:
        """The store, to be read in worker threads."""
        return self.sracl.library

    def compose(self) -> ComposeResult:
        """Title bar, body, status line and key bar."""
        self._fit()
        yield ScreenBar({name: page_title(name) for name in KEYS}, KEYS, current=page_name(self))
        with Horizontal(id="head"):
            yield Static(PRODUCT, id="head-product", markup=False)
            yield Link("‹", "screen.back", id="head-back")
            yield Static(self.NAME, id="title", markup=False)
            yield Link("F8 Screens", "app.go_to", id="head-screens")
            yield Link("≡", "app.command_palette", id="head-palette")
        yield from self.body()
        yield StatusLine()
        yield KeyBar(show_command_palette=False)

    async def drain_messages(self) -> None:
        """Handle the messages that wait, then ignore later ones of the program: the widgets are about to be removed."""
        heard = asyncio.Event()
        self._left = self.call_later(heard.set)
        if self._left:
            with suppress(TimeoutError):
                await asyncio.wait_for(heard.wait(), HEAR_SECONDS)

    def after_refresh(self, do: Callable[[], object]) -> None:
        """Call a function after the next refresh, unless the screen has been left by then."""
        self.call_after_refresh(lambda: None if self._left else do())

    def check_message_enabled(self, message: Message) -> bool:
        """Whether to handle a message; after `drain_messages` none of the program's own."""
        ours = isinstance(message, events.Timer) or type(message).__module__.startswith("sracl_tui.")
        return not (self._left and ours) and super().check_message_enabled(message)

    def _fit(self) -> None:
        """Set the size classes before the first layout: Textual would lay everything out once without them."""
        width, height = self.app.size
        for breaks, length in ((WIDTHS, width), (HEIGHTS, height)):
            self.add_class(max(one for one in breaks if one[0] <= length)[1], update=False)

    @on(events.ScreenResume)
    @on(events.Resize)
    async def _let_others(self) -> None:
        """Give the event loop to other tasks between the steps in which Textual draws a screen."""
        await asyncio.sleep(PAUSE_SECONDS)

    def on_screen_resume(self) -> None:
        """Leave behind what was notified on the screen before."""
        self.sracl.screen_has_changed()

    def body(self) -> ComposeResult:
        """The widgets between title bar and status line."""
        yield from ()

    def on_mount(self) -> None:
        """Show the status of the store."""
        self.show_status(self.sracl.status)

    def set_title(self, text: str) -> None:
        """Show the screen's name and a text in the title bar."""
        self.query_one("#title", Static).update(formatting.line(f"{self.NAME}  {text}"), layout=False)

    def show_status(self, status: StoreStatus) -> None:
        """Show the status of the store in the status line."""
        for found in self.query(StatusLine):
            found.show_status(status)

    def show_command(self, command: str) -> None:
        """Show the command of what was just done in the status line; empty for none."""
        for found in self.query(StatusLine):
            found.show_command(command)

    def runs_read(self) -> None:
        """Called when the app has new rows in `self.sracl.runs`."""

    def edited(self) -> None:
        """Called when edits were taken back."""

    def disabled_reason(self, action: str) -> str:
        """Why an action is not possible now; empty if it is."""
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable an action that has a `disabled_reason`."""
        return None if self.is_mounted and self.disabled_reason(action) else True

    def on_key(self, event: events.Key) -> None:
        """Notify why the action of a pressed key is disabled."""
        active = self.active_bindings.get(event.key)
        if active is not None and not active.enabled and active.node is self:
            reason = self.disabled_reason(active.binding.action.partition("(")[0])
            if reason:
                self.notify(reason, title=f"{active.binding.description}: not now", severity="warning", markup=False)
                event.stop()

    def action_back(self) -> None:
        """Go back one screen."""
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()

    def action_help(self) -> None:
        """Show the keys of this screen, with the reason why one is disabled."""
        self.app.push_screen(help_of(self))

    def copy(self, text: str, what: str) -> None:
        """Copy a text to the clipboard; `what` names it in the notification."""
        self.app.copy_to_clipboard(text)
        self.notify(f"{what} copied", markup=False)
