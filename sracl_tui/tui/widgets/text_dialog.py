"""A dialog for a text of several lines, which may go through the person's own editor."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static, TextArea

from sracl_tui import formatting
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from sracl_tui.tui.external_editor import edit_outside
from sracl_tui.tui.navigation import Unavailable
from sracl_tui.tui.widgets.field import KeysInOrderMixin


class TextBox(KeysInOrderMixin, TextArea):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A field for a text of several lines."""


class EditDialog(DeferredPaintMixin, NamedBindings, ModalScreen[str | None]):
    """Returns the text, without blanks around it; none if it is left by `esc`."""

    SECTION = "edit"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "keep", "Keep", priority=True),
        Binding("f10", "outside", "In your editor"),
        Binding("escape", "leave", "Cancel"),
    ]

    def __init__(
        self, title: str, text: str, *, hint: str = "", check: Callable[[str], str] | None = None, keep: str = "Keep"
    ) -> None:
        """Args: check: why a text cannot be taken, or empty; keep: what the button says that takes it."""
        super().__init__()
        self._title, self._text, self._hint, self._check, self._keep = title, text, hint, check, keep

    def compose(self) -> ComposeResult:
        """Title, text, why it cannot be taken, hint, buttons."""
        with Vertical(classes="dialog tall"):
            yield Static(formatting.line(self._title), classes="dialog-title", markup=False)
            yield TextBox(formatting.text(self._text), soft_wrap=True, show_line_numbers=False, tab_behavior="focus")
            yield Static("", id="problem", markup=False)
            if self._hint:
                yield Static(self._hint, classes="muted", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(f"{self._keep} (^s)", id="keep")
                yield Button("Your editor (F10)", id="outside")
                yield Button("Cancel (esc)", id="leave")

    def on_mount(self) -> None:
        """Begin at the end of the text."""
        box = self.query_one(TextBox)
        box.move_cursor(box.document.end)
        box.focus()

    def action_leave(self) -> None:
        """Change nothing."""
        self.dismiss(None)

    def action_keep(self) -> None:
        """Close with the text."""
        text = self.query_one(TextBox).text.strip()
        if self._check is not None and (problem := self._check(text)):
            self._show_problem(problem)
        else:
            self.dismiss(text)

    def action_outside(self) -> None:
        """Edit the text in the editor that EDITOR names."""
        box = self.query_one(TextBox)
        try:
            box.text = formatting.text(edit_outside(self.app, box.text))
            box.move_cursor(box.document.end)
        except Unavailable as reason:
            self._show_problem(str(reason))
        else:
            self._show_problem("")

    def _show_problem(self, problem: str) -> None:
        self.query_one("#problem", Static).update(formatting.line(f"✗ {problem}") if problem else "")

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        {"keep": self.action_keep, "outside": self.action_outside, "leave": self.action_leave}[
            event.button.id or "leave"
        ]()
