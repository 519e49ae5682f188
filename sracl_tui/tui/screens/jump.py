"""Jump mode: a label over everything that can be activated; typing one does what a click there does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.segment import Segment
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.errors import NoWidget
from textual.geometry import Offset, Region
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Button, Input, Tab, TextArea

from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.textual_internals import FooterKey, screen_strips
from sracl_tui.tui.widgets.buffer_bar import BufferBar
from sracl_tui.tui.widgets.link import Link
from sracl_tui.tui.widgets.screen_bar import ScreenBar
from sracl_tui.tui.widgets.table import Table

LETTERS = "asdfghjklqwertyuiopzxcvbnm"
WHOLE = (Link, Button, Input, TextArea, Tab, FooterKey)
"""Widgets with one label; lines of tables and screens of the bar have one each."""


@dataclass(frozen=True)
class Target:
    """Where a label stands and a click goes."""

    x: int
    y: int


def targets_of(screen: Screen[Any]) -> list[Target]:
    """Everything on a screen that can be activated and is in sight, from top to bottom."""
    found = {Target(place.x, place.y) for place in _places(screen) if screen.region.contains(place.x, place.y)}
    return sorted(found, key=lambda target: (target.y, target.x))


def _places(screen: Screen[Any]) -> Iterator[Offset]:
    for widget in screen.query(Widget):
        region = _in_sight(screen, widget)
        if not region:
            continue
        if isinstance(widget, Table):
            yield from _rows(widget, region)
        elif isinstance(widget, ScreenBar | BufferBar):
            yield from (part.offset + region.offset for part in widget.regions().values())
        elif isinstance(widget, WHOLE) or (widget.can_focus and not widget.children):
            yield _inside(widget, region)


def _in_sight(screen: Screen[Any], widget: Widget) -> Region:
    if not widget.display or widget.disabled:
        return Region()
    try:
        return screen.find_widget(widget).visible_region
    except NoWidget:  # it is not laid out
        return Region()


def _inside(widget: Widget, region: Region) -> Offset:
    """The first cell with content, where it is in sight."""
    content = widget.content_region.intersection(region)
    return content.offset if content else region.offset


def _rows(table: Table, region: Region) -> Iterator[Offset]:
    """Every line of a table, and every title that sorts it."""
    if table.sorted_by is not None:
        yield from (Offset(region.x + x, region.y) for x in table.title_offsets() if 0 <= x < region.width)
    lines = min(region.height - 1, len(table.data.rows) - table.scroll_offset.y)
    yield from (Offset(region.x, region.y + 1 + line) for line in range(max(0, lines)))


def labels(count: int) -> list[str]:
    """So many labels, all of one letter, or all of two."""
    if count <= len(LETTERS):
        return list(LETTERS[:count])
    return [first + second for first in LETTERS for second in LETTERS][:count]


class Labels(Widget):
    """A picture of the screen below with labels on it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"labels--label", "labels--typed"}

    def __init__(self, lines: list[Strip], targets: dict[str, Target]) -> None:
        super().__init__()
        self._lines, self._targets = lines, targets
        self.typed = ""

    def render_line(self, y: int) -> Strip:
        """A line of the screen below, and the labels in it that can still be meant."""
        strip = self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width)
        style, done = self.get_component_rich_style("labels--label"), self.get_component_rich_style("labels--typed")
        for label, target in self._targets.items():
            if target.y != y or not label.startswith(self.typed):
                continue
            end = target.x + len(label)
            shown = Strip([Segment(self.typed, done), Segment(label[len(self.typed) :], style)])
            strip = Strip.join([strip.crop(0, target.x), shown, strip.crop(end)])
        return strip.crop(0, self.size.width)


class JumpScreen(NamedBindings, ModalScreen[Target | None]):
    """Returns the target whose label was typed; none for `esc` or a letter that leads nowhere."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel", priority=True)]

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        targets = targets_of(below)
        self.targets = dict(zip(labels(len(targets)), targets, strict=False))
        """By label."""
        self._lines = screen_strips(below)

    def compose(self) -> ComposeResult:
        """The screen below with its labels."""
        yield Labels(self._lines, self.targets)

    def on_key(self, event: events.Key) -> None:
        """Take a letter of a label."""
        if event.character is None or not event.is_printable:
            return
        event.stop()
        shown = self.query_one(Labels)
        shown.typed += event.character
        if shown.typed in self.targets:
            self.dismiss(self.targets[shown.typed])
        elif any(label.startswith(shown.typed) for label in self.targets):
            shown.refresh()
        else:
            self.dismiss(None)

    def on_click(self) -> None:
        """A click closes it."""
        self.dismiss(None)

    def on_resize(self, event: events.Resize) -> None:
        """The picture is of another size."""
        if event.size.height != len(self._lines):
            self.dismiss(None)

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)


def click(app: App[Any], target: Target) -> None:
    """A click of the mouse at a place of the screen."""
    for kind in (events.MouseDown, events.MouseUp):
        app.post_message(
            kind(
                None,
                target.x,
                target.y,
                delta_x=0,
                delta_y=0,
                button=1,
                shift=False,
                meta=False,
                ctrl=False,
                screen_x=target.x,
                screen_y=target.y,
            )
        )
