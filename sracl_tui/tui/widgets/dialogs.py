"""Small typed dialogs: a question, a line of text, the keys of a screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from sracl_tui import formatting
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.widgets.field import Field


class ConfirmDialog(DeferredPaintMixin, NamedBindings, ModalScreen[bool]):
    """A yes-or-no question that names its object; `y` answers yes, and the focus is on no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
        Binding("left,right,h,l", "app.focus_next", show=False),
    ]

    def __init__(self, question: str, *, detail: str, yes: str) -> None:
        super().__init__()
        self._question, self._detail, self._yes = question, detail, yes

    def compose(self) -> ComposeResult:
        """Question, what it means, two buttons."""
        with Vertical(classes="dialog"):
            yield Static(formatting.text(self._question), classes="dialog-title", markup=False)
            yield Static(formatting.text(self._detail), markup=False)
            with Horizontal(classes="buttons"):
                yield Button(f"{self._yes} (y)", id="yes", variant="error")
                yield Button("Cancel (n)", id="no")

    def on_mount(self) -> None:
        """Focus the button that changes nothing."""
        self.query_one("#no").focus()

    def action_answer(self, value: bool) -> None:
        """Close with an answer."""
        self.dismiss(value)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")


class PromptDialog(DeferredPaintMixin, NamedBindings, ModalScreen[str | None]):
    """A field for one line of text; returns none if it is left by `esc`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel")]

    def __init__(
        self, title: str, *, value: str = "", hint: str = "", check: Callable[[str], str] | None = None
    ) -> None:
        """Args: check: why a text cannot be taken, or empty; the dialog stays open with that sentence."""
        super().__init__()
        self._title, self._value, self._hint, self._check = title, value, hint, check
        self._shown = formatting.line(value)

    def compose(self) -> ComposeResult:
        """Title, input, hint."""
        with Vertical(classes="dialog"):
            yield Static(formatting.line(self._title), classes="dialog-title", markup=False)
            yield Field(self._shown)
            yield Static("", id="problem", markup=False)
            yield Static(self._hint or "enter keeps it, esc leaves it as it was", classes="muted", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Keep (enter)", id="keep")
                yield Button("Cancel (esc)", id="leave")

    def action_leave(self) -> None:
        """Change nothing."""
        self.dismiss(None)

    @on(Button.Pressed, "#leave")
    def _left(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#keep")
    @on(Field.Submitted)
    def _done(self) -> None:
        value = self.query_one(Field).value
        if self._check is not None and (problem := self._check(value)):
            self.query_one("#problem", Static).update(formatting.line(f"✗ {problem}"))
            return
        self.dismiss(self._value if value == self._shown else value)

    @on(Field.Changed)
    def _changed(self) -> None:
        self.query_one("#problem", Static).update("")


@dataclass(frozen=True)
class HelpKey:
    """Keys of an action, what it does, and why it does nothing now (or empty)."""

    keys: str
    what: str
    why: str = ""


class HelpDialog(DeferredPaintMixin, NamedBindings, ModalScreen[None]):
    """What a screen is for, and its keys under headings."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "leave", "Close")]

    def __init__(self, title: str, words_of_help: str, groups: Mapping[str, Sequence[HelpKey]]) -> None:
        """Args: groups: keys by heading, in order."""
        super().__init__()
        self._title, self._help, self._groups = title, words_of_help, groups

    def compose(self) -> ComposeResult:
        """What the screen is for, then the keys."""
        side = max((formatting.width(key.keys) for keys in self._groups.values() for key in keys), default=0)
        with VerticalScroll(classes="dialog wide") as scroll:
            scroll.can_focus = True
            yield Static(formatting.line(self._title), classes="dialog-title", markup=False)
            yield Static(formatting.text(self._help), classes="muted", markup=False)
            for heading, keys in self._groups.items():
                yield Static(f"\n{heading}", classes="help-heading", markup=False)
                yield Static("\n".join(_key_line(key, side) for key in keys), classes="help-keys", markup=False)

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)


def _key_line(key: HelpKey, side: int) -> str:
    return f"{key.keys:>{side}}  {key.what}{f'  (not now: {key.why})' if key.why else ''}"


class TextDialog(DeferredPaintMixin, NamedBindings, ModalScreen[None]):
    """A title and a long text."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "leave", "Close")]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._told = title, text

    def compose(self) -> ComposeResult:
        """Title and text."""
        with VerticalScroll(classes="dialog wide") as scroll:
            scroll.can_focus = True
            yield Static(formatting.line(self._title), classes="dialog-title", markup=False)
            yield Static(self._told, markup=False)

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
