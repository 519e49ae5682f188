"""Everything here leans on private parts of Textual, as they are in version 8.2.8; no other module does.

`tests/tui/test_textual_internals.py` fails where a version of Textual lacks one of these parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.keys import _character_to_key
from textual.widgets._footer import FooterKey as FooterKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType
    from textual.app import App
    from textual.binding import Binding
    from textual.dom import DOMNode
    from textual.geometry import Size
    from textual.message_pump import MessagePump
    from textual.notifications import Notification
    from textual.screen import Screen
    from textual.strip import Strip

    _App = App[None]
    _Screen = Screen[Any]
else:
    _App = _Screen = object

TEXTUAL_VERSION = "8.2.8"


def key_name(character: str) -> str:
    """Textual's name of the key that types a character: `slash` for `/`."""
    return _character_to_key(character)


def own_binding(node: DOMNode, key: str) -> Binding | None:
    """What a key does by the bindings of the node itself; none where it has none for it."""
    return next((one for one in node._bindings.key_to_bindings.get(key, ()) if not one.priority), None)


def keys_of(node: DOMNode, action: str) -> set[str]:
    """The keys of an action of a node, also those of a person's own."""
    return {key for key, binding in node._bindings if binding.action == action}


def drop_notifications(app: App[Any], drop: Callable[[Notification], bool]) -> None:
    """Take away those of the notifications on the screen for which `drop` is true."""
    dropped = [one for one in app._notifications if drop(one)]
    for one in dropped:
        del app._notifications[one]
    if dropped:
        app._refresh_notifications()


def shown_notifications(app: App[Any]) -> list[Notification]:
    """The notifications on the screen, oldest first."""
    return list(app._notifications)


def resize_is_pending(app: App[Any]) -> bool:
    """Whether the app knows a new size of the terminal that it has not passed on to its screens (it waits for the last of several)."""
    return app._resize_event is not None


def waits_for_messages(node: MessagePump) -> bool:
    """Whether a widget, a screen or the app has handled all its messages, what followed on the last one included."""
    queue = node._message_queue
    return not queue.values and bool(queue.ready_event._waiters)


def pending_parts(app: App[Any]) -> list[str]:
    """What an app has not done yet that no queue of messages shows, as words for a person."""
    animator = app.animator
    parts = ["a new size of the terminal"] if resize_is_pending(app) else []
    parts += [f"animation {key}" for key in animator._animations]
    parts += [f"scheduled animation {key}" for key in animator._scheduled]
    for screen in app.screen_stack:
        waiting = [
            name for name in ("_layout_required", "_repaint_required", "_dirty_widgets") if getattr(screen, name)
        ]
        parts += (
            [f"{len(screen._callbacks)} calls after a refresh of {screen} ({', '.join(waiting)})"]
            if screen._callbacks
            else []
        )
    return parts


def screen_strips(screen: Screen[Any]) -> list[Strip]:
    """Each line of a screen as it is painted."""
    return list(screen._compositor.render_strips())


def screen_lines(screen: Screen[Any]) -> list[str]:
    """The text of each line of a screen as it is painted, without colors."""
    return [strip.text for strip in screen_strips(screen)]


class SeparatePaintMixin(_Screen):
    """Tells layout and painting of a screen apart; Textual paints at the end of each layout."""

    def layout_begins(self) -> None:
        """Called before a layout."""

    def layout_ends(self) -> None:
        """Called after a layout and the painting that belongs to it, also after an error."""

    def may_paint(self) -> bool:
        """Whether to paint now; a subclass that declines calls `paint` later."""
        return True

    def paint(self) -> None:
        """Paint everything that has changed, also since the last layout."""
        self._compositor.update_widgets(self._dirty_widgets)
        super()._compositor_refresh()

    def _refresh_layout(self, size: Size | None = None, scroll: bool = False) -> None:
        self.layout_begins()
        try:
            super()._refresh_layout(size, scroll)
        finally:
            self.layout_ends()

    def _compositor_refresh(self) -> None:
        if self.may_paint():
            super()._compositor_refresh()


class AppInternalsMixin(_App):
    """Put before `App` among the bases."""

    async def screen_leaves(self, screen: Screen[Any]) -> None:
        """Called before Textual removes a screen or puts another one above it."""

    def error_message(self) -> RenderableType | None:
        """What to print after an error that no handler caught; none for Textual's own traceback."""

    def write_to_terminal(self, sequence: str) -> None:
        """Write an escape sequence; does nothing in an app without a terminal."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(sequence)
            self._driver.flush()

    async def _replace_screen(self, screen: Screen[Any]) -> Screen[Any]:
        await self.screen_leaves(screen)
        return await super()._replace_screen(screen)

    def _fatal_error(self) -> None:
        message = self.error_message()
        if message is None:
            super()._fatal_error()
            return
        self.bell()
        self._exit_renderables.append(message)
        self._close_messages_no_wait()
