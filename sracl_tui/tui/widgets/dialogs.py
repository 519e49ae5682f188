"""Small typed dialogs: a question, a line of text, the keys of a screen."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from sracl_tui import formatting
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin


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

    def __init__(self, title: str, *, value: str = "", hint: str = "") -> None:
        super().__init__()
        self._title, self._value, self._hint = title, value, hint
        self._shown = formatting.line(value)

    def compose(self) -> ComposeResult:
        """Title, input, hint."""
        with Vertical(classes="dialog"):
            yield Static(formatting.line(self._title), classes="dialog-title", markup=False)
            yield Input(self._shown)
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
    @on(Input.Submitted)
    def _done(self) -> None:
        value = self.query_one(Input).value
        self.dismiss(self._value if value == self._shown else value)


class HelpDialog(DeferredPaintMixin, NamedBindings, ModalScreen[None]):
    """What a screen is for, and all its keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "leave", "Close")]

    def __init__(self, title: str, words_of_help: str, keys: list[tuple[str, str, str]]) -> None:
        """Args: keys: key, what it does, why it is not possible now (or empty)."""
        super().__init__()
        self._title, self._help, self._keys = title, words_of_help, keys

    def compose(self) -> ComposeResult:
        """What the screen is for, then the keys."""
        side = max((formatting.width(key) for key, _, _ in self._keys), default=0)
        lines = [f"{key:>{side}}  {what}{f'  (not now: {why})' if why else ''}" for key, what, why in self._keys]
        with VerticalScroll(classes="dialog wide") as scroll:
            scroll.can_focus = True
            yield Static(formatting.line(self._title), classes="dialog-title", markup=False)
            yield Static(formatting.text(self._help), classes="muted", markup=False)
            yield Static("\n" + "\n".join(lines), markup=False)

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)


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
