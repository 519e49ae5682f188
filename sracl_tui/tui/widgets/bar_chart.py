"""A chart of characters that takes the room it gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.widget import Widget

from sracl_tui.services import text_charts

BINS = 16


class Chart(Widget):
    """Bars for a distribution, columns for times, or a text if there is nothing to draw."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"chart--label", "chart--count", "chart--bar"}

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._spread: Sequence[dict[str, Any]] = ()
        self._unit = ""
        self._word = ""
        self._counts = ""
        self._number: Callable[[Any], str] | None = None

    def show(
        self,
        spread: Sequence[dict[str, Any]],
        *,
        counts: str,
        unit: str = "",
        empty: str = "",
        number: Callable[[Any], str] | None = None,
    ) -> None:
        """Draw a distribution.

        Args:
            spread: rows of `value` and `count`, by value.
            counts: what is counted; shown in the pane's frame or, without one, above the chart.
            unit: `month` or `day` where the values are times.
            empty: text for a chart without rows.
            number: how a sum is written on the scale; none writes a count.
        """
        self._spread, self._counts, self._unit, self._word = spread, counts, unit, empty
        self._number = number
        self._update_caption()
        self.refresh()

    def on_resize(self) -> None:
        """Update the caption: columns may stand for other periods now."""
        self._update_caption()

    @property
    def _framed(self) -> bool:
        return isinstance(self.parent, Widget) and bool(self.parent.styles.border_bottom[0])

    def _columns(self, height: int) -> text_charts.Columns | None:
        return text_charts.columns(self._spread, self._unit, width=self.size.width, height=height, number=self._number)

    @property
    def _caption(self) -> str:
        """What is counted and, for times, by which period."""
        found = self._columns(self.size.height) if self._unit else None
        return f"{self._counts} by {text_charts.period(self._unit, found.each)}" if found else self._counts

    def _update_caption(self) -> None:
        if isinstance(self.parent, Widget):
            self.parent.border_subtitle = self._caption if self._spread else ""

    def render(self) -> Text:
        """The chart, drawn to the current size."""
        label = self.get_component_rich_style("chart--label", partial=True)
        if not self._spread:
            return Text(self._word, label)
        above = Text() if self._framed else Text(f"{self._caption}\n", label)
        height = self.size.height - (0 if self._framed else 1)
        return above.append_text(self._over_time(height) if self._unit else self._bars(height))

    def _bars(self, height: int) -> Text:
        label, count, bar = self._styles()
        drawn = Text(no_wrap=True)
        for line in text_charts.bars(self._spread, bins=max(1, min(BINS, height)), width=self.size.width):
            drawn.append(f"{line.label} ", label).append(f"{line.count} ", count).append(f"{line.bar}\n", bar)
        drawn.right_crop(1)
        return drawn

    def _over_time(self, height: int) -> Text:
        label, _, bar = self._styles()
        found = self._columns(height)
        if found is None:
            return Text("no room", label)
        drawn = Text(no_wrap=True)
        for scale, line in zip(found.scale, found.lines, strict=True):
            drawn.append(scale, label).append(f"{line}\n", bar)
        return drawn.append(found.below, label)

    def _styles(self) -> tuple[Any, Any, Any]:
        names = ("chart--label", "chart--count", "chart--bar")
        label, count, bar = (self.get_component_rich_style(name, partial=True) for name in names)
        return label, count, bar
