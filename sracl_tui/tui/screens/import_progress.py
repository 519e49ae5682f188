"""A running import: its steps, and a way to cancel it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.services.dataset_import import Imported, ImportProcess, Step
from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.deferred_paint import DeferredPaintMixin
from store.errors import StoreError

Outcome = Imported | EngineError | StoreError | OSError | None
"""What is stored, why nothing is, or none: it was canceled."""
PATIENCE = 2.0
"""Seconds that a canceled import has to end in good order."""
BAR = 40


class ImportProgress(DeferredPaintMixin, NamedBindings, ModalScreen[Outcome]):
    """Runs an import; returns what was stored, the error, or none if it was canceled."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,c", "cancel", "Cancel")]

    @dataclass
    class Stepped(Message):
        """The import has reached a step."""

        step: Step

    @dataclass
    class Ended(Message):
        """The import has ended."""

        outcome: Outcome

    def __init__(self, process: ImportProcess, title: str) -> None:
        super().__init__()
        self._process, self._title = process, title
        self._step = Step(0, 5, "starting")
        self._began = time.monotonic()

    def compose(self) -> ComposeResult:
        """Title, current step, bar and the cancel button."""
        with Vertical(classes="dialog"):
            yield Static(formatting.line(self._title), classes="dialog-title", markup=False)
            yield Static("", id="step", markup=False)
            yield Static("\nRuns continue meanwhile. Nothing is saved before the last step is done.", classes="muted")
            with Horizontal(classes="buttons"):
                yield Button("Cancel (esc)", id="cancel")

    def on_mount(self) -> None:
        """Start the import."""
        self.set_interval(0.25, self._draw)
        self._draw()
        self._work()

    def on_unmount(self) -> None:
        """Cancel the import if the app is left before its end."""
        self._process.cancel()

    @work(thread=True, exit_on_error=False, group="import")
    def _work(self) -> None:
        outcome: Outcome = None
        try:
            for text in self._process.messages():
                if isinstance(text, Step):
                    self.post_message(self.Stepped(text))
                else:
                    outcome = text
        except (EngineError, StoreError, OSError) as error:
            outcome = error
        self.post_message(self.Ended(outcome))

    @on(Stepped)
    def _take(self, message: Stepped) -> None:
        self._step = message.step
        self._draw()

    def _draw(self) -> None:
        step, seconds = self._step, time.monotonic() - self._began
        doing = "stopping ..." if self._process.canceled else f"{step.done + 1} of {step.total}: {step.detail}"
        bar = formatting.bar((step.done + 0.5) / step.total, BAR).ljust(BAR, "░")
        self.query_one("#step", Static).update(formatting.text(f"{doing}\n{bar} {formatting.clock(seconds)}"))

    @on(Ended)
    def _end(self, message: Ended) -> None:
        self.dismiss(message.outcome)

    @on(Button.Pressed)
    def action_cancel(self) -> None:
        """Cancel the import; kill its process if it does not end in time."""
        self._process.cancel()
        self.set_timer(PATIENCE, self._process.kill)
        self._draw()
