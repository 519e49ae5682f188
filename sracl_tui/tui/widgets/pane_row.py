"""Panes side by side: their order, which of them are shown, and their widths are a person's choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

LEAST = 18
"""Columns of the narrowest pane."""
ROOM = 120
"""Columns of the row from which on more than the first pane is shown."""


class Divider(Static):
    """The line at the left of a pane; dragging it sizes the panes on both sides."""

    @dataclass
    class Dragged(Message):
        """The pointer was moved by columns."""

        divider: Divider
        by: int

    _held = False

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to drag."""
        self._held = True
        self.capture_mouse()
        event.stop()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Move the line with the pointer."""
        if self._held and event.x:
            self.post_message(self.Dragged(self, event.x))

    def on_mouse_up(self) -> None:
        """End dragging."""
        self._held = False
        self.release_mouse()


class Pane(Horizontal):
    """What a pane shows, and the line at its left."""

    def __init__(self, name: str, content: Widget) -> None:
        super().__init__(id=f"pane-{name}", name=name)
        self.content = content

    def compose(self) -> ComposeResult:
        """The line, then the content."""
        yield Divider()
        yield self.content


class PaneRow(Horizontal):
    """A row of panes. The main one is always shown, in a narrow terminal alone; the others are made by `fill`."""

    @dataclass
    class Sized(Message):
        """A person has chosen widths, in columns by the name of the pane."""

        widths: dict[str, int]

    class Shown(Message):
        """Other panes are on the screen."""

    def __init__(
        self,
        main: str,
        content: Widget,
        others: Mapping[str, Callable[[], Widget]],
        *,
        order: Sequence[str],
        widths: Mapping[str, int],
        id: str | None = None,
    ) -> None:
        """Args:
        others: functions that make the content of the other panes, by their names.
        order: names of the panes to show, from the left.
        widths: columns of a pane in proportion to the others.
        """
        self._main, self._makers = main, others
        self._panes = {main: Pane(main, content)}
        self._widths, self._wide, self._wanted = dict(widths), False, False
        self._order = self._known(order)
        super().__init__(*self._panes.values(), id=id)
        self._show()

    def _known(self, order: Sequence[str]) -> list[str]:
        known = [name for name in dict.fromkeys(order) if name == self._main or name in self._makers]
        return known if self._main in known else [self._main, *known]

    def fill(self) -> None:
        """Make the other panes, as soon as the terminal is wide enough for them."""
        if not self._wanted:
            self._wanted = True
            self.call_after_refresh(self._make)

    async def _make(self) -> None:
        self._wide = self.size.width >= ROOM
        if self._wide and self._wanted and len(self._panes) == 1:
            made = {name: Pane(name, make()) for name, make in self._makers.items()}
            for pane in made.values():
                pane.display = False
            await self.mount_all(made.values())
            self._panes |= made
            self.put_in_order(self._order)
            self.post_message(self.Shown())

    def put_in_order(self, order: Sequence[str]) -> None:
        """Show these panes in this order."""
        self._order = self._known(order)
        there = {name: pane for name, pane in self._panes.items() if pane.parent is self}  # not all as the app closes
        every = [name for name in dict.fromkeys([*self._order, *there]) if name in there]
        for place, name in enumerate(every):
            if self.children[place] is not there[name]:
                self.move_child(there[name], before=place)
        self._show()

    def size_panes(self, widths: Mapping[str, int]) -> None:
        """Give the panes these widths, in proportion to each other."""
        self._widths = dict(widths)
        self._show()

    @property
    def shown(self) -> list[str]:
        """Names of the panes on the screen, from the left."""
        return [name for name in self._order if name == self._main or (self._wide and name in self._panes)]

    def _show(self) -> None:
        shown = self.shown
        for name, pane in self._panes.items():
            pane.display = name in shown
            pane.set_class(name == shown[0], "first")
            pane.styles.width = f"{max(1, self._widths.get(name, LEAST))}fr"
            pane.styles.min_width = LEAST

    async def on_resize(self, event: events.Resize) -> None:
        """Hide all but the main pane where there is no room."""
        if self._wide != (wide := event.size.width >= ROOM):
            self._wide = wide
            await self._make()
            self._show()
            self.post_message(self.Shown())

    @property
    def focused_pane(self) -> str:
        """Name of the pane that has the focus; of the main one where none has."""
        return next((name for name in self.shown if self._panes[name].has_focus_within), self._main)

    def grow(self, name: str, by: int) -> None:
        """Widen a pane by columns that its neighbor at the right, or else at the left, loses."""
        shown = self.shown
        place = shown.index(name)
        if len(shown) > 1:
            self._trade(name, shown[place + 1] if place + 1 < len(shown) else shown[place - 1], by)

    @on(Divider.Dragged)
    def _drag(self, message: Divider.Dragged) -> None:
        message.stop()
        pane = message.divider.parent
        if isinstance(pane, Pane) and pane.name in self.shown[1:]:
            self._trade(self.shown[self.shown.index(pane.name) - 1], pane.name, message.by)

    def _trade(self, name: str, other: str, by: int) -> None:
        columns = {each: self._panes[each].size.width for each in self.shown}
        by = max(min(by, columns[other] - LEAST), LEAST - columns[name])
        if by:
            self._widths |= columns | {name: columns[name] + by, other: columns[other] - by}
            self._show()
            self.post_message(self.Sized(dict(self._widths)))
