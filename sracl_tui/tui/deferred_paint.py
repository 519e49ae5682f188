"""Screens are laid out in one turn of the event loop and painted in another: together they would hold it for too long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.geometry import Size
    from textual.screen import Screen

    _Screen = Screen[Any]
else:
    _Screen = object

PAUSE_SECONDS = 0.001


class DeferredPaintMixin(_Screen):
    """Mixed into a screen or a dialog."""

    _laying_out = False
    _to_paint = False

    def _refresh_layout(self, size: Size | None = None, scroll: bool = False) -> None:
        """As Textual does it, which paints at its end."""
        self._laying_out = True
        try:
            super()._refresh_layout(size, scroll)
        finally:
            self._laying_out = False

    def _compositor_refresh(self) -> None:
        """Paint; after a layout, in a later turn, and all that is to be painted by then with it."""
        if self._laying_out and not self._to_paint:
            self._to_paint = self.call_later(self._paint)
        elif not self._to_paint:
            super()._compositor_refresh()

    async def _paint(self) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        self._to_paint = False
        if self.is_attached:
            self._compositor.update_widgets(self._dirty_widgets)  # what has changed since the layout
            super()._compositor_refresh()
