"""The line of tabs over an editor: a click shows one, one on its cross closes it, one on the plus makes another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.widgets import Static

from sracl_tui import formatting


@dataclass(frozen=True)
class _Part:
    text: str
    left: int
    action: str
    """What a click does: `show N`, `close` or `add`."""
    look: str = ""


class BufferBar(Static):
    """As many tabs as have room, the one that is shown among them."""

    @dataclass
    class Clicked(Message):
        """A part of the line was clicked: `show` with the number of a tab, `rename` of the one that is shown, `close` or `add`."""

        action: str
        place: int = 0

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._titles: Sequence[str] = ()
        self._busy: frozenset[int] = frozenset()
        self._place = 0

    def show(self, titles: Sequence[str], place: int, busy: frozenset[int] = frozenset()) -> None:
        """Show tabs.

        Args:
            place: number of the tab that is shown, from 0.
            busy: numbers of those with a query that runs.
        """
        if (titles, place, busy) != (self._titles, self._place, self._busy):
            self._titles, self._place, self._busy = titles, place, busy
            self.refresh()

    def _tabs(self) -> list[tuple[int, str]]:
        """Numbers and texts of the tabs that have room."""
        texts = [
            f" {'●' if n in self._busy else n + 1} {formatting.line(title)} " for n, title in enumerate(self._titles)
        ]
        texts = [f"{text}× " if n == self._place else text for n, text in enumerate(texts)]
        first, last = self._place, self._place + 1
        room = self.size.width - 9  # a margin, the plus, and a sign on both sides
        while True:
            wider = [
                (start, end)
                for start, end in ((first, last + 1), (first - 1, last))
                if start >= 0 and end <= len(texts) and sum(map(formatting.width, texts[start:end])) <= room
            ]
            if not wider:
                return list(enumerate(texts))[first:last]
            first, last = wider[0]

    def _parts(self) -> list[_Part]:
        tabs = self._tabs()
        if not self._titles or not tabs:
            return []
        found: list[_Part] = []

        def put(text: str, action: str, look: str = "") -> None:
            left = found[-1].left + formatting.width(found[-1].text) if found else 1
            found.append(_Part(text, left, action, look))

        if (first := tabs[0][0]) > 0:
            put(" ‹", f"show {first - 1}")
        for number, text in tabs:
            if number == self._place:
                put(text[:-2], f"show {number}", "bold reverse")
                put(text[-2:], "close", "bold reverse")
            else:
                put(text, f"show {number}")
        if (last := tabs[-1][0]) < len(self._titles) - 1:
            put("› ", f"show {last + 1}")
        put(" + ", "add", "bold")
        return found

    def render(self) -> Content:
        """The tabs in a line."""
        return Content.assemble(" ", *((part.text, part.look) if part.look else part.text for part in self._parts()))

    def regions(self) -> dict[str, Region]:
        """Where each part stands, relative to the line, by what a click there does."""
        return {part.action: Region(part.left, 0, formatting.width(part.text), 1) for part in self._parts()}

    def on_click(self, event: events.Click) -> None:
        """Tell what was clicked; a double click on the tab that is shown renames it."""
        for action, region in self.regions().items():
            if region.x <= event.x < region.right:
                name, _, place = action.partition(" ")
                again = event.chain == 2 and name == "show" and int(place) == self._place
                self.post_message(self.Clicked("rename" if again else name, int(place or 0)))
