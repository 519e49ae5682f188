"""Pins what is on the screen as a finding, from every screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.notifications import Notification

from sracl_tui.services.command_log import command_line
from sracl_tui.services.findings.edits import FindingsListed
from sracl_tui.tui.global_actions import GlobalActions
from sracl_tui.tui.navigation import Unavailable, navigation_of
from sracl_tui.tui.pins import Pin, picture, pin_of, title_of
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.textual_internals import drop_notifications
from sracl_tui.tui.widgets.dialogs import PromptDialog
from store.errors import NameRefused, StoreError
from store.queries import findings
from store.untrusted_text import check_name


def note_problem(note: str) -> str:
    """Why a note cannot be kept; empty if it can."""
    try:
        check_name("the note", note, lines=True)
    except NameRefused as error:
        return error_text(error)
    return ""


class FindingActions(GlobalActions):
    """What works on every screen, pinning included."""

    FINDING_BINDINGS: ClassVar[list[BindingType]] = [
        Binding("N", "pin", "Pin as a finding", show=False),
        Binding("ctrl+n", "pin", "Pin, in a field too", show=False, priority=True, id="app.pin-anywhere"),
    ]

    @dataclass
    class Pinned(Message):
        """A finding was kept, or was not, and why."""

        finding_id: str
        trouble: str = ""

    def action_pin(self) -> None:
        """Keep what is on the screen with a note."""
        screen = self.screen
        if not isinstance(screen, BaseScreen):
            self.notify("A dialog is open: close it, then pin the screen below it.", severity="warning")
            return
        try:
            pin = pin_of(screen)
        except Unavailable as reason:
            self.notify(str(reason), title="Pin: not now", severity="warning", markup=False)
            return
        drop_notifications(self, _any)  # they would cover what is pinned
        screen.call_after_refresh(self._ask_note, screen, pin)

    def _ask_note(self, screen: BaseScreen, pin: Pin) -> None:
        title, content = title_of(screen), pin.content or picture(screen)

        def keep(note: str | None) -> None:
            if note is not None:
                self._keep_finding(pin, title, content, note)

        hint = "a note; enter keeps the finding, esc does not"
        self.push_screen(PromptDialog(f"Pin: {title}", hint=hint, check=note_problem), keep)

    @work(thread=True, exit_on_error=False, group="edit")
    def _keep_finding(self, pin: Pin, title: str, content: str, note: str) -> None:
        try:
            made = findings.add(
                navigation_of(self).home,
                note=note.strip(),
                screen=pin.screen,
                title=title,
                run_ids=pin.run_ids,
                user_id=pin.user_id,
                item_id=pin.item_id,
                command=command_line(pin.words) if pin.words else "",
                content=content,
                place=pin.place,
            )
        except (StoreError, OSError) as error:
            self.post_message(self.Pinned("", error_text(error)))
        else:
            self.post_message(self.Pinned(made))

    @on(Pinned)
    def _show_pinned(self, message: Pinned) -> None:
        if message.trouble:
            self.notify(message.trouble, title="Not pinned", severity="error", markup=False)
            return
        app = navigation_of(self)
        app.edits.add("the pinned finding", [FindingsListed((message.finding_id,), listed=True)])
        app.did(("findings", "show", message.finding_id))
        self.notify("F8 findings lists them; ctrl+z takes it back", title="Pinned", markup=False)


def _any(notification: Notification) -> bool:
    return True
