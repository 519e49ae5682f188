"""The field of every screen and dialog: what is typed takes effect in the order of the keys, however fast they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.widgets import Input

from sracl_tui.tui.textual_internals import own_binding

if TYPE_CHECKING:
    from textual.widget import Widget

    _Widget = Widget
else:
    _Widget = object


class KeysInOrderMixin(_Widget):
    """Put before a widget that takes characters.

    Textual inserts a character at once, but lets a key with a binding, such as `backspace`, go up to the app first: of
    keys that come together it would insert all characters before it deletes any.
    """

    async def _on_key(self, event: events.Key) -> None:
        binding = None if event.is_printable else own_binding(self, event.key)
        if binding is not None and await self.app.run_action(binding.action, self):
            event.stop()
            event.prevent_default()


class Field(KeysInOrderMixin, Input):
    """A field for one line of text."""
