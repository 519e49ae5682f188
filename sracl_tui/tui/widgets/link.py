"""A word that does something when it is clicked, for those who use the mouse alone."""

from __future__ import annotations

from textual.widgets import Static


class Link(Static):
    """Runs an action of the screen or the app when it is clicked; keys do the same, so it takes no focus."""

    def __init__(self, text: str, action: str, *, id: str | None = None) -> None:
        super().__init__(text, id=id, markup=False)
        self._action = action

    async def on_click(self) -> None:
        """Run the action."""
        await self.run_action(self._action)
