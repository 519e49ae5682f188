"""A word that does something when it is clicked, for those who use the mouse alone."""

from __future__ import annotations

from textual.widgets import Static


class Link(Static):
    """Runs an action of the screen or of the app; the same stands on a key, so it takes no focus."""

    def __init__(self, text: str, action: str, *, id: str | None = None) -> None:
        super().__init__(text, id=id, markup=False)
        self._action = action

    async def on_click(self) -> None:
        """Do it."""
        await self.run_action(self._action)
