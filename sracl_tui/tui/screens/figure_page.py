"""Screens whose chart can be written as a figure: one key, which runs the command that draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message

from engine.errors import EngineError
from sracl_tui.services.figures.process import export_in_process, figure_path
from sracl_tui.tui.navigation import Unavailable
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.base import BaseScreen


class FigurePage(BaseScreen):
    """A screen that says by which command its chart becomes a figure."""

    SECTION = "figure"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "write_figure", "Write the figure", show=False)]

    @dataclass
    class FigureWritten(Message):
        """A figure is in a file, or was not drawn, and why."""

        text: str
        failed: bool = False
        words: tuple[str, ...] = ()

    def figure_words(self) -> list[str]:
        """The words after `sracl export`: runs, and the figure with its options.

        Raises:
            Unavailable: what is on the screen is no figure, and where one is.
        """
        raise NotImplementedError

    def action_write_figure(self) -> None:
        """Write the chart that is shown into the home's folder of figures."""
        try:
            words = self.figure_words()
        except Unavailable as error:
            self.notify(error_text(error), title="Write the figure: not now", severity="warning", markup=False)
            return
        self.notify("drawing ...", title="Figure", markup=False)
        self._write_figure(words)

    @work(thread=True, exclusive=True, exit_on_error=False, group="figure")
    def _write_figure(self, words: Sequence[str]) -> None:
        home = self.sracl.home
        path = figure_path(home, words, name=self._figure_name(words))
        try:
            export_in_process(home, words, path)
        except (EngineError, OSError) as error:
            self.post_message(self.FigureWritten(error_text(error), failed=True))
        else:
            self.post_message(self.FigureWritten(str(path), words=("export", *words, "--out", str(path))))

    def _figure_name(self, words: Sequence[str]) -> str:
        """The figure, the run by its name, and the options."""
        place = words.index("--figure")
        row = self.sracl.row_of(words[0])
        options = [word for word in words[place + 2 :] if not word.startswith("--")]
        return "-".join([words[place + 1], str(row["name"]) if row else words[0], *options])

    @on(FigureWritten)
    def _show_figure(self, message: FigureWritten) -> None:
        severity = "error" if message.failed else "information"
        self.notify(message.text, title="Figure", severity=severity, timeout=12, markup=False)
        if message.words:
            self.sracl.did(message.words)
