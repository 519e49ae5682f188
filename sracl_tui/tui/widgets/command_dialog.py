"""A list of what can be done, one line each, narrowed as one types: the palette, and the list of screens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from sracl_tui import formatting
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.widgets.field import Field
from sracl_tui.tui.widgets.table import Column, Row, Table, lay_out

MOST = 200
"""Lines that are listed; more are found by typing."""
COLUMNS = (
    Column("title", "command", least=16, most=40),
    Column("key", "key", most=12),
    Column("about", "what it does", flex=True, least=16),
)


@dataclass(frozen=True)
class Entry:
    """A line: what it is called, its key, what it does or why it is not possible now, and the function that does it."""

    title: str
    key: str
    about: str
    do: Callable[[], Any]
    possible: bool = True


class CommandDialog(DeferredPaintMixin, NamedBindings, ModalScreen[Callable[[], Any] | None]):
    """Returns the function of the chosen line; none if it is left by `esc`."""

    SECTION = "palette"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel"),
        Binding("down", "move(1)", "Next line", show=False),
        Binding("up", "move(-1)", "Previous line", show=False),
    ]

    def __init__(self, title: str, find: Callable[[str], Sequence[Entry]], *, prompt: str, hint: str) -> None:
        """Args: find: the lines that fit a text, best first."""
        super().__init__()
        self._title, self._find, self._prompt, self._hint = title, find, prompt, hint
        self._entries: Sequence[Entry] = ()

    def compose(self) -> ComposeResult:
        """Title, field, list and hint."""
        with Vertical(classes="dialog tall"):
            yield Static(formatting.line(self._title), classes="dialog-title", markup=False)
            yield Field(placeholder=self._prompt)
            yield Table(empty="Nothing fits.")
            yield Static(self._hint, classes="muted", markup=False)

    def on_mount(self) -> None:
        """List everything, and take what is typed."""
        self.query_one(Field).focus()
        self._draw("")

    @on(Field.Changed)
    def _narrow(self, event: Field.Changed) -> None:
        self._draw(event.value)

    def _draw(self, text: str) -> None:
        self._entries = self._find(text)[:MOST]
        rows = [
            Row(place, (formatting.line(one.title), one.key, formatting.line(one.about)), _styles(one.possible))
            for place, one in enumerate(self._entries)
        ]
        self.query_one(Table).show(lay_out(COLUMNS, rows), keep=False)

    @on(Field.Submitted)
    @on(Table.Chosen)
    def _chosen(self) -> None:
        key = self.query_one(Table).key
        if isinstance(key, int):
            self.dismiss(self._entries[key].do)

    def action_move(self, by: int) -> None:
        """Move the cursor of the list, from the field as well."""
        self.query_one(Table).action_move(by)

    def action_leave(self) -> None:
        """Close without a choice."""
        self.dismiss(None)


def _styles(possible: bool) -> tuple[str, ...]:
    return ("strong", "accent", "dim") if possible else ("dim", "dim", "dim")


def matching(entries: Sequence[Entry], text: str) -> list[Entry]:
    """The lines that have all words of a text; those whose title begins with it first, then those with it in the title."""
    words = text.lower().split()
    found = [one for one in entries if all(word in f"{one.title} {one.about}".lower() for word in words)]
    begins = " ".join(words)
    return sorted(
        found,
        key=lambda one: (not one.title.lower().startswith(begins), not all(w in one.title.lower() for w in words)),
    )
