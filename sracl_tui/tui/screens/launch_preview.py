"""What a run that is not yet one would take: cached stages, time, cost, and what its provider needs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from textual import on, work
from textual.message import Message
from textual.widgets import Static

from engine.config import Config
from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.services import local_llm
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.rendering.launch_form import plan_text
from sracl_tui.tui.screens.base import BaseScreen
from store.errors import StoreError


class LaunchPreview(BaseScreen):
    """A screen with a config and a preview below it."""

    SECTION = "launch"
    config: Config | None = None

    @dataclass
    class Planned(Message):
        """The preview, as text."""

        text: str

    def action_preview(self) -> None:
        """Show which stages are cached, and estimates of time and cost."""
        assert self.config is not None
        self.query_one("#preview", Static).update("checking the cache ...")
        self._plan(self.config)

    @work(thread=True, exclusive=True, exit_on_error=False, group="plan")
    def _plan(self, config: Config) -> None:
        from sracl_tui.services.run_plan import plan

        try:
            found = plan(self.sracl.home, config)
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Planned(f"✗ {error_text(error)}"))
            return
        advice = local_llm.advice(config.semantics.provider, self.sracl.home.path)
        self.post_message(self.Planned((f"note    {advice}\n" if advice else "") + plan_text(found)))

    @work(thread=True, exclusive=True, exit_on_error=False, group="plan")
    def advise(self, provider: str) -> None:
        """Say at once what a provider needs: its key may be in a file or the keyring."""
        with suppress(EngineError, OSError):  # told by the preview
            if text := local_llm.advice(provider, self.sracl.home.path):
                self.post_message(self.Planned(text))

    @on(Planned)
    def _show_plan(self, message: Planned) -> None:
        self.query_one("#preview", Static).update(formatting.text(message.text))
