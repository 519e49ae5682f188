"""The line of keys at the foot of a screen."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Footer

from sracl_tui.tui.textual_internals import FooterKey


class KeyBar(Footer):
    """Textual's footer, rebuilt only if it would look different: that takes 40 ms."""

    _shown: object = None

    def compose(self) -> ComposeResult:
        """The keys, spaced as the footer is from the start: each would be styled anew twice to learn it by its binding."""
        for part in super().compose():
            if isinstance(part, FooterKey):
                part.set_reactive(FooterKey.compact, self.compact)
            yield part

    def bindings_changed(self, screen: Screen[object]) -> None:
        """Rebuild the footer only if it would look different."""
        if not (screen.app.app_focus and self.is_attached and screen is self.screen):
            super().bindings_changed(screen)
            return
        shown = [
            (binding.key, self.app.get_key_display(binding), binding.description, binding.action, enabled, tooltip)
            for _, binding, enabled, tooltip in screen.active_bindings.values()
            if binding.show
        ]
        if shown != self._shown:
            self._shown = shown
            super().bindings_changed(screen)
