"""A renderable that is rendered once for each width: its height is asked for several times before it is painted."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment


class RenderedOnce:
    """Keeps the segments of another renderable that does not change."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable
        self._segments: dict[int, list[Segment]] = {}

    def height(self, console: Console, options: ConsoleOptions, width: int) -> int:
        """Lines that it takes in a width, in columns."""
        rendered = self.__rich_console__(console, options.update_width(max(width, 1)))
        return sum(segment.text.count("\n") for segment in rendered if isinstance(segment, Segment))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        if width not in self._segments:
            self._segments[width] = list(console.render(self._renderable, options.update(height=None)))
        return self._segments[width]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._renderable)
