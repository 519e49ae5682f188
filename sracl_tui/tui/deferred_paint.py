"""Screens are laid out in one turn of the event loop and painted in a later one: together they would block it too long."""

from __future__ import annotations

import asyncio

from sracl_tui.tui.textual_internals import SeparatePaintMixin

PAUSE_SECONDS = 0.001


class DeferredPaintMixin(SeparatePaintMixin):
    """For screens and dialogs: one painting in a later turn covers all layouts until then."""

    _laying_out = False
    _paint_is_due = False

    def layout_begins(self) -> None:
        """Paintings that follow belong to the layout."""
        self._laying_out = True

    def layout_ends(self) -> None:
        """Paintings that follow belong to no layout."""
        self._laying_out = False

    def may_paint(self) -> bool:
        """Not during a layout, nor while a painting is due that will cover this one."""
        if self._laying_out and not self._paint_is_due:
            self._paint_is_due = self.call_later(self._paint)
            return False
        return not self._paint_is_due

    async def _paint(self) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        self._paint_is_due = False
        if self.is_attached:
            self.paint()
