"""An import at work: its steps, and a way to stop it."""

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
    """Runs an import to its end."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,c", "cancel", "Cancel")]

    @dataclass
    class Told(Message):
        """A step."""

        step: Step

    @dataclass
    class Ended(Message):
        """The end."""

        outcome: Outcome

    def __init__(self, process: ImportProcess, title: str) -> None:
        super().__init__()
        self._process, self._title = process, title
        self._step = Step(0, 5, "starting")
        self._began = time.monotonic()

    def compose(self) -> ComposeResult:
        """Title, step, bar, button."""
        with Vertical(classes="dialog"):
            yield Static(formatting.line(self._title), classes="dialog-title", markup=False)
            yield Static("", id="step", markup=False)
            yield Static("\nRuns go on meanwhile. Nothing is stored before the last step is done.", classes="muted")
            with Horizontal(classes="buttons"):
                yield Button("Cancel (esc)", id="cancel")

    def on_mount(self) -> None:
        """Begin."""
        self.set_interval(0.25, self._draw)
        self._draw()
        self._work()

    def on_unmount(self) -> None:
        """Whoever leaves the app has not waited for it."""
        self._process.cancel()

    @work(thread=True, exit_on_error=False, group="import")
    def _work(self) -> None:
        outcome: Outcome = None
        try:
            for told in self._process.told():
                if isinstance(told, Step):
                    self.post_message(self.Told(told))
                else:
                    outcome = told
        except (EngineError, StoreError, OSError) as error:
            outcome = error
        self.post_message(self.Ended(outcome))

    @on(Told)
    def _take(self, message: Told) -> None:
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
        """Stop it; after a while, less kindly."""
        self._process.cancel()
        self.set_timer(PATIENCE, self._process.kill)
        self._draw()
