"""The line of screens: each with its number key, the open one marked; a click opens one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.geometry import Region
from textual.widgets import Static

GAP = "  "


@dataclass(frozen=True)
class ScreenEntry:
    """A screen in the line: its name, its text, and where it stands."""

    name: str
    text: str
    left: int


class ScreenBar(Static):
    """The screens that have a number key."""

    def __init__(self, titles: Mapping[str, str], keys: Mapping[str, str], *, current: str) -> None:
        """Args: titles: title by name. keys: key by name. current: name of the screen that shows the line."""
        super().__init__("", markup=False)
        self.entries: list[ScreenEntry] = []
        left = 1
        for name, key in keys.items():
            self.entries.append(ScreenEntry(name, f"{key} {titles[name]}", left))
            left += len(self.entries[-1].text) + len(GAP)
        self._current = current

    def render(self) -> Content:
        """The screens in a line."""
        parts: list[Content | str | tuple[str, str]] = [" "]
        for entry in self.entries:
            here = entry.name == self._current
            parts += [(entry.text, "bold reverse") if here else entry.text, GAP]
        return Content.assemble(*parts)

    def regions(self) -> dict[str, Region]:
        """Where each screen stands, relative to the line."""
        return {entry.name: Region(entry.left, 0, len(entry.text), 1) for entry in self.entries}

    async def on_click(self, event: events.Click) -> None:
        """Open the screen that was clicked."""
        for name, region in self.regions().items():
            if region.x <= event.x < region.right:
                await self.run_action(f"app.go('{name}')")
