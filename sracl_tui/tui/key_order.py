"""Keys that come together: each is handed on when the app has handled the one before.

A dialog that a key opens takes a few turns of the event loop to be there, and what is typed after that key is meant for
the dialog, as `enter 4 0 enter` on a setting of the launch form.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from textual import events

from sracl_tui.tui.quiet import wait_until_key_is_handled
from sracl_tui.tui.textual_internals import own_binding
from sracl_tui.tui.widgets.field import KeysInOrderMixin

if TYPE_CHECKING:
    from textual.app import App

    _App = App[None]
else:
    _App = object

CLOSING = ("enter", "escape", "tab", "shift+tab", "up", "down")
"""Keys after which another widget may have the focus."""
HANDLE_SECONDS = 2.0
"""How long a key waits for the one before; a screen that takes longer gets it all the same."""


class KeyOrderMixin(_App):
    """Put before `App` among the bases."""

    _unhandled = False
    """Whether a key was handed on and nobody has waited for its effects since."""
    _released: events.Key | None = None
    """A key that had waited and is on its way again."""
    _typing: asyncio.Task[None] | None = None

    def __init__(self) -> None:
        super().__init__()
        self._typed: deque[events.Key] = deque()
        self._passed = asyncio.Event()
        """Set when the released key has been handed on."""

    @property
    def keys_wait(self) -> bool:
        """Whether keys wait for the one before."""
        return bool(self._typed) or self._released is not None

    def keys_are_handled(self) -> None:
        """Called by who has waited for the effects of all keys."""
        self._unhandled = self.keys_wait

    async def on_event(self, event: events.Event) -> None:
        """Hold back a key while the one before is not handled."""
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
            return
        if event is not self._released and (self._unhandled or self.keys_wait):
            self._typed.append(event)
            if self._typing is None or self._typing.done():
                self._typing = asyncio.create_task(self._release())
            return
        self._unhandled = not self._is_text(event)
        await super().on_event(event)
        if event is self._released:
            self._released = None
            self._passed.set()

    def _is_text(self, event: events.Key) -> bool:
        """Whether a key only changes the text of the field that has the focus, which keeps the order itself."""
        field = self.focused
        if not isinstance(field, KeysInOrderMixin) or event.key in CLOSING:
            return False
        return event.is_printable or own_binding(field, event.key) is not None

    async def _release(self) -> None:
        """Post the keys again that wait, one by one."""
        while self._typed and self.is_running:
            if self._unhandled:
                with suppress(TimeoutError):
                    await wait_until_key_is_handled(self, seconds=HANDLE_SECONDS)
            self._released = self._typed.popleft()
            self._passed.clear()
            if not self.post_message(self._released):
                self._released = None
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._passed.wait(), HANDLE_SECONDS)
