"""The console of the command: whatever is printed, by whichever way, reaches the terminal as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from store.untrusted_text import shown


class SafeConsole(Console):
    """A console that takes no markup and no emoji codes, as names and messages may look like them, and cleans every text.

    Rich lays out what `render` gives, so the cells of a table are measured as they are printed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of anything that Rich can print; those that control the terminal are Rich's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)
